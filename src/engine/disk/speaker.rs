//! What a turn said goes to the shards.

use std::sync::Arc;

use ahash::AHashSet;

use super::core::Word;
use crate::engine::contract::Event;
use crate::engine::outlet::{NotTaken, Outlet};
use crate::limits::DISK_WORDS_PER_RING;
use crate::model::{ChannelName, ShardId};
use crate::telemetry::{EngineCounter, EngineMetrics};

pub struct Speaker {
    outlet: Outlet,
    metrics: Arc<EngineMetrics>,
    /// Channels of which a home was not told everything.
    unheard: AHashSet<ChannelName>,
    /// Shards that are to be woken.
    told: Vec<bool>,
}

impl Speaker {
    pub fn new(outlet: Outlet, metrics: Arc<EngineMetrics>) -> Speaker {
        let told = vec![false; usize::from(outlet.shards())];
        Speaker { outlet, metrics, unheard: AHashSet::new(), told }
    }

    /// Waits for a shard whose tray is full, but only once in a turn: one that stands still does not stop the others.
    ///
    /// A shard is woken once for many words: it would wake for the first one, find nothing more, and sleep again.
    pub fn say(&mut self, words: &mut Vec<Word>) {
        let mut stuck = AHashSet::new();
        self.name_unheard(&mut stuck);
        for (word, said) in words.drain(..).zip(1..) {
            if said % DISK_WORDS_PER_RING == 0 {
                self.ring();
            }
            match word {
                // Its shard gives up waiting by itself.
                Word::To(shard, event) => drop(self.put(&mut stuck, shard, event)),
                Word::Home(incoming) => {
                    let (home, channel) = (self.outlet.home_of(incoming.channel.as_str()), incoming.channel.clone());
                    if self.put(&mut stuck, home, Event::Incoming(Box::new(incoming))).is_err() {
                        self.unheard.insert(channel);
                    }
                }
            }
        }
        self.ring();
    }

    fn ring(&mut self) {
        for (shard, is_told) in (0..).map(ShardId).zip(&mut self.told) {
            if std::mem::take(is_told) {
                self.outlet.ring(shard);
            }
        }
    }

    fn put(&mut self, stuck: &mut AHashSet<ShardId>, to: ShardId, event: Event) -> Result<(), NotTaken> {
        if stuck.contains(&to) {
            return Err(NotTaken);
        }
        self.told[to.as_index()] = true;
        let Err(event) = self.outlet.put_quietly(to, event) else { return Ok(()) };
        let outcome = self.outlet.put_blocking(to, event);
        if outcome.is_err() {
            stuck.insert(to);
        }
        outcome
    }

    fn name_unheard(&mut self, stuck: &mut AHashSet<ShardId>) {
        for channel in std::mem::take(&mut self.unheard) {
            let home = self.outlet.home_of(channel.as_str());
            let event = Event::Recheck { engine: self.outlet.engine(), channels: vec![channel.clone()] };
            match self.put(stuck, home, event) {
                Ok(()) => self.metrics.add(EngineCounter::Rechecked, 1),
                Err(NotTaken) => drop(self.unheard.insert(channel)),
            }
        }
    }
}
