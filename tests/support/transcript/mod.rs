//! Transcripts: what clients and the hub say to each other, as text files that are run.
//!
//! A file is read by lines (`script.rs`):
//!
//! ```text
//! # Why this is worth a file.
//! ! client.channel_limit = 2            a key of the configuration, before everything else
//! ! channel.namespaces.chat.presence = true
//! ! only json                           not run in Protobuf: it is about the text itself
//!
//! @ token = {"sub":"alice","exp":"+60"} makes a token (60 s to live) that `$token` stands for
//! ~ open bob protobuf                   an event; clients open by themselves when first named
//! alice> {"id":1,"connect":{}}          alice sends a frame ...
//! alice>+ {"id":2,"rpc":{}}             ... of two commands
//! alice< {"id":1,"connect":{"client":"$alice","version":"*"}}   and is told this,
//! alice<+ {"id":2,"error":"*"}          in the same frame
//! ~ 25s                                 time passes
//! alice< close 3501 bad request         she is told to go; she answers that by herself
//! ```
//!
//! In what is expected `"*"` stands for any value and `"$name"` for the value it stood for before; the
//! first one decides; `$2k` is a text of 2,000 bytes. Every client is held to every line: whatever it was told and the file does not
//! say is a failure. Events and special frames are listed in `script.rs`.
//!
//! Files are run in a [`World`]: a cluster of shards in this thread (`cluster.rs`), or a server behind a
//! socket (`server.rs`). In a Protobuf run the same commands are translated (`protobuf.rs`).

mod cluster;
mod pattern;
mod peer;
mod protobuf;
mod runner;
mod script;
mod server;
mod token;

pub use cluster::Cluster;
pub use runner::{Failure, run};
pub use script::Transcript;
pub use server::{Server, ServerWorld};

use std::time::Duration;

use fanfare::model::Format;
use fanfare::shard::Reach;

/// What the messages of a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Centrifugo(Format),
    Echo,
}

/// What came of waiting for a client's bytes.
pub enum Arrival {
    Bytes(Vec<u8>),
    /// Nothing, and nothing will come by itself.
    Nothing,
    /// The hub dropped the socket.
    Gone,
}

/// What a transcript does besides sending.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time passes, and the hub is awake for it.
    Advance(Duration),
    /// Time passes while the hub's process stands still.
    Stall(Duration),
    /// The client's socket is cut without a word.
    Cut { client: String },
    /// The client takes nothing from its socket any more, or does so again.
    Read { client: String, is_reading: bool },
    /// The application publishes; `version` 0 is none.
    Publish { channel: String, data: String, version: u64 },
    /// The application removes a channel's history.
    RemoveHistory { channel: String },
    /// The application does something to the connections of a user; when they expire is said in
    /// seconds from now.
    Reach(Reach),
    /// The hub is told to send everybody away.
    Drain { window: Duration },
}

/// Where a transcript happens.
pub trait World {
    fn open(&mut self, client: &str, dialect: Dialect);

    /// Puts `bytes` into the client's socket, and lets the hub act on them.
    fn send(&mut self, client: &str, bytes: Vec<u8>);

    /// Takes what the client was sent; where the hub runs by itself, waits for it.
    fn receive(&mut self, client: &str) -> Arrival;

    /// `false`: this can't be done here.
    fn happen(&mut self, event: &Event) -> bool;

    /// Seconds since 1970, by the hub's clock.
    fn unix_seconds(&self) -> i64;

    /// Whether all that happens by itself has happened when `send` and `happen` return.
    fn is_settled(&self) -> bool;
}
