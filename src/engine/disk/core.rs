//! What the engine's thread decides: requests go in, what was written makes them true, and words for the shards
//! come out. No thread, no clock but `now`; the files are an argument.
//!
//! A **turn** takes some requests, *plans* what each comes to without changing anything (`plan.rs`), writes all
//! that together, and then *applies* it (`apply.rs`). So nothing has to be taken back if the write fails, and
//! nobody hears of what is not in the file. Planning sees what the turn has planned already (`Batch`).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ahash::{AHashMap, AHashSet};

use super::Ack;
use super::apply::Step;
use super::compaction::Compaction;
use super::entry::{encode_next_epoch, encode_probe};
use super::files::Files;
use super::job::{Done, Job};
use super::log::{Log, SyncJob};
use super::mark::Mark;
use super::outage::Health;
use super::places::Places;
use super::replay::{Trust, replay};
use super::stall::Stall;
use crate::engine::contract::{Event, Incoming, Request};
use crate::engine::{Memory, ResultKey};
use crate::limits::DISK_BATCH_BYTES_MAX;
use crate::model::{ChannelName, EngineIndex, Epoch, Position, ShardId, Version};
use crate::telemetry::{EngineCounter, EngineMetrics};

/// What a turn has to say to the shards.
#[derive(Debug)]
pub enum Word {
    To(ShardId, Event),
    /// To the channel's home.
    Home(Incoming),
}

/// What shards ask, in the order in which they did.
pub type Requests = VecDeque<(ShardId, Request)>;

/// What the engine is made of, besides its files.
#[derive(Clone)]
pub struct CoreOptions {
    pub engine: EngineIndex,
    pub ack: Ack,
    pub segment_bytes: u64,
    pub bytes_max: u64,
    pub seed: u64,
}

pub struct Core {
    pub(super) options: CoreOptions,
    pub(super) memory: Memory,
    /// Channels whose home wants to hear what is published.
    pub(super) listened: AHashSet<ChannelName>,
    pub(super) log: Log,
    pub(super) places: Places,
    pub(super) compaction: Compaction,
    pub(super) health: Health,
    pub(super) stall: Stall,
    /// Streams of which the log does not have the newest state.
    pub(super) unlogged: AHashSet<ChannelName>,
    pub(super) files: Arc<dyn Files>,
    /// As the files have it.
    pub(super) mark: Mark,
    /// The mark has to say that the log is incomplete, and does not yet.
    pub(super) lacks_mark: bool,
    pub(super) mark_retry_at: Duration,
    /// Segments that are not needed any more, and still there.
    pub(super) removals: Vec<u64>,
    pub(super) metrics: Arc<EngineMetrics>,
    pub(super) batch: Batch,
    /// What the log says of streams yet to begin.
    pub(super) logged_epoch: Epoch,
    pub(super) last_write: Duration,
}

/// What one turn has planned.
#[derive(Default)]
pub struct Batch {
    /// The segment that is written and its salt; `None`: the log can't be written now.
    pub segment: Option<(u64, u32)>,
    /// What the log says of streams yet to begin once this is written.
    pub next_epoch: Option<Epoch>,
    pub bytes: Vec<u8>,
    pub steps: Vec<Step>,
    /// Where the channels of this turn stand after it.
    pub standings: AHashMap<ChannelName, (Position, Option<Version>)>,
    pub results: AHashMap<ResultKey, Option<Position>>,
    /// Streams written whole, with their tops.
    pub rewritten: Vec<(ChannelName, u64)>,
    pub rewritten_bytes: usize,
}

impl Batch {
    pub fn clear(&mut self) {
        (self.segment, self.next_epoch, self.rewritten_bytes) = (None, None, 0);
        self.steps.clear();
        self.standings.clear();
        self.results.clear();
        self.rewritten.clear();
        self.bytes.clear();
        // The room of a burst is given back.
        self.bytes.shrink_to(4 * DISK_BATCH_BYTES_MAX);
    }
}

/// Whether the turn takes more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    More,
    /// What follows depends on what this came to.
    Enough,
}

impl Core {
    /// Reads the log, at `now` since the Unix epoch. Errors: it can't be read; nothing is changed then.
    pub fn open(
        options: CoreOptions,
        files: Arc<dyn Files>,
        mut mark: Mark,
        now: Duration,
        metrics: Arc<EngineMetrics>,
    ) -> io::Result<Core> {
        let trust = trust_of(&*files, &mark)?;
        // Streams are in memory and, with what is not needed any more, in the log.
        let memory = Memory::new((options.bytes_max / 3) as usize, options.seed);
        let replayed = replay(&*files, now, memory, trust)?;
        replayed.sealed.iter().try_for_each(|sealed| files.sync(sealed.number))?;
        mark.is_incomplete = trust == Trust::Incomplete && !replayed.sealed.is_empty();
        mark.write(&*files)?;
        metrics.add(EngineCounter::Foreign, replayed.damages);
        metrics.add(EngineCounter::EpochsLost, replayed.renewed.len() as u64);
        let log = Log::new(options.segment_bytes, options.ack, replayed.sealed, options.seed);
        let compaction = Compaction::new(options.segment_bytes, replayed.damaged_segment);
        let logged_epoch = Epoch::from_random(0);
        Ok(Core {
            memory: replayed.memory,
            listened: AHashSet::new(),
            log,
            places: replayed.places,
            compaction,
            health: Health::Unproven,
            stall: Stall::default(),
            unlogged: replayed.renewed.into_iter().collect(),
            files,
            mark,
            lacks_mark: false,
            mark_retry_at: Duration::ZERO,
            removals: Vec::new(),
            metrics,
            batch: Batch::default(),
            logged_epoch,
            last_write: Duration::ZERO,
            options,
        })
    }

