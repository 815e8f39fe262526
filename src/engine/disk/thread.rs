//! The engine's thread and its tray.
//!
//! The **desk** holds all that the engine is, and whoever has its lock is the engine. That is the engine's thread, which
//! lets go of it while a job is with the disk. If that does not return in time the guard takes its place (`guard.rs`).

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::core::{Core, CoreOptions, Requests, Word};
use super::files::Directory;
use super::guard::Guard;
use super::job::{Done, Job};
use super::mark::Mark;
use super::speaker::Speaker;
use super::syncs::Syncs;
use super::{Ack, Options};
use crate::engine::contract::{Engine, Request};
use crate::engine::outlet::Outlet;
use crate::lane::{Doorbell, TrayReceiver, TraySender, tray};
use crate::limits::{
    DISK_BATCH_REQUESTS_MAX, DISK_CLOSE_TIMEOUT, DISK_QUEUE_SLOTS, DISK_SEGMENT_BYTES_MIN, DISK_SEGMENTS_MIN,
};
use crate::model::ShardId;
use crate::telemetry::EngineMetrics;

/// The engine as shards see it. When the last one lets go of it the log is closed.
pub struct DiskEngine {
    tray: TraySender<(ShardId, Request)>,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    guard: Option<JoinHandle<()>>,
    /// Says nothing, and is closed when the log is.
    end: Mutex<Receiver<()>>,
}

/// What the engine's threads know of one another.
pub struct Shared {
    pub doorbell: Arc<Doorbell>,
    pub is_stopping: AtomicBool,
    /// The thread takes requests.
    is_running: AtomicBool,
    metrics: Arc<EngineMetrics>,
    pub clock: Clock,
    /// When the job that is with the disk was begun, in nanoseconds of `clock`; 0: there is none.
    job_began: AtomicU64,
    /// The guard stands in, and is to be woken. Changed by whoever has the desk.
    pub is_guarded: Arc<AtomicBool>,
    desk: Mutex<Desk>,
}

impl DiskEngine {
    pub fn start(options: Options, outlet: Outlet, metrics: Arc<EngineMetrics>) -> io::Result<DiskEngine> {
        let directory = Directory::open(&options.path)?;
        let clock = Clock::start();
        let core_options = CoreOptions {
            engine: outlet.engine(),
            ack: options.ack,
            segment_bytes: options.segment_bytes.min(options.bytes_max / DISK_SEGMENTS_MIN).max(DISK_SEGMENT_BYTES_MIN),
            bytes_max: options.bytes_max,
            seed: fastrand::u64(..),
        };
        let mark = Mark::of_this_boot(options.ack);
        let core = Core::open(core_options, Arc::new(directory), mark, clock.now(), Arc::clone(&metrics))?;
        let doorbell = Arc::new(Doorbell::new());
        let (sender, tray) = tray(DISK_QUEUE_SLOTS, Arc::clone(&doorbell));
        let speaker = Speaker::new(outlet, Arc::clone(&metrics));
        let syncs = match options.ack {
            Ack::Memory => Some(Syncs::start(Arc::clone(&doorbell))?),
            Ack::Fsync => None,
        };
        let desk = Desk { core, tray, requests: VecDeque::new(), words: Vec::new(), speaker, syncs };
        let shared = Arc::new(Shared {
            doorbell,
            is_stopping: AtomicBool::new(false),
            is_running: AtomicBool::new(true),
            metrics,
            clock,
            job_began: AtomicU64::new(0),
            is_guarded: Arc::default(),
            desk: Mutex::new(desk),
        });
        let guard = Guard::start(Arc::clone(&shared))?;
        let (is_open, end) = sync_channel(0);
        let worker = Worker { shared: Arc::clone(&shared), guard: guard.thread().clone() };
        let run = move || {
            worker.run();
            drop(is_open);
        };
        let worker = thread::Builder::new().name("fanfare-disk".into()).spawn(run)?;
        Ok(DiskEngine { tray: sender, shared, worker: Some(worker), guard: Some(guard), end: Mutex::new(end) })
    }
}

impl Engine for DiskEngine {
    fn submit(&self, from: ShardId, request: Request) -> Result<(), Request> {
        let submitted = self.submit_one_of_several(from, request);
        self.wake();
        submitted
    }

    fn submit_one_of_several(&self, from: ShardId, request: Request) -> Result<(), Request> {
        if !self.shared.is_running.load(Ordering::Relaxed) {
            return Err(request);
        }
        self.tray.try_push_quietly((from, request)).map_err(|(_, request)| request)
    }

