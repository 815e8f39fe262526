//! RFC 6455 and RFC 7692 for the server side, without I/O: client frames in, server frames out.
//!
//! Bytes of the socket go into [`Reader::read`], which gives back messages and control frames.
//! What goes out is built once, by [`build_frame`], and shared by every socket that it is for.
//! One extension can be negotiated, permessage-deflate: then [`Inflater`] and [`Deflater`] stand behind
//! and before these.
//!
//! Invariants: a declared length is checked before anything is kept for it; memory held for a
//! connection follows the bytes that arrived, never the bytes that were announced; between two
//! messages a reader owns nothing; every client byte is copied a bounded number of times,
//! however it was cut. No input panics, hence the lints below.
//!
//! Must never touch: any other folder, sockets, clocks, what a message means.
//! Read `reader.rs` first, then `partial.rs`; `violation.rs` is the list of all that is refused.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

/// The close handshake: codes, the peer's payload, our frames.
mod close;
/// Messages out, compressed.
mod deflate;
/// What is answered to offers of permessage-deflate.
mod extension;
/// Server frames out.
mod frame;
/// The header of a client frame.
mod header;
/// Compressed messages in.
mod inflate;
/// XOR with the masking key.
mod mask;
/// A message or header that did not arrive in one read.
mod partial;
/// Client frames in.
mod reader;
/// UTF-8 checked as it arrives.
mod utf8;
/// What a peer can do wrong, and the close code for each.
mod violation;

#[cfg(test)]
mod test_frames;

pub use close::{PeerClose, close_answer, close_frame};
pub use deflate::{DeflateTally, Deflater, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
pub use extension::{DeflateTerms, accept_deflate};
pub use frame::{FrameKind, append_frame, build_frame, frame_payload};
pub use inflate::Inflater;
pub use reader::{Deflate, Incoming, MessageKind, Reader, ReaderLimits};
pub use violation::PeerViolated;
