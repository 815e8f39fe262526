//! What was published, and all that was ever told about it: one book for the whole world.
//!
//! Nobody looks into a shard here. Two clients that were told different things, or one that was told
//! what nobody published, are how a broken promise shows.

use std::collections::HashMap;

use fanfare::model::ClientId;

use super::namespaces::{CHANNELS, ChannelIndex};
use super::wire::{Epoch, Position};
use super::world::Micros;

/// A promise of the hub, by its name in the design (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// No duplicate or reordering within a subscription.
    I1,
    /// No silent gap.
    I2,
    /// Delivered only to the entitled.
    I3,
    /// What is confirmed is in the stream.
    I4,
    /// Bounds, and progress within them.
    I5,
    /// The wire: what was said is no sentence of the protocol, or not the answer to the question.
    Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    pub what: String,
}

pub type Checked = Result<(), Violation>;

pub fn violated<T>(promise: Promise, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { promise, what: what.into() })
}

/// Who published: one connection of a client, or the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Publisher {
    Connection(u32),
    Api,
    /// The API of another node.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not answered, perhaps never.
    Open,
    Confirmed,
    Refused,
}

#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub channel: ChannelIndex,
    pub publisher: Publisher,
    /// Id of the publishing client; none for the API.
    pub client: Option<ClientId>,
    pub skips_history: bool,
    /// 0: none.
    pub version: u64,
    pub fate: Fate,
    /// It was not published when it was asked for, and perhaps was later.
    pub has_failed: bool,
    /// Its channel is fed by a broker, which keeps the order of streams.
    pub is_brokered: bool,
    was_seen: bool,
}

/// One life of a channel's stream: number of the publication at each offset, as far as it was seen,
/// and when that was.
#[derive(Debug)]
struct StreamSeen {
    epoch: Epoch,
    places: Vec<Option<(u32, Micros)>>,
}

impl Published {
    /// Whether it may come before or behind the publisher's others.
    pub fn is_free(&self) -> bool {
        self.has_failed || (self.is_brokered && self.skips_history)
    }
}

#[derive(Default)]
pub struct Ledger {
    /// The channels that a broker feeds.
    brokered: Vec<bool>,
    publications: Vec<Published>,
    streams: Vec<Vec<StreamSeen>>,
    place_of: HashMap<u32, (Epoch, u64)>,
    /// What each subscription that ended had been given, in its order.
    pub logs: Vec<Log>,
}

pub struct Log {
    pub channel: ChannelIndex,
    pub numbers: Vec<u32>,
    /// The application was answered, before this publication, that there is the subscription.
    pub owed_from: Option<u32>,
}

impl Ledger {
    pub fn new(brokered: Vec<bool>) -> Ledger {
        Ledger { brokered, streams: CHANNELS.iter().map(|_| Vec::new()).collect(), ..Ledger::default() }
    }

    /// Takes note of a publication before it is sent; returns its number.
    pub fn publish(
        &mut self,
        channel: ChannelIndex,
        publisher: Publisher,
        client: Option<ClientId>,
        skips_history: bool,
    ) -> u32 {
        self.publications.push(Published {
            channel,
            publisher,
            client,
            skips_history,
            version: 0,
            fate: Fate::Open,
            has_failed: false,
            is_brokered: self.brokered[channel],
            was_seen: false,
        });
        (self.publications.len() - 1) as u32
    }

    /// The same for a version, which only the API publishes.
    pub fn publish_version(&mut self, channel: ChannelIndex, version: u64) -> u32 {
        let number = self.publish(channel, Publisher::Api, None, false);
        self.publications[number as usize].version = version;
        number
    }

    pub fn published(&self) -> &[Published] {
        &self.publications
    }

    /// The broker was away when it was asked for.
    pub fn failed(&mut self, number: u32) {
        self.publications[number as usize].has_failed = true;
    }

    pub fn decide(&mut self, number: u32, fate: Fate) -> Checked {
        let published = &mut self.publications[number as usize];
        published.fate = fate;
        if fate == Fate::Refused && published.was_seen {
            return violated(Promise::I3, format!("publication {number} was delivered and then refused"));
        }
        Ok(())
    }

