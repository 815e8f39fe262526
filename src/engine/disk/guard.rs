//! The thread that stands in for the engine's own while a write does not return: so that requests are answered in
//! time, whatever the disk does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::thread::{Desk, Shared};
use crate::limits::{DISK_GUARD_INTERVAL, OPERATION_TIMEOUT};

pub struct Guard {
    shared: Arc<Shared>,
}

impl Guard {
    /// Errors: the system has no more threads.
    pub fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
        let guard = Guard { shared };
        thread::Builder::new().name("fanfare-guard".into()).spawn(move || guard.run())
    }

    fn run(self) {
        while !self.shared.is_stopping.load(Ordering::SeqCst) {
            thread::park_timeout(DISK_GUARD_INTERVAL);
            if let Some(began) = self.find_overdue() {
                self.stand_in(began);
            }
        }
    }

    fn find_overdue(&self) -> Option<Duration> {
        self.shared.job_began().filter(|began| *began + OPERATION_TIMEOUT <= self.shared.clock.now())
    }

    /// Is the engine until the job that was begun then returns.
    fn stand_in(&self, began: Duration) {
        let shared = &*self.shared;
        let mut is_new = true;
        while !shared.is_stopping.load(Ordering::SeqCst) {
            let mut desk = shared.desk();
            // The engine's thread says so before it waits for the desk.
            if shared.job_began() != Some(began) {
                return;
            }
            shared.is_guarded.store(true, Ordering::SeqCst);
            shared.doorbell.awake();
            let now = shared.clock.now();
            let Desk { core, words, .. } = &mut *desk;
            if std::mem::take(&mut is_new) {
                core.stall_write(now, words);
            }
            desk.take_requests();
            let Desk { core, requests, words, .. } = &mut *desk;
            core.turn_without_files(now, requests, words);
            desk.say();
            shared.doorbell.prepare_sleep();
            if !desk.take_requests() {
                drop(desk);
                thread::park_timeout(DISK_GUARD_INTERVAL);
            }
        }
    }
}
