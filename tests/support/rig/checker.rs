//! Holds a journal against the promises of `docs/guarantees.md`:
//!
//! * **I1** nobody is given a publication twice, or out of order, within one subscription; an offset of an epoch
//!   means one publication, for everybody, for ever. A publication that was answered with an error and came out
//!   nevertheless may come late in a channel without history: its publisher went on.
//! * **I2** no silent gap: between two positions that a reader holds it has received everything, or was told. A
//!   reader that is subscribed at the end stands where the stream ends.
//! * **I3** nothing that is sent after a withdrawal was confirmed reaches the reader it was confirmed for.
//! * **I4** what was confirmed is in the history, and is there once however often it was sent.

use std::collections::{HashMap, HashSet};

use super::journal::{Entry, Event, Message, Position, Start};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    OrderedOnce,
    NoSilentGap,
    Entitlement,
    ConfirmedKept,
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

/// What the engine under test may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// What was confirmed stays.
    None,
    /// The stream may be gone, and another epoch says so.
    WithNewEpoch,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub losses: Losses,
    /// Older publications than these are trimmed.
    pub history_size: usize,
}

/// What was seen, for reports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub confirmed: usize,
    pub unconfirmed: usize,
    pub received: usize,
    pub recovered: usize,
    pub not_recovered: usize,
    pub cuts: usize,
    pub refused: usize,
}

/// Reads the whole journal; every violation is told, up to a screenful.
pub fn check(entries: &[Entry], rules: Rules) -> Result<Summary, Vec<Violation>> {
    let mut checker = Checker { rules, ..Checker::new(rules) };
    for (at, entry) in entries.iter().enumerate() {
        checker.see(at, &entry.event);
    }
    checker.finish();
    if checker.violations.is_empty() { Ok(checker.summary) } else { Err(checker.violations) }
}

const VIOLATIONS_MAX: usize = 20;

/// A subscription from its beginning to its end.
#[derive(Default)]
struct Subscription {
    /// Where the reader stands; kept after the end, for the recovery.
    position: Option<Position>,
    is_live: bool,
    /// In a plain channel: the highest number it was given of each publisher.
    last_numbers: HashMap<u32, u64>,
    /// In a plain channel: all that it was given.
    given: HashSet<Message>,
}

type Seat = (u32, String);

struct Checker {
    rules: Rules,
    summary: Summary,
    violations: Vec<Violation>,
    subscriptions: HashMap<Seat, Subscription>,
    /// What each place of each stream holds.
    meaning: HashMap<(String, Position), Message>,
    /// The same the other way round.
    places: HashMap<(String, String, Message), u64>,
    /// Where in the journal each message was first sent.
    first_sent: HashMap<(String, Message), usize>,
    /// Since when a reader may not have a channel.
    revoked: HashMap<Seat, usize>,
    confirmed: Vec<(String, Message, Option<Position>)>,
    /// What was answered with an error, or not at all.
    unconfirmed: HashSet<(String, Message)>,
    histories: HashMap<String, (Position, HashMap<u64, Message>)>,
}

impl Checker {
    fn new(rules: Rules) -> Checker {
        Checker {
            rules,
            summary: Summary::default(),
            violations: Vec::new(),
            subscriptions: HashMap::new(),
            meaning: HashMap::new(),
            places: HashMap::new(),
            first_sent: HashMap::new(),
            revoked: HashMap::new(),
            confirmed: Vec::new(),
            unconfirmed: HashSet::new(),
            histories: HashMap::new(),
        }
    }

