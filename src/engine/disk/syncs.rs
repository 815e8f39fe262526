//! The thread that makes the log safe every 100 ms where publishes do not wait for it: a sync takes milliseconds, in
//! which the engine's thread goes on writing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use super::log::SyncJob;
use crate::lane::Doorbell;
use crate::limits::{DISK_SYNC_INTERVAL, DISK_SYNC_TIMEOUT};

/// That thread, as the engine's thread sees it. It ends when this is dropped.
pub struct Syncs {
    jobs: SyncSender<SyncJob>,
    outcomes: Receiver<io::Result<u64>>,
    is_under_way: bool,
    last: Duration,
}

impl Syncs {
    /// `doorbell` is rung after each sync. Errors: the system has no more threads.
    pub fn start(doorbell: Arc<Doorbell>) -> io::Result<Syncs> {
        let (jobs, from_engine) = sync_channel::<SyncJob>(1);
        let (to_engine, outcomes) = sync_channel(1);
        let run = move || {
            for job in from_engine {
                if to_engine.send(job.run()).is_err() {
                    return;
                }
                doorbell.ring_if_sleeping();
            }
        };
        thread::Builder::new().name("fanfare-sync".into()).spawn(run)?;
        Ok(Syncs { jobs, outcomes, is_under_way: false, last: Duration::ZERO })
    }

    pub fn is_due(&self, now: Duration) -> bool {
        !self.is_under_way && self.next(now) <= now
    }

    /// Whether the one that is under way does not return.
    pub fn is_overdue(&self, now: Duration) -> bool {
        self.is_under_way && self.last + DISK_SYNC_TIMEOUT <= now
    }

    /// When there is something to do: the next one begins at the earliest, or the one that is under way is overdue.
    pub fn next(&self, now: Duration) -> Duration {
        match self.is_under_way {
            true if self.is_overdue(now) => Duration::MAX,
            true => self.last + DISK_SYNC_TIMEOUT,
            false => self.last + DISK_SYNC_INTERVAL,
        }
    }

    /// Called when none is under way.
    pub fn begin(&mut self, now: Duration, job: SyncJob) {
        self.last = now;
        self.is_under_way = self.jobs.send(job).is_ok();
    }

    /// How the last one ended, once.
    pub fn find_outcome(&mut self) -> Option<io::Result<u64>> {
        let outcome = match self.outcomes.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) if !self.is_under_way => return None,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the thread that syncs the log is gone")),
        };
        self.is_under_way = false;
        Some(outcome)
    }

    /// Waits for the one that is under way.
    pub fn wait(&mut self) -> Option<io::Result<u64>> {
        let outcome = self.is_under_way.then(|| self.outcomes.recv().ok())?;
        self.is_under_way = false;
        outcome
    }
}
