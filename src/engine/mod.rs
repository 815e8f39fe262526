//! What is remembered: streams, positions, presence; later, how nodes hear one another.
//!
//! # The contract
//!
//! * **Append** gives a publication the next offset of its channel: from 1, without gaps, in the
//!   order of arrival at the channel's home. The publisher is answered after the append, never
//!   before. What the answer means is the engine's: here, *in this node's memory*.
//! * **Position** is epoch and offset of the newest publication. A stream that lost history has
//!   another epoch than before; nobody is ever given a wrong publication under an old position.
//! * **Recovery** returns all publications after a position, or says that it can't. It never
//!   returns a part.
//! * **Versions**: a publication with a version that is not newer than the newest of its stream is not
//!   appended. The version lives as long as the stream's position.
//! * **Results** of publishes with an idempotency key are kept for five minutes, or until the shard's
//!   bound is reached.
//! * **Presence** is who is subscribed, until told otherwise or until the shard that said so has
//!   been silent for `presence_ttl`.
//! * **Bounds**: a stream holds at most `history_size` publications for `history_ttl`; epoch and
//!   offset outlive them by `history_meta_ttl`; the streams of a shard together hold at most
//!   `memory_bytes_max`, and the one that would expire first is dropped when they would hold more.
//!
//! The memory engine is a part of its shard, which calls it. All others are asked and answer later:
//! `contract.rs` says what, and what each side may rely on; `outlet.rs` is their way back to the shards, `record.rs`
//! what they write, `tls.rs` how they speak TLS.
//!
//! Invariants: each channel's state is at its home shard only, or at the engine's broker. Must never touch
//! protocol, ws, shard or connections. Read `stream.rs` first, then `memory.rs`, then `contract.rs`.

pub mod contract;
pub mod disk;
mod memory;
/// Many nodes through NATS.
#[cfg(feature = "nats")]
pub mod nats;
pub mod outlet;
mod presence;
pub mod record;
pub mod redis;
mod results;
mod stream;
pub mod tls;

pub use memory::{KeptStream, Loading, Memory, Retention, Standing};
pub use presence::{Attendee, Presence};
pub use results::{ResultKey, Results};
pub use stream::{RecoveryLimits, Stream};