    /// Somebody was shown publication `number` in `channel`, published by `client`.
    pub fn saw(
        &mut self,
        channel: ChannelIndex,
        number: u32,
        client: Option<ClientId>,
        version: u64,
    ) -> Result<Published, Violation> {
        let name = CHANNELS[channel].name;
        let Some(published) = self.publications.get_mut(number as usize) else {
            return violated(Promise::I3, format!("{name}: publication {number} does not exist"));
        };
        published.was_seen = true;
        if published.channel != channel {
            let other = CHANNELS[published.channel].name;
            return violated(Promise::I3, format!("publication {number} of {other} was delivered in {name}"));
        }
        if published.client != client {
            return violated(
                Promise::I3,
                format!("{name}: publication {number} is said to be by {client:?}: {published:?}"),
            );
        }
        if published.version != version {
            return violated(Promise::I3, format!("{name}: publication {number} is said to be version {version}"));
        }
        if published.fate == Fate::Refused {
            return violated(Promise::I3, format!("{name}: publication {number} was refused and then delivered"));
        }
        Ok(*published)
    }

    /// Somebody was told that publication `number` stands at `position`. There is one at each place,
    /// and one place for each.
    pub fn saw_at(&mut self, now: Micros, channel: ChannelIndex, position: Position, number: u32) -> Checked {
        let name = CHANNELS[channel].name;
        let Position { epoch, offset } = position;
        let streams = &mut self.streams[channel];
        let at = match streams.iter().position(|stream| stream.epoch == epoch) {
            Some(at) => at,
            None => {
                streams.push(StreamSeen { epoch, places: Vec::new() });
                streams.len() - 1
            }
        };
        let places = &mut streams[at].places;
        if places.len() <= offset as usize {
            places.resize(offset as usize + 1, None);
        }
        match places[offset as usize] {
            Some((known, _)) if known != number => {
                return violated(
                    Promise::I1,
                    format!("{name}: both {known} and {number} are told to stand at offset {offset}"),
                );
            }
            Some(_) => {}
            None => {
                places[offset as usize] = Some((number, now));
                self.check_versions(channel, at, offset as usize, number)?;
            }
        }
        let place = *self.place_of.entry(number).or_insert((epoch, offset));
        if place != (epoch, offset) {
            let other = place.1;
            return violated(
                Promise::I1,
                format!("{name}: publication {number} is told to stand at {other} and at {offset}"),
            );
        }
        Ok(())
    }

    /// Versions only grow along a stream.
    fn check_versions(&self, channel: ChannelIndex, stream: usize, offset: usize, number: u32) -> Checked {
        let version = self.publications[number as usize].version;
        if version == 0 {
            return Ok(());
        }
        let (before, after) = self.streams[channel][stream].places.split_at(offset);
        let version_at = |place: &Option<(u32, Micros)>| {
            place.map(|(number, _)| self.publications[number as usize].version).filter(|version| *version > 0)
        };
        let older = before.iter().rev().find_map(version_at);
        let newer = after[1..].iter().find_map(version_at);
        if older.is_some_and(|older| older >= version) || newer.is_some_and(|newer| newer <= version) {
            let name = CHANNELS[channel].name;
            return violated(
                Promise::I1,
                format!("{name}: version {version} of {number} stands between {older:?} and {newer:?}"),
            );
        }
        Ok(())
    }

    /// When somebody was first shown what stands at `position`.
    pub fn first_seen(&self, channel: ChannelIndex, position: Position) -> Option<Micros> {
        let stream = self.streams[channel].iter().find(|stream| stream.epoch == position.epoch)?;
        stream.places.get(position.offset as usize).copied().flatten().map(|(_, when)| when)
    }

    /// Whether somebody was told where the publication stands in its stream.
    pub fn has_place(&self, number: u32) -> bool {
        self.place_of.contains_key(&number)
    }

    /// How many lives of the channel's stream there were in which something was published.
    pub fn lives(&self, channel: ChannelIndex) -> usize {
        self.streams[channel].len()
    }

    /// A subscription is over.
    pub fn keep_log(&mut self, channel: ChannelIndex, numbers: Vec<u32>, owed_from: Option<u32>) {
        if !numbers.is_empty() {
            self.logs.push(Log { channel, numbers, owed_from });
        }
    }
}
