//! The soft limit of the process's memory.
//!
//! One task reads how much the process uses and tells the shards what follows from it. Above the
//! limit new clients are refused and the largest outboxes are cut, those of at least half the largest
//! size first, then those of a quarter, until there is memory again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::config::MemoryLimit;
use crate::handle::{Handle, Pressure};
use crate::limits::{
    MEMORY_CUT_BYTES_MIN, MEMORY_CUT_LOOKS, MEMORY_GROWTH_PER_SECOND, MEMORY_LOOK_MAX, MEMORY_LOOK_MIN,
};
use crate::telemetry::{Counter, Gauge, NodeMetrics, memory_limit_of_group, resident_bytes};

/// Watches for as long as the node runs.
pub struct MemoryWatch {
    judge: Judge,
    metrics: Arc<NodeMetrics>,
}

impl MemoryWatch {
    /// `None` without a limit. `outbox_bytes_max` is what may wait for one client.
    pub fn new(limit: MemoryLimit, outbox_bytes_max: usize, metrics: &Arc<NodeMetrics>) -> Option<MemoryWatch> {
        let limit = match limit {
            MemoryLimit::Off => return None,
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::OfGroup => memory_limit_of_group(Path::new("/"))? / 10 * 9,
        };
        metrics.memory.set_limit(limit);
        Some(MemoryWatch { judge: Judge::new(limit, outbox_bytes_max), metrics: Arc::clone(metrics) })
    }

    pub async fn run(mut self, handle: Handle) {
        loop {
            let use_now = Use { resident: resident_bytes(), outboxes: self.metrics.total(Gauge::OutboxBytes) };
            let was_high = self.judge.is_high;
            if let Some(pressure) = self.judge.look(use_now) {
                self.metrics.memory.set_high(pressure.is_high);
                handle.tell_memory(pressure).await;
                if was_high != pressure.is_high {
                    self.say(pressure.is_high, use_now);
                }
            }
            sleep(until_next_look(self.judge.limit.saturating_sub(use_now.resident))).await;
        }
    }

    fn say(&self, is_high: bool, Use { resident, outboxes }: Use) {
        let limit = self.judge.limit;
        match is_high {
            true => tracing::warn!(
                resident,
                limit,
                outboxes,
                histories = self.metrics.total(Gauge::StreamBytes),
                clients = self.metrics.total(Gauge::Connections),
                "memory is above fanfare.memory_limit: new clients are refused (503) and the largest outboxes cut \
                 (3008); if outboxes are large, lower client.queue_max_size or use slow_consumer_policy; if \
                 histories are, lower fanfare.shard_memory_limit; otherwise raise the limit or add nodes"
            ),
            false => tracing::info!(
                resident,
                limit,
                outboxes,
                cut = self.count(Counter::ConnectionsCut) + self.count(Counter::OutboxesShrunk),
                refused = self.count(Counter::RefusedForMemory),
                "there is memory again: new clients are taken (counts are since the start)"
            ),
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.metrics.shards.iter().map(|shard| shard.counter(counter)).sum()
    }
}

/// As soon as memory could reach the limit, if it grows as fast as outboxes can be filled.
fn until_next_look(headroom: u64) -> Duration {
    let soonest = Duration::from_millis(headroom * 1000 / MEMORY_GROWTH_PER_SECOND);
    soonest.clamp(MEMORY_LOOK_MIN, MEMORY_LOOK_MAX)
}

/// What one look finds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    resident: u64,
    /// What waits in outboxes; frames that several hold count for each.
    outboxes: u64,
}

/// What follows from how much is used, look by look.
#[derive(Debug)]
struct Judge {
    limit: u64,
    outbox_bytes_max: usize,
    is_high: bool,
    last: Use,
    /// The most that was resident since memory was far below the limit.
    peak: u64,
    /// What is not outboxes, nor memory that they have given up and the allocator keeps for the next.
    others: u64,
    last_cut: Cut,
}

#[derive(Debug)]
struct Cut {
    outbox_bytes_max: usize,
    /// Memory when it was ordered.
    used: u64,
    /// Looks until it shows: shards cut in slices.
    looks_left: u32,
}

impl Judge {
    /// Below the limit.
    fn new(limit: u64, outbox_bytes_max: usize) -> Judge {
        let last_cut = Cut { outbox_bytes_max, used: 0, looks_left: 0 };
        Judge { limit, outbox_bytes_max, is_high: false, last: Use::default(), peak: 0, others: 0, last_cut }
    }

    /// What the shards have to be told, if anything.
    fn look(&mut self, found: Use) -> Option<Pressure> {
        self.attribute(found);
        let used = found.resident.min(self.others + found.outboxes);
        if used > self.limit {
            self.is_high = true;
            return self.cut(used);
        }
        self.last_cut.looks_left = 0;
        // Memory that swings around the limit does not open and close the doors each time.
        let is_over = self.is_high && self.is_far_below(used);
        if is_over {
            self.is_high = false;
            self.last_cut.outbox_bytes_max = self.outbox_bytes_max;
        }
        is_over.then(Pressure::default)
    }

