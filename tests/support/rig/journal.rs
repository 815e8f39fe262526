//! All that publishers sent and readers received, in the order in which the test saw it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::api::{Api, message};

/// A numbered publication of one publisher: no two are the same, however often one is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    pub publisher: u32,
    pub number: u64,
}

/// A place in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

/// How a subscription began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    New,
    Recovered,
    /// It was told that something is missing.
    NotRecovered,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// Before the request leaves; once for each attempt.
    Sent {
        channel: String,
        message: Message,
    },
    /// The publisher has the success reply; in a stream with its position.
    Confirmed {
        channel: String,
        message: Message,
        position: Option<Position>,
    },
    /// An error, or no answer: it may have happened or not.
    Unconfirmed {
        channel: String,
        message: Message,
        reason: String,
    },
    /// `position` is where the reader stands from now on; `None` in a plain channel.
    Subscribed {
        reader: u32,
        channel: String,
        start: Start,
        position: Option<Position>,
    },
    Received {
        reader: u32,
        channel: String,
        message: Message,
        offset: u64,
    },
    /// The subscription ended, openly: unsubscribed, closed or cut.
    Ended {
        reader: u32,
        channel: String,
        reason: String,
    },
    /// A hub could not be reached at all.
    Refused {
        reader: u32,
        reason: String,
    },
    /// The hub confirmed that this reader is given nothing of the channel any more.
    Revoked {
        reader: u32,
        channel: String,
    },
    /// The reader may have it again.
    Granted {
        reader: u32,
        channel: String,
    },
    /// The history at the end, oldest first, as one hub tells it.
    History {
        channel: String,
        top: Position,
        publications: Vec<(u64, Message)>,
    },
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Instant,
    pub event: Event,
}

/// Shared by all who take part.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    pub fn write(&self, event: Event) {
        let mut entries = self.0.lock().expect("nobody panics with it");
        // Under the lock, so that times are in the order of the entries.
        entries.push(Entry { at: Instant::now(), event });
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().expect("nobody panics with it").clone()
    }

    pub fn count(&self, is_counted: impl Fn(&Event) -> bool) -> usize {
        let entries = self.0.lock().expect("nobody panics with it");
        entries.iter().filter(|entry| is_counted(&entry.event)).count()
    }

    /// What was written after `since`.
    pub fn entries_after(&self, since: Instant) -> Vec<Entry> {
        let entries = self.0.lock().expect("nobody panics with it");
        entries[entries.partition_point(|entry| entry.at <= since)..].to_vec()
    }

    pub fn count_after(&self, since: Instant, is_counted: impl Fn(&Event) -> bool) -> usize {
        let entries = self.0.lock().expect("nobody panics with it");
        let from = entries.partition_point(|entry| entry.at <= since);
        entries[from..].iter().filter(|entry| is_counted(&entry.event)).count()
    }

    /// Reads the history of a channel and writes it down; gives where the stream stands.
    pub async fn read_history(&self, api: &Api, channel: &str) -> Position {
        let (top, publications) = api.history(channel).await.unwrap_or_else(|failure| panic!("{channel}: {failure:?}"));
        let offset = |publication: &serde_json::Value| publication["offset"].as_u64().unwrap_or(0);
        let publications = publications.iter().map(|publication| (offset(publication), message(publication))).collect();
        self.write(Event::History { channel: channel.to_owned(), top: top.clone(), publications });
        top
    }

    /// What was written after the first `seen` entries.
    fn after(&self, seen: usize) -> Vec<Entry> {
        self.0.lock().expect("nobody panics with it")[seen..].to_vec()
    }
}

/// A subscriber's place: who, and in which channel.
pub type Seat = (u32, String);

/// Where each reader stands that is subscribed, as far as the journal was read.
pub struct Standing {
    journal: Journal,
    seen: usize,
    positions: HashMap<Seat, Option<Position>>,
}

impl Standing {
    pub fn of(journal: &Journal) -> Standing {
        Standing { journal: journal.clone(), seen: 0, positions: HashMap::new() }
    }

    /// Waits until `count` readers of `channel` stand at `goal` or past it. Gives whether they came there in time:
    /// whoever did not is left to the checker.
    pub async fn reaches(&mut self, channel: &str, goal: &Position, count: usize, limit: Duration) -> bool {
        let began = Instant::now();
        while self.count(channel, |position| is_at(position, goal)) < count {
            if began.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// How many of a channel stand where `is_counted` says.
    pub fn count(&mut self, channel: &str, is_counted: impl Fn(&Option<Position>) -> bool) -> usize {
        self.read_on();
        self.positions.iter().filter(|((_, of), position)| of == channel && is_counted(position)).count()
    }

    fn read_on(&mut self) {
        let entries = self.journal.after(self.seen);
        self.seen += entries.len();
        for entry in entries {
            match entry.event {
                Event::Subscribed { reader, channel, position, .. } => {
                    self.positions.insert((reader, channel), position);
                }
                Event::Received { reader, channel, offset, .. } => {
                    if let Some(Some(position)) = self.positions.get_mut(&(reader, channel)) {
                        position.offset = offset;
                    }
                }
                Event::Ended { reader, channel, .. } => drop(self.positions.remove(&(reader, channel))),
                _ => {}
            }
        }
    }
}

fn is_at(position: &Option<Position>, goal: &Position) -> bool {
    position.as_ref().is_some_and(|position| position.epoch == goal.epoch && position.offset >= goal.offset)
}
