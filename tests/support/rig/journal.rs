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
    /// The history at the end, oldest first.
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

    /// When the first event of this kind came after `since`.
    pub fn first_after(&self, since: Instant, is_it: impl Fn(&Event) -> bool) -> Option<Instant> {
        let entries = self.0.lock().expect("nobody panics with it");
        let from = entries.partition_point(|entry| entry.at <= since);
        entries[from..].iter().find(|entry| is_it(&entry.event)).map(|entry| entry.at)
    }

    /// Reads the history of a channel and writes it down; gives where the stream stands.
    pub async fn read_history(&self, api: &Api, channel: &str) -> Position {
        let (top, publications) = api.history(channel).await.unwrap_or_else(|failure| panic!("{channel}: {failure:?}"));
        let offset = |publication: &serde_json::Value| publication["offset"].as_u64().unwrap_or(0);
        let publications = publications.iter().map(|publication| (offset(publication), message(publication))).collect();
        self.write(Event::History { channel: channel.to_owned(), top: top.clone(), publications });
        top
    }

    /// Waits until so many readers stand at `top` of a channel. Whoever does not get there is left to the checker.
    pub async fn await_readers(&self, channel: &str, top: &Position, readers: usize, limit: Duration) -> Duration {
        let began = Instant::now();
        let there = || self.standing(channel).values().filter(|position| *position == top).count();
        while there() < readers && began.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    /// Where each reader stands that is subscribed.
    pub fn standing(&self, channel: &str) -> HashMap<u32, Position> {
        let mut standing: HashMap<u32, Position> = HashMap::new();
        for entry in self.0.lock().expect("nobody panics with it").iter() {
            match &entry.event {
                Event::Subscribed { reader, channel: of, position: Some(position), .. } if of == channel => {
                    standing.insert(*reader, position.clone());
                }
                Event::Received { reader, channel: of, offset, .. } if of == channel => {
                    standing.entry(*reader).and_modify(|position| position.offset = *offset);
                }
                Event::Ended { reader, channel: of, .. } if of == channel => drop(standing.remove(reader)),
                _ => {}
            }
        }
        standing
    }
}
