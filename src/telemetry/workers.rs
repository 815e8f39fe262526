//! What the worker pool counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Histogram, add_alone};

/// Kinds of jobs.
pub(super) const JOBS: &[&str] = &["verify_token", "read", "encode", "answer"];

/// The pool's counters: those of each worker, the rescuer's, and what submitters count together.
#[derive(Debug)]
pub struct WorkersMetrics {
    /// One for each worker, and the rescuer's at the end.
    threads: Vec<WorkerMetrics>,
    /// Written by every shard: once a job, which costs a thousand times more.
    submitted: AtomicU64,
    refused: AtomicU64,
}

/// The counters of one thread of the pool; only that thread writes.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// One for each of `JOBS`, and one for what only tests do.
    kinds: [KindMetrics; JOBS.len() + 1],
    panics: AtomicU64,
    cancelled: AtomicU64,
    late: AtomicU64,
}

/// Jobs of one kind.
#[derive(Debug, Default)]
pub(super) struct KindMetrics {
    pub wait: Histogram,
    pub run: Histogram,
}

impl WorkersMetrics {
    pub fn new(workers: usize) -> WorkersMetrics {
        WorkersMetrics {
            threads: std::iter::repeat_with(WorkerMetrics::new).take(workers + 1).collect(),
            submitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Counters of the worker of that number; past the workers, those of the rescuer.
    pub fn thread(&self, index: usize) -> &WorkerMetrics {
        &self.threads[index.min(self.threads.len() - 1)]
    }

    pub fn rescuer(&self) -> &WorkerMetrics {
        self.thread(usize::MAX)
    }

    pub fn count_submitted(&self) {
        self.submitted.fetch_add(1, Ordering::Relaxed);
    }

    /// A job that found the queue full.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Jobs in the queue: submitted and not begun.
    pub fn waiting(&self) -> u64 {
        let begun = self.threads.iter().flat_map(|thread| &thread.kinds).map(|kind| kind.wait.count()).sum();
        self.submitted().saturating_sub(begun)
    }

    /// What all threads counted together.
    pub fn sum(&self, count: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.threads.iter().map(count).sum()
    }

    /// The counters by who ran the jobs: all workers together, and the rescuer.
    pub(super) fn by_runner(&self) -> [(&'static str, &[WorkerMetrics]); 2] {
        let (workers, rescuer) = self.threads.split_at(self.threads.len() - 1);
        [("workers", workers), ("rescuer", rescuer)]
    }
}

impl WorkerMetrics {
    fn new() -> WorkerMetrics {
        WorkerMetrics {
            kinds: Default::default(),
            panics: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    /// A job of that kind left the queue after `wait`.
    pub fn observe_wait(&self, kind: &'static str, wait: Duration) {
        self.kind(kind).wait.observe(wait);
    }

    /// A job of that kind ended after `run`.
    pub fn observe_run(&self, kind: &'static str, run: Duration) {
        self.kind(kind).run.observe(run);
    }

    pub fn count_panic(&self) {
        add_alone(&self.panics, 1);
    }

    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// A job whose connection was gone.
    pub fn count_cancelled(&self) {
        add_alone(&self.cancelled, 1);
    }

    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// A job that had waited for longer than it might.
    pub fn count_late(&self) {
        add_alone(&self.late, 1);
    }

    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Jobs that ran.
    pub fn finished(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.run.count()).sum()
    }

    pub(super) fn kind(&self, kind: &'static str) -> &KindMetrics {
        let place = JOBS.iter().position(|known| *known == kind).unwrap_or(JOBS.len());
        &self.kinds[place]
    }
}
