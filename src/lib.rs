//! Fanfare: a real-time WebSocket hub.
//!
//! The folders, in reading order. The wall: everything from `model` to `shard` is pure (bytes,
//! events and `now` go in, frames and effects come out); sockets, threads, clocks and async live
//! in `io`, `workers`, `handle`, `api`, `node`. `tests/tidy.rs` holds the table of who may import
//! whom.

/// Who may do what: namespaces, permissions, tokens.
pub mod access;
/// The server API over HTTP.
pub mod api;
/// Commands beside the server: they ask a running one, or look at the machine.
pub mod cli;
/// File, environment and flags to checked options.
pub mod config;
/// The page of dev mode.
pub mod console;
/// The difference between two payloads.
pub mod delta;
/// What is remembered: streams, positions, presence.
pub mod engine;
/// The one door through which the control plane reaches the shards.
pub mod handle;
/// Sockets and threads of the data plane.
pub mod io;
/// Keys that issuers of tokens publish, fetched beside the shards.
pub mod jwks;
/// The only road between threads: lanes, in-trays, doorbells.
pub mod lane;
/// Every fixed bound, with its reason.
pub mod limits;
/// The words: plain data that every folder shares.
pub mod model;
/// One process: starts everything, drains and stops in reverse.
pub mod node;
/// Many nodes that act as one.
pub mod nodes;
/// Client protocols: bytes to commands, replies and pushes to bytes.
pub mod protocol;
/// Who listens: the room at its home, the audience on each shard.
pub mod room;
/// One core's state machine.
pub mod shard;
/// Counters, their table, the scrape, logs.
pub mod telemetry;
/// Whose certificate is believed, and the reader of PEM.
pub mod trust;
/// CPU-heavy work below the shards' priority.
pub mod workers;
/// RFC 6455 without I/O: reader, frame writer, close.
pub mod ws;
