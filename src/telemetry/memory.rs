//! The soft limit of memory, as the one who watches it sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct MemoryMetrics {
    /// 0: there is none.
    limit: AtomicU64,
    is_high: AtomicBool,
}

impl MemoryMetrics {
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// 0: there is none.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Memory is above the limit, and new clients are refused.
    pub fn set_high(&self, is_high: bool) {
        self.is_high.store(is_high, Ordering::Relaxed);
    }

    pub fn is_high(&self) -> bool {
        self.is_high.load(Ordering::Relaxed)
    }
}
