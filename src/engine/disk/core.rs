//! What the engine's thread decides: requests go in, what was written makes them true, and words for the shards
//! come out. No thread, no clock but `now`; the files are an argument.
//!
//! A **turn** takes some requests, *plans* what each comes to without changing anything (`plan.rs`), writes all
//! that together, and then *applies* it (`apply.rs`). So nothing has to be taken back if the write fails, and
//! nobody hears of what is not in the file. Planning sees what the turn has planned already (`Batch`).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};

use super::Ack;
use super::apply::Step;
use super::compaction::Compaction;
use super::entry::encode_next_epoch;
use super::files::Files;
use super::log::{Log, SyncJob};
use super::mark::Mark;
use super::outage::Health;
use super::places::Places;
use super::replay::{Trust, replay};
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
    /// Streams of which the log does not have the newest state.
    pub(super) unlogged: AHashSet<ChannelName>,
    pub(super) mark: Mark,
    pub(super) metrics: Arc<EngineMetrics>,
    pub(super) batch: Batch,
    /// What the log says of streams yet to begin.
    logged_epoch: Epoch,
    pub(super) last_write: Duration,
}

/// What one turn has planned.
#[derive(Default)]
pub struct Batch {
    /// The segment that is written and its salt; `None`: the log can't be written now.
    pub segment: Option<(u64, u32)>,
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
    fn clear(&mut self) {
        (self.segment, self.rewritten_bytes) = (None, 0);
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
        mut files: Box<dyn Files>,
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
        mark.write(&mut *files)?;
        metrics.add(EngineCounter::Foreign, replayed.damages);
        metrics.add(EngineCounter::EpochsLost, replayed.renewed.len() as u64);
        let log = Log::new(files, options.segment_bytes, options.ack, replayed.sealed, options.seed);
        let compaction = Compaction::new(options.segment_bytes, replayed.damaged_segment);
        let logged_epoch = Epoch::from_random(0);
        Ok(Core {
            memory: replayed.memory,
            listened: AHashSet::new(),
            log,
            places: replayed.places,
            compaction,
            health: Health::Unproven,
            unlogged: replayed.renewed.into_iter().collect(),
            mark,
            metrics,
            batch: Batch::default(),
            logged_epoch,
            last_write: Duration::ZERO,
            options,
        })
    }

    /// Takes requests, at least one if there is one, and leaves those for which there is no room in this turn.
    pub fn turn(&mut self, now: Duration, requests: &mut VecDeque<(ShardId, Request)>, words: &mut Vec<Word>) {
        self.batch.clear();
        self.begin_batch(now);
        while self.batch.bytes.len() < DISK_BATCH_BYTES_MAX
            && let Some((from, request)) = requests.pop_front()
        {
            self.metrics.add(EngineCounter::Requests, 1);
            if self.plan(now, from, request) == Planned::Enough {
                break;
            }
        }
        let is_logged = self.write_batch(now);
        self.apply_batch(now, is_logged, words);
        self.clean_up();
    }

    /// Whether a turn without requests has something to do.
    pub fn has_upkeep(&self, now: Duration) -> bool {
        self.wants_probe(now)
            || self.memory.next_expiry().is_some_and(|due| due <= now)
            || self.health.is_up() && (!self.unlogged.is_empty() || self.wants_compaction())
    }

    /// When at the latest a turn is due.
    pub fn next_turn(&self, now: Duration) -> Duration {
        match self.has_upkeep(now) {
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
        match outcome {
            Ok(upto) => self.log.end_sync(upto),
            Err(error) => self.lose_unsynced(now, &error),
        }
        self.clean_up();
    }

    /// Makes everything safe and says so to whoever opens the log next.
    pub fn close(&mut self) {
        let is_safe = self.health.is_up() && self.unlogged.is_empty() && self.log.sync().is_ok();
        if is_safe && !self.mark.is_incomplete {
            self.mark.is_clean = true;
            let _ = self.mark.write(self.log.files_mut());
        }
    }

    fn begin_batch(&mut self, now: Duration) {
        self.try_again(now);
        if !self.health.is_up() {
            return;
        }
        match self.log.begin_batch(self.memory.next_epoch()) {
            Ok(segment) => self.batch.segment = Some(segment),
            Err(error) => return self.go_down(now, &error),
        }
        self.rewrite_some(now);
        self.probe_if_idle(now);
        if self.logged_epoch != self.memory.next_epoch() {
            let salt = self.batch.segment.map_or(0, |(_, salt)| salt);
            encode_next_epoch(self.memory.next_epoch(), salt, &mut self.batch.bytes);
        }
    }

    /// Returns whether all that was planned is in the log, and safe if publishers wait for that.
    fn write_batch(&mut self, now: Duration) -> bool {
        if self.batch.segment.is_none() {
            return false;
        }
        if self.batch.bytes.is_empty() {
            return true;
        }
        let begin = Instant::now();
        let next_epoch = self.memory.next_epoch();
        let written = self.log.write(&self.batch.bytes);
        let outcome = written.and_then(|()| match self.options.ack {
            Ack::Fsync => self.log.sync(),
            Ack::Memory => Ok(()),
        });
        match outcome {
            Ok(()) => {
                self.logged_epoch = next_epoch;
                self.last_write = now;
                self.metrics.add(EngineCounter::Writes, 1);
                self.metrics.probed(Some(begin.elapsed()));
                self.note_rewritten();
                true
            }
            Err(error) => {
                self.go_down(now, &error);
                self.return_rewritten();
                false
            }
        }
    }

    /// What the log is rid of, once what stands for it is safe.
    fn clean_up(&mut self) {
        self.drop_emptied();
        self.close_gap();
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
