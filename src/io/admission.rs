//! How many sockets the node takes: at a time, and in a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What operators decide about it; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// `client.connection_limit`: sockets of the node, over all shards.
    pub connections_max: usize,
    /// `client.connection_rate_limit`: sockets in a second, and at once after a quiet second.
    pub per_second: usize,
}

/// The node's count of sockets, asked once for each upgrade; messages never come near it.
///
/// It is one for all shards, so the limits hold exactly however the kernel spreads newcomers.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    open: AtomicUsize,
    /// Nanoseconds since `start` up to which the rate is used up. Each socket uses up its part of a
    /// second; who would use up more than a second ahead is refused (the leaky bucket as a meter).
    used_up_to: AtomicU64,
    start: Instant,
}

/// Why a socket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    Connections,
    Rate,
}

/// One socket's part in the count, given back when this is dropped; `None`: kept.
#[derive(Debug)]
pub struct Place(Option<Arc<Admission>>);

impl Default for Admission {
    fn default() -> Admission {
        Admission::new(AdmissionLimits::default())
    }
}

impl Admission {
    pub fn new(limits: AdmissionLimits) -> Admission {
        Admission { limits, open: AtomicUsize::new(0), used_up_to: AtomicU64::new(0), start: Instant::now() }
    }

    /// Takes a newcomer in, or says which limit it is over. Who is refused uses up nothing.
    pub fn admit(self: &Arc<Self>) -> Result<Place, Crowded> {
        self.admit_at(self.start.elapsed())
    }

    fn admit_at(self: &Arc<Self>, now: Duration) -> Result<Place, Crowded> {
        let max = self.limits.connections_max;
        let add_one = |open| (max == 0 || open < max).then_some(open + 1);
        // Relaxed: only the number counts; nothing else is read by it.
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add_one).map_err(|_| Crowded::Connections)?;
        let place = Place(Some(Arc::clone(self)));
        if self.is_within_rate(now) { Ok(place) } else { Err(Crowded::Rate) }
    }

    fn is_within_rate(&self, now: Duration) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let Some(part) = SECOND.checked_div(self.limits.per_second as u64) else { return true };
        let now = now.as_nanos() as u64;
        let use_up = |up_to: u64| Some(up_to.max(now) + part).filter(|up_to| up_to - now <= SECOND);
        self.used_up_to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, use_up).is_ok()
    }

    /// A socket whose place was kept is closed.
    pub fn leave(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "who leaves was counted");
    }
}

impl Place {
    /// Counted until [`Admission::leave`]: an open socket needs no pointer for it.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(admission) = &self.0 {
            admission.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn admission(connections_max: usize, per_second: usize) -> Arc<Admission> {
        Arc::new(Admission::new(AdmissionLimits { connections_max, per_second }))
    }

    #[test]
    fn without_limits_all_are_taken() {
        let admission = admission(0, 0);
        let places: Vec<_> = (0..10_000).map(|_| admission.admit_at(Duration::ZERO).unwrap()).collect();
        assert_eq!(admission.open.load(Ordering::Relaxed), places.len());
    }

    #[test]
    fn a_place_is_free_again_when_its_socket_is_gone() {
        let admission = admission(2, 0);
        let first = admission.admit().unwrap();
        admission.admit().unwrap().keep();
        assert_eq!(admission.admit().unwrap_err(), Crowded::Connections);
        drop(first);
        let second = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err(), Crowded::Connections);
        admission.leave();
        drop((second, admission.admit().unwrap()));
    }

    #[test]
    fn a_limit_holds_over_all_threads() {
        let admission = admission(100, 0);
        let takers = (0..4).map(|_| {
            let admission = Arc::clone(&admission);
            std::thread::spawn(move || std::iter::from_fn(|| admission.admit().ok()).map(Place::keep).count())
        });
        let taken: usize = takers.collect::<Vec<_>>().into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(taken, 100);
    }

    #[test]
    fn a_second_holds_as_many_as_the_rate_says() {
        let admission = admission(0, 10);
        let taken = |now| std::iter::from_fn(|| admission.admit_at(now).ok()).map(Place::keep).count();
        assert_eq!(taken(Duration::ZERO), 10, "at once");
        assert_eq!(taken(99 * MS), 0);
        assert_eq!(taken(100 * MS), 1, "a tenth of a second later");
        assert_eq!(taken(600 * MS), 5);
        assert_eq!(taken(60_000 * MS), 10, "a quiet minute saves up one second");
    }

    #[test]
    fn who_is_refused_by_one_limit_uses_up_nothing_of_the_other() {
        let admission = admission(1, 2);
        let place = admission.admit_at(Duration::ZERO).unwrap();
        for _ in 0..5 {
            assert_eq!(admission.admit_at(Duration::ZERO).unwrap_err(), Crowded::Connections);
        }
        drop(place);
        drop(admission.admit_at(Duration::ZERO).unwrap());
        assert_eq!(admission.admit_at(Duration::ZERO).unwrap_err(), Crowded::Rate);
        assert_eq!(admission.open.load(Ordering::Relaxed), 0);
    }
}
