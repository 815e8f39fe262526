//! Streams of a log while it is read: by numbers, which is quicker than by names.

use std::sync::Arc;
use std::time::Duration;

use super::{Kept, Memory};
use crate::engine::Stream;
use crate::model::{ChannelName, Epoch, Position, Publication, Version};

/// Streams that are to go into a [`Memory`], by the numbers of their channels.
#[derive(Default)]
pub struct Loading {
    streams: Vec<Option<Kept>>,
    bytes: usize,
}

impl Loading {
    /// As [`Memory::put`] does.
    pub fn put(
        &mut self,
        number: usize,
        epoch: Epoch,
        publication: Arc<Publication>,
        size_max: usize,
        until: (Duration, Duration),
        version: Option<Version>,
    ) {
        let before = Position { epoch, offset: publication.offset - 1 };
        let place = self.place(number);
        match place.as_mut().filter(|kept| kept.stream.position() == before) {
            Some(kept) => {
                let bytes = kept.bytes();
                kept.extend(publication, size_max, until, version);
                let now = kept.bytes();
                self.bytes = self.bytes + now - bytes;
            }
            None => {
                let position = Position { epoch, offset: publication.offset };
                self.put_stream(number, Stream::from_newest(position, vec![publication]), until, version);
            }
        }
    }

    /// As [`Memory::put_stream`] does.
    pub fn put_stream(
        &mut self,
        number: usize,
        stream: Stream,
        (history_until, meta_until): (Duration, Duration),
        version: Option<Version>,
    ) {
        let kept = Kept { stream, version: version.map(Box::new), history_until, meta_until, queued: None };
        self.take(number);
        self.bytes += kept.bytes();
        *self.place(number) = Some(kept);
    }

    /// Memory held by streams, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Numbers of the channels that have a stream here.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.streams.iter().enumerate().filter(|(_, place)| place.is_some()).map(|(number, _)| number)
    }

    /// Puts the stream of this number into `memory`, if there is one. Returns how many others had to be dropped.
    pub fn hand_over(&mut self, number: usize, channel: &ChannelName, memory: &mut Memory) -> usize {
        let Some(Kept { stream, version, history_until, meta_until, .. }) = self.take(number) else { return 0 };
        memory.put_stream(channel, stream, (history_until, meta_until), version.map(|version| *version))
    }

    fn take(&mut self, number: usize) -> Option<Kept> {
        let taken = self.streams.get_mut(number).and_then(Option::take);
        self.bytes -= taken.as_ref().map_or(0, Kept::bytes);
        taken
    }

    fn place(&mut self, number: usize) -> &mut Option<Kept> {
        if self.streams.len() <= number {
            self.streams.resize_with(number + 1, || None);
        }
        &mut self.streams[number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

    fn put(loading: &mut Loading, epoch: u64, offset: u64) {
        let publication = Arc::new(Publication { offset, ..Publication::default() });
        loading.put(3, Epoch::from_random(epoch), publication, 3, UNTIL, None);
    }

    #[test]
    fn streams_come_out_as_if_they_had_been_put_one_by_one() {
        let channel = ChannelName::parse("c", 255).expect("a short name");
        for offsets in [&[7, 8, 9, 10][..], &[7, 8, 10], &[1]] {
            let (mut loading, mut memory) = (Loading::default(), Memory::new(1 << 20, 1));
            let mut expected = Memory::new(1 << 20, 1);
            for offset in offsets {
                put(&mut loading, 1, *offset);
                let publication = Arc::new(Publication { offset: *offset, ..Publication::default() });
                expected.put(&channel, Epoch::from_random(1), publication, 3, UNTIL, None);
            }
            assert_eq!((loading.numbers().collect::<Vec<_>>(), loading.bytes()), (vec![3], expected.bytes()));
            assert_eq!(loading.hand_over(3, &channel, &mut memory), 0);
            let kept = |memory: &Memory| {
                let kept = memory.find_kept("c").expect("it was put");
                (kept.stream.position(), kept.stream.publications().cloned().collect::<Vec<_>>(), kept.meta_until)
            };
            assert_eq!((kept(&memory), memory.bytes()), (kept(&expected), expected.bytes()));
            assert_eq!((loading.bytes(), loading.numbers().count()), (0, 0));
        }
    }

    #[test]
    fn another_life_takes_the_place_of_the_one_before() {
        let mut loading = Loading::default();
        put(&mut loading, 1, 1);
        let bytes = loading.bytes();
        put(&mut loading, 2, 2);
        assert_eq!((loading.bytes(), loading.numbers().count()), (bytes, 1));
    }
}
