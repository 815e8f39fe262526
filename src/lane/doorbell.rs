//! The wake-up of a sleeping shard.
//!
//! A wake costs 8-10 us where a queue costs less than 0.1 (measured), so the bell is rung only for
//! one that sleeps. The order of steps on both sides is what makes that safe:
//!
//! | sleeper                                 | sender                       |
//! |-----------------------------------------|------------------------------|
//! | set the flag                            | push into the lane           |
//! | `fence(SeqCst)`                         | `fence(SeqCst)`              |
//! | look into every lane once more          | read the flag, ring if set   |
//! | sleep                                   |                              |
//!
//! Of two fences in one total order one comes second, and whoever stands behind it sees what the
//! other did before: the sleeper the message, or the sender the flag. Acquire and release alone
//! lose wakes, because either side's store may still wait in its store buffer when its own load
//! runs (measured: 4 in 5.6 million). `tests/doorbell_loom.rs` proves this file.

use std::sync::OnceLock;

use super::sync::{AtomicBool, Ordering, fence};

/// One shard's doorbell: shared by the shard that sleeps and by all that send to it.
pub struct Doorbell {
    sleeping: AtomicBool,
    /// Wakes the sleeper's thread. A closure, since what wakes a thread is not a lane's business.
    bell: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Doorbell {
    /// A doorbell without a bell: its owner is awake, and hangs one before it first sleeps.
    pub fn new() -> Doorbell {
        Doorbell { sleeping: AtomicBool::new(false), bell: OnceLock::new() }
    }

    /// Says what ringing means. The first bell stays.
    pub fn hang(&self, bell: impl Fn() + Send + Sync + 'static) {
        let _ = self.bell.set(Box::new(bell));
    }

    /// First step of going to sleep. The caller looks into all its lanes after this; it may sleep
    /// if they are empty and must call [`Doorbell::awake`] if they are not.
    pub fn prepare_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The sleeper is up, whatever woke it, and looks into its lanes before it sleeps again.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Called by a sender after its push, once for a batch. Of several senders that find the shard
    /// asleep one rings: that ring wakes it for all of them. Returns whether it rang.
    pub fn ring_if_sleeping(&self) -> bool {
        fence(Ordering::SeqCst);
        let rings = self.sleeping.load(Ordering::Relaxed)
            && self.sleeping.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if rings && let Some(bell) = self.bell.get() {
            bell();
        }
        rings
    }
}

impl Default for Doorbell {
    fn default() -> Doorbell {
        Doorbell::new()
    }
}
