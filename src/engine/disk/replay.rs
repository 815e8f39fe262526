//! Builds the streams from the log at start: one thread reads and decodes, another one puts together.
//!
//! Whatever the log says last of a stream is where it stands, so what was lost before that only shortens its
//! history. A stream of which the *last* word may be lost begins a new epoch: its next offsets may have been given
//! already.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ahash::AHashSet;

use super::entry::{Append, Entry, PublishResult, WholeStream};
use super::files::Files;
use super::log::Sealed;
use super::places::Places;
use super::scan::{Item, scan};
use crate::engine::Memory;
use crate::limits::{
    DISK_REPLAY_CHUNK, DISK_REPLAY_CHUNK_BYTES, DISK_REPLAY_CHUNKS, IDEMPOTENT_RESULT_TTL, IDEMPOTENT_RESULTS_MAX,
};
use crate::model::{ChannelName, Epoch};

/// Whether the log holds all that was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Whole,
    /// Power was lost, or the log could not be written for a while: any stream may have lost its end.
    Incomplete,
}

/// What the log came to.
pub struct Replayed {
    pub memory: Memory,
    pub places: Places,
    pub sealed: VecDeque<Sealed>,
    /// Streams that began a new epoch: the log does not know of it yet.
    pub renewed: Vec<ChannelName>,
    /// Damaged records, and places at which nobody knows what is missing.
    pub damages: u64,
    /// The newest segment with damage.
    pub damaged_segment: u64,
}

/// Reads the log that `files` hold, at `now` (since the Unix epoch).
pub fn replay(files: &dyn Files, now: Duration, memory: Memory, trust: Trust) -> io::Result<Replayed> {
    let (to_builder, from_reader) = sync_channel(DISK_REPLAY_CHUNKS);
    let mut builder = Builder::new(now, memory);
    let sealed = thread::scope(|scope| {
        let reader = scope.spawn(move || read(files, to_builder));
        build(&mut builder, &from_reader);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(builder.finish(sealed.into(), trust))
}

fn read(files: &dyn Files, to_builder: SyncSender<Vec<Item>>) -> io::Result<Vec<Sealed>> {
    let (mut chunk, mut bytes) = (Vec::with_capacity(DISK_REPLAY_CHUNK), 0);
    let sealed = scan(files, &mut |item| {
        bytes += item.bytes();
        chunk.push(item);
        if chunk.len() == DISK_REPLAY_CHUNK || bytes >= DISK_REPLAY_CHUNK_BYTES {
            bytes = 0;
            // The builder takes all there is.
            let _ = to_builder.send(std::mem::replace(&mut chunk, Vec::with_capacity(DISK_REPLAY_CHUNK)));
        }
    })?;
    let _ = to_builder.send(chunk);
    Ok(sealed)
}

fn build(builder: &mut Builder, from_reader: &Receiver<Vec<Item>>) {
    for chunk in from_reader {
        chunk.into_iter().for_each(|item| builder.take(item));
    }
}

struct Builder {
    now: Duration,
    memory: Memory,
    places: Places,
    segment: u64,
    /// Streams of which the last word may be lost.
    suspects: AHashSet<ChannelName>,
    results: VecDeque<PublishResult>,
    evicted: usize,
    damages: u64,
    damaged_segment: u64,
}

impl Builder {
    fn new(now: Duration, memory: Memory) -> Builder {
        Builder {
            now,
            memory,
            places: Places::default(),
            segment: 0,
            suspects: AHashSet::new(),
            results: VecDeque::new(),
            evicted: 0,
            damages: 0,
            damaged_segment: 0,
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Segment { number, next_epoch } => {
                self.segment = number;
                next_epoch.into_iter().for_each(|epoch| self.memory.set_next_epoch(epoch));
            }
            Item::Entry(entry) => self.take_entry(entry),
            Item::Damage(channel) | Item::Unknown(channel) => self.suspect(channel),
        }
    }

    fn take_entry(&mut self, entry: Entry) {
        match entry {
            Entry::Append(append) => self.append(append),
            Entry::Stream(stream) => self.put_stream(stream),
            Entry::Removed(channel) => {
                self.clear(&channel);
                self.memory.remove_history(&channel);
            }
            Entry::Result(result) => self.remember(result),
            Entry::NextEpoch(epoch) => self.memory.set_next_epoch(epoch),
            Entry::Probe => {}
        }
    }

    fn append(&mut self, append: Append) {
        let position = append.position();
        let Append { channel, epoch, publication, size_max, at, history_until, meta_until, .. } = append;
        self.clear(&channel);
        self.places.note_append(self.segment, &channel, position.offset);
        let until = (history_until, meta_until);
        self.evicted += self.memory.put(&channel, epoch, publication, size_max, until, append.version);
        if let Some(idempotency_key) = append.idempotency_key {
            let key = crate::engine::ResultKey { channel, idempotency_key };
            self.remember(PublishResult { key, until: at + IDEMPOTENT_RESULT_TTL, position: Some(position) });
        }
    }

    fn put_stream(&mut self, whole: WholeStream) {
        let WholeStream { channel, stream, history_until, meta_until, version } = whole;
        self.clear(&channel);
        self.places.note_whole(self.segment, &channel, stream.position().offset);
        self.evicted += self.memory.put_stream(&channel, stream, (history_until, meta_until), version);
    }

    fn remember(&mut self, result: PublishResult) {
        self.places.note_result(self.segment, result.until);
        if result.until <= self.now {
            return;
        }
        if self.results.len() == IDEMPOTENT_RESULTS_MAX {
            self.results.pop_front();
        }
        self.results.push_back(result);
    }

    /// This is the last word on the stream, so far.
    fn clear(&mut self, channel: &ChannelName) {
        if !self.suspects.is_empty() {
            self.suspects.remove(channel);
        }
    }

    /// Something is lost: of this channel, or of any that there is by now. What the log says of it later clears it.
    fn suspect(&mut self, channel: Option<ChannelName>) {
        self.damages += 1;
        self.damaged_segment = self.segment;
        match channel {
            Some(channel) => drop(self.suspects.insert(channel)),
            None => self.suspects.extend(self.memory.touched_channels().cloned()),
        }
    }

    fn finish(mut self, sealed: VecDeque<Sealed>, trust: Trust) -> Replayed {
        if self.damages > 0 || self.evicted > 0 || trust == Trust::Incomplete {
            // A stream that is gone may have had the epoch that the log says to be the next.
            self.memory.set_next_epoch(Epoch::from_random(fastrand::u64(..)));
        }
        if trust == Trust::Incomplete {
            self.suspects.extend(self.memory.touched_channels().cloned());
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
        for PublishResult { key, until, position } in results {
            if self.memory.results.find(&key).is_none() {
                self.memory.results.remember(until.saturating_sub(IDEMPOTENT_RESULT_TTL), key, position);
            }
        }
    }
}
