//! Keys that issuers publish (JWK Sets): asked for where a token's key is not at hand, kept, asked for
//! again before they are old.
//!
//! A token whose keys are published is a job like any that verifies a token, but it comes here first.
//! `service.rs` takes it, `cache.rs` says whether its keys are known, `fetch.rs` fetches them, and the
//! job goes back to its shard with its keys, to be given to the workers. Its connection waits as for any
//! job; neither shard nor worker does.
//!
//! Invariants: nothing is asked of a URL that the configuration does not make of a token's issuer and
//! audience; each issuer has its keys under its own URL, so that one's keys never verify another's
//! tokens; one request is under way to a URL at a time; whoever waits is told an end in time.
//! Must never touch a shard, nor verify anything. Read `cache.rs` first.

mod cache;
mod fetch;
mod service;

pub use fetch::{Client, FetchProblem};
pub use service::{Deliver, Jwks};