    fn fail(&mut self, invariant: Invariant, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, what });
        }
    }

    fn see(&mut self, at: usize, event: &Event) {
        match event {
            Event::Sent { channel, message } => {
                self.first_sent.entry((channel.clone(), *message)).or_insert(at);
            }
            Event::Confirmed { channel, message, position } => self.see_confirmed(channel, *message, position),
            Event::Unconfirmed { channel, message, .. } => {
                self.summary.unconfirmed += 1;
                self.unconfirmed.insert((channel.clone(), *message));
            }
            Event::Subscribed { reader, channel, start, position } => {
                self.see_subscribed((*reader, channel.clone()), *start, position);
            }
            Event::Received { reader, channel, message, offset } => {
                self.see_received((*reader, channel.clone()), *message, *offset);
            }
            Event::Ended { reader, channel, .. } => {
                self.summary.cuts += 1;
                self.subscriptions.entry((*reader, channel.clone())).or_default().is_live = false;
            }
            Event::Refused { .. } => self.summary.refused += 1,
            Event::Revoked { reader, channel } => {
                self.revoked.insert((*reader, channel.clone()), at);
            }
            Event::Granted { reader, channel } => {
                self.revoked.remove(&(*reader, channel.clone()));
            }
            Event::History { channel, top, publications } => self.see_history(channel, top, publications),
        }
    }

    fn see_confirmed(&mut self, channel: &str, message: Message, position: &Option<Position>) {
        self.summary.confirmed += 1;
        if let Some(position) = position {
            self.place(channel, position, message, "confirmed");
        }
        self.confirmed.push((channel.to_owned(), message, position.clone()));
    }

    /// One place means one message, and one message has one place.
    fn place(&mut self, channel: &str, position: &Position, message: Message, how: &str) {
        let before = *self.meaning.entry((channel.to_owned(), position.clone())).or_insert(message);
        if before != message {
            self.fail(Invariant::OrderedOnce, format!("{channel} {position:?} is {before:?} and, {how}, {message:?}"));
        }
        let key = (channel.to_owned(), position.epoch.clone(), message);
        let offset = *self.places.entry(key).or_insert(position.offset);
        if offset != position.offset {
            let what = format!("{channel}: {message:?} stands at {offset} and, {how}, at {position:?}");
            self.fail(Invariant::ConfirmedKept, what);
        }
    }

    fn see_subscribed(&mut self, seat: Seat, start: Start, position: &Option<Position>) {
        match start {
            Start::Recovered => self.summary.recovered += 1,
            Start::NotRecovered => self.summary.not_recovered += 1,
            Start::New => {}
        }
        let before = self.subscriptions.remove(&seat).unwrap_or_default();
        if before.is_live {
            self.fail(Invariant::OrderedOnce, format!("{seat:?} is subscribed twice"));
        }
        if let (Some(old), Some(new)) = (&before.position, position) {
            if start == Start::Recovered && old != new {
                self.fail(Invariant::NoSilentGap, format!("{seat:?} stood at {old:?} and recovered from {new:?}"));
            }
            if old.epoch == new.epoch && new.offset < old.offset {
                self.fail(Invariant::NoSilentGap, format!("{seat:?} stood at {old:?} and the stream is at {new:?}"));
            }
        }
        let subscription = Subscription { position: position.clone(), is_live: true, ..Subscription::default() };
        self.subscriptions.insert(seat, subscription);
    }

    fn see_received(&mut self, seat: Seat, message: Message, offset: u64) {
        self.summary.received += 1;
        self.check_entitlement(&seat, message);
        let subscription = self.subscriptions.entry(seat.clone()).or_default();
        if !subscription.is_live {
            return self.fail(Invariant::Entitlement, format!("{seat:?} is not subscribed and was given {message:?}"));
        }
        let Some(position) = &mut subscription.position else {
            return self.see_received_plain(seat, message);
        };
        let before = position.offset;
        position.offset = position.offset.max(offset);
        let place = Position { epoch: position.epoch.clone(), offset };
        if offset <= before {
            self.fail(Invariant::OrderedOnce, format!("{seat:?} stood at {before} and was given {place:?}"));
        } else if offset > before + 1 {
            self.fail(Invariant::NoSilentGap, format!("{seat:?} stood at {before} and was given {place:?}"));
        }
        self.place(&seat.1, &place, message, "received");
    }

    /// Without offsets: a publisher's numbers only grow, but for those that it was not told the end of.
    fn see_received_plain(&mut self, seat: Seat, message: Message) {
        let may_be_late = self.unconfirmed.contains(&(seat.1.clone(), message));
        let subscription = self.subscriptions.entry(seat.clone()).or_default();
        let is_twice = !subscription.given.insert(message);
        let highest = subscription.last_numbers.entry(message.publisher).or_default();
        let is_late = message.number < *highest && !may_be_late;
        if is_twice || is_late {
            let what = format!("{seat:?} was given {message:?} after number {highest}");
            return self.fail(Invariant::OrderedOnce, what);
        }
        *highest = message.number.max(*highest);
    }

    fn check_entitlement(&mut self, seat: &Seat, message: Message) {
        let sent = self.first_sent.get(&(seat.1.clone(), message)).copied();
        let Some(sent) = sent else {
            return self
                .fail(Invariant::Entitlement, format!("{seat:?} was given {message:?}, which nobody sent there"));
        };
        if self.revoked.get(seat).is_some_and(|revoked| sent > *revoked) {
            self.fail(Invariant::Entitlement, format!("{seat:?} was given {message:?}, sent after the withdrawal"));
        }
    }

    fn see_history(&mut self, channel: &str, top: &Position, publications: &[(u64, Message)]) {
        for (offset, message) in publications {
            let place = Position { epoch: top.epoch.clone(), offset: *offset };
            self.place(channel, &place, *message, "in the history");
        }
        let offsets: Vec<u64> = publications.iter().map(|(offset, _)| *offset).collect();
        let is_whole = offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        if !is_whole || offsets.last().is_some_and(|last| *last != top.offset) {
            self.fail(Invariant::ConfirmedKept, format!("the history of {channel} up to {top:?} has {offsets:?}"));
        }
        let seen = (top.clone(), publications.iter().copied().collect());
        let before = self.histories.insert(channel.to_owned(), seen.clone());
        if before.is_some_and(|before| before != seen) {
            self.fail(Invariant::ConfirmedKept, format!("two hubs tell the history of {channel} in two ways"));
        }
    }

    fn finish(&mut self) {
        for (channel, message, position) in std::mem::take(&mut self.confirmed) {
            self.finish_confirmed(&channel, message, position);
        }
        for (seat, subscription) in std::mem::take(&mut self.subscriptions) {
            self.finish_subscription(&seat, &subscription);
        }
    }

    fn finish_confirmed(&mut self, channel: &str, message: Message, position: Option<Position>) {
        let Some((top, kept)) = self.histories.get(channel) else { return };
        let Some(position) = position else {
            return self.fail(Invariant::ConfirmedKept, format!("{channel}: {message:?} is confirmed without a place"));
        };
        let found = kept.get(&position.offset);
        let is_trimmed = position.offset + self.rules.history_size as u64 <= top.offset;
        let is_kept = match top.epoch == position.epoch {
            true => found == Some(&message) || is_trimmed,
            false => self.rules.losses == Losses::WithNewEpoch,
        };
        if !is_kept {
            let what =
                format!("{channel}: {message:?} was confirmed at {position:?}; the stream at {top:?} has {found:?}");
            self.fail(Invariant::ConfirmedKept, what);
        }
    }

    fn finish_subscription(&mut self, seat: &Seat, subscription: &Subscription) {
        let (Some(position), Some((top, _))) = (&subscription.position, self.histories.get(&seat.1)) else { return };
        if subscription.is_live && position != top {
            let what = format!("{seat:?} stands at {position:?} at the end, and the stream at {top:?}");
            self.fail(Invariant::NoSilentGap, what);
        }
    }
}

/// Messages that were received by nobody although somebody was there: for plain channels, where loss is open.
pub fn lost_in_plain(entries: &[Entry], channel: &str) -> usize {
    let mut received = HashSet::new();
    let mut confirmed = HashSet::new();
    for entry in entries {
        match &entry.event {
            Event::Received { channel: of, message, .. } if of == channel => drop(received.insert(*message)),
            Event::Confirmed { channel: of, message, .. } if of == channel => drop(confirmed.insert(*message)),
            _ => {}
        }
    }
    confirmed.difference(&received).count()
}
