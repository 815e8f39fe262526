//! What the log's records say. Each one that names a position stands by itself: a stream can be told from its
//! last record alone, so older ones can go.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use super::format::{Reader, encode_record};
use crate::engine::record::{decode_publication, encode_publication_to};
use crate::engine::{KeptStream, ResultKey, Stream};
use crate::limits::{CHANNEL_NAME_BYTES_MAX, DISK_STREAM_BYTES_MAX};
use crate::model::{ChannelName, Epoch, Position, Publication, Version};

/// What a record says, without the publications in its body: they are read by whoever keeps them. Times are since the
/// Unix epoch, in whole milliseconds.
#[derive(Debug)]
pub enum Entry {
    Append(Appended),
    /// All there is of a stream, in the place of whatever was said of it before.
    Stream(WholeStream),
    /// The stream ended.
    Removed(NameIndex),
    /// What a publish with an idempotency key came to.
    Result(PublishResult),
    /// Streams yet to begin are of this epoch.
    NextEpoch(Epoch),
    /// Shows that the log can be written.
    Probe,
}

/// Names a channel among those of the log, in the order in which they came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameIndex(pub usize);

/// A publication that got its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    pub channel: ChannelName,
    pub epoch: Epoch,
    /// With its offset.
    pub publication: Arc<Publication>,
    pub delta: bool,
    /// How many publications the stream keeps, this one included.
    pub size_max: usize,
    pub at: Duration,
    pub history_until: Duration,
    pub meta_until: Duration,
    /// The newest version of the stream, also if this publication has none.
    pub version: Option<Version>,
    pub idempotency_key: Option<Box<str>>,
}

impl Append {
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.publication.offset }
    }
}

/// The same, as it is read.
#[derive(Debug)]
pub struct Appended {
    pub name: NameIndex,
    pub position: Position,
    pub size_max: usize,
    pub at: Duration,
    pub history_until: Duration,
    pub meta_until: Duration,
    pub version: Option<Version>,
    pub idempotency_key: Option<Box<str>>,
}

#[derive(Debug)]
pub struct WholeStream {
    pub name: NameIndex,
    pub position: Position,
    pub history_until: Duration,
    pub meta_until: Duration,
    pub version: Option<Version>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PublishResult {
    pub name: NameIndex,
    pub idempotency_key: Box<str>,
    pub until: Duration,
    pub position: Option<Position>,
}

/// What a publication takes besides its payload, about, for the bound of a record.
const PUBLICATION_BYTES: usize = 256;

const APPEND: u8 = 1;
const STREAM: u8 = 2;
const REMOVED: u8 = 3;
const RESULT: u8 = 4;
const NEXT_EPOCH: u8 = 5;
const PROBE: u8 = 6;

pub fn encode_append(append: &Append, salt: u32, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>| {
        put_text(out, append.channel.as_str());
        put_position(out, append.position());
        put_time(out, append.history_until);
        put_time(out, append.meta_until);
        put_version(out, append.version.as_ref());
        put_time(out, append.at);
        out.extend_from_slice(&u32::try_from(append.size_max).unwrap_or(u32::MAX).to_le_bytes());
        put_text(out, append.idempotency_key.as_deref().unwrap_or_default());
    };
    encode_record(out, salt, APPEND, head, |out| encode_publication_to(&append.publication, append.delta, out));
}

pub fn encode_stream(channel: &ChannelName, kept: &KeptStream<'_>, salt: u32, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>| {
        put_text(out, channel.as_str());
        put_position(out, kept.stream.position());
        put_time(out, kept.history_until);
        put_time(out, kept.meta_until);
        put_version(out, kept.version);
    };
    encode_record(out, salt, STREAM, head, |out| put_publications(out, kept.stream));
}

pub fn encode_removed(channel: &ChannelName, salt: u32, out: &mut Vec<u8>) {
    encode_record(out, salt, REMOVED, |out| put_text(out, channel.as_str()), |_| ());
}

pub fn encode_result(key: &ResultKey, until: Duration, position: Option<Position>, salt: u32, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>| {
        put_text(out, key.channel.as_str());
        put_text(out, &key.idempotency_key);
        put_time(out, until);
        if let Some(position) = position {
            put_position(out, position);
        }
    };
    encode_record(out, salt, RESULT, head, |_| ());
}

pub fn encode_next_epoch(epoch: Epoch, salt: u32, out: &mut Vec<u8>) {
    encode_record(out, salt, NEXT_EPOCH, |out| out.extend_from_slice(epoch.as_str().as_bytes()), |_| ());
}

pub fn encode_probe(salt: u32, out: &mut Vec<u8>) {
    encode_record(out, salt, PROBE, |_| (), |_| ());
}

/// Names of channels that were read: a record names one, and most of them one that came before.
#[derive(Default)]
pub struct Names {
    known: AHashMap<ChannelName, NameIndex>,
    newest: Option<ChannelName>,
}

impl Names {
    fn intern(&mut self, text: &str) -> Option<NameIndex> {
        if let Some(known) = self.known.get(text) {
            return Some(*known);
        }
        let name = ChannelName::parse(text, CHANNEL_NAME_BYTES_MAX).ok()?;
        let index = NameIndex(self.known.len());
        self.known.insert(name.clone(), index);
        self.newest = Some(name);
        Some(index)
    }

