//! What one message of a channel says: `proto/nats.proto`.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;

use super::super::contract::Published;
use super::super::record::{self, NoRecord};
use crate::limits::IDEMPOTENT_RESULT_TTL;
use crate::model::{Epoch, Position, Version};

pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/fanfare.nats.rs"));
}

/// Publications of one channel that follow one another, as they are carried and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of the last of its records; without records: where the stream stands. `None`: it is kept nowhere.
    pub position: Option<Position>,
    pub records: Vec<Bytes>,
    pub written_ms: u64,
    pub version: Option<Version>,
    pub results: VecDeque<KeyResult>,
    /// Publications up to this offset have expired.
    pub floor: u64,
    /// Numbers of the messages before it, the newest first: who reads back asks for several at a time.
    pub previous: Vec<u64>,
}

/// What a publish with an idempotency key came to.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyResult {
    pub idempotency_key: Box<str>,
    pub position: Position,
    pub written_ms: u64,
}

impl Entry {
    /// One record that is carried and not kept.
    pub fn passing(record: Vec<u8>) -> Entry {
        let records = vec![record.into()];
        Entry {
            position: None,
            records,
            written_ms: 0,
            version: None,
            results: VecDeque::new(),
            floor: 0,
            previous: Vec::new(),
        }
    }

    pub fn encode(&self) -> Bytes {
        let epoch = self.position.map_or_else(String::new, |position| position.epoch.as_str().to_owned());
        let version = self.version.as_ref();
        let entry = wire::Entry {
            epoch,
            offset: self.position.map_or(0, |position| position.offset),
            records: self.records.clone(),
            written_ms: self.written_ms,
            version: version.map(|version| wire::Version { number: version.number, epoch: version.epoch.to_string() }),
            results: self.results.iter().map(KeyResult::to_wire).collect(),
            floor: self.floor,
            previous: self.previous.clone(),
        };
        entry.encode_to_vec().into()
    }

    /// Reads one. Errors: nobody of ours wrote it, or it is damaged.
    pub fn decode(bytes: Bytes) -> Result<Entry, NoRecord> {
        let entry = wire::Entry::decode(bytes).map_err(|_| NoRecord)?;
        let position = match entry.epoch.as_str() {
            "" => None,
            epoch => Some(Position { epoch: Epoch::parse(epoch).ok_or(NoRecord)?, offset: entry.offset }),
        };
        let has_place = position.is_none_or(|position| entry.records.len() as u64 <= position.offset);
        if !has_place || (position.is_none() && entry.records.is_empty()) {
            return Err(NoRecord);
        }
        Ok(Entry {
            position,
            records: entry.records,
            written_ms: entry.written_ms,
            version: entry.version.map(|read| Version { number: read.number, epoch: read.epoch.into() }),
            results: entry.results.into_iter().map(KeyResult::from_wire).collect::<Result<_, _>>()?,
            floor: entry.floor,
            previous: entry.previous,
        })
    }

    /// What its records say, oldest first.
    pub fn published(self) -> impl Iterator<Item = Result<Published, NoRecord>> {
        let first = self.position.map(|position| position.offset - self.records.len() as u64 + 1);
        let epoch = self.position.map(|position| position.epoch);
        let offsets = (0..).map(move |n| first.map_or(0, |first| first + n));
        offsets.zip(self.records).map(move |(offset, record)| record::decode(record, offset, epoch))
    }

    /// Whether what the stream holds has expired by `now_ms`, the last publication being `ttl` old.
    pub fn is_expired(&self, now_ms: u64, ttl: Duration) -> bool {
        now_ms >= self.written_ms.saturating_add(ttl.as_millis() as u64)
    }
}

impl KeyResult {
    pub fn is_expired(&self, now_ms: u64) -> bool {
        now_ms >= self.written_ms.saturating_add(IDEMPOTENT_RESULT_TTL.as_millis() as u64)
    }

    fn to_wire(&self) -> wire::Result {
        wire::Result {
            idempotency_key: self.idempotency_key.to_string(),
            epoch: self.position.epoch.as_str().to_owned(),
            offset: self.position.offset,
            written_ms: self.written_ms,
        }
    }

    fn from_wire(read: wire::Result) -> Result<KeyResult, NoRecord> {
        let epoch = Epoch::parse(&read.epoch).ok_or(NoRecord)?;
        let position = Position { epoch, offset: read.offset };
        Ok(KeyResult { idempotency_key: read.idempotency_key.into(), position, written_ms: read.written_ms })
    }
}

/// Milliseconds of Unix time: nodes have nothing else in common.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::Membership;
    use super::*;
    use crate::model::{ClientId, ClientInfo, Publication};

    fn entry(offset: u64, texts: &[&'static str]) -> Entry {
        let record = |text: &&'static str| {
            let data = Bytes::from_static(text.as_bytes());
            Bytes::from(record::encode_publication(&Publication { data, ..Publication::default() }, false))
        };
        let position = Position { epoch: Epoch::from_random(7), offset };
        let result = KeyResult { idempotency_key: "k".into(), position, written_ms: 5 };
        Entry {
            position: Some(position),
            records: texts.iter().map(record).collect(),
            written_ms: 1000,
            version: Some(Version { number: 3, epoch: "v".into() }),
            results: VecDeque::from([result]),
            floor: 4,
            previous: vec![700, 3],
        }
    }

    #[test]
    fn an_entry_comes_back_with_its_offsets() {
        let written = entry(9, &["a", "b"]);
        let read = Entry::decode(written.encode()).expect("an entry");
        assert_eq!(read, written);
        let offsets: Vec<u64> = read
            .published()
            .map(|published| match published {
                Ok(Published::Publication { publication, .. }) => publication.offset,
                _ => panic!("a publication"),
            })
            .collect();
        assert_eq!(offsets, [8, 9]);
    }

    #[test]
    fn a_membership_passes_without_a_place() {
        let client = ClientId::from_random([1; 16]);
        let info = ClientInfo { user: "u".into(), client, conn_info: None, chan_info: None };
        let passing = Entry::passing(record::encode_membership(Membership::Joined, &info));
        let read = Entry::decode(passing.encode()).expect("an entry");
        assert!(matches!(read.published().next(), Some(Ok(Published::Membership(Membership::Joined, _)))));
    }

    #[test]
    fn what_is_no_entry_is_said_to_be_none() {
        let too_many =
            Entry { position: Some(Position { epoch: Epoch::from_random(1), offset: 1 }), ..entry(9, &["a", "b"]) };
        for bytes in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from_static(b"{\"a\":1}"), too_many.encode()] {
            assert!(Entry::decode(bytes.clone()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_kept_expires_after_the_last_publication() {
        let entry = entry(9, &["a"]);
        assert!(!entry.is_expired(60_999, Duration::from_secs(60)));
        assert!(entry.is_expired(61_000, Duration::from_secs(60)));
        assert!(!entry.results[0].is_expired(300_004));
        assert!(entry.results[0].is_expired(300_005));
    }
}
