//! Many nodes that act as one: who is there, and what is asked of all of them.
//!
//! Nodes hear one another through an engine's `Control`: small messages that may be lost and come in no order.
//! Every node says every few seconds who it is; one that is silent for three intervals is not counted any more. What
//! the application asks of users and channels is done here by the `handle`, sent to the other nodes, and answered
//! when all have answered or their time is over: who did not is named in the answer.
//!
//! - `cluster`: what the API asks. `service`: hears the other nodes, and does what they ask.
//! - `members`: who is there. `asking`: requests under way, and what came of them.
//! - `channels`: pages of names, cut into pieces and joined. `report`: what a node says of itself.
//! - `wire`: bytes to messages and back, by `proto/node.proto`.
//!
//! Invariants: without a `Control` everything is as with one node alone; every wait has an end, every message and
//! every list a bound; no message makes a node panic, and a request it does not know is answered, not dropped; a
//! node that does not hear itself judges nobody. Must never touch a shard: it has the handle for that.
//! Read `cluster.rs` first, then `service.rs`.

mod asking;
mod channels;
mod cluster;
mod members;
mod report;
mod service;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use asking::{MissingNode, Why};
pub use cluster::{ChannelsOfAll, Cluster, Info, ReachedOnAll};
pub use report::{NodeName, Report};
