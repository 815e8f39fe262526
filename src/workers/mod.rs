//! CPU-heavy pure work, below the shards' priority.
//!
//! Invariants: a job is a pure computation of what it carries; the queue is bounded; a worker holds
//! no lock that a shard could wait for; a panic fails its job only; a job that nobody waits for is not
//! run; a job that has waited too long is run at normal priority. The order of jobs is not kept here:
//! each connection has one at a time, and rooms line up what comes back (`room/release`). Must never touch shard state or sockets. Read `jobs.rs` first, then
//! `pool.rs`.

mod jobs;
mod pool;
mod priority;
mod queue;
mod rescue;
mod tools;

pub use jobs::{
    CancelOnDrop, Cancellation, Done, EncodePublication, Job, MessageRead, Owner, ReadMessage, Work, WorkOutcome,
};
pub use pool::{Pool, Submitter};
pub use tools::Tools;
