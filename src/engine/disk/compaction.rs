//! Keeps the log small. The oldest segment goes when nothing in it is needed; what is still needed of it is
//! written anew at the end, stream by stream, in slices beside the publishes.
//!
//! Always the oldest one: then a record that ends a stream never goes before those that it ends, and each stream
//! is written once for each time that the log is renewed. The log is let grow to twice what is in memory, so a
//! byte that stays is written once more for each new byte at most; `credit` holds that, whatever memory says.

use std::collections::VecDeque;
use std::time::Duration;

use super::core::Core;
use super::entry::{encode_removed, encode_result, encode_stream};
use super::log::Sealed;
use crate::limits::{DISK_COMPACTION_LOOKS, DISK_COMPACTION_SLICE_BYTES};
use crate::model::ChannelName;

/// Segments that the log has besides twice what is in memory.
const SEGMENTS_SPARE: u64 = 4;

/// Segments, however small: each start begins one.
const SEGMENTS_MAX: usize = 64;

pub struct Compaction {
    /// The segment that is emptied.
    target: Option<Target>,
    /// Those before it, oldest first: they go when what is written up to there is safe.
    emptied: VecDeque<Emptied>,
    /// Bytes that may be written anew, earned by bytes that are written.
    credit: u64,
    credit_max: u64,
    /// Segments up to this one go whatever that costs: they are damaged, or not known to be safe.
    forced_through: u64,
}

struct Target {
    segment: Sealed,
    /// Channels in it that are still to be looked at.
    channels: Vec<(ChannelName, u64)>,
    has_results: bool,
    /// With the batch that is written now.
    is_empty: bool,
}

struct Emptied {
    bytes: u64,
    safe_with: u64,
}

impl Compaction {
    pub fn new(segment_bytes: u64, forced_through: u64) -> Compaction {
        let credit_max = 4 * segment_bytes;
        Compaction { target: None, emptied: VecDeque::new(), credit: credit_max, credit_max, forced_through }
    }

    pub fn force(&mut self, through: u64) {
        self.forced_through = through.max(self.forced_through);
    }

    pub fn is_forced(&self) -> bool {
        self.forced_through > 0
    }
}

impl Core {
    pub(super) fn wants_compaction(&self) -> bool {
        self.compaction.target.is_some() || self.find_next_to_go().is_some()
    }

    /// The oldest segment that is not emptied yet, if the log is larger than it has to be.
    fn find_next_to_go(&self) -> Option<Sealed> {
        let Compaction { emptied, credit, forced_through, .. } = &self.compaction;
        let next = self.log.find_sealed(emptied.len())?;
        let left = self.log.bytes() - emptied.iter().map(|emptied| emptied.bytes).sum::<u64>();
        let wanted = 2 * self.memory.bytes() as u64 + SEGMENTS_SPARE * self.options.segment_bytes;
        let is_large = left > wanted || self.log.segments() - emptied.len() > SEGMENTS_MAX;
        (next.number <= *forced_through || is_large && *credit > 0).then_some(next)
    }

    /// Adds to the batch some of what is to be written anew.
    pub(super) fn rewrite_some(&mut self, now: Duration) {
        self.rewrite_unlogged();
        let target = self.compaction.target.take().or_else(|| self.find_next_to_go().map(|next| self.aim_at(next)));
        let Some(mut target) = target else { return };
        target.is_empty = self.empty_some(now, &mut target);
        self.compaction.target = Some(target);
    }

    /// The batch is written.
    pub(super) fn note_rewritten(&mut self) {
        let Some((segment, _)) = self.batch.segment else { return };
        for (channel, top) in self.batch.rewritten.drain(..) {
            self.places.note_whole(segment, &channel, top);
        }
        let rewritten = self.batch.rewritten_bytes as u64;
        let earned = 2 * (self.batch.bytes.len() as u64).saturating_sub(rewritten);
        let compaction = &mut self.compaction;
        compaction.credit = (compaction.credit + earned).saturating_sub(rewritten).min(compaction.credit_max);
        if let Some(target) = compaction.target.take_if(|target| target.is_empty) {
            let safe_with = self.log.written();
            compaction.emptied.push_back(Emptied { bytes: target.segment.bytes, safe_with });
        }
    }

