//! The memory engine: streams and presence of the channels at home on one shard.

use std::collections::BTreeSet;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use super::{Attendee, Presence, Results, Stream};
use crate::model::{ChannelName, ClientId, ClientInfo, Epoch, Position, Publication, ShardId, Version};

mod durable;
mod loading;

pub use durable::{KeptStream, Standing};
pub use loading::Loading;

/// Memory that a stream costs besides its publications: table entry, queue entry, name.
const STREAM_BYTES: usize = 256;

/// How much of a channel is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Publications.
    pub size: usize,
    /// From the last publication on.
    pub ttl: Duration,
    /// How long epoch and offset outlive the last publication.
    pub meta_ttl: Duration,
}

/// Everything that one shard remembers.
///
/// Invariants: `bytes` is the sum of what the streams cost; each stream that ever held something has
/// exactly one entry in `expiries`, not later than the instant at which it has to be looked at.
pub struct Memory {
    streams: AHashMap<ChannelName, Kept>,
    expiries: BTreeSet<(Duration, ChannelName)>,
    presence: AHashMap<ChannelName, Presence>,
    pub results: Results,
    bytes: usize,
    bytes_max: usize,
    /// Epoch of streams yet to begin. It changes whenever a stream that held something is dropped:
    /// so a stream that held nothing can be dropped and begun again as the same one.
    next_epoch: Epoch,
    random: fastrand::Rng,
}

struct Kept {
    stream: Stream,
    /// The newest one published.
    version: Option<Box<Version>>,
    history_until: Duration,
    meta_until: Duration,
    /// Its entry in `expiries`.
    queued: Option<Duration>,
}

impl Kept {
    /// Keeps the publication that continues the stream, and at most `size_max` in all.
    fn extend(
        &mut self,
        publication: Arc<Publication>,
        size_max: usize,
        until: (Duration, Duration),
        version: Option<Version>,
    ) {
        self.stream.extend(publication);
        self.stream.keep_newest(size_max);
        (self.history_until, self.meta_until) = until;
        match (&mut self.version, version) {
            (Some(kept), Some(version)) => **kept = version,
            (kept, version) => *kept = version.map(Box::new),
        }
    }

    /// When something of it expires.
    fn due(&self) -> Duration {
        match self.stream.bytes() {
            0 => self.meta_until,
            _ => self.history_until.min(self.meta_until),
        }
    }

    fn bytes(&self) -> usize {
        let version = self.version.as_ref().map_or(0, |version| size_of::<Version>() + version.epoch.len());
        STREAM_BYTES + self.stream.bytes() + version
    }
}

impl Memory {
    pub fn new(bytes_max: usize, seed: u64) -> Memory {
        let mut random = fastrand::Rng::with_seed(seed);
        let next_epoch = Epoch::from_random(random.u64(..));
        Memory {
            streams: AHashMap::new(),
            expiries: BTreeSet::new(),
            presence: AHashMap::new(),
            results: Results::default(),
            bytes: 0,
            bytes_max,
            next_epoch,
            random,
        }
    }

    /// Memory held by streams, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What they may hold.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Appends to the channel's stream, which begins here if need be.
    ///
    /// Returns the publication with its offset, its epoch, and how many other streams had to be
    /// dropped to stay within the bound.
    pub fn append(
        &mut self,
        now: Duration,
        channel: &ChannelName,
        retention: Retention,
        publication: Publication,
    ) -> (Arc<Publication>, Epoch, usize) {
        let kept = self.stream_of(now, channel, retention);
        let before = kept.stream.bytes();
        let publication = kept.stream.append(publication, retention.size);
        kept.history_until = now + retention.ttl;
        kept.meta_until = now + retention.meta_ttl.max(retention.ttl);
        let epoch = kept.stream.position().epoch;
        let after = kept.stream.bytes();
        self.queue(channel);
        self.bytes = self.bytes + after - before;
        (publication, epoch, self.evict(channel))
    }

    /// The channel's stream, begun if need be.
    pub fn stream(&mut self, now: Duration, channel: &ChannelName, retention: Retention) -> &Stream {
        &self.stream_of(now, channel, retention).stream
    }

    /// Where the channel's stream stands, if `version` is not newer than what it holds: then it is not to be
    /// appended.
    pub fn find_newer(&self, channel: &str, version: &Version) -> Option<Position> {
        let kept = self.streams.get(channel)?;
        let newest = kept.version.as_deref()?;
        (!version.is_newer_than(newest)).then(|| kept.stream.position())
    }

    /// `version` was appended to the channel's stream.
    pub fn remember_version(&mut self, channel: &str, version: Version) {
        let Some(kept) = self.streams.get_mut(channel) else { return };
        let before = kept.bytes();
        kept.version = Some(Box::new(version));
        self.bytes = self.bytes + kept.bytes() - before;
    }

    /// Position of the channel's stream, if it has one.
    pub fn find_position(&self, channel: &str) -> Option<Position> {
        self.streams.get(channel).map(|kept| kept.stream.position())
    }

