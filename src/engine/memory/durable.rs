//! What an engine with a log needs besides: streams put in as the log says, and taken out whole.

use std::sync::Arc;
use std::time::Duration;

use super::{Kept, Memory, STREAM_BYTES, Stream};
use crate::model::{ChannelName, Epoch, Position, Publication, Version};

/// Where a stream stands, and the newest version published to it.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub position: Position,
    pub version: Option<&'a Version>,
}

/// All that is known of one stream.
#[derive(Clone, Copy, Debug)]
pub struct KeptStream<'a> {
    pub stream: &'a Stream,
    pub version: Option<&'a Version>,
    pub history_until: Duration,
    pub meta_until: Duration,
}

impl Memory {
    /// Epoch of streams yet to begin.
    pub fn next_epoch(&self) -> Epoch {
        self.next_epoch
    }

    /// Streams yet to begin are of this epoch, in which no stream that is gone ever held something.
    pub fn set_next_epoch(&mut self, epoch: Epoch) {
        self.next_epoch = epoch;
    }

    pub fn find_standing(&self, channel: &str) -> Option<Standing<'_>> {
        let kept = self.streams.get(channel)?;
        Some(Standing { position: kept.stream.position(), version: kept.version.as_deref() })
    }

    pub fn find_kept(&self, channel: &str) -> Option<KeptStream<'_>> {
        let kept = self.streams.get(channel)?;
        let Kept { stream, version, history_until, meta_until, .. } = kept;
        let (history_until, meta_until) = (*history_until, *meta_until);
        Some(KeptStream { stream, version: version.as_deref(), history_until, meta_until })
    }

    /// All channels to whose streams something was ever published.
    pub fn touched_channels(&self) -> impl Iterator<Item = &ChannelName> {
        let touched = self.streams.iter().filter(|(_, kept)| kept.stream.position().offset > 0);
        touched.map(|(channel, _)| channel)
    }

    /// Keeps a publication whose position is decided, and at most `size_max` in all. If it does not continue what
    /// is there the stream begins with it. Returns how many other streams had to be dropped.
    pub fn put(
        &mut self,
        channel: &ChannelName,
        epoch: Epoch,
        publication: Arc<Publication>,
        size_max: usize,
        (history_until, meta_until): (Duration, Duration),
        version: Option<Version>,
    ) -> usize {
        let before = Position { epoch, offset: publication.offset - 1 };
        let Some(kept) = self.streams.get_mut(channel).filter(|kept| kept.stream.position() == before) else {
            let position = Position { epoch, offset: publication.offset };
            let stream = Stream::from_newest(position, vec![publication]);
            return self.put_stream(channel, stream, (history_until, meta_until), version);
        };
        self.bytes -= kept.bytes();
        kept.extend(publication, size_max, (history_until, meta_until), version);
        self.bytes += kept.bytes();
        if kept.queued.is_none_or(|queued| kept.due() < queued) {
            self.queue(channel);
        }
        self.evict(channel)
    }

    /// Puts a whole stream in the place of what is there. Returns how many others had to be dropped.
    pub fn put_stream(
        &mut self,
        channel: &ChannelName,
        stream: Stream,
        (history_until, meta_until): (Duration, Duration),
        version: Option<Version>,
    ) -> usize {
        let queued = self.streams.remove(channel).and_then(|before| {
            self.bytes -= before.bytes();
            before.queued
        });
        let kept = Kept { stream, version: version.map(Box::new), history_until, meta_until, queued };
        debug_assert!(kept.bytes() >= STREAM_BYTES);
        self.bytes += kept.bytes();
        self.streams.insert(channel.clone(), kept);
        self.queue(channel);
        self.evict(channel)
    }

    /// Begins a new epoch with the publications that are there. Returns whether there is such a stream.
    pub fn renew(&mut self, channel: &str) -> bool {
        let epoch = Epoch::from_random(self.random.u64(..));
        let Some(kept) = self.streams.get_mut(channel) else { return false };
        kept.stream.begin_epoch(epoch);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

    fn channel() -> ChannelName {
        ChannelName::parse("c", 255).expect("a short name")
    }

    fn put(memory: &mut Memory, epoch: u64, offset: u64) -> usize {
        let publication = Arc::new(Publication { offset, ..Publication::default() });
        memory.put(&channel(), Epoch::from_random(epoch), publication, 3, UNTIL, None)
    }

    fn offsets(memory: &Memory) -> Vec<u64> {
        let kept = memory.find_kept("c").expect("it was put");
        kept.stream.publications().map(|publication| publication.offset).collect()
    }

    #[test]
    fn what_continues_a_stream_is_added_and_anything_else_begins_it() {
        let mut memory = Memory::new(1 << 20, 1);
        (7..=10).for_each(|offset| assert_eq!(put(&mut memory, 1, offset), 0));
        assert_eq!(offsets(&memory), [8, 9, 10]);
        put(&mut memory, 1, 12);
        assert_eq!(offsets(&memory), [12], "a gap is never hidden");
        put(&mut memory, 2, 13);
        assert_eq!(offsets(&memory), [13], "nor is another life");
        memory.expire(UNTIL.1, 10);
        assert_eq!((memory.bytes(), memory.next_expiry()), (0, None));
    }

    #[test]
    fn a_renewed_stream_has_its_publications_under_another_epoch() {
        let mut memory = Memory::new(1 << 20, 1);
        put(&mut memory, 1, 1);
        assert!(memory.renew("c"));
        let position = memory.find_position("c").expect("it is there");
        assert_eq!((position.offset, offsets(&memory)), (1, vec![1]));
        assert_ne!(position.epoch, Epoch::from_random(1));
        assert!(!memory.renew("other"));
    }

    #[test]
    fn the_bound_holds_for_what_is_put() {
        let mut memory = Memory::new(2 * STREAM_BYTES, 1);
        assert_eq!(put(&mut memory, 1, 1), 0, "it is never dropped itself");
        let other = ChannelName::parse("d", 255).expect("a short name");
        let stream = Stream::new(Epoch::from_random(1));
        assert_eq!(memory.put_stream(&other, stream, UNTIL, None), 1);
        assert_eq!(memory.find_position("c"), None);
    }
}
