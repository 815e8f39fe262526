//! Which streams a segment may still be needed for.

use std::collections::VecDeque;
use std::time::Duration;

use ahash::AHashMap;

use crate::engine::KeptStream;
use crate::model::ChannelName;

/// For each segment the channels that it names. Where a stream is in several segments, all but the newest ones can
/// go: `is_needed` says which.
#[derive(Default)]
pub struct Places {
    /// Oldest first.
    segments: VecDeque<Segment>,
}

struct Segment {
    number: u64,
    channels: AHashMap<ChannelName, Place>,
    /// When the last of its results of publishes is forgotten.
    results_until: Duration,
}

/// What a segment has of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The last offset.
    pub last: u64,
    /// It has all of the stream, as it was then.
    pub is_whole: bool,
}

impl Places {
    /// The segment has a publication of the channel's stream.
    pub fn note_append(&mut self, segment: u64, channel: &ChannelName, offset: u64) {
        let channels = &mut self.segment(segment).channels;
        match channels.get_mut(channel) {
            Some(place) => place.last = offset,
            None => drop(channels.insert(channel.clone(), Place { last: offset, is_whole: false })),
        }
    }

    /// The segment has the whole stream.
    pub fn note_whole(&mut self, segment: u64, channel: &ChannelName, offset: u64) {
        self.segment(segment).channels.insert(channel.clone(), Place { last: offset, is_whole: true });
    }

    /// The segment has these channels, and no others.
    pub fn note_segment(&mut self, segment: u64, channels: impl Iterator<Item = (ChannelName, Place)>) {
        self.segment(segment).channels = channels.collect();
    }

    pub fn note_result(&mut self, segment: u64, until: Duration) {
        let noted = &mut self.segment(segment).results_until;
        *noted = until.max(*noted);
    }

    /// The channels that the segment names, and the last offset that it has of each; once.
    pub fn take_channels(&mut self, segment: u64) -> Vec<(ChannelName, u64)> {
        let found = self.segments.iter_mut().find(|known| known.number == segment);
        let channels = found.map(|known| std::mem::take(&mut known.channels)).unwrap_or_default();
        channels.into_iter().map(|(channel, place)| (channel, place.last)).collect()
    }

    pub fn results_until(&self, segment: u64) -> Duration {
        let found = self.segments.iter().find(|known| known.number == segment);
        found.map_or(Duration::ZERO, |known| known.results_until)
    }

    /// Whether the stream can't be told from the segments behind this one, which has it up to `last`.
    pub fn is_needed(&self, segment: u64, channel: &ChannelName, last: u64, kept: &KeptStream<'_>) -> bool {
        let top = kept.stream.position().offset;
        let count = kept.stream.publications().len() as u64;
        // With nothing kept the last record says where the stream stands.
        let first_needed = top + 1 - count.clamp(1, top.max(1));
        let mut newer = self.segments.iter().rev().take_while(|known| known.number > segment);
        first_needed <= last && !newer.any(|known| known.channels.get(channel).is_some_and(|place| place.is_whole))
    }

    pub fn forget(&mut self, segment: u64) {
        self.segments.retain(|known| known.number != segment);
    }

    fn segment(&mut self, number: u64) -> &mut Segment {
        if self.segments.back().is_none_or(|newest| newest.number < number) {
            let channels = AHashMap::new();
            self.segments.push_back(Segment { number, channels, results_until: Duration::ZERO });
        }
        let found = self.segments.iter_mut().rev().find(|known| known.number == number);
        found.expect("the newest segment is the one that is written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Memory, Stream};
    use crate::model::{Epoch, Position};
    use std::sync::Arc;

    fn channel() -> ChannelName {
        ChannelName::parse("c", 255).expect("a short name")
    }

    /// A stream that stands at 10 and keeps the newest `count`.
    fn memory(count: u64) -> Memory {
        let mut memory = Memory::new(1 << 20, 1);
        let offsets = 11 - count..=10;
        let publication = |offset| Arc::new(crate::model::Publication { offset, ..Default::default() });
        let position = Position { epoch: Epoch::from_random(1), offset: 10 };
        let stream = Stream::from_newest(position, offsets.map(publication).collect());
        memory.put_stream(&channel(), stream, (Duration::MAX, Duration::MAX), None);
        memory
    }

    #[track_caller]
    fn check(places: &Places, count: u64, segment: u64, last: u64, expected: bool) {
        let memory = memory(count);
        let kept = memory.find_kept("c").expect("it was put");
        assert_eq!(places.is_needed(segment, &channel(), last, &kept), expected);
    }

    #[test]
    fn a_segment_is_needed_for_what_stands_nowhere_else() {
        let mut places = Places::default();
        places.note_append(1, &channel(), 4);
        places.note_append(2, &channel(), 10);
        check(&places, 10, 1, 4, true);
        check(&places, 7, 1, 4, true);
        check(&places, 6, 1, 4, false);
        check(&places, 0, 1, 4, false);
        check(&places, 0, 2, 10, true);
        places.note_whole(3, &channel(), 10);
        check(&places, 10, 1, 4, false);
        check(&places, 10, 2, 10, false);
        check(&places, 10, 3, 10, true);
        assert_eq!(places.take_channels(1), [(channel(), 4)]);
        places.forget(1);
        assert_eq!(places.take_channels(1), []);
    }
}
