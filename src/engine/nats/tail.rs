//! Where a channel's stream stands, and what may come next.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::super::contract::Publish;
use super::entry::{Entry, KeyResult};
use super::log::Logged;
use crate::limits::{NATS_PREVIOUS_MAX, NATS_RESULTS_BYTES_MAX, NATS_RESULTS_MAX};
use crate::model::{Epoch, Position, Version};

/// The newest message of a channel.
#[derive(Clone, Debug)]
pub struct Tail {
    /// 0: there is none.
    pub sequence: u64,
    /// `None`: there is no message, or none of ours.
    pub entry: Option<Entry>,
}

impl Tail {
    pub fn of(logged: Option<Logged>) -> Tail {
        match logged {
            None => Tail { sequence: 0, entry: None },
            Some(Logged { sequence, entry }) => {
                Tail { sequence, entry: entry.ok().filter(|entry| entry.position.is_some()) }
            }
        }
    }

    /// Whether somebody else wrote what is there.
    pub fn is_foreign(&self) -> bool {
        self.sequence > 0 && self.entry.is_none()
    }

    /// `None`: the stream has not begun.
    pub fn position(&self) -> Option<Position> {
        self.entry.as_ref()?.position
    }

    /// Whether it is behind what it was known to be.
    pub fn has_lost(&self, sent_until: Option<Position>) -> bool {
        let lost = |at: Position, sent: Position| at.epoch == sent.epoch && at.offset < sent.offset;
        self.position().zip(sent_until).is_some_and(|(at, sent)| lost(at, sent))
    }

    /// What a publish comes to that must not be done: it was done, or its version is not newer.
    pub fn find_outcome(&self, publish: &Publish, now_ms: u64) -> Option<Position> {
        let entry = self.entry.as_ref()?;
        let result = publish.idempotency_key.as_deref().and_then(|key| entry.find_result(key, now_ms));
        let is_newer = publish.version.as_ref().is_none_or(|version| entry.is_newer(version));
        result.or(entry.position.filter(|_| !is_newer))
    }

    /// A new life of the stream, with nothing in it.
    pub fn begin_anew(&self, now_ms: u64) -> Entry {
        let results = self.entry.as_ref().map_or_else(VecDeque::new, |entry| entry.results.clone());
        let position = Some(Position { epoch: Epoch::from_random(fastrand::u64(..)), offset: 0 });
        Entry {
            position,
            records: Vec::new(),
            written_ms: now_ms,
            version: None,
            results,
            floor: 0,
            previous: Vec::new(),
        }
    }

    /// The message that comes next, with these records in it.
    pub fn next(&self, records: Vec<Bytes>, publish: &Publish, ttl: Duration, now_ms: u64) -> Entry {
        let mut entry = match &self.entry {
            Some(entry) => entry.clone(),
            None => self.begin_anew(now_ms),
        };
        let mut position = entry.position.expect("entries of a stream have a place");
        // What had expired stays so.
        if entry.is_expired(now_ms, ttl) {
            entry.floor = position.offset;
        }
        position.offset += records.len() as u64;
        entry.position = Some(position);
        entry.records = records;
        if self.sequence > 0 {
            entry.previous.insert(0, self.sequence);
            entry.previous.truncate(NATS_PREVIOUS_MAX);
        }
        entry.written_ms = now_ms;
        if let Some(version) = &publish.version {
            entry.version = Some(version.clone());
        }
        if let Some(key) = &publish.idempotency_key {
            let result = KeyResult { idempotency_key: key.clone(), position, written_ms: now_ms };
            entry.remember(result, now_ms);
        }
        entry
    }

    /// The same after `entry` was stored.
    pub fn after(sequence: u64, mut entry: Entry) -> Tail {
        entry.records = Vec::new();
        Tail { sequence, entry: Some(entry) }
    }
}

