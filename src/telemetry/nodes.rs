//! What is counted of the other nodes. Their messages are few: the counters are shared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::codes::NameCounts;

/// Kinds of messages between nodes.
const KINDS: &[&str] = &["report", "goodbye", "request", "answer"];

/// What other nodes are asked.
const COMMANDS: &[&str] = &["disconnect", "unsubscribe", "refresh", "subscribe", "channels", "info"];

/// Why a message was passed over: `late` are answers that nobody waits for, `crowd` reports of more nodes than are known.
const SKIPPED: &[&str] = &["foreign", "too_large", "not_known", "late", "crowd"];

/// Why an answer is missing.
const MISSING: &[&str] = &["silent", "not_known"];

#[derive(Debug)]
pub struct NodesMetrics {
    present: AtomicU64,
    lost: AtomicU64,
    is_connected: AtomicBool,
    pub(super) sent: NameCounts<{ KINDS.len() + 1 }>,
    pub(super) received: NameCounts<{ KINDS.len() + 1 }>,
    pub(super) skipped: NameCounts<{ SKIPPED.len() + 1 }>,
    pub(super) requests: NameCounts<{ COMMANDS.len() + 1 }>,
    pub(super) missing: NameCounts<{ MISSING.len() + 1 }>,
}

impl Default for NodesMetrics {
    fn default() -> NodesMetrics {
        NodesMetrics {
            present: AtomicU64::new(1),
            lost: AtomicU64::new(0),
            is_connected: AtomicBool::new(false),
            sent: NameCounts::new(KINDS),
            received: NameCounts::new(KINDS),
            skipped: NameCounts::new(SKIPPED),
            requests: NameCounts::new(COMMANDS),
            missing: NameCounts::new(MISSING),
        }
    }
}

impl NodesMetrics {
    /// How many nodes there are, this one included, and how many fell silent without a goodbye.
    pub fn set_nodes(&self, present: usize, lost: usize) {
        self.present.store(present as u64, Ordering::Relaxed);
        self.lost.store(lost as u64, Ordering::Relaxed);
    }

    pub fn present(&self) -> u64 {
        self.present.load(Ordering::Relaxed)
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether this node hears what it says to all.
    pub fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    pub fn count_sent(&self, kind: &str) {
        self.sent.cell(kind).fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_received(&self, kind: &str) {
        self.received.cell(kind).fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_skipped(&self, reason: &str) {
        self.skipped.cell(reason).fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_request(&self, command: &str) {
        self.requests.cell(command).fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_missing(&self, reason: &str) {
        self.missing.cell(reason).fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were passed over for this reason.
    pub fn skipped(&self, reason: &str) -> u64 {
        self.skipped.cell(reason).load(Ordering::Relaxed)
    }
}
