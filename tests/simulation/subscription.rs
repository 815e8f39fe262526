//! One subscription as its client sees it: what it was given, and where it stands.

use fanfare::model::ClientId;

use super::fossil;
use super::granted::End;
use super::ledger::{Checked, Ledger, Promise, Publisher, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::wire::{Position, Publication, Said, is_payload, number_in};
use super::world::Micros;

#[derive(Debug)]
pub struct Subscription {
    pub channel: ChannelIndex,
    /// When its client read that it is subscribed.
    pub began: Micros,
    /// The last position that the client holds; `None` where it is not told about gaps.
    pub position: Option<Position>,
    pub wants_joins: bool,
    pub reads: Reads,
    /// Who made it.
    pub origin: Origin,
    /// Presence leaves it out.
    pub is_hidden: bool,
    pub end: Option<End>,
    /// Its client was told that it joined itself.
    pub has_joined: bool,
    /// Whoever joined and did not leave, as far as its client was told.
    joined: Vec<ClientId>,
    /// Somebody is said to have joined twice. Only a lost leave explains that.
    pub joined_twice: Option<ClientId>,
    /// Numbers of the publications that it was given.
    pub log: Vec<u32>,
    /// The application has ended it, and was answered: nothing is given from this publication on.
    pub ends_before: Option<u32>,
    /// The newest publication of each publisher.
    newest: Vec<(Publisher, u32)>,
}

/// Who made a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    /// The server: for the connection's token, or by the API's grant of this number; on this shard.
    Server {
        by: Option<u32>,
        shard: usize,
    },
}

/// How it is given publications.
#[derive(Debug)]
pub enum Reads {
    Payloads,
    /// `base` is the payload of the last one.
    Deltas {
        base: Option<Vec<u8>>,
    },
}

impl Reads {
    /// The publication's number.
    fn read(&mut self, publication: &Publication) -> Result<u32, String> {
        let Reads::Deltas { base } = self else {
            return match &publication.said {
                Said::Value => Ok(publication.number),
                Said::Whole(payload) if is_payload(payload) => Ok(publication.number),
                said => Err(format!("{said:?} for one who reads no deltas")),
            };
        };
        let payload = match (&publication.said, &*base) {
            (Said::Whole(payload), _) => payload.clone(),
            (Said::Patch(patch), Some(base)) => fossil::apply(base, patch)?,
            (said, base) => return Err(format!("{said:?} for a reader of deltas with the base {base:?}")),
        };
        if !is_payload(&payload) {
            return Err(format!("a payload that nobody published: {:?}", String::from_utf8_lossy(&payload)));
        }
        number_in(base.insert(payload))
    }
}

impl Subscription {
    pub fn new(channel: ChannelIndex, began: Micros, position: Option<Position>, wants_joins: bool) -> Subscription {
        Subscription {
            channel,
            began,
            position,
            wants_joins,
            origin: Origin::Client,
            is_hidden: false,
            end: None,
            reads: Reads::Payloads,
            has_joined: false,
            joined: Vec::new(),
            joined_twice: None,
            log: Vec::new(),
            ends_before: None,
            newest: Vec::new(),
        }
    }

    /// The client is given one more publication, live or recovered.
    pub fn given(&mut self, now: Micros, publication: &Publication, ledger: &mut Ledger) -> Checked {
        let name = CHANNELS[self.channel].name;
        let number = match self.reads.read(publication) {
            Ok(number) => number,
            Err(what) => return violated(Promise::Protocol, format!("{name}: {what}")),
        };
        let published = ledger.saw(self.channel, number, publication.publisher, publication.version)?;
        if self.ends_before.is_some_and(|end| number >= end) {
            return violated(Promise::I3, format!("{name}: {number} came after the application had ended it"));
        }
        // One publisher's publications have rising numbers: a lower one comes late, the same twice.
        match self.newest.iter_mut().find(|(publisher, _)| *publisher == published.publisher) {
            // What was asked for again, or is in no stream of a broker, has no place among the others.
            Some(_) if published.is_free() && !self.log.contains(&number) => {}
            Some((_, newest)) if *newest >= number => {
                return violated(Promise::I1, format!("{name}: {number} came after {newest} of the same publisher"));
            }
            Some((_, newest)) => *newest = number,
            None => self.newest.push((published.publisher, number)),
        }
        self.log.push(number);
        self.step(now, number, publication, published.skips_history, ledger)
    }

    /// The client is told that somebody joined, itself perhaps.
    pub fn told_of_join(&mut self, id: ClientId, own: Option<ClientId>) {
        self.has_joined |= own == Some(id);
        if self.joined.contains(&id) {
            self.joined_twice = Some(id);
        } else {
            self.joined.push(id);
        }
    }

    pub fn told_of_leave(&mut self, id: ClientId) {
        self.joined.retain(|joined| *joined != id);
    }

    /// Whether it holds a position that something newer is known to follow for longer than since
    /// `before`.
    pub fn is_late(&self, before: Micros, ledger: &Ledger) -> Option<Position> {
        let held = self.position?;
        let next = Position { offset: held.offset + 1, ..held };
        ledger.first_seen(self.channel, next).filter(|seen| *seen < before).map(|_| next)
    }

    /// The position moves on by one, or something is missing or repeated.
    fn step(
        &mut self,
        now: Micros,
        number: u32,
        publication: &Publication,
        skips_history: bool,
        ledger: &mut Ledger,
    ) -> Checked {
        let kind = CHANNELS[self.channel].kind;
        let name = CHANNELS[self.channel].name;
        let Publication { offset, epoch, .. } = *publication;
        if (offset > 0) != (kind.has_history() && !skips_history) {
            return violated(Promise::Protocol, format!("{name}: publication {number} came with offset {offset}"));
        }
        let Some(held) = &mut self.position else { return Ok(()) };
        if offset == 0 {
            return Ok(());
        }
        if epoch.is_some_and(|epoch| epoch != held.epoch) {
            return violated(Promise::I2, format!("{name}: another stream began in silence, with {number}"));
        }
        if offset <= held.offset {
            return violated(Promise::I1, format!("{name}: offset {offset} came after {}", held.offset));
        }
        if offset > held.offset + 1 {
            return violated(Promise::I2, format!("{name}: offset {offset} came after {} in silence", held.offset));
        }
        held.offset = offset;
        let held = *held;
        ledger.saw_at(now, self.channel, held, number)
    }
}