impl Entry {
    pub fn find_result(&self, key: &str, now_ms: u64) -> Option<Position> {
        let of_key = |result: &&KeyResult| *result.idempotency_key == *key && !result.is_expired(now_ms);
        self.results.iter().rev().find(of_key).map(|result| result.position)
    }

    fn remember(&mut self, result: KeyResult, now_ms: u64) {
        self.results.retain(|result| !result.is_expired(now_ms));
        self.results.push_back(result);
        let mut bytes: usize = self.results.iter().map(|result| result.idempotency_key.len()).sum();
        while self.results.len() > NATS_RESULTS_MAX || bytes > NATS_RESULTS_BYTES_MAX {
            let oldest = self.results.pop_front();
            bytes -= oldest.map_or(0, |result| result.idempotency_key.len());
        }
    }

    /// An empty epoch is taken as the current one.
    fn is_newer(&self, version: &Version) -> bool {
        let Some(newest) = &self.version else { return true };
        let is_of_epoch = version.epoch.is_empty() || version.epoch == newest.epoch;
        !is_of_epoch || version.number > newest.number
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Retention;
    use super::*;
    use crate::model::Publication;

    const TTL: Duration = Duration::from_secs(60);

    fn publish(key: Option<&str>, version: Option<u64>) -> Publish {
        Publish {
            publication: Publication::default(),
            retention: Some(Retention { size: 10, ttl: TTL, meta_ttl: TTL }),
            delta: false,
            idempotency_key: key.map(Into::into),
            version: version.map(|number| Version { number, epoch: "".into() }),
            sent_until: None,
        }
    }

    fn append(tail: &Tail, count: usize, publish: &Publish, now_ms: u64) -> Tail {
        let entry = tail.next(vec![Bytes::from_static(b"r"); count], publish, TTL, now_ms);
        Tail::after(tail.sequence + 7, entry)
    }

    #[test]
    fn offsets_follow_one_another_in_one_epoch() {
        let plain = publish(None, None);
        let first = append(&Tail::of(None), 1, &plain, 0);
        let second = append(&first, 3, &plain, 10);
        let (one, two) = (first.position().expect("begun"), second.position().expect("begun"));
        assert_eq!((one.offset, two.offset, one.epoch == two.epoch), (1, 4, true));
        assert_ne!(second.begin_anew(20).position.expect("a place").epoch, two.epoch);
        assert!(first.has_lost(Some(two)) && !second.has_lost(Some(one)) && !second.has_lost(None));
    }

    #[test]
    fn what_expired_stays_expired_when_more_comes() {
        let plain = publish(None, None);
        let first = append(&Tail::of(None), 2, &plain, 0);
        let soon = append(&first, 1, &plain, 59_000);
        let late = append(&first, 1, &plain, 60_000);
        let floor = |tail: &Tail| tail.entry.as_ref().map(|entry| entry.floor);
        assert_eq!((floor(&soon), floor(&late)), (Some(0), Some(2)));
        assert_eq!(floor(&append(&late, 1, &plain, 60_001)), Some(2));
    }

    #[test]
    fn a_repeated_key_and_an_old_version_come_to_what_was_there() {
        let keyed = append(&Tail::of(None), 1, &publish(Some("k"), None), 0);
        let later = append(&keyed, 5, &publish(None, Some(4)), 1000);
        assert_eq!(later.find_outcome(&publish(Some("k"), None), 299_999), keyed.position());
        assert_eq!(later.find_outcome(&publish(Some("k"), None), 300_000), None, "five minutes are over");
        assert_eq!(later.find_outcome(&publish(Some("other"), None), 1000), None);
        assert_eq!(later.find_outcome(&publish(None, Some(4)), 1000), later.position());
        assert_eq!(later.find_outcome(&publish(None, Some(5)), 1000), None);
        assert_eq!(Tail::after(9, later.begin_anew(0)).find_outcome(&publish(None, Some(1)), 0), None);
    }
}
