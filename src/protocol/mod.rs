//! Client protocols: bytes to commands, replies and pushes to bytes.
//!
//! Invariants: no input makes it panic, recurse without bound, or allocate more than its own
//! length times a constant. What a client sent wrongly is a [`Malformed`], never a guess. Every
//! format of a reply carries the same facts. An `append_*` that fails leaves the payload as it
//! was. Nothing is kept between two messages: what a command means for a connection is decided
//! elsewhere.
//!
//! Must never touch rooms, connections, engines, sockets or clocks; one protocol never names
//! another. Read `mod.rs` first, then `centrifugo/envelope.rs`.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod centrifugo;
mod frames;

use crate::model::{Command, DisconnectCode, Format, Push, Reply};
use centrifugo::{json, protobuf};
pub use frames::{Compression, FrameBuilder, FrameTally, frame_kind, join_frames};

/// One thing a client said.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The answer to a ping.
    Pong,
    Command(Command),
}

/// The message is not of the protocol: the connection is closed with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub code: DisconnectCode,
    /// What was wrong, for the log.
    pub what: &'static str,
}

impl Malformed {
    const fn bad_request(what: &'static str) -> Malformed {
        Malformed { code: DisconnectCode::BadRequest, what }
    }
}

/// The reply or push holds data that this format can't carry: bytes that are not JSON, for a
/// client that reads JSON. Such a client is disconnected (3506).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inappropriate;

/// What is checked before a command is read.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Bytes of one command, without newline or length prefix.
    pub command_bytes_max: usize,
}

/// The commands of one message, in the order the client sent them. See [`decode`].
#[derive(Debug)]
pub struct Commands<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    Json(json::Commands<'a>),
    Protobuf(protobuf::Commands<'a>),
}

/// Decodes the commands of one WebSocket message, each when it is asked for: an error in the third
/// leaves the first two valid. After an error, and after the last command, there is nothing more.
/// A message without any command is an error.
pub fn decode(format: Format, message: &[u8], limits: DecodeLimits) -> Commands<'_> {
    Commands(match format {
        Format::CentrifugoJson => Source::Json(json::Commands::new(message, limits)),
        Format::CentrifugoProtobuf => Source::Protobuf(protobuf::Commands::new(message, limits)),
    })
}

impl Iterator for Commands<'_> {
    type Item = Result<Incoming, Malformed>;

    fn next(&mut self) -> Option<Result<Incoming, Malformed>> {
        match &mut self.0 {
            Source::Json(commands) => commands.next(),
            Source::Protobuf(commands) => commands.next(),
        }
    }
}

impl std::iter::FusedIterator for Commands<'_> {}

/// Appends `reply` to a message's payload. `payload[starts_at..]` are the replies that the message
/// holds already, if any; what stands before `starts_at` is not looked at.
pub fn append_reply(
    format: Format,
    reply: &Reply,
    payload: &mut Vec<u8>,
    starts_at: usize,
) -> Result<(), Inappropriate> {
    match format {
        Format::CentrifugoJson => json::append_reply(reply, payload, starts_at),
        Format::CentrifugoProtobuf => {
            protobuf::append_reply(reply, payload);
            Ok(())
        }
    }
}

/// Appends `push` to a message's payload; the arguments are those of [`append_reply`].
pub fn append_push(
    format: Format,
    push: &Push<'_>,
    payload: &mut Vec<u8>,
    starts_at: usize,
) -> Result<(), Inappropriate> {
    match format {
        Format::CentrifugoJson => json::append_push(push, payload, starts_at),
        Format::CentrifugoProtobuf => {
            protobuf::append_push(push, payload);
            Ok(())
        }
    }
}

/// Appends a ping, which is an empty reply; the arguments are those of [`append_reply`].
pub fn append_ping(format: Format, payload: &mut Vec<u8>, starts_at: usize) {
    match format {
        Format::CentrifugoJson => json::append_ping(payload, starts_at),
        Format::CentrifugoProtobuf => protobuf::append_ping(payload),
    }
}

/// Whether the format's messages are text messages; the others are binary ones.
pub fn is_text(format: Format) -> bool {
    match format {
        Format::CentrifugoJson => true,
        Format::CentrifugoProtobuf => false,
    }
}

/// The format's name in `Sec-WebSocket-Protocol`.
pub fn subprotocol(format: Format) -> &'static str {
    match format {
        Format::CentrifugoJson => "centrifuge-json",
        Format::CentrifugoProtobuf => "centrifuge-protobuf",
    }
}

/// The format that `name` stands for in `Sec-WebSocket-Protocol`; `None` for foreign names.
pub fn format_of_subprotocol(name: &str) -> Option<Format> {
    Format::ALL.into_iter().find(|format| subprotocol(*format) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subprotocol_names_one_encoding() {
        for format in Format::ALL {
            assert_eq!(format_of_subprotocol(subprotocol(format)), Some(format));
        }
        assert_eq!(format_of_subprotocol("graphql-ws"), None);
        assert_eq!(format_of_subprotocol(""), None);
    }
}
