//! What the worker pool counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::codes::NameCounts;
use super::histogram::{Histogram, add_alone};

/// Kinds of jobs.
pub(super) const JOBS: &[&str] = &["verify_token"];

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
    pub(super) jobs: NameCounts<{ JOBS.len() + 1 }>,
    pub(super) wait: Histogram,
    pub(super) run: Histogram,
    panics: AtomicU64,
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
        let begun = self.threads.iter().map(|thread| thread.wait.count()).sum();
        self.submitted().saturating_sub(begun)
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
            jobs: NameCounts::new(JOBS),
            wait: Histogram::default(),
            run: Histogram::default(),
            panics: AtomicU64::new(0),
        }
    }

    /// A job left the queue after `wait`.
    pub fn observe_wait(&self, wait: Duration) {
        self.wait.observe(wait);
    }

    /// A job of that kind ended after `run`.
    pub fn observe_run(&self, kind: &'static str, run: Duration) {
        add_alone(self.jobs.cell(kind), 1);
        self.run.observe(run);
    }

    pub fn count_panic(&self) {
        add_alone(&self.panics, 1);
    }

    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Jobs that ended.
    pub fn finished(&self) -> u64 {
        self.run.count()
    }
}
