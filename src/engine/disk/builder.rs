//! Puts the streams together from what the log says, in its order.
//!
//! Channels have numbers while the log is read, and what is noted for each record stands in vectors: of names a million
//! records would ask three tables each, and wait for memory each time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashSet;

use super::entry::{Appended, Entry, NameIndex, PublishResult, WholeStream, decode_body, decode_stream_body};
use super::log::Sealed;
use super::places::{Place, Places};
use super::replay::{Replayed, Trust};
use super::scan::Item;
use crate::engine::{Loading, Memory, ResultKey};
use crate::limits::{IDEMPOTENT_RESULT_TTL, IDEMPOTENT_RESULTS_MAX};
use crate::model::{ChannelName, Epoch};

pub struct Builder {
    now: Duration,
    memory: Memory,
    /// Streams, until they would hold more than the memory may; then they are in `memory`.
    loading: Option<Loading>,
    places: Places,
    names: Vec<ChannelName>,
    segment: Segment,
    /// Streams of which the last word may be lost.
    suspects: AHashSet<ChannelName>,
    results: VecDeque<PublishResult>,
    evicted: usize,
    damages: u64,
    damaged_segment: u64,
}

/// The segment that is read.
#[derive(Default)]
struct Segment {
    number: u64,
    bytes: Arc<Vec<u8>>,
    /// By the numbers of channels; `None`: it has nothing of that one.
    places: Vec<Option<Place>>,
    /// Where there is something.
    noted: Vec<usize>,
}

impl Segment {
    fn note(&mut self, NameIndex(number): NameIndex, place: Place) {
        if self.places.len() <= number {
            self.places.resize(number + 1, None);
        }
        match &mut self.places[number] {
            // What comes after the whole stream belongs to it.
            Some(known) => *known = Place { last: place.last, is_whole: known.is_whole || place.is_whole },
            none => {
                *none = Some(place);
                self.noted.push(number);
            }
        }
    }
}

impl Builder {
    pub fn new(now: Duration, memory: Memory) -> Builder {
        Builder {
            now,
            memory,
            loading: Some(Loading::default()),
            places: Places::default(),
            names: Vec::new(),
            segment: Segment::default(),
            suspects: AHashSet::new(),
            results: VecDeque::new(),
            evicted: 0,
            damages: 0,
            damaged_segment: 0,
        }
    }

    pub fn take(&mut self, item: Item) {
        match item {
            Item::Segment { number, next_epoch, bytes } => {
                self.end_segment();
                (self.segment.number, self.segment.bytes) = (number, bytes);
                next_epoch.into_iter().for_each(|epoch| self.memory.set_next_epoch(epoch));
            }
            Item::Name(name) => self.names.push(name),
            Item::Entry { entry, body } => self.take_entry(entry, body),
            Item::Damage(channel) | Item::Unknown(channel) => self.suspect(channel),
        }
    }

    fn take_entry(&mut self, entry: Entry, body: Range<usize>) {
        match entry {
            Entry::Append(append) => self.append(append, body),
            Entry::Stream(stream) => self.put_stream(stream, body),
            Entry::Removed(name) => self.remove(name),
            Entry::Result(result) => self.remember(result),
            Entry::NextEpoch(epoch) => self.memory.set_next_epoch(epoch),
            Entry::Probe => {}
        }
    }

    fn append(&mut self, append: Appended, body: Range<usize>) {
        let Appended { name, position, size_max, at, history_until, meta_until, version, idempotency_key } = append;
        let Some(publication) = decode_body(&self.segment.bytes[body], position) else {
            return self.suspect_name(name);
        };
        self.clear(name);
        self.segment.note(name, Place { last: position.offset, is_whole: false });
        let until = (history_until, meta_until);
        match &mut self.loading {
            Some(loading) => loading.put(name.0, position.epoch, publication, size_max, until, version),
            None => {
                let channel = &self.names[name.0];
                self.evicted += self.memory.put(channel, position.epoch, publication, size_max, until, version);
            }
        }
        self.keep_bound();
        if let Some(idempotency_key) = idempotency_key {
            let until = at + IDEMPOTENT_RESULT_TTL;
            self.remember(PublishResult { name, idempotency_key, until, position: Some(position) });
        }
    }

