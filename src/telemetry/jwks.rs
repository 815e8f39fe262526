//! What is counted of the keys that issuers publish. They are asked for some times an hour: the counters
//! are shared.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct JwksMetrics {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl JwksMetrics {
    pub fn count_fetch(&self, has_succeeded: bool) {
        let counter = if has_succeeded { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many succeeded, and how many failed.
    pub fn fetches(&self) -> (u64, u64) {
        (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}
