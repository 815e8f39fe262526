//! CPU-heavy pure work, below the shards' priority.
//!
//! Invariants: a job is a pure computation of what it carries; the queue is bounded; a worker holds
//! no lock that a shard could wait for; a panic fails its job only; a job that has waited too long
//! is run at normal priority. Must never touch shard state or sockets. Read `jobs.rs` first, then
//! `pool.rs`.

mod jobs;
mod pool;
mod priority;
mod rescue;

pub use jobs::{Done, Job, Work, WorkOutcome};
pub use pool::{Pool, Submitter};
