//! The threads that run jobs: workers below everything else, and one rescuer that ends starvation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use super::priority::lower_this_thread;
use super::queue::BoundedQueue;
use super::rescue::Watch;
use super::{Done, Job, Tools, WorkOutcome};
use crate::lane::Doorbell;
use crate::limits::{JOB_WAIT_LOOK, RESCUER_LINGER};
use crate::model::ShardId;
use crate::protocol::Compression;
use crate::telemetry::{WorkerMetrics, WorkersMetrics};

/// The fixed pool. Dropping it ends the threads after the jobs they are at, without waiting: on a
/// busy machine a thread at SCHED_IDLE may take seconds to notice.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
}

/// Anybody's way to the pool: cheap to clone, never blocks.
#[derive(Clone)]
pub struct Submitter {
    shared: Arc<Shared>,
}

/// A job in the queue.
struct Waiting {
    job: Job,
    since: Instant,
}

struct Shared {
    queue: BoundedQueue<Waiting>,
    /// Jobs that went into the queue and came out of it; what the starvation rule counts by.
    entered: AtomicU64,
    left: AtomicU64,
    /// One for each worker.
    workers: Vec<Doorbell>,
    rescuer: Doorbell,
    is_stopping: AtomicBool,
    compression: Compression,
    metrics: Arc<WorkersMetrics>,
}

impl Pool {
    /// Starts `workers` threads and the rescuer, with room for `waiting_max` jobs. Call it on a
    /// thread that is not pinned: they inherit its cores.
    ///
    /// `deliver` takes each job's end to its shard; it is called on the pool's threads and must
    /// not lose one. Errors: the system has no more threads.
    pub fn start(
        workers: usize,
        waiting_max: usize,
        compression: Compression,
        metrics: Arc<WorkersMetrics>,
        deliver: impl Fn(ShardId, Done) + Send + Sync + 'static,
    ) -> std::io::Result<Pool> {
        assert!(workers > 0 && waiting_max > 0, "a pool has a worker and room for a job");
        let shared = Arc::new(Shared {
            queue: BoundedQueue::new(waiting_max),
            entered: AtomicU64::new(0),
            left: AtomicU64::new(0),
            workers: std::iter::repeat_with(Doorbell::new).take(workers).collect(),
            rescuer: Doorbell::new(),
            is_stopping: AtomicBool::new(false),
            compression,
            metrics,
        });
        let deliver = Arc::new(deliver);
        let mut pool = Pool { shared: Arc::clone(&shared), threads: Vec::with_capacity(workers + 1) };
        for index in 0..workers {
            let (shared, deliver) = (Arc::clone(&shared), Arc::clone(&deliver));
            let worker = thread::Builder::new().name(format!("fanfare-worker-{index}"));
            let worker = worker.spawn(move || {
                lower_this_thread();
                shared.work(&shared.workers[index], shared.metrics.thread(index), &*deliver);
            })?;
            pool.threads.push(worker.thread().clone());
        }
        let rescuer = thread::Builder::new().name("fanfare-rescuer".to_owned());
        let rescuer = rescuer.spawn(move || shared.rescue(&*deliver))?;
        pool.threads.push(rescuer.thread().clone());
        Ok(pool)
    }

    pub fn submitter(&self) -> Submitter {
        Submitter { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.threads.iter().for_each(Thread::unpark);
    }
}

impl Submitter {
    /// Puts `job` into the queue and wakes a worker if one sleeps; gives it back if the queue is
    /// full.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let shared = &*self.shared;
        if let Err(waiting) = shared.queue.push(Waiting { job, since: Instant::now() }) {
            shared.metrics.count_refused();
            return Err(waiting.job);
        }
        shared.entered.fetch_add(1, Ordering::Relaxed);
        shared.metrics.count_submitted();
        shared.wake_one();
        shared.rescuer.ring_if_sleeping();
        Ok(())
    }
}

impl Shared {
    /// A worker's life.
    fn work(&self, doorbell: &Doorbell, metrics: &WorkerMetrics, deliver: &impl Fn(ShardId, Done)) {
        hang_bell(doorbell);
        let mut tools = Tools::new(self.compression);
        while !self.is_stopping() {
            if let Some(waiting) = self.take() {
                // A ring that met this worker while it was awake was meant for somebody.
                if !self.queue.is_empty() {
                    self.wake_one();
                }
                self.run(waiting, &mut tools, metrics, deliver);
            } else {
                self.sleep(doorbell);
            }
        }
    }

    /// The rescuer's life: it looks at the oldest job's age while there is one, and runs the ones
    /// that are overdue at the priority of everybody else.
    fn rescue(&self, deliver: &impl Fn(ShardId, Done)) {
        hang_bell(&self.rescuer);
        let mut tools = Tools::new(self.compression);
        let mut watch = Watch::default();
        let mut occupied_at = Instant::now();
        while !self.is_stopping() {
            let now = Instant::now();
            let overdue = watch.look(now, self.entered.load(Ordering::Relaxed));
            if self.left.load(Ordering::Relaxed) < overdue
                && let Some(waiting) = self.take()
            {
                self.run(waiting, &mut tools, self.metrics.rescuer(), deliver);
                continue;
            }
            if !self.queue.is_empty() {
                occupied_at = now;
            }
            if now.duration_since(occupied_at) < RESCUER_LINGER {
                thread::park_timeout(JOB_WAIT_LOOK);
            } else {
                self.sleep(&self.rescuer);
                occupied_at = Instant::now();
            }
        }
    }

    fn take(&self) -> Option<Waiting> {
        let waiting = self.queue.pop()?;
        self.left.fetch_add(1, Ordering::Relaxed);
        Some(waiting)
    }

    /// Sleeps until the doorbell rings, unless a job came in meanwhile. The order of the steps is
    /// that of `lane::Doorbell`.
    fn sleep(&self, doorbell: &Doorbell) {
        doorbell.prepare_sleep();
        if self.queue.is_empty() && !self.is_stopping() {
            thread::park();
        }
        doorbell.awake();
    }

    /// One job needs one worker: rings the first that sleeps.
    fn wake_one(&self) {
        let _ = self.workers.iter().any(Doorbell::ring_if_sleeping);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Runs one job, if somebody still waits for it. A panic fails it and nothing else: what the
    /// thread keeps between jobs is made anew.
    fn run(&self, waiting: Waiting, tools: &mut Tools, metrics: &WorkerMetrics, deliver: &impl Fn(ShardId, Done)) {
        let Waiting { job, since } = waiting;
        let began = Instant::now();
        let (shard, kind, waited) = (job.shard, job.work.kind(), began.duration_since(since));
        metrics.observe_wait(kind, waited);
        if job.cancellation.is_cancelled() {
            metrics.count_cancelled();
            return deliver(shard, job.end(WorkOutcome::Cancelled));
        }
        if job.patience.is_some_and(|patience| waited > patience) {
            metrics.count_late();
            return deliver(shard, job.end(WorkOutcome::TooLate));
        }
        let (owner, cost) = (job.owner.clone(), job.cost);
        // Unwind safe: the job is gone and the tools are replaced.
        let done = catch_unwind(AssertUnwindSafe(|| job.run(tools))).unwrap_or_else(|_| {
            metrics.count_panic();
            *tools = Tools::new(self.compression);
            Done { owner, cost, outcome: WorkOutcome::Panicked }
        });
        metrics.observe_run(kind, began.elapsed());
        deliver(shard, done);
    }
}

fn hang_bell(doorbell: &Doorbell) {
    let sleeper = thread::current();
    doorbell.hang(move || sleeper.unpark());
}

#[cfg(test)]
mod tests;