    /// Drops the channel's stream if nothing was ever published to it: called when its last
    /// subscriber leaves, so that ever new names cost nothing.
    ///
    /// Also one whose epoch is not the next one any more: nothing else would ever drop it, and begun
    /// again it is another stream, so whoever held its position is told too much, never too little.
    pub fn forget_untouched(&mut self, channel: &str) {
        if self.find_position(channel).is_some_and(|position| position.offset == 0) {
            self.streams.remove(channel);
            self.bytes -= STREAM_BYTES;
        }
    }

    /// Ends the channel's stream, and its version with it. Returns whether anything was ever published to it.
    pub fn remove_history(&mut self, channel: &ChannelName) -> bool {
        let is_touched = self.find_position(channel.as_str()).is_some_and(|position| position.offset > 0);
        if is_touched {
            self.remove(channel);
        }
        is_touched
    }

    /// Forgets what is past its time. At most `count` entries at a go; returns how many it took.
    pub fn expire(&mut self, now: Duration, count: usize) -> usize {
        let results = self.results.expire(now, count);
        for taken in results..count {
            let Some((due, _)) = self.expiries.first() else { return taken };
            if *due > now {
                return taken;
            }
            let Some((_, channel)) = self.expiries.pop_first() else { return taken };
            let kept = self.streams.get_mut(&channel).expect("what is queued to expire is kept");
            if kept.meta_until <= now {
                kept.queued = None;
                self.remove(&channel);
                continue;
            }
            if kept.history_until <= now {
                self.bytes -= kept.stream.bytes();
                kept.stream.clear();
            }
            let due = kept.due();
            kept.queued = Some(due);
            self.expiries.insert((due, channel));
        }
        count
    }

    /// When `expire` has something to do.
    pub fn next_expiry(&self) -> Option<Duration> {
        let streams = self.expiries.first().map(|(due, _)| *due);
        streams.into_iter().chain(self.results.next_expiry()).min()
    }

    pub fn join(&mut self, channel: &ChannelName, attendee: Attendee, shard: ShardId, until: Duration) {
        self.presence.entry(channel.clone()).or_default().add(attendee, shard, until);
    }

    /// Returns who left, if it was there.
    pub fn leave(&mut self, channel: &str, client: ClientId) -> Option<Attendee> {
        let presence = self.presence.get_mut(channel)?;
        let left = presence.remove(client);
        if presence.is_empty() {
            self.presence.remove(channel);
        }
        left
    }

    pub fn keep_alive(&mut self, channel: &str, shard: ShardId, until: Duration) {
        if let Some(presence) = self.presence.get_mut(channel) {
            presence.keep_alive(shard, until);
        }
    }

    /// Who is in the channel by `now`, silent shards' members left out.
    pub fn find_presence(&mut self, now: Duration, channel: &str) -> Option<&Presence> {
        let presence = self.presence.get_mut(channel)?;
        presence.expire(now);
        Some(presence)
    }

    /// Those of the channel who are listed, on one shard or on all of them.
    pub fn attendees(&self, channel: &str, shard: Option<ShardId>) -> Vec<Arc<ClientInfo>> {
        self.presence.get(channel).map_or_else(Vec::new, |presence| presence.listed_of(shard))
    }

    /// Sees to it that the stream is looked at when something of it expires.
    fn queue(&mut self, channel: &ChannelName) {
        let Some(kept) = self.streams.get_mut(channel) else { return };
        let (due, queued) = (kept.due(), kept.queued);
        // A later instant is found when the queued one comes; only an earlier one can't wait.
        if queued.is_none_or(|queued| due < queued) {
            kept.queued = Some(due);
            if let Some(queued) = queued {
                self.expiries.remove(&(queued, channel.clone()));
            }
            self.expiries.insert((due, channel.clone()));
        }
    }

    fn stream_of(&mut self, now: Duration, channel: &ChannelName, retention: Retention) -> &mut Kept {
        if !self.streams.contains_key(channel) {
            let meta_until = now + retention.meta_ttl.max(retention.ttl);
            let stream = Stream::new(self.next_epoch);
            let kept = Kept { stream, version: None, history_until: meta_until, meta_until, queued: None };
            self.streams.insert(channel.clone(), kept);
            self.bytes += STREAM_BYTES;
        }
        self.streams.get_mut(channel).expect("inserted above if it was missing")
    }

    /// Drops a stream that held something, and with it the epoch of all that is yet to begin.
    fn remove(&mut self, channel: &ChannelName) {
        let Some(kept) = self.streams.remove(channel) else { return };
        if let Some(queued) = kept.queued {
            self.expiries.remove(&(queued, channel.clone()));
        }
        self.bytes -= kept.bytes();
        self.next_epoch = Epoch::from_random(self.random.u64(..));
    }

    /// Drops streams, the first to expire first, until the bound holds again; never `spared`.
    fn evict(&mut self, spared: &ChannelName) -> usize {
        let mut evicted = 0;
        while self.bytes > self.bytes_max {
            let Some((_, channel)) = self.expiries.iter().find(|(_, channel)| channel != spared) else { break };
            let channel = channel.clone();
            self.remove(&channel);
            evicted += 1;
        }
        evicted
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
