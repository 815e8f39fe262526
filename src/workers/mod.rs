//! CPU-heavy pure work, below the shards' priority.
//!
//! Invariants: a job is a pure computation of what it carries; the queue is bounded; a worker holds
//! no lock that a shard could wait for; a panic fails its job only. Must never touch shard state
//! or sockets. Read `jobs.rs` first, then `pool.rs`.

mod jobs;

pub use jobs::{Done, Job, Work, WorkOutcome};
