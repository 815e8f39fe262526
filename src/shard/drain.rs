//! Draining: every connection is told to go, spread over a window.

use std::time::Duration;

use super::Shard;
use super::connection::{On, Phase};
use crate::model::DisconnectCode;

/// Progress of a drain: slots before `next_slot` were told.
#[derive(Debug)]
pub struct Drain {
    started: Duration,
    window: Duration,
    slots: u32,
    next_slot: u32,
}

/// How often a share is closed.
const STEP: Duration = Duration::from_millis(50);

impl Drain {
    pub fn next_due(&self) -> Option<Duration> {
        if self.next_slot >= self.slots {
            return None;
        }
        Some(self.started + self.window.mul_f64(f64::from(self.next_slot) / f64::from(self.slots)))
    }

    /// Slots that have to be told by `now`: the first one at once, the others evenly after it.
    fn due_slots(&self, now: Duration) -> u32 {
        let elapsed = (now - self.started).as_secs_f64() + STEP.as_secs_f64();
        match self.window.as_secs_f64() {
            0.0 => self.slots,
            window => (((elapsed / window) * f64::from(self.slots)) as u32).saturating_add(1).min(self.slots),
        }
    }
}

impl Shard {
    pub(super) fn begin_drain(&mut self, window: Duration) {
        if self.drain.is_none() {
            let slots = self.connections.slots();
            self.drain = Some(Drain { started: self.time.now(), window, slots, next_slot: 0 });
            // What was held back comes before the first closes, as far as one slice goes; and behind what its members
            // were answered.
            self.flush_replies();
            self.end_all_windows();
            self.walk_slice();
            self.drain_some();
        }
    }

    /// Closes the connections whose turn has come. Commands that were accepted are answered first, but
    /// not those of a client that does not read its answers.
    pub(super) fn drain_some(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let due = drain.due_slots(self.time.now());
        let from = std::mem::replace(&mut drain.next_slot, due);
        for slot in from..due {
            let Some(connection) = self.connections.at(slot) else { continue };
            if connection.phase == Phase::Refused {
                // It was told why, and nothing else will come of it.
                self.finish(slot);
                continue;
            }
            match &mut connection.waiting {
                Some(waiting) if waiting.on != On::Outbox => waiting.then_close = Some(DisconnectCode::Shutdown),
                _ => self.disconnect(slot, DisconnectCode::Shutdown),
            }
        }
    }
}
