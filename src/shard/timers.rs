//! Time: the shard's own clock, the wheel of connection deadlines, the agenda of channels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A clock that does not count the time in which the process itself stood still.
///
/// Every deadline of a shard is told by this clock, so that no client is cut because the hub was
/// stopped, swapped out or starved.
#[derive(Debug)]
pub struct StallProofClock {
    now: Duration,
    /// Monotonic time minus what was lost so far is `now`.
    lost: Duration,
    /// The latest instant at which the shard expected to be called again.
    expected: Duration,
    /// Until then nobody is cut for having been silent.
    lenient_until: Duration,
}

/// A call that comes later than expected by more than this was held up by a stall.
const STALL: Duration = Duration::from_millis(500);

/// After a stall, for the sockets to be read: what clients sent meanwhile is still in them. Chosen: far
/// above a turn, far below the time-outs that it lengthens.
const LENIENCE: Duration = Duration::from_secs(1);

impl Default for StallProofClock {
    fn default() -> StallProofClock {
        let zero = Duration::ZERO;
        // Until it first asks to be called again, any time may pass.
        let expected = Duration::MAX - STALL;
        StallProofClock { now: zero, lost: zero, expected, lenient_until: zero }
    }
}

impl StallProofClock {
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Until when silent clients are left alone; past, unless there was a stall just now.
    pub fn lenient_until(&self) -> Duration {
        self.lenient_until
    }

    /// Reads the turn's monotonic time.
    pub fn advance(&mut self, monotonic: Duration) -> Duration {
        let now = monotonic.saturating_sub(self.lost).max(self.now);
        if now > self.expected + STALL {
            let stalled = now - self.expected;
            self.lost += stalled;
            self.now = now - stalled;
            self.lenient_until = self.now + LENIENCE;
        } else {
            self.now = now;
        }
        self.expected = self.now;
        self.now
    }

    /// The shard is called again at `wake` at the latest; returns that in monotonic time.
    pub fn expect_by(&mut self, wake: Duration) -> Duration {
        self.expected = wake;
        wake + self.lost
    }
}

/// Deadlines of connections, to a tenth of a second: entries in buckets by tick, no object for each.
///
/// An entry is only a reminder to look: what is due is written in the connection. A connection's tick
/// names its one valid entry.
pub struct Wheel {
    buckets: Vec<Vec<u32>>,
    /// Every tick before this one has been looked at.
    next_tick: u64,
}

const TICK: Duration = Duration::from_millis(100);

/// Buckets: 51 s, above the usual ping interval. What is due later is looked at and put on again.
const BUCKETS: u64 = 512;

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), next_tick: 0 }
    }
}

impl Wheel {
    /// Reminds of `slot` at `due` or a little later; returns the entry's tick.
    pub fn insert(&mut self, slot: u32, due: Duration) -> u64 {
        let tick = tick_after(due).clamp(self.next_tick, self.next_tick + BUCKETS - 1);
        self.buckets[(tick % BUCKETS) as usize].push(slot);
        tick
    }

    /// Takes the next slot to look at, with its entry's tick.
    pub fn pop(&mut self, now: Duration) -> Option<(u32, u64)> {
        while tick_before(now) >= self.next_tick {
            let tick = self.next_tick;
            let bucket = &mut self.buckets[(tick % BUCKETS) as usize];
            if let Some(slot) = bucket.pop() {
                return Some((slot, tick));
            }
            // The room of a burst is given back.
            *bucket = Vec::new();
            self.next_tick += 1;
        }
        None
    }

    /// When `pop` has something to give.
    pub fn next_due(&self) -> Option<Duration> {
        (self.next_tick..self.next_tick + BUCKETS)
            .find(|tick| !self.buckets[(tick % BUCKETS) as usize].is_empty())
            .map(|tick| TICK * tick as u32)
    }
}

fn tick_after(due: Duration) -> u64 {
    due.as_nanos().div_ceil(TICK.as_nanos()) as u64
}

fn tick_before(now: Duration) -> u64 {
    now.as_millis() as u64 / TICK.as_millis() as u64
}

/// What is due for a channel on this shard, named by its slot in the table of audiences and the
/// generation of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Appointment {
    CheckPosition { channel: u32, generation: u32 },
    KeepAlive { channel: u32, generation: u32 },
}

/// Appointments by time. A channel has at most one of each kind.
#[derive(Debug, Default)]
pub struct Agenda(BinaryHeap<Reverse<(Duration, Appointment)>>);

impl Agenda {
    pub fn insert(&mut self, due: Duration, appointment: Appointment) {
        self.0.push(Reverse((due, appointment)));
    }

    pub fn pop(&mut self, now: Duration) -> Option<Appointment> {
        self.0.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.0.pop().map(|Reverse((_, appointment))| appointment)
    }

    pub fn next_due(&self) -> Option<Duration> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_wheel_reminds_at_its_tick_and_not_before() {
        let mut wheel = Wheel::default();
        wheel.insert(7, 250 * MS);
        wheel.insert(8, 10 * MS);
        assert_eq!(wheel.next_due(), Some(100 * MS));
        assert_eq!(wheel.pop(99 * MS), None);
        assert_eq!(wheel.pop(100 * MS), Some((8, 1)));
        assert_eq!(wheel.pop(299 * MS), None);
        assert_eq!(wheel.pop(300 * MS), Some((7, 3)));
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn what_is_due_past_the_wheel_is_reminded_of_early() {
        let mut wheel = Wheel::default();
        let tick = wheel.insert(1, 3_600_000 * MS);
        assert_eq!(tick, BUCKETS - 1);
        assert_eq!(wheel.pop(60_000 * MS), Some((1, BUCKETS - 1)));
    }

    #[test]
    fn a_stall_is_not_counted() {
        let mut clock = StallProofClock::default();
        clock.advance(1000 * MS);
        assert_eq!(clock.expect_by(6000 * MS), 6000 * MS);
        assert_eq!(clock.advance(6001 * MS), 6001 * MS, "a sleep as long as asked for is time");
        clock.expect_by(7000 * MS);
        assert_eq!(clock.advance(60_000 * MS), 7000 * MS, "53 s in which the process stood still");
        assert_eq!(clock.lenient_until(), 8000 * MS);
        assert_eq!(clock.advance(60_100 * MS), 7100 * MS);
        assert_eq!(clock.expect_by(8000 * MS), 61_000 * MS);
    }
}
