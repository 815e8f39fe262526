//! The only road between threads.
//!
//! - `mesh`: a bounded ring of one producer and one consumer for each ordered pair of shards.
//! - `tray`: one bounded queue of many producers in front of each shard, for everybody else.
//! - `doorbell`: wakes a shard that sleeps, and costs an awake one nothing.
//!
//! Invariants: a lane is FIFO, bounded and never blocks (a full one gives the message back, and the
//! sender decides what that means); a message that was pushed and rung for is never slept over.
//! Generic over what is carried: must never touch any other folder. Read `doorbell.rs` first.

mod doorbell;
mod mesh;
mod tray;

pub use doorbell::Doorbell;
pub use mesh::{Ports, mesh};
pub use tray::{TrayReceiver, TraySender, tray};

/// The atomics of `doorbell`. The loom model (`tests/doorbell_loom.rs`) puts its own in their place.
mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering, fence};
}