    /// Takes requests, at least one if there is one, and leaves those for which there is no room in this turn. It waits
    /// for the disk: who can't do that calls [`Core::begin`] and [`Core::end`].
    #[cfg(test)]
    pub fn turn(&mut self, now: Duration, requests: &mut Requests, words: &mut Vec<Word>) {
        let done = self.begin(now, requests).map(Job::run);
        self.end(now, done, words);
    }

    /// The first half of a turn: says what is to be asked of the files for the requests that it takes.
    pub fn begin(&mut self, now: Duration, requests: &mut Requests) -> Option<Job> {
        self.batch.clear();
        let probes = self.is_to_be_tried(now) && !self.is_stuck();
        if probes {
            // What is asked meanwhile waits for what this comes to.
            let (_, salt) = self.log.place();
            encode_probe(salt, &mut self.batch.bytes);
        } else {
            self.plan_all(now, requests);
        }
        match self.is_stuck() {
            true => None,
            false => self.make_job(now, probes || self.options.ack == Ack::Fsync),
        }
    }

    /// The second half: makes true what was planned, if it was written, and says so.
    pub fn end(&mut self, now: Duration, done: Option<Done>, words: &mut Vec<Word>) {
        let is_late = self.end_write_stall();
        let is_logged = match done {
            Some(done) => self.end_job(now, done),
            None => true,
        };
        let is_logged = is_logged && self.batch.segment.is_some();
        match is_late {
            false => self.apply_batch(now, is_logged, words),
            true => self.apply_late_batch(now, is_logged, words),
        }
        self.drop_emptied();
    }

    /// Whether a turn without requests has something to do.
    pub fn has_upkeep(&self, now: Duration) -> bool {
        if self.is_stuck() {
            return false;
        }
        let has_chores = !self.removals.is_empty() || self.has_mark_to_clear(now);
        let is_behind = !self.unlogged.is_empty() || self.wants_compaction();
        has_chores
            || self.wants_probe(now)
            || self.memory.next_expiry().is_some_and(|due| due <= now)
            || self.is_writable() && is_behind
    }

    /// When at the latest a turn is due.
    pub fn next_turn(&self, now: Duration) -> Duration {
        match self.has_upkeep(now) {
            _ if self.is_stuck() => Duration::MAX,
            true => now,
            false => self.memory.next_expiry().map_or(self.next_probe(), |due| due.min(self.next_probe())),
        }
    }

    pub fn has_unsynced(&self) -> bool {
        !self.log.is_safe_up_to(self.log.written())
    }

    /// What is to be made safe now, where publishes do not wait for it.
    pub fn begin_sync(&mut self) -> Option<SyncJob> {
        self.log.begin_sync()
    }

    pub fn end_sync(&mut self, now: Duration, outcome: io::Result<u64>) {
        self.end_sync_stall();
        match outcome {
            Ok(upto) => self.log.end_sync(upto),
            Err(error) => self.lose_unsynced(now, &error),
        }
        self.drop_emptied();
    }

    /// Makes everything safe and says so to whoever opens the log next. Waits for the disk.
    pub fn close(&mut self) {
        match self.log.begin_sync().map(SyncJob::run) {
            Some(Ok(upto)) => self.log.end_sync(upto),
            Some(Err(_)) => return,
            None => {}
        }
        let is_whole = !self.mark.is_incomplete || self.has_closed_gap();
        if self.is_writable() && self.unlogged.is_empty() && is_whole {
            (self.mark.is_clean, self.mark.is_incomplete) = (true, false);
            let _ = self.mark.write(&*self.files);
        }
    }

    pub(super) fn plan_all(&mut self, now: Duration, requests: &mut Requests) {
        if self.is_writable() {
            self.begin_batch(now);
        }
        while self.batch.bytes.len() < DISK_BATCH_BYTES_MAX
            && let Some((from, request)) = requests.pop_front()
        {
            self.metrics.add(EngineCounter::Requests, 1);
            if self.plan(now, from, request) == Planned::Enough {
                break;
            }
        }
    }

    fn begin_batch(&mut self, now: Duration) {
        let (segment, salt) = self.log.place();
        self.batch.segment = Some((segment, salt));
        self.batch.next_epoch = Some(self.memory.next_epoch());
        self.rewrite_some(now);
        if self.wants_probe(now) {
            // Proves that the log can be written while nobody publishes.
            encode_probe(salt, &mut self.batch.bytes);
        }
        if self.logged_epoch != self.memory.next_epoch() {
            encode_next_epoch(self.memory.next_epoch(), salt, &mut self.batch.bytes);
        }
    }
}

/// Whether the process that wrote the log left in it all that it confirmed.
fn trust_of(files: &dyn Files, now: &Mark) -> io::Result<Trust> {
    let left = Mark::read(files)?;
    match left.is_some_and(|left| left.vouches_for_log(now)) {
        true => Ok(Trust::Whole),
        false => Ok(Trust::Incomplete),
    }
}
