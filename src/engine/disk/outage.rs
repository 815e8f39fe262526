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

use std::io;
use std::time::Duration;

use super::Ack;
use super::core::Core;
use super::entry::encode_probe;
use crate::limits::{DISK_RETRY_INTERVAL, PROBE_INTERVAL};

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

impl Health {
    pub fn is_up(self) -> bool {
        self == Health::Up
    }
}

impl Core {
    pub(super) fn go_down(&mut self, now: Duration, error: &io::Error) {
        if !matches!(self.health, Health::Down { .. }) {
            tracing::error!(%error, "the log can't be written; it is tried again until it can");
        }
        self.health = Health::Down { retry_at: now + DISK_RETRY_INTERVAL };
        self.batch.segment = None;
        self.metrics.set_up(false);
        self.metrics.probed(None);
        if self.options.ack == Ack::Memory {
            self.mark_incomplete();
        }
    }

    /// Whoever opens the log next learns that it lacks something. Without that nothing is served that is not in it.
    fn mark_incomplete(&mut self) {
        if self.mark.is_incomplete {
            return;
        }
        self.mark.is_incomplete = true;
        if let Err(error) = self.mark.write(self.log.files_mut()) {
            tracing::error!(%error, "nor can its mark be; publishes are refused");
            self.mark.is_incomplete = false;
        }
    }

    /// The background sync failed: what it was for counts as lost on the disk, and is in memory.
    pub(super) fn lose_unsynced(&mut self, now: Duration, error: &io::Error) {
        self.log.abandon_unsynced();
        self.go_down(now, error);
        self.compaction.force(self.log.newest_sealed());
    }

    /// Writes a record to a log that could not be written, when it is time for it.
    pub(super) fn try_again(&mut self, now: Duration) {
        let is_due = match self.health {
            Health::Up => false,
            Health::Unproven => true,
            Health::Down { retry_at } => retry_at <= now,
        };
        if !is_due {
            return;
        }
        match self.write_probe() {
            Ok(()) => {
                if self.health != Health::Unproven {
                    tracing::info!("the log can be written again");
                }
                self.health = Health::Up;
                self.last_write = now;
                self.metrics.set_up(true);
            }
            Err(error) => self.go_down(now, &error),
        }
    }

    fn write_probe(&mut self) -> io::Result<()> {
        let begin = std::time::Instant::now();
        let (_, salt) = self.log.begin_batch(self.memory.next_epoch())?;
        let mut bytes = Vec::new();
        encode_probe(salt, &mut bytes);
        self.log.write(&bytes)?;
        if let Err(error) = self.log.sync() {
            self.compaction.force(self.log.newest_sealed());
            return Err(error);
        }
        self.metrics.probed(Some(begin.elapsed()));
        Ok(())
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

    /// Proves that the log can be written while nobody publishes.
    pub(super) fn probe_if_idle(&mut self, now: Duration) {
        if let Some((_, salt)) = self.batch.segment.filter(|_| self.wants_probe(now)) {
            encode_probe(salt, &mut self.batch.bytes);
        }
    }

    /// The log has caught up with what was confirmed without it, and that is safe: the mark says so.
    pub(super) fn close_gap(&mut self) {
        let is_behind = !self.unlogged.is_empty() || self.compaction.is_forced();
        if !self.mark.is_incomplete || !self.health.is_up() || is_behind {
            return;
        }
        if !self.log.is_safe_up_to(self.log.written()) {
            return;
        }
        self.mark.is_incomplete = false;
        if let Err(error) = self.mark.write(self.log.files_mut()) {
            tracing::warn!(%error, "the log is complete again, but its mark can't be written");
            self.mark.is_incomplete = true;
        }
    }
}
