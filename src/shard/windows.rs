//! Flush windows: channels whose deliveries are kept back for a while, so that several share a send,
//! or so that subscribers are given no more than their namespace's `max_rate`.
//!
//! Only channels of namespaces that hold something back have an entry here; the others cost nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use super::Shard;
use crate::access::{Flush, FlushWindow};
use crate::limits;
use crate::room::Delivery;
use crate::telemetry::{Counter, Remedy};

/// The windows of a shard, by the slot of their channel.
///
/// `reminders` are only reminders to look: what is due is written in the window, and names its one
/// valid reminder. One that is stale (its channel is gone, or was flushed early) leaves within the
/// length of a window.
#[derive(Debug, Default)]
pub struct Windows {
    by_slot: AHashMap<u32, Window>,
    reminders: BinaryHeap<Reverse<(Duration, u32)>>,
}

#[derive(Debug, Default)]
struct Window {
    /// When what is held back is released; `None`: nothing is.
    due: Option<Duration>,
    /// The reminder that is looked at next.
    reminder: Option<Duration>,
    /// When something was released last.
    last: Option<Duration>,
    deliveries: usize,
    bytes: usize,
    meter: Meter,
}

/// A delivery that was just held back.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    pub flush: &'a Flush,
    /// The shortest time from one release to the next.
    pub interval_min: Duration,
    /// Whom it is for, on this shard.
    pub members: usize,
    pub bytes: usize,
    /// Sends per second from which an adaptive window is opened.
    pub adaptive_sends_min: u64,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for the end of its window.
    Waits,
    /// Together with all that waits it is released: there is no window.
    Released,
    /// The same: the batch that the window was to gather is full.
    Full,
}

impl Windows {
    /// A delivery came for the channel at `slot`.
    pub fn hold(&mut self, slot: u32, held: Held<'_>, now: Duration) -> Fate {
        let window = self.by_slot.entry(slot).or_default();
        window.meter.count(now);
        window.deliveries += 1;
        window.bytes += held.bytes;
        if window.due.is_none() {
            let earliest = match window.last {
                Some(last) if !held.interval_min.is_zero() => last + held.interval_min,
                _ => Duration::ZERO,
            };
            let due = (now + length(&held, window.meter.per_second())).max(earliest);
            if due <= now {
                window.close(now);
                return Fate::Released;
            }
            window.due = Some(due);
            // An adaptive window may be shorter than the last one, whose reminder came too late then.
            if window.reminder.is_none_or(|reminder| reminder > due) {
                window.reminder = Some(due);
                self.reminders.push(Reverse((due, slot)));
            }
        }
        let is_full = window.deliveries >= held.flush.batch_max || window.bytes >= held.flush.batch_bytes_max;
        // Where a rate is kept, newer publications take the place of those that wait.
        if is_full && held.interval_min.is_zero() {
            window.close(now);
            return Fate::Full;
        }
        Fate::Waits
    }

    /// Ends the next window whose time is over. Returns the slot of its channel.
    pub fn pop(&mut self, now: Duration) -> Option<u32> {
        while let Some(&Reverse((reminder, slot))) = self.reminders.peek().filter(|Reverse((due, _))| *due <= now) {
            self.reminders.pop();
            let Some(window) = self.by_slot.get_mut(&slot).filter(|window| window.reminder == Some(reminder)) else {
                continue;
            };
            window.reminder = None;
            match window.due {
                Some(due) if due > now => {
                    window.reminder = Some(due);
                    self.reminders.push(Reverse((due, slot)));
                }
                Some(_) => {
                    window.close(now);
                    return Some(slot);
                }
                None => {}
            }
        }
        None
    }

    /// When `pop` may have something to give.
    pub fn next_due(&self) -> Option<Duration> {
        self.reminders.peek().map(|Reverse((due, _))| *due)
    }

    /// The channel at `slot` is gone.
    pub fn forget(&mut self, slot: u32) {
        self.by_slot.remove(&slot);
    }

    /// Ends all windows. Returns the slots of their channels.
    pub fn close_all(&mut self) -> Vec<u32> {
        self.reminders.clear();
        let windows = std::mem::take(&mut self.by_slot);
        let mut open: Vec<u32> =
            windows.into_iter().filter(|(_, window)| window.due.is_some()).map(|(slot, _)| slot).collect();
        open.sort_unstable();
        open
    }
}

impl Window {
    fn close(&mut self, now: Duration) {
        self.due = None;
        self.last = Some(now);
        self.deliveries = 0;
        self.bytes = 0;
    }
}

