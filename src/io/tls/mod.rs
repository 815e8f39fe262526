//! TLS of a shard's connections: rustls as a state machine over the shard's own buffers.
//!
//! A connection is shaken hands with in the door (`door/handshake.rs`, rationed by `ration`),
//! speaks HTTP through `stream`, and leaves for the poll set as a `socket` with the same `session`.
//! The certificate is a `pair`, and a new one reaches the doors through a watch: each handshake takes
//! the newest, no message ever looks at it.
//!
//! Invariants: an idle connection holds no buffer; records leave in the order in which they were
//! sealed; nothing is sealed while records wait for a socket. Must never touch what the plaintext
//! says. Read `session.rs` first.

mod expiry;
mod pair;
mod ration;
mod session;
mod socket;
mod stream;

#[cfg(test)]
pub mod fixtures;

pub use pair::{BadPair, Identity, Pair, Part, Pem};
pub use stream::{Stream, accept};

pub(super) use ration::Ration;
pub(super) use session::Session;
pub(super) use socket::{Buffers, TlsSocket};
pub(super) use stream::Parts;

/// The newest identity of a port.
pub type Newest = tokio::sync::watch::Receiver<Identity>;
