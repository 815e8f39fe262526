//! The backend publishes what it published before, versions that may be old, and removes histories.

use fanfare::model::Version;
use fanfare::shard::{Question, ServerPublication};

use super::api::{What, name_of};
use super::ledger::{Checked, Fate, Publisher};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::plan::choose;
use super::report::Mark;
use super::wire;
use super::world::World;

/// Publications that may still be repeated: so many of the last ones, which are younger than their results.
const REPEATABLE: usize = 32;

impl World {
    /// Publishes with a key that no other publication has.
    pub fn api_publish_keyed(&mut self, channel: ChannelIndex, padding: usize, skips_history: bool) {
        let number = self.ledger.publish(channel, Publisher::Api, None, skips_history);
        let publication = ServerPublication {
            skip_history: skips_history,
            idempotency_key: Some(format!("key {number}").into()),
            ..ServerPublication::new(name_of(channel), wire::payload_of(number, padding))
        };
        self.api.repeatable.push_back((channel, number, publication.clone()));
        if self.api.repeatable.len() > REPEATABLE {
            self.api.repeatable.pop_front();
        }
        self.ask_home(channel, Question::Publish(publication), What::Publish { number });
        self.tally.add(Mark::ApiPublishes, 1);
    }

    /// The backend was not answered in time, or thinks so.
    pub fn api_repeat(&mut self) {
        if self.api.repeatable.is_empty() {
            return;
        }
        let at = self.random.usize(..self.api.repeatable.len());
        let (channel, number, publication) = self.api.repeatable[at].clone();
        self.note(|| format!("the API publishes {number} in {} again", CHANNELS[channel].name));
        self.ask_home(channel, Question::Publish(publication), What::Publish { number });
        self.tally.add(Mark::Repeated, 1);
    }

    /// Publishes a version that is newer than all before, or one that may not be.
    pub fn api_publish_version(&mut self, channel: ChannelIndex, padding: usize) {
        let step = *choose(&mut self.random, &[1_u64, 1, 5]);
        let back = self.random.u64(..4);
        let is_late = self.random.u8(..3) == 0;
        let newest = self.api.versions.entry(channel).or_default();
        let version = if is_late { newest.saturating_sub(back).max(1) } else { *newest + step };
        let is_newest = version > *newest;
        *newest = version.max(*newest);
        let number = self.ledger.publish_version(channel, version);
        self.note(|| format!("the API publishes {number} in {} as version {version}", CHANNELS[channel].name));
        let publication = ServerPublication {
            version: Some(Version { number: version, epoch: "".into() }),
            ..ServerPublication::new(name_of(channel), wire::payload_of(number, padding))
        };
        self.ask_home(channel, Question::Publish(publication), What::Version { number, is_newest });
        self.tally.add(Mark::ApiPublishes, 1);
    }

    /// A version that was not the newest when it was published has been answered: the history held a newer one,
    /// unless that history has ended.
    pub fn old_version_answered(&mut self, number: u32) -> Checked {
        let channel = self.ledger.published()[number as usize].channel;
        if !CHANNELS[channel].kind.is_lasting() || self.evicted() > 0 || self.is_let_down(channel) {
            return Ok(());
        }
        self.tally.add(Mark::VersionsOutdated, 1);
        self.ledger.decide(number, Fate::Refused)
    }

    /// Ends a stream that nobody expects to last.
    pub fn api_remove_history(&mut self, channel: ChannelIndex) {
        let kind = CHANNELS[channel].kind;
        if kind.has_history() && !kind.is_lasting() {
            self.note(|| format!("the API removes the history of {}", CHANNELS[channel].name));
            self.ask_home(channel, Question::HistoryRemove { channel: name_of(channel) }, What::Remove);
            self.tally.add(Mark::HistoriesRemoved, 1);
        }
    }
}