    fn wake(&self) {
        self.tray.ring();
    }
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        let threads = self.worker.take().into_iter().chain(self.guard.take());
        let threads: Vec<JoinHandle<()>> = threads.inspect(|thread| thread.thread().unpark()).collect();
        let end = self.end.get_mut().map(|end| end.recv_timeout(DISK_CLOSE_TIMEOUT));
        if let Ok(Err(RecvTimeoutError::Timeout)) = end {
            return tracing::error!("the log is not closed: its disk does not answer");
        }
        // A panic of one was said already.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    /// Waits for whoever is the engine now: a turn, and never a disk.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("a panic of the other thread was said")
    }

    /// When the job that is with the disk was begun; `None`: there is none.
    pub fn job_began(&self) -> Option<Duration> {
        Some(self.job_began.load(Ordering::SeqCst)).filter(|began| *began > 0).map(Duration::from_nanos)
    }

    /// Nobody has the desk meanwhile, unless it takes too long.
    fn run_job(&self, now: Duration, job: Job) -> Done {
        self.job_began.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
        let done = job.run();
        self.job_began.store(0, Ordering::SeqCst);
        done
    }
}

/// Time since the Unix epoch, which within one run only grows.
pub struct Clock {
    began: Instant,
    began_at: Duration,
}

impl Clock {
    fn start() -> Clock {
        let began_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_at }
    }

    pub fn now(&self) -> Duration {
        self.began_at + self.began.elapsed()
    }
}

/// The engine, for one thread at a time.
pub struct Desk {
    pub core: Core,
    tray: TrayReceiver<(ShardId, Request)>,
    pub requests: Requests,
    pub words: Vec<Word>,
    speaker: Speaker,
    syncs: Option<Syncs>,
}

impl Desk {
    /// Returns whether there are any.
    pub fn take_requests(&mut self) -> bool {
        while self.requests.len() < DISK_BATCH_REQUESTS_MAX
            && let Some(request) = self.tray.pop()
        {
            self.requests.push_back(request);
        }
        !self.requests.is_empty()
    }

    pub fn say(&mut self) {
        self.speaker.say(&mut self.words);
    }

    fn sync(&mut self, now: Duration) {
        let Some(syncs) = self.syncs.as_mut() else { return };
        if let Some(outcome) = syncs.find_outcome() {
            self.core.end_sync(now, outcome);
        }
        if syncs.is_overdue(now) {
            self.core.stall_sync();
        } else if syncs.is_due(now)
            && let Some(job) = self.core.begin_sync()
        {
            syncs.begin(now, job);
        }
    }

    fn next_sync(&self, now: Duration) -> Duration {
        match &self.syncs {
            Some(syncs) if self.core.has_unsynced() => syncs.next(now),
            _ => Duration::MAX,
        }
    }
}

/// What runs on the engine's thread.
struct Worker {
    shared: Arc<Shared>,
    guard: Thread,
}

impl Worker {
    fn run(self) {
        let shared = &*self.shared;
        let _until_the_end = Running(shared);
        let (worker, guard, is_guarded) = (thread::current(), self.guard.clone(), Arc::clone(&shared.is_guarded));
        shared.doorbell.hang(move || if is_guarded.load(Ordering::SeqCst) { guard.unpark() } else { worker.unpark() });
        while !shared.is_stopping.load(Ordering::SeqCst) || shared.desk().take_requests() {
            self.work();
        }
        let mut desk = shared.desk();
        if let Some(outcome) = desk.syncs.as_mut().and_then(Syncs::wait) {
            desk.core.end_sync(shared.clock.now(), outcome);
        }
        desk.core.close();
    }

    fn work(&self) {
        let shared = &*self.shared;
        let mut desk = shared.desk();
        let now = shared.clock.now();
        desk.sync(now);
        if !desk.take_requests() && desk.core.next_turn(now) > now {
            return self.sleep(now, desk);
        }
        let Desk { core, requests, .. } = &mut *desk;
        let mut done = None;
        if let Some(job) = core.begin(now, requests) {
            drop(desk);
            done = Some(shared.run_job(now, job));
            desk = shared.desk();
            shared.is_guarded.store(false, Ordering::SeqCst);
        }
        let Desk { core, words, .. } = &mut *desk;
        core.end(shared.clock.now(), done, words);
        desk.say();
    }

    fn sleep(&self, now: Duration, mut desk: MutexGuard<'_, Desk>) {
        let shared = &*self.shared;
        shared.doorbell.prepare_sleep();
        if !desk.take_requests() && !shared.is_stopping.load(Ordering::SeqCst) {
            let due = desk.core.next_turn(now).min(desk.next_sync(now));
            drop(desk);
            thread::park_timeout(due.saturating_sub(now));
        }
        shared.doorbell.awake();
    }
}

/// Says that nobody takes requests any more, also after a panic.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Relaxed);
        self.0.metrics.set_up(false);
    }
}
