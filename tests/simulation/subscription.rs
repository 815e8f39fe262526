//! One subscription as its client sees it: what it was given, and where it stands.

use fanfare::model::ClientId;

use super::ledger::{Checked, Ledger, Promise, Publisher, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::wire::{Position, Publication};
use super::world::Micros;

#[derive(Debug)]
pub struct Subscription {
    pub channel: ChannelIndex,
    /// When its client read that it is subscribed.
    pub began: Micros,
    /// The last position that the client holds; `None` where it is not told about gaps.
    pub position: Option<Position>,
    pub wants_joins: bool,
    /// Its client was told that it joined itself.
    pub has_joined: bool,
    /// Whoever joined and did not leave, as far as its client was told.
    joined: Vec<ClientId>,
    /// Somebody is said to have joined twice. Only a lost leave explains that.
    pub joined_twice: Option<ClientId>,
    /// Numbers of the publications that it was given.
    pub log: Vec<u32>,
    /// The newest publication of each publisher.
    newest: Vec<(Publisher, u32)>,
}

impl Subscription {
    pub fn new(channel: ChannelIndex, began: Micros, position: Option<Position>, wants_joins: bool) -> Subscription {
        Subscription {
            channel,
            began,
            position,
            wants_joins,
            has_joined: false,
            joined: Vec::new(),
            joined_twice: None,
            log: Vec::new(),
            newest: Vec::new(),
        }
    }

    /// The client is given one more publication, live or recovered.
    pub fn given(&mut self, now: Micros, publication: &Publication, ledger: &mut Ledger) -> Checked {
        let name = CHANNELS[self.channel].name;
        let number = publication.number;
        let published = ledger.saw(self.channel, number, publication.publisher)?;
        // One publisher's publications have rising numbers: a lower one comes late, the same twice.
        match self.newest.iter_mut().find(|(publisher, _)| *publisher == published.publisher) {
            Some((_, newest)) if *newest >= number => {
                return violated(Promise::I1, format!("{name}: {number} came after {newest} of the same publisher"));
            }
            Some((_, newest)) => *newest = number,
            None => self.newest.push((published.publisher, number)),
        }
        self.log.push(number);
        self.step(now, publication, published.skips_history, ledger)
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
    fn step(&mut self, now: Micros, publication: &Publication, skips_history: bool, ledger: &mut Ledger) -> Checked {
        let kind = CHANNELS[self.channel].kind;
        let name = CHANNELS[self.channel].name;
        let Publication { number, offset, epoch, .. } = *publication;
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
