//! What the server API counts. Requests are few beside messages: its counters are shared.

use std::sync::atomic::Ordering;

use super::codes::{CodeCounts, NameCounts, places};

const METHODS: &[&str] = &[
    "publish",
    "broadcast",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "batch",
];

/// Error codes of answers (protocol page, section 1.12), and HTTP statuses of refusals.
const CODES: &[(u16, u16)] = &[(100, 113), (400, 417)];

#[derive(Debug)]
pub struct ApiMetrics {
    pub(super) requests: NameCounts<{ METHODS.len() + 1 }>,
    pub(super) errors: CodeCounts<{ places(CODES) }>,
}

impl Default for ApiMetrics {
    fn default() -> ApiMetrics {
        ApiMetrics { requests: NameCounts::new(METHODS), errors: CodeCounts::new(CODES) }
    }
}

impl ApiMetrics {
    pub fn count_request(&self, method: &str) {
        self.requests.cell(method).fetch_add(1, Ordering::Relaxed);
    }

    /// An answer with an error code, or a refusal with an HTTP status.
    pub fn count_error(&self, code: u16) {
        self.errors.cell(code).fetch_add(1, Ordering::Relaxed);
    }
}
