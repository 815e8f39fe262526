//! How long things take: a histogram of fixed buckets, written by one thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; a last bucket takes the rest.
///
/// Chosen: 1-2-5 steps from the cost of a few sends (20 us) to what an operator calls an outage.
pub const BOUNDS_US: [u64; 16] = [
    20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000,
];

/// Durations, counted by one thread and read by any.
#[derive(Debug)]
pub struct Histogram {
    /// Not cumulative: each observation is in one bucket.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

/// What a scrape sees of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSample {
    pub buckets: [u64; BOUNDS_US.len() + 1],
    pub sum_seconds: f64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [const { AtomicU64::new(0) }; BOUNDS_US.len() + 1], sum_ns: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one duration. Only the histogram's own thread may call this.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS_US.partition_point(|&bound| bound < us);
        add_alone(&self.buckets[index], 1);
        add_alone(&self.sum_ns, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// How many of them were longer than one of `BOUNDS_US`.
    pub(super) fn longer_than(&self, bound_us: u64) -> u64 {
        debug_assert!(BOUNDS_US.contains(&bound_us));
        let first = BOUNDS_US.partition_point(|&bound| bound <= bound_us);
        self.buckets[first..].iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn sample(&self) -> HistogramSample {
        HistogramSample {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum_seconds: self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

impl HistogramSample {
    /// What one histogram would show that had seen both.
    pub fn plus(&self, other: &HistogramSample) -> HistogramSample {
        HistogramSample {
            buckets: std::array::from_fn(|index| self.buckets[index] + other.buckets[index]),
            sum_seconds: self.sum_seconds + other.sum_seconds,
        }
    }
}

/// Adds to a counter that only the calling thread writes: a load and a store cost a tenth of a
/// locked addition, and no reader can tell the difference.
pub(super) fn add_alone(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lands_in_the_first_bucket_whose_bound_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 20, 21, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let sample = histogram.sample();
        assert_eq!((sample.buckets[0], sample.buckets[1]), (2, 1), "bounds are inclusive");
        assert_eq!((sample.buckets[15], sample.buckets[16]), (1, 1), "the last bucket takes the rest");
        assert_eq!(histogram.count(), 5);
        assert_eq!((histogram.longer_than(20), histogram.longer_than(5_000_000)), (3, 1));
        assert!((sample.sum_seconds - 10.000042).abs() < 1e-9, "{}", sample.sum_seconds);
    }
}
