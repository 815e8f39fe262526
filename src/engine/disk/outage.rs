//! The log that can't be written: a full disk, a broken one. What is confirmed stays readable; whether publishes
//! go on without a log is a matter of what the answer promises.
//!
//! * `ack = "fsync"`: publishes to streams are refused (100).
//! * `ack = "memory"`: they are confirmed from memory, like those of the memory engine, after the mark says that the
//!   log is incomplete: the mark needs no room on the disk. If the process ends before the log has caught up, all
//!   streams begin new epochs. If not even the mark can be written publishes are refused.
//!
//! The log is tried every half second with a record of its own, never with what failed. Of a failed *sync* nobody
//! knows what the disk has: the segment's tail is lost, and all that is in memory is written anew.
//!
//! A disk that does not answer at all is another matter: `stall.rs`.

use std::io;
use std::time::Duration;

use super::Ack;
use super::core::Core;
use super::job::{Done, Job, MarkWhen};
use super::log::Failure;
use super::mark::Mark;
use crate::limits::{DISK_RETRY_INTERVAL, PROBE_INTERVAL};
use crate::telemetry::EngineCounter;

/// Whether the log can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing was written yet.
    Unproven,
    Up,
    Down {
        retry_at: Duration,
    },
}

impl Core {
    /// Whether a batch may be written.
    pub(super) fn is_writable(&self) -> bool {
        self.health == Health::Up && !self.is_stuck()
    }

    /// Whether the log is to be tried now, with nothing but a probe.
    pub(super) fn is_to_be_tried(&self, now: Duration) -> bool {
        match self.health {
            Health::Up => false,
            Health::Unproven => true,
            Health::Down { retry_at } => retry_at <= now,
        }
    }

    /// What is asked of the files for what is planned; `None`: nothing.
    pub(super) fn make_job(&mut self, now: Duration, syncs: bool) -> Option<Job> {
        let write = (!self.batch.bytes.is_empty()).then(|| {
            let bytes = std::mem::take(&mut self.batch.bytes);
            self.log.begin_write(bytes, self.memory.next_epoch(), syncs)
        });
        let mark = self.mark_to_write(now, write.is_some());
        let removals = std::mem::take(&mut self.removals);
        let is_idle = write.is_none() && removals.is_empty() && mark.is_none();
        (!is_idle).then(|| Job { files: self.files.clone(), write, mark, removals })
    }

    fn mark_to_write(&self, now: Duration, writes: bool) -> Option<(MarkWhen, Mark)> {
        if self.lacks_mark && !self.mark.is_incomplete {
            return Some((MarkWhen::First, self.mark.with_gap(true)));
        }
        if self.has_mark_to_clear(now) {
            return Some((MarkWhen::IfItWorks, self.mark.with_gap(false)));
        }
        let may_open_gap = writes && self.options.ack == Ack::Memory && !self.mark.is_incomplete;
        may_open_gap.then(|| (MarkWhen::IfItFails, self.mark.with_gap(true)))
    }

    /// Returns whether the batch is in the log, and safe if publishers wait for that.
    pub(super) fn end_job(&mut self, now: Duration, done: Done) -> bool {
        let Done { written, mark, failed_removals, took } = done;
        for (segment, error) in failed_removals {
            tracing::warn!(%error, segment, "a segment that is not needed any more can't be removed");
        }
        self.note_mark(now, mark);
        let Some(mut written) = written else { return true };
        self.log.end_write(&written);
        self.batch.bytes = std::mem::take(&mut written.bytes);
        let Some(failure) = written.failure else {
            self.note_written(now, took);
            return true;
        };
        if matches!(failure, Failure::Sync(_)) && self.options.ack == Ack::Memory {
            self.lose_confirmed();
        }
        self.go_down(now, failure.error());
        self.return_rewritten();
        false
    }

    fn note_written(&mut self, now: Duration, took: Duration) {
        if let Health::Down { .. } = self.health {
            tracing::info!("the log can be written again");
        }
        self.health = Health::Up;
        self.metrics.set_up(!self.is_stuck());
        self.logged_epoch = self.batch.next_epoch.unwrap_or(self.logged_epoch);
        self.last_write = now;
        self.metrics.add(EngineCounter::Writes, 1);
        self.metrics.probed(Some(took));
        self.note_rewritten();
    }

    fn note_mark(&mut self, now: Duration, mark: Option<io::Result<Mark>>) {
        match mark {
            None => {}
            Some(Ok(mark)) => {
                self.mark = mark;
                self.lacks_mark = false;
            }
            Some(Err(error)) if self.mark.is_incomplete => {
                self.mark_retry_at = now + DISK_RETRY_INTERVAL;
                tracing::warn!(%error, "the log is complete again, but its mark can't be written");
            }
            Some(Err(error)) => tracing::error!(%error, "nor can the log's mark be written: publishes are refused"),
        }
    }

    fn go_down(&mut self, now: Duration, error: &io::Error) {
        if !matches!(self.health, Health::Down { .. }) {
            tracing::error!(%error, "the log can't be written; it is tried again until it can");
        }
        self.health = Health::Down { retry_at: now + DISK_RETRY_INTERVAL };
        self.batch.segment = None;
        self.metrics.set_up(false);
        self.metrics.probed(None);
    }

    /// What was confirmed and not safe counts as lost on the disk, and is in memory.
    fn lose_confirmed(&mut self) {
        self.compaction.force(self.log.newest_sealed());
        self.lacks_mark = true;
    }

    /// The background sync failed.
    pub(super) fn lose_unsynced(&mut self, now: Duration, error: &io::Error) {
        self.log.abandon_unsynced();
        self.go_down(now, error);
        self.lose_confirmed();
        // The mark has to say so before anything else is confirmed.
        self.health = Health::Down { retry_at: now };
    }

    pub(super) fn wants_probe(&self, now: Duration) -> bool {
        self.next_probe() <= now
    }

    pub(super) fn next_probe(&self) -> Duration {
        match self.health {
            Health::Unproven => Duration::ZERO,
            Health::Up => self.last_write + PROBE_INTERVAL,
            Health::Down { retry_at } => retry_at,
        }
    }

    pub(super) fn has_mark_to_clear(&self, now: Duration) -> bool {
        self.mark_retry_at <= now && self.has_closed_gap()
    }

    /// Whether the mark says that the log lacks something, and it does not any more: it has caught up with what was
    /// confirmed without it, and that is safe.
    pub(super) fn has_closed_gap(&self) -> bool {
        let is_behind = !self.unlogged.is_empty() || self.compaction.is_forced();
        self.mark.is_incomplete && self.is_writable() && !is_behind && self.log.is_safe_up_to(self.log.written())
    }
}
