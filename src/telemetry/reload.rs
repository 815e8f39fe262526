//! How the last reading of the configuration ended. It is read some times a day: the gauges are shared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of the start at first, of the last reload from then on.
#[derive(Debug)]
pub struct ReloadMetrics {
    was_taken: AtomicBool,
    /// Seconds since 1970.
    taken_at: AtomicU64,
}

impl Default for ReloadMetrics {
    fn default() -> ReloadMetrics {
        ReloadMetrics { was_taken: AtomicBool::new(true), taken_at: AtomicU64::new(now()) }
    }
}

impl ReloadMetrics {
    pub fn note(&self, was_taken: bool) {
        if was_taken {
            self.taken_at.store(now(), Ordering::Relaxed);
        }
        self.was_taken.store(was_taken, Ordering::Relaxed);
    }

    pub fn was_taken(&self) -> bool {
        self.was_taken.load(Ordering::Relaxed)
    }

    /// When a configuration was taken last, seconds since 1970.
    pub fn taken_at(&self) -> u64 {
        self.taken_at.load(Ordering::Relaxed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