    /// The batch could not be written: the log does not have what stood in it.
    pub(super) fn return_rewritten(&mut self) {
        self.unlogged.extend(self.batch.rewritten.drain(..).map(|(channel, _)| channel));
        if let Some(target) = self.compaction.target.as_mut() {
            (target.is_empty, target.has_results) = (false, true);
        }
    }

    /// Before the channel's next record: it continues what the log has of the stream.
    pub(super) fn rewrite_if_unlogged(&mut self, channel: &ChannelName) {
        if !self.unlogged.is_empty() && self.unlogged.remove(channel) {
            self.rewrite(channel);
        }
    }

    /// Drops the segments that were emptied, once all that stands for them is safe.
    pub(super) fn drop_emptied(&mut self) {
        while self.compaction.emptied.front().is_some_and(|emptied| self.log.is_safe_up_to(emptied.safe_with)) {
            self.compaction.emptied.pop_front();
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.log.drop_oldest() else { return };
        self.removals.push(oldest);
        self.places.forget(oldest);
        if oldest >= self.compaction.forced_through {
            self.compaction.forced_through = 0;
        }
    }

    fn rewrite_unlogged(&mut self) {
        while self.batch.rewritten_bytes < DISK_COMPACTION_SLICE_BYTES
            && let Some(channel) = self.unlogged.iter().next().cloned()
        {
            self.unlogged.remove(&channel);
            self.rewrite(&channel);
        }
    }

    fn rewrite(&mut self, channel: &ChannelName) {
        let Some((_, salt)) = self.batch.segment else { return };
        let begin = self.batch.bytes.len();
        let touched = self.memory.find_kept(channel.as_str()).filter(|kept| kept.stream.position().offset > 0);
        let top = match touched {
            Some(kept) => {
                encode_stream(channel, &kept, salt, &mut self.batch.bytes);
                kept.stream.position().offset
            }
            None => {
                encode_removed(channel, salt, &mut self.batch.bytes);
                0
            }
        };
        self.batch.rewritten.push((channel.clone(), top));
        self.batch.rewritten_bytes += self.batch.bytes.len() - begin;
    }

    fn aim_at(&mut self, segment: Sealed) -> Target {
        let channels = self.places.take_channels(segment.number);
        Target { segment, channels, has_results: true, is_empty: false }
    }

    /// Returns whether nothing in the segment is needed any more, once this batch is written.
    fn empty_some(&mut self, now: Duration, target: &mut Target) -> bool {
        for _ in 0..DISK_COMPACTION_LOOKS {
            if self.batch.rewritten_bytes >= DISK_COMPACTION_SLICE_BYTES {
                return false;
            }
            let Some((channel, last)) = target.channels.pop() else {
                self.rewrite_results(now, target);
                return true;
            };
            self.rewrite_if_needed(target.segment.number, &channel, last);
        }
        false
    }

    fn rewrite_if_needed(&mut self, segment: u64, channel: &ChannelName, last: u64) {
        let kept = self.memory.find_kept(channel.as_str());
        if !kept.is_some_and(|kept| self.places.is_needed(segment, channel, last, &kept)) {
            return;
        }
        if self.log.bytes() > self.options.bytes_max {
            // There is no room for it: the bound holds, and the stream begins anew.
            self.memory.remove_history(channel);
        }
        self.rewrite(channel);
    }

    fn rewrite_results(&mut self, now: Duration, target: &mut Target) {
        let Some((segment, salt)) = self.batch.segment.filter(|_| target.has_results) else { return };
        target.has_results = false;
        let until = self.places.results_until(target.segment.number);
        if until <= now {
            return;
        }
        let begin = self.batch.bytes.len();
        for (until, key, position) in self.memory.results.until(until) {
            encode_result(key, until, position, salt, &mut self.batch.bytes);
        }
        self.places.note_result(segment, until);
        self.batch.rewritten_bytes += self.batch.bytes.len() - begin;
    }
}
