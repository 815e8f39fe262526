//! The engine's thread and its tray.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::core::{Core, CoreOptions, Word};
use super::files::Directory;
use super::mark::Mark;
use super::speaker::Speaker;
use super::syncs::Syncs;
use super::{Ack, Options};
use crate::engine::contract::{Engine, Request};
use crate::engine::outlet::Outlet;
use crate::lane::{Doorbell, TrayReceiver, TraySender, tray};
use crate::limits::{DISK_BATCH_REQUESTS_MAX, DISK_QUEUE_SLOTS, DISK_SEGMENT_BYTES_MIN, DISK_SEGMENTS_MIN};
use crate::model::ShardId;
use crate::telemetry::EngineMetrics;

/// The engine as shards see it. When the last one lets go of it the log is closed.
pub struct DiskEngine {
    tray: TraySender<(ShardId, Request)>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    doorbell: Arc<Doorbell>,
    is_stopping: AtomicBool,
    /// The thread takes requests.
    is_running: AtomicBool,
    metrics: Arc<EngineMetrics>,
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
        let core = Core::open(core_options, Box::new(directory), mark, clock.now(), Arc::clone(&metrics))?;
        let doorbell = Arc::new(Doorbell::new());
        let (sender, receiver) = tray(DISK_QUEUE_SLOTS, Arc::clone(&doorbell));
        let (is_stopping, is_running) = (AtomicBool::new(false), AtomicBool::new(true));
        let shared = Arc::new(Shared { doorbell, is_stopping, is_running, metrics });
        let speaker = Speaker::new(outlet, Arc::clone(&shared.metrics));
        let syncs = match options.ack {
            Ack::Memory => Some(Syncs::start(Arc::clone(&shared.doorbell))?),
            Ack::Fsync => None,
        };
        let (requests, words) = (VecDeque::new(), Vec::new());
        let worker =
            Worker { core, tray: receiver, requests, words, speaker, clock, syncs, shared: Arc::clone(&shared) };
        let thread = thread::Builder::new().name("fanfare-disk".into()).spawn(move || worker.run())?;
        Ok(DiskEngine { tray: sender, shared, thread: Some(thread) })
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
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of it was said already.
            let _ = thread.join();
        }
    }
}

/// Time since the Unix epoch, which within one run only grows.
struct Clock {
    began: Instant,
    began_at: Duration,
}

impl Clock {
    fn start() -> Clock {
        let began_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_at }
    }

    fn now(&self) -> Duration {
        self.began_at + self.began.elapsed()
    }
}

/// What runs on the engine's thread.
struct Worker {
    core: Core,
    tray: TrayReceiver<(ShardId, Request)>,
    requests: VecDeque<(ShardId, Request)>,
    words: Vec<Word>,
    speaker: Speaker,
    clock: Clock,
    syncs: Option<Syncs>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _until_the_end = Running(&shared);
        let this_thread = thread::current();
        shared.doorbell.hang(move || this_thread.unpark());
        while !self.shared.is_stopping.load(Ordering::SeqCst) || self.take_requests() {
            self.work();
        }
        if let Some(outcome) = self.syncs.as_mut().and_then(Syncs::wait) {
            self.core.end_sync(self.clock.now(), outcome);
        }
        self.core.close();
    }

    fn work(&mut self) {
        let now = self.clock.now();
        self.sync(now);
        if self.take_requests() || self.core.next_turn(now) <= now {
            self.core.turn(now, &mut self.requests, &mut self.words);
            self.speaker.say(&mut self.words);
        } else {
            self.sleep(now);
        }
    }

    /// Returns whether there are any.
    fn take_requests(&mut self) -> bool {
        while self.requests.len() < DISK_BATCH_REQUESTS_MAX
            && let Some(request) = self.tray.pop()
        {
            self.requests.push_back(request);
        }
        !self.requests.is_empty()
    }

    fn sync(&mut self, now: Duration) {
        let Some(syncs) = self.syncs.as_mut() else { return };
        if let Some(outcome) = syncs.find_outcome() {
            self.core.end_sync(now, outcome);
        }
        if syncs.is_due(now)
            && let Some(job) = self.core.begin_sync()
        {
            syncs.begin(now, job);
        }
    }

    fn sleep(&mut self, now: Duration) {
        self.shared.doorbell.prepare_sleep();
        if !self.take_requests() && !self.shared.is_stopping.load(Ordering::SeqCst) {
            let due = self.core.next_turn(now).min(self.next_sync());
            thread::park_timeout(due.saturating_sub(now));
        }
        self.shared.doorbell.awake();
    }

    fn next_sync(&self) -> Duration {
        match &self.syncs {
            Some(syncs) if self.core.has_unsynced() => syncs.next(),
            _ => Duration::MAX,
        }
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
