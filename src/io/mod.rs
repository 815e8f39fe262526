//! Sockets and threads of the data plane: io does what the shard decides.
//!
//! One thread for each shard, pinned, with one event loop (`event_loop`): a turn takes in what is
//! ready, lets the shard decide, and writes each dirty socket once. Slow things (accept, HTTP
//! heads) are tasks beside it on the same thread.
//!
//! Invariants: what a turn does is bounded; readiness is never cleared with events left behind
//! (`poller`); no buffer belongs to an idle connection; a panic outside of one connection's
//! handling ends the process. Must never touch what a protocol says or who is in a room.
//! Read `event_loop.rs` first, then `poller.rs` and `door/mod.rs`.

mod accept;
mod admission;
mod descriptors;
mod door;
mod event_loop;
mod listener;
mod options;
mod poller;
mod ready;
mod ring;
mod socket;
mod sockets;
mod thread;
mod tls;

pub use admission::{Admission, AdmissionLimits};
pub use descriptors::{Descriptors, raise_descriptors};
pub use door::{AllowedOrigins, BadOriginPattern, ControlRequest, ControlSender, rehearse};
pub use listener::{PortSharing, SharedPort, bind};
pub use options::Options;
pub use ready::Ready;
pub use thread::{JobSink, RequestSink, ShardSetup, start_shard};
pub use tls::{BadPair, Identity, Newest, Pair, Part, Pem, Stream as TlsStream, accept as accept_tls};