fn length(held: &Held<'_>, per_second: u64) -> Duration {
    match held.flush.window {
        FlushWindow::Off => Duration::ZERO,
        FlushWindow::Fixed(length) => length,
        FlushWindow::Adaptive { budget } => {
            let sends = per_second.saturating_mul(held.members as u64);
            // At least two publications must come within the budget, or nothing is joined.
            if sends < held.adaptive_sends_min || budget.as_nanos() * u128::from(per_second) < 2 * NANOS_PER_SECOND {
                return Duration::ZERO;
            }
            let enough = limits::ADAPTIVE_JOINED_MAX * NANOS_PER_SECOND as u64 / per_second.max(1);
            budget.min(Duration::from_nanos(enough))
        }
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Deliveries per second, as they were in the last whole tenth of one.
#[derive(Debug, Default)]
struct Meter {
    since: Duration,
    count: u32,
    last: u32,
}

/// Chosen: long enough for some publications of a room that is worth a window, and so short that a
/// burst of a second gains from it.
const METER_STEP: Duration = Duration::from_millis(100);

impl Meter {
    fn count(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.since);
        if passed >= METER_STEP {
            self.last = if passed < 2 * METER_STEP { self.count } else { 0 };
            self.count = 0;
            self.since = now;
        }
        self.count += 1;
    }

    fn per_second(&self) -> u64 {
        u64::from(self.last) * 10
    }
}

impl Shard {
    /// A delivery came for the channel at `slot`, whose namespace holds back.
    pub(super) fn hold_back(&mut self, slot: u32, delivery: Arc<Delivery>) {
        let now = self.time.now();
        let Some(channel) = self.channels.at(slot) else { return };
        let members = channel.audience.len();
        let interval_min = channel.options.slow_consumer_policy.interval_min();
        let (is_publication, bytes) = (delivery.is_publication(), delivery.bytes());
        let is_paced = is_publication && !interval_min.is_zero();
        let held = match is_paced {
            true => channel.audience.hold_newest(delivery),
            false => channel.audience.hold(delivery).map(|()| false),
        };
        let flush = &channel.options.flush;
        let held_back =
            Held { flush, interval_min, members, bytes, adaptive_sends_min: self.options.adaptive_sends_min };
        let Ok(has_replaced) = held else { return self.lose(slot, is_publication) };
        let fate = self.windows.hold(slot, held_back, now);
        if fate == Fate::Full {
            self.metrics.add(Counter::WindowsFull, 1);
        }
        if fate != Fate::Waits {
            channel.audience.release();
        }
        let is_pending = channel.audience.is_pending();
        if has_replaced {
            self.metrics.add_remedy(channel.options.place, Remedy::MaxRate, members as u64);
            if channel.positioned > 0 {
                self.insufficient(slot);
            }
        }
        if is_pending {
            self.queue_walk(slot);
        }
    }

    /// Queues the channels whose windows are over.
    pub(super) fn end_windows(&mut self) {
        while let Some(slot) = self.windows.pop(self.time.now()) {
            self.metrics.add(Counter::WindowsOver, 1);
            self.release(slot);
        }
    }

    /// Whoever leaves now is given what it has waited for; from here on nothing is held back.
    pub(super) fn end_all_windows(&mut self) {
        for slot in self.windows.close_all() {
            self.release(slot);
        }
    }

    /// The channel at `slot` holds nothing back from here on, or otherwise than before.
    pub(super) fn end_window(&mut self, slot: u32) {
        self.windows.forget(slot);
        let Some(channel) = self.channels.at(slot) else { return };
        channel.audience.release();
        if channel.audience.is_pending() {
            self.queue_walk(slot);
        }
    }

    fn release(&mut self, slot: u32) {
        let Some(channel) = self.channels.at(slot) else { return };
        channel.audience.release();
        self.queue_walk(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn flush(window: FlushWindow) -> Flush {
        Flush { window, batch_max: 4, batch_bytes_max: 1000 }
    }

    /// A delivery of 100 bytes for `members`.
    fn held(flush: &Flush, members: usize) -> Held<'_> {
        Held { flush, interval_min: Duration::ZERO, members, bytes: 100, adaptive_sends_min: 16_000 }
    }

    #[test]
    fn windows_end_in_the_order_of_their_times() {
        let (long, short) = (flush(FlushWindow::Fixed(10 * MS)), flush(FlushWindow::Fixed(2 * MS)));
        let mut windows = Windows::default();
        assert_eq!(windows.hold(1, held(&long, 1), Duration::ZERO), Fate::Waits);
        assert_eq!(windows.hold(2, held(&short, 1), 5 * MS), Fate::Waits);
        assert_eq!(windows.hold(1, held(&long, 1), 9 * MS), Fate::Waits, "its window began with the first");
        assert_eq!(windows.next_due(), Some(7 * MS));
        assert_eq!(windows.pop(6 * MS), None);
        assert_eq!((windows.pop(10 * MS), windows.pop(10 * MS), windows.pop(10 * MS)), (Some(2), Some(1), None));
        assert_eq!(windows.next_due(), None);
        assert_eq!(windows.hold(1, held(&long, 1), 11 * MS), Fate::Waits);
        assert_eq!(windows.next_due(), Some(21 * MS), "the next delivery begins the next one");
    }

    #[test]
    fn a_full_batch_ends_its_window_and_the_next_one_is_whole() {
        let flush = flush(FlushWindow::Fixed(10 * MS));
        let mut windows = Windows::default();
        for expected in [Fate::Waits, Fate::Waits, Fate::Waits, Fate::Full, Fate::Waits] {
            assert_eq!(windows.hold(1, held(&flush, 1), 3 * MS), expected);
        }
        assert_eq!(windows.hold(1, Held { bytes: 900, ..held(&flush, 1) }, 8 * MS), Fate::Full, "by bytes");
        assert_eq!(windows.hold(1, held(&flush, 1), 9 * MS), Fate::Waits);
        assert_eq!(windows.pop(18 * MS), None, "the first window's reminder");
        assert_eq!(windows.next_due(), Some(19 * MS));
        assert_eq!(windows.pop(19 * MS), Some(1));
    }

    #[test]
    fn what_is_gone_is_not_reminded_of() {
        let flush = flush(FlushWindow::Fixed(10 * MS));
        let mut windows = Windows::default();
        windows.hold(1, held(&flush, 1), Duration::ZERO);
        windows.forget(1);
        assert_eq!(windows.hold(1, held(&flush, 1), 5 * MS), Fate::Waits, "another channel in its slot");
        assert_eq!(windows.pop(14 * MS), None);
        assert_eq!(windows.pop(15 * MS), Some(1));
        windows.hold(2, held(&flush, 1), 20 * MS);
        windows.hold(1, held(&flush, 1), 20 * MS);
        windows.hold(3, Held { bytes: 5000, ..held(&flush, 1) }, 20 * MS);
        assert_eq!((windows.close_all(), windows.next_due()), (vec![1, 2], None));
    }

    /// Publishes evenly for a second; the length of the window that the last one begins.
    #[track_caller]
    fn check_adaptive(members: usize, per_second: u32, budget: Duration, expected: Duration) {
        let flush = Flush { batch_max: usize::MAX, ..flush(FlushWindow::Adaptive { budget }) };
        let mut windows = Windows::default();
        let mut last = Duration::ZERO;
        for n in 0..per_second {
            last = Duration::from_secs(1) * n / per_second;
            windows.pop(last);
            windows.hold(1, Held { bytes: 0, ..held(&flush, members) }, last);
        }
        let length = windows.by_slot[&1].due.map_or(Duration::ZERO, |_| {
            windows.pop(last + budget);
            windows.hold(1, Held { bytes: 0, ..held(&flush, members) }, last);
            windows.by_slot[&1].due.expect("another window") - last
        });
        assert_eq!(length, expected, "{members} members, {per_second} a second");
    }

    #[test]
    fn an_adaptive_window_opens_where_joining_pays() {
        check_adaptive(10, 1000, 5 * MS, Duration::ZERO);
        check_adaptive(100, 1000, 5 * MS, 5 * MS);
        check_adaptive(100_000, 100, 5 * MS, Duration::ZERO);
        check_adaptive(100_000, 100, 20 * MS, 20 * MS);
        // Sixteen come within 4 ms: more would wait for little.
        check_adaptive(100, 4000, 50 * MS, 4 * MS);
    }

    #[test]
    fn a_rate_is_kept_from_release_to_release() {
        let flush = flush(FlushWindow::Off);
        let held = Held { interval_min: 100 * MS, ..held(&flush, 1) };
        let mut windows = Windows::default();
        assert_eq!(windows.hold(1, held, Duration::ZERO), Fate::Released, "after a quiet time at once");
        for n in 1..20 {
            assert_eq!(windows.hold(1, held, n * MS), Fate::Waits, "however many wait");
        }
        assert_eq!((windows.pop(99 * MS), windows.pop(103 * MS)), (None, Some(1)));
        assert_eq!(windows.hold(1, held, 110 * MS), Fate::Waits);
        assert_eq!(windows.next_due(), Some(203 * MS));
        assert_eq!(windows.pop(203 * MS), Some(1));
        assert_eq!(windows.hold(1, held, 303 * MS), Fate::Released);
        let both = Held { flush: &Flush { window: FlushWindow::Fixed(10 * MS), ..flush }, ..held };
        assert_eq!(windows.hold(1, both, 400 * MS), Fate::Waits);
        assert_eq!(windows.next_due(), Some(410 * MS), "a window begins when the rate would allow it");
    }

    #[test]
    fn the_meter_forgets_what_was_long_ago() {
        let mut meter = Meter::default();
        for n in 0..300 {
            meter.count(n * MS);
        }
        assert_eq!(meter.per_second(), 1000);
        meter.count(1000 * MS);
        assert_eq!(meter.per_second(), 0);
    }
}