    /// The name that came up with the record that was read last, if that is its first one.
    pub fn take_newest(&mut self) -> Option<ChannelName> {
        self.newest.take()
    }
}

/// Reads the head of a record whose checksums are right. `None`: a version to come wrote it.
pub fn decode(kind: u8, head: &[u8], names: &mut Names) -> Option<Entry> {
    let mut head = Reader(head);
    if let NEXT_EPOCH | PROBE = kind {
        return if kind == PROBE { Some(Entry::Probe) } else { head.epoch().map(Entry::NextEpoch) };
    }
    let name = names.intern(head.text()?)?;
    match kind {
        APPEND => decode_append(name, head).map(Entry::Append),
        STREAM => decode_stream(name, head).map(Entry::Stream),
        REMOVED => Some(Entry::Removed(name)),
        RESULT => decode_result(name, head).map(Entry::Result),
        _ => None,
    }
}

/// The channel that a record is about, by its head; `None` if it is about none.
pub fn decode_channel(kind: u8, head: &[u8]) -> Option<ChannelName> {
    match kind {
        NEXT_EPOCH | PROBE => None,
        _ => ChannelName::parse(Reader(head).text()?, CHANNEL_NAME_BYTES_MAX).ok(),
    }
}

fn decode_append(name: NameIndex, mut head: Reader<'_>) -> Option<Appended> {
    let position = position(&mut head)?;
    let (history_until, meta_until) = (time(&mut head)?, time(&mut head)?);
    let version = version(&mut head)?;
    let at = time(&mut head)?;
    let size_max = head.u32()? as usize;
    let idempotency_key = Some(head.text()?).filter(|key| !key.is_empty()).map(Box::from);
    Some(Appended { name, position, size_max, at, history_until, meta_until, version, idempotency_key })
}

fn decode_stream(name: NameIndex, mut head: Reader<'_>) -> Option<WholeStream> {
    let position = position(&mut head)?;
    let (history_until, meta_until) = (time(&mut head)?, time(&mut head)?);
    let version = version(&mut head)?;
    Some(WholeStream { name, position, history_until, meta_until, version })
}

/// Reads the body of an [`Entry::Append`]. It is copied: what shares the segment's bytes would keep all of them in
/// memory.
pub fn decode_body(body: &[u8], position: Position) -> Option<Arc<Publication>> {
    decode_publication(body, position.offset).ok()
}

/// Reads the body of an [`Entry::Stream`].
pub fn decode_stream_body(body: &[u8], position: Position) -> Option<Stream> {
    let mut records = Vec::new();
    let mut rest = Reader(body);
    while !rest.0.is_empty() {
        let bytes = rest.u32()?;
        records.push(rest.take(bytes as usize)?);
    }
    let first = position.offset.checked_sub(records.len() as u64)? + 1;
    let numbered = records.iter().zip(first..);
    let publications = numbered.map(|(record, offset)| decode_publication(*record, offset).ok());
    Some(Stream::from_newest(position, publications.collect::<Option<_>>()?))
}

fn decode_result(name: NameIndex, mut head: Reader<'_>) -> Option<PublishResult> {
    let idempotency_key = head.text()?.into();
    let until = time(&mut head)?;
    let position = match head.0.is_empty() {
        true => None,
        false => Some(position(&mut head)?),
    };
    Some(PublishResult { name, idempotency_key, until, position })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let bytes = u16::try_from(text.len()).expect("names and keys are bounded");
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(position.epoch.as_str().as_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Duration) {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    out.extend_from_slice(&milliseconds.to_le_bytes());
}

/// Number 0 stands for none: versions count from 1.
fn put_version(out: &mut Vec<u8>, version: Option<&Version>) {
    out.extend_from_slice(&version.map_or(0, |version| version.number).to_le_bytes());
    if let Some(version) = version {
        put_text(out, &version.epoch);
    }
}

/// The newest ones, as many as a record may hold.
fn put_publications(out: &mut Vec<u8>, stream: &Stream) {
    let mut left = DISK_STREAM_BYTES_MAX;
    let sizes = stream.publications().rev();
    let fitting = sizes.take_while(|publication| {
        let fits = left.checked_sub(publication.data.len() + PUBLICATION_BYTES);
        left = fits.unwrap_or(0);
        fits.is_some()
    });
    let skipped = stream.publications().len() - fitting.count();
    stream.publications().skip(skipped).for_each(|publication| put_publication(out, publication));
}

fn put_publication(out: &mut Vec<u8>, publication: &Publication) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_publication_to(publication, false, out);
    let bytes = u32::try_from(out.len() - begin - 4).expect("publications are bounded");
    out[begin..begin + 4].copy_from_slice(&bytes.to_le_bytes());
}

/// Nothing stands at offset 0.
fn position(head: &mut Reader<'_>) -> Option<Position> {
    let (epoch, offset) = (head.epoch()?, head.u64()?);
    (offset > 0).then_some(Position { epoch, offset })
}

fn time(head: &mut Reader<'_>) -> Option<Duration> {
    head.u64().map(Duration::from_millis)
}

fn version(head: &mut Reader<'_>) -> Option<Option<Version>> {
    match head.u64()? {
        0 => Some(None),
        number => Some(Some(Version { number, epoch: head.text()?.into() })),
    }
}