    fn put_stream(&mut self, whole: WholeStream, body: Range<usize>) {
        let WholeStream { name, position, history_until, meta_until, version } = whole;
        let Some(stream) = decode_stream_body(&self.segment.bytes[body], position) else {
            return self.suspect_name(name);
        };
        self.clear(name);
        self.segment.note(name, Place { last: position.offset, is_whole: true });
        let until = (history_until, meta_until);
        match &mut self.loading {
            Some(loading) => loading.put_stream(name.0, stream, until, version),
            None => self.evicted += self.memory.put_stream(&self.names[name.0], stream, until, version),
        }
        self.keep_bound();
    }

    fn remove(&mut self, name: NameIndex) {
        self.clear(name);
        let channel = &self.names[name.0];
        if let Some(loading) = &mut self.loading {
            self.evicted += loading.hand_over(name.0, channel, &mut self.memory);
        }
        self.memory.remove_history(channel);
    }

    fn remember(&mut self, result: PublishResult) {
        self.places.note_result(self.segment.number, result.until);
        if result.until <= self.now {
            return;
        }
        if self.results.len() == IDEMPOTENT_RESULTS_MAX {
            self.results.pop_front();
        }
        self.results.push_back(result);
    }

    /// Past the bound of the memory it is for that to say which streams go.
    fn keep_bound(&mut self) {
        if self.loading.as_ref().is_some_and(|loading| loading.bytes() > self.memory.bytes_max()) {
            self.end_loading();
        }
    }

    fn end_loading(&mut self) {
        let Some(mut loading) = self.loading.take() else { return };
        for (number, channel) in self.names.iter().enumerate() {
            self.evicted += loading.hand_over(number, channel, &mut self.memory);
        }
    }

    fn end_segment(&mut self) {
        let Segment { number, places, noted, .. } = &mut self.segment;
        if *number > 0 {
            let names = &self.names;
            let channels = noted.drain(..).filter_map(|at| Some((names[at].clone(), places[at].take()?)));
            self.places.note_segment(*number, channels);
        }
    }

    /// This is the last word on the stream, so far.
    fn clear(&mut self, name: NameIndex) {
        if !self.suspects.is_empty() {
            self.suspects.remove(&self.names[name.0]);
        }
    }

    fn suspect_name(&mut self, name: NameIndex) {
        self.suspect(Some(self.names[name.0].clone()));
    }

    /// Something is lost: of this channel, or of any that there is by now. What the log says of it later clears it.
    fn suspect(&mut self, channel: Option<ChannelName>) {
        self.damages += 1;
        self.damaged_segment = self.segment.number;
        match channel {
            Some(channel) => drop(self.suspects.insert(channel)),
            None => self.suspect_all(),
        }
    }

    fn suspect_all(&mut self) {
        let loading = self.loading.iter().flat_map(Loading::numbers);
        self.suspects.extend(loading.map(|number| self.names[number].clone()));
        self.suspects.extend(self.memory.touched_channels().cloned());
    }

    pub fn finish(mut self, sealed: VecDeque<Sealed>, trust: Trust) -> Replayed {
        self.end_segment();
        self.end_loading();
        if self.damages > 0 || self.evicted > 0 || trust == Trust::Incomplete {
            // A stream that is gone may have had the epoch that the log says to be the next.
            self.memory.set_next_epoch(Epoch::from_random(fastrand::u64(..)));
        }
        if trust == Trust::Incomplete {
            self.suspect_all();
        }
        self.put_results();
        while self.memory.expire(self.now, usize::from(u16::MAX)) > 0 {}
        let renewed = self.suspects.into_iter().filter(|channel| self.memory.renew(channel.as_str())).collect();
        let Builder { memory, places, damages, damaged_segment, .. } = self;
        Replayed { memory, places, sealed, renewed, damages, damaged_segment }
    }

    /// In the order in which they are forgotten; one that was written anew is there twice.
    fn put_results(&mut self) {
        let mut results: Vec<PublishResult> = self.results.drain(..).collect();
        results.sort_by_key(|result| result.until);
        for PublishResult { name, idempotency_key, until, position } in results {
            let key = ResultKey { channel: self.names[name.0].clone(), idempotency_key };
            if self.memory.results.find(&key).is_none() {
                self.memory.results.remember(until.saturating_sub(IDEMPOTENT_RESULT_TTL), key, position);
            }
        }
    }
}
