//! What publishes with an idempotency key came to, so that a repeated one publishes nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use crate::limits::{IDEMPOTENT_RESULT_TTL, IDEMPOTENT_RESULTS_BYTES_MAX, IDEMPOTENT_RESULTS_MAX};
use crate::model::{ChannelName, Position};

/// Memory that a result costs besides its texts: entries of table and queue, the shared key.
const RESULT_BYTES: usize = 192;

/// One publish, as its publisher names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResultKey {
    pub channel: ChannelName,
    pub idempotency_key: Box<str>,
}

/// Results of the channels at home on one shard, kept for [`IDEMPOTENT_RESULT_TTL`].
///
/// Invariants: `queue` has each key of `by_key` once, the first to expire in front; `bytes` is the sum of
/// what they cost. Past a bound the oldest results are forgotten early.
pub struct Results {
    /// `None` in channels without history.
    by_key: AHashMap<Arc<ResultKey>, Option<Position>>,
    queue: VecDeque<(Duration, Arc<ResultKey>)>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Default for Results {
    fn default() -> Results {
        Results::with_bounds(IDEMPOTENT_RESULTS_MAX, IDEMPOTENT_RESULTS_BYTES_MAX)
    }
}

impl Results {
    fn with_bounds(count_max: usize, bytes_max: usize) -> Results {
        Results { by_key: AHashMap::new(), queue: VecDeque::new(), bytes: 0, count_max, bytes_max }
    }

    pub fn count(&self) -> usize {
        self.by_key.len()
    }

    /// What the publish came to, if it is remembered.
    pub fn find(&self, key: &ResultKey) -> Option<Option<Position>> {
        self.by_key.get(key).copied()
    }

    /// Remembers what a publish came to, of which nothing was known. Returns how many others had to be
    /// forgotten early.
    pub fn remember(&mut self, now: Duration, key: ResultKey, position: Option<Position>) -> usize {
        let key = Arc::new(key);
        self.bytes += cost_of(&key);
        self.queue.push_back((now + IDEMPOTENT_RESULT_TTL, Arc::clone(&key)));
        let before = self.by_key.insert(key, position);
        debug_assert!(before.is_none(), "a result is remembered once");
        let mut forgotten = 0;
        while self.by_key.len() > self.count_max || self.bytes > self.bytes_max {
            self.forget_oldest();
            forgotten += 1;
        }
        forgotten
    }

    /// What is remembered until `until` at the latest, the first to be forgotten in front.
    pub fn until(&self, until: Duration) -> impl Iterator<Item = (Duration, &ResultKey, Option<Position>)> {
        let due = self.queue.iter().take_while(move |(due, _)| *due <= until);
        due.filter_map(|(due, key)| Some((*due, key.as_ref(), *self.by_key.get(key)?)))
    }

    /// Forgets what is past its time, at most `count` at a go; returns how many.
    pub fn expire(&mut self, now: Duration, count: usize) -> usize {
        let mut taken = 0;
        while taken < count && self.next_expiry().is_some_and(|due| due <= now) {
            self.forget_oldest();
            taken += 1;
        }
        taken
    }

    pub fn next_expiry(&self) -> Option<Duration> {
        self.queue.front().map(|(due, _)| *due)
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.queue.pop_front() else { return };
        self.by_key.remove(&key);
        self.bytes -= cost_of(&key);
        if self.queue.is_empty() {
            // The room of a burst is given back.
            (self.by_key, self.queue) = (AHashMap::new(), VecDeque::new());
        }
    }
}

fn cost_of(key: &ResultKey) -> usize {
    RESULT_BYTES + key.channel.as_str().len() + key.idempotency_key.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(channel: &str, text: &str) -> ResultKey {
        let channel = ChannelName::parse(channel, 255).expect("a short name");
        ResultKey { channel, idempotency_key: text.into() }
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: Epoch::from_random(1), offset })
    }

    #[test]
    fn results_are_by_channel_and_key_and_for_five_minutes() {
        let mut results = Results::default();
        results.remember(Duration::ZERO, key("a", "k"), at(1));
        results.remember(100 * SECOND, key("b", "k"), None);
        assert_eq!(results.find(&key("a", "k")), Some(at(1)));
        assert_eq!(results.find(&key("b", "k")), Some(None));
        assert_eq!(results.find(&key("a", "other")), None);
        assert_eq!((results.expire(299 * SECOND, 10), results.next_expiry()), (0, Some(300 * SECOND)));
        assert_eq!((results.expire(300 * SECOND, 10), results.find(&key("a", "k"))), (1, None));
        assert_eq!((results.expire(400 * SECOND, 10), results.count(), results.bytes), (1, 0, 0));
    }

    #[test]
    fn the_oldest_are_forgotten_past_the_bounds() {
        let mut results = Results::with_bounds(3, 1 << 20);
        let forgotten: Vec<usize> =
            (0..5).map(|n| results.remember(n * SECOND, key("a", &n.to_string()), None)).collect();
        assert_eq!(forgotten, [0, 0, 0, 1, 1]);
        assert_eq!((results.find(&key("a", "1")), results.find(&key("a", "2"))), (None, Some(None)));
        let mut results = Results::with_bounds(1000, 10_000);
        for n in 0..100u32 {
            results.remember(n * SECOND, key("a", &"k".repeat(n as usize)), None);
            assert!(results.bytes <= 10_000);
        }
        assert!(results.count() > 20);
    }

    #[test]
    fn expiry_is_done_in_pieces() {
        let mut results = Results::default();
        for n in 0..10 {
            results.remember(Duration::ZERO, key("a", &n.to_string()), None);
        }
        assert_eq!((results.expire(400 * SECOND, 4), results.count()), (4, 6));
    }
}
