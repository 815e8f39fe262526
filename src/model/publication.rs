//! Messages published to channels, and positions in their streams.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::ClientInfo;

pub type Tags = BTreeMap<String, String>;

/// What a payload is, as far as whoever read it looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataShape {
    /// Nobody looked.
    #[default]
    Unknown,
    /// No JSON, or nothing at all.
    Bytes,
    /// A JSON object.
    Object,
    /// Any other JSON value.
    Value,
}

impl DataShape {
    /// That of `data` which has been read as JSON.
    pub fn of_json(data: &[u8]) -> DataShape {
        match data.trim_ascii_start().first() {
            None => DataShape::Bytes,
            Some(b'{') => DataShape::Object,
            Some(_) => DataShape::Value,
        }
    }
}

/// One message published to a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The publisher's payload; never empty unless the namespace allows it.
    pub data: Bytes,
    /// Who published; only for publications that come from clients.
    pub info: Option<Arc<ClientInfo>>,
    /// Place in the channel's stream, from 1 without gaps; 0 in channels without history.
    pub offset: u64,
    pub tags: Option<Box<Tags>>,
    /// Number of the version that its publisher gave; 0: none.
    pub version: u64,
}

/// Which state of something a publication tells, as its publisher counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1.
    pub number: u64,
    /// Numbers of different epochs say nothing about each other; may be empty.
    pub epoch: Box<str>,
}

impl Version {
    /// An empty epoch is taken as that of `newest`; one of another epoch is newer.
    pub fn is_newer_than(&self, newest: &Version) -> bool {
        let is_of_epoch = self.epoch.is_empty() || self.epoch == newest.epoch;
        !is_of_epoch || self.number > newest.number
    }
}

/// Names one life of a stream: 8 ASCII letters. Another epoch means that history was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 8]);

impl Epoch {
    /// The first 8 letters of `random` in base 26, lower case.
    pub fn from_random(mut random: u64) -> Epoch {
        let mut letters = [0; 8];
        for letter in &mut letters {
            *letter = b'a' + (random % 26) as u8;
            random /= 26;
        }
        Epoch(letters)
    }

    /// An epoch as [`Epoch::as_str`] says it; `None` for any other text.
    pub fn parse(text: &str) -> Option<Epoch> {
        let letters = <[u8; 8]>::try_from(text.as_bytes()).ok()?;
        letters.iter().all(u8::is_ascii_lowercase).then_some(Epoch(letters))
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("an epoch is built of ASCII letters")
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A place in a stream. Epoch before offset: an offset of another epoch names other publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: u64,
}