    /// Tells what outboxes take from what others do. An allocator seldom gives back to the kernel what
    /// outboxes gave up, and uses it again: so near the limit only growth says what others take, as far as
    /// it is not the outboxes'.
    fn attribute(&mut self, found: Use) {
        if self.is_far_below(found.resident) {
            self.others = found.resident.saturating_sub(found.outboxes);
            self.peak = found.resident;
        } else if found.resident > self.peak {
            let queued = found.outboxes.saturating_sub(self.last.outboxes);
            self.others += (found.resident - self.peak).saturating_sub(queued);
            self.peak = found.resident;
        }
        self.last = found;
    }

    fn is_far_below(&self, bytes: u64) -> bool {
        bytes <= self.limit / 100 * 95
    }

    /// The next cut, unless the last one has yet to show.
    fn cut(&mut self, used: u64) -> Option<Pressure> {
        let Cut { outbox_bytes_max, used: used_then, looks_left } = self.last_cut;
        if looks_left > 0 && used <= used_then {
            self.last_cut.looks_left -= 1;
            return None;
        }
        let outbox_bytes_max = (outbox_bytes_max / 2).max(MEMORY_CUT_BYTES_MIN);
        self.last_cut = Cut { outbox_bytes_max, used, looks_left: MEMORY_CUT_LOOKS };
        Some(Pressure { is_high: true, outbox_bytes_max: Some(outbox_bytes_max) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// What the shards are told at each look, as (high, cut above).
    fn told(judge: &mut Judge, found: &[(u64, u64)]) -> Vec<Option<(bool, Option<usize>)>> {
        let look = |&(resident, outboxes)| judge.look(Use { resident, outboxes });
        found.iter().map(look).map(|told| told.map(|it| (it.is_high, it.outbox_bytes_max))).collect()
    }

    fn cut(bytes: usize) -> Option<(bool, Option<usize>)> {
        Some((true, Some(bytes)))
    }

    const OVER: Option<(bool, Option<usize>)> = Some((false, None));

    #[test]
    fn the_largest_are_cut_first_and_smaller_ones_only_if_that_is_not_enough() {
        let mut judge = Judge::new(1000, 1 << 20);
        assert_eq!(told(&mut judge, &[(1000, 500), (1001, 500)]), [None, cut(1 << 19)]);
        let rest = MEMORY_CUT_LOOKS as usize;
        assert_eq!(told(&mut judge, &vec![(1001, 500); rest]), vec![None; rest], "it is given time to show");
        assert_eq!(told(&mut judge, &[(1001, 500)]), [cut(1 << 18)]);
        assert_eq!(told(&mut judge, &[(1002, 500)]), [cut(1 << 17)], "what grows is not waited for");
        let growing: Vec<_> = (1003..1013).map(|resident| (resident, 500)).collect();
        assert_eq!(told(&mut judge, &growing).last(), Some(&cut(MEMORY_CUT_BYTES_MIN)));
    }

    #[test]
    fn clients_are_taken_again_well_below_the_limit_only() {
        let mut judge = Judge::new(1000, 1 << 20);
        assert_eq!(told(&mut judge, &[(1001, 500), (990, 500), (951, 500)]), [cut(1 << 19), None, None]);
        assert_eq!(told(&mut judge, &[(1001, 500)]), [cut(1 << 18)], "it goes on where it was");
        assert_eq!(told(&mut judge, &[(950, 500), (950, 500)]), [OVER, None]);
        assert_eq!(told(&mut judge, &[(1001, 500)]), [cut(1 << 19)], "it begins anew");
    }

    #[test]
    fn what_the_allocator_keeps_is_used_again() {
        let mut judge = Judge::new(1000, 1 << 20);
        assert_eq!(told(&mut judge, &[(500, 0), (1010, 500), (1012, 0)]), [None, cut(1 << 19), OVER]);
        // The outboxes fill again, in the same memory.
        assert_eq!(told(&mut judge, &[(1012, 450), (1012, 500)]), [None, cut(1 << 19)]);
        assert_eq!(told(&mut judge, &[(1012, 100)]), [OVER]);
        // Something else grows.
        assert_eq!(told(&mut judge, &[(1500, 100)]), [cut(1 << 19)]);
    }

    #[test]
    fn the_nearer_the_limit_the_sooner_the_next_look() {
        for (headroom, milliseconds) in [(0, 10), (64 * MIB, 62), (512 * MIB, 500), (100_000 * MIB, 1000)] {
            let expected = Duration::from_millis(milliseconds);
            let found = until_next_look(headroom);
            assert_eq!(found, expected, "{headroom} bytes");
        }
    }
}
