//! What is counted of one engine. The engine's own tasks count; a scrape reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// An engine, and what operators call it.
#[derive(Debug)]
pub struct NamedEngine {
    pub name: Box<str>,
    /// `redis`, `nats`, `disk`.
    pub kind: &'static str,
    pub metrics: Arc<EngineMetrics>,
}

impl NamedEngine {
    pub fn new(name: &str, kind: &'static str) -> NamedEngine {
        NamedEngine { name: name.into(), kind, metrics: Arc::default() }
    }
}

/// One engine of the node: a broker, a presence manager or both.
#[derive(Debug, Default)]
pub struct EngineMetrics {
    is_up: AtomicBool,
    is_proven: AtomicBool,
    needs_store: AtomicBool,
    lacks_store: AtomicBool,
    counters: [AtomicU64; ENGINE_COUNTERS],
    /// Of the last probe that came back, in microseconds.
    probe_micros: AtomicU64,
    /// By how much the broker's clock is ahead of this machine's, in microseconds.
    clock_ahead_micros: AtomicI64,
}

/// What an engine counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineCounter {
    /// Requests taken.
    Requests,
    /// Requests answered with an error that is the engine's fault: its broker is away, or too slow.
    Failures,
    /// Publications and memberships heard and given to a shard.
    Incoming,
    /// Records and messages that nobody of ours wrote, or that are damaged: passed over.
    Foreign,
    /// Connections to the broker that broke.
    Interruptions,
    /// Channels named to their homes because something may be missing.
    Rechecked,
    /// Probes that did not come back in time.
    ProbesLost,
    /// Streams that had lost what was confirmed, and began a new epoch.
    EpochsLost,
    /// Requests that a replica answered.
    ReplicaReads,
    /// Writes of a log, each with what had gathered since the one before.
    Writes,
}

const ENGINE_COUNTERS: usize = EngineCounter::Writes as usize + 1;

impl EngineMetrics {
    pub fn add(&self, counter: EngineCounter, count: u64) {
        self.counters[counter as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, counter: EngineCounter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// Whether the broker answers. One that is away is an interruption each time it goes.
    pub fn set_up(&self, is_up: bool) {
        let was_up = self.is_up.swap(is_up, Ordering::Relaxed);
        if was_up && !is_up {
            self.add(EngineCounter::Interruptions, 1);
            self.is_proven.store(false, Ordering::Relaxed);
        }
    }

    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// A message through the broker came back after `delay`; `None`: it did not.
    pub fn probed(&self, delay: Option<Duration>) {
        self.is_proven.store(delay.is_some(), Ordering::Relaxed);
        match delay {
            Some(delay) => self.probe_micros.store(delay.as_micros() as u64, Ordering::Relaxed),
            None => self.add(EngineCounter::ProbesLost, 1),
        }
    }

    /// Whether namespaces have something that the broker must keep.
    pub fn set_needing_store(&self, is_needed: bool) {
        self.needs_store.store(is_needed, Ordering::Relaxed);
    }

    /// Whether the broker can keep nothing.
    pub fn set_lacking_store(&self, is_lacking: bool) {
        self.lacks_store.store(is_lacking, Ordering::Relaxed);
    }

    pub fn misses_store(&self) -> bool {
        self.needs_store.load(Ordering::Relaxed) && self.lacks_store.load(Ordering::Relaxed)
    }

    /// Why the node is not ready because of this engine, if it is not.
    pub fn trouble(&self) -> Option<&'static str> {
        match (self.is_up(), self.is_ready()) {
            (false, _) => Some("does not answer"),
            (true, false) if self.misses_store() => {
                Some("has no JetStream, and namespaces have history or presence there")
            }
            (true, false) => Some("does not bring back what is sent through it"),
            (true, true) => None,
        }
    }

    /// Whether the node is ready as far as this engine goes: it answers, the last probe came back, and it can keep
    /// what it has to.
    pub fn is_ready(&self) -> bool {
        self.is_up() && self.is_proven.load(Ordering::Relaxed) && !self.misses_store()
    }

    /// The broker's clock as it was compared with this machine's; positive: it is ahead.
    pub fn set_clock_ahead(&self, micros: i64) {
        self.clock_ahead_micros.store(micros, Ordering::Relaxed);
    }

    /// In seconds; 0 as long as it is not known.
    pub fn clock_ahead(&self) -> f64 {
        self.clock_ahead_micros.load(Ordering::Relaxed) as f64 / 1e6
    }

    pub fn probe_delay(&self) -> Duration {
        Duration::from_micros(self.probe_micros.load(Ordering::Relaxed))
    }
}
