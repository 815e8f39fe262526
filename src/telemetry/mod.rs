//! Counters of the shards, their table, the scrape, logs.
//!
//! Invariants: each counter has one writer thread and no shared cache line with another shard's;
//! a scrape only reads. Must never touch any other folder. Read `shard.rs` first.

mod shard;

pub use shard::{Counter, Gauge, ShardMetrics};
