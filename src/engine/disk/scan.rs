//! Reads the segments of a log, oldest first, and says what is whole, torn and damaged.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::entry::{Entry, Names, decode, decode_channel};
use super::files::Files;
use super::format::{Found, HEADER_BYTES, PREFIX_BYTES, SegmentHeader, find_next_record, find_record};
use super::log::Sealed;
use crate::model::{ChannelName, Epoch};

/// What a reader of the log comes upon.
#[derive(Debug)]
pub enum Item {
    /// What follows stands in `bytes`.
    Segment { number: u64, next_epoch: Option<Epoch>, bytes: Arc<Vec<u8>> },
    /// The next channel that what follows may name.
    Name(ChannelName),
    Entry {
        entry: Entry,
        /// Where its body is in the bytes of the segment.
        body: Range<usize>,
    },
    /// Something is lost here: of this channel, or of nobody knows whom.
    Damage(Option<ChannelName>),
    /// A whole record of a kind that this version does not know.
    Unknown(Option<ChannelName>),
}

/// A segment as its own header and the next one's say.
struct Outline {
    number: u64,
    header: Option<SegmentHeader>,
    /// How much of it is valid, as far as the next one says.
    valid_bytes: Option<u64>,
    follows: Follows,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Another segment comes after it.
    Another,
    Nothing,
}

/// Gives each item to `sink`. Returns the segments, with how much of each is valid.
pub fn scan(files: &dyn Files, sink: &mut dyn FnMut(Item)) -> io::Result<Vec<Sealed>> {
    let mut sealed = Vec::new();
    let (mut buffers, mut names) = (Buffers::default(), Names::default());
    let mut expected = None;
    for outline in outlines(files)? {
        if expected.is_some_and(|expected| expected != outline.number) {
            sink(Item::Damage(None));
        }
        expected = Some(outline.number + 1);
        let mut bytes = buffers.take();
        files.read(outline.number, outline.valid_bytes.unwrap_or(u64::MAX), &mut bytes)?;
        let bytes = buffers.lend(bytes);
        let valid = scan_segment(&outline, &bytes, &mut names, sink);
        sealed.push(Sealed { number: outline.number, bytes: valid as u64 });
    }
    Ok(sealed)
}

/// What segments are read into: two in turn, so that one can be read while the other is looked at.
#[derive(Default)]
struct Buffers {
    lent: VecDeque<Arc<Vec<u8>>>,
}

impl Buffers {
    /// One that nobody looks at any more, or a new one.
    fn take(&mut self) -> Vec<u8> {
        match self.lent.len() {
            2.. => self.lent.pop_front().and_then(Arc::into_inner).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn lend(&mut self, bytes: Vec<u8>) -> Arc<Vec<u8>> {
        let bytes = Arc::new(bytes);
        self.lent.push_back(Arc::clone(&bytes));
        bytes
    }
}

fn outlines(files: &dyn Files) -> io::Result<Vec<Outline>> {
    let mut numbers = files.list()?;
    numbers.sort_unstable();
    let mut outlines: Vec<Outline> = Vec::with_capacity(numbers.len());
    let mut bytes = Vec::new();
    for number in numbers {
        files.read(number, HEADER_BYTES as u64, &mut bytes)?;
        let header = SegmentHeader::decode(&bytes).filter(|header| header.number == number);
        if let Some(before) = outlines.last_mut() {
            before.follows = Follows::Another;
            let is_next = before.number + 1 == number;
            before.valid_bytes = header.filter(|_| is_next).map(|header| header.before_bytes);
        }
        outlines.push(Outline { number, header, valid_bytes: None, follows: Follows::Nothing });
    }
    Ok(outlines)
}

/// Returns how much of the segment is valid.
fn scan_segment(outline: &Outline, bytes: &Arc<Vec<u8>>, names: &mut Names, sink: &mut dyn FnMut(Item)) -> usize {
    let Outline { number, header, .. } = outline;
    let next_epoch = header.map(|header| header.next_epoch);
    sink(Item::Segment { number: *number, next_epoch, bytes: Arc::clone(bytes) });
    let Some(header) = header else {
        // The process ended while it began the segment, or nothing in it can be read.
        let is_torn = outline.follows == Follows::Nothing && (bytes.len() < HEADER_BYTES || is_empty(bytes));
        if is_torn || outline.valid_bytes == Some(0) {
            return 0;
        }
        sink(Item::Damage(None));
        return bytes.len();
    };
    let valid = scan_records(bytes, header.salt, names, sink);
    // Nobody was told of a record whose write did not finish; but a sealed segment has no such end.
    let is_short = outline.valid_bytes.map_or(valid < bytes.len(), |expected| (valid as u64) < expected);
    if is_short && outline.follows == Follows::Another {
        sink(Item::Damage(None));
    }
    valid
}

/// Returns where the records end.
fn scan_records(bytes: &[u8], salt: u32, names: &mut Names, sink: &mut dyn FnMut(Item)) -> usize {
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let rest = &bytes[at..];
        at += match find_record(rest, salt) {
            Found::Record { kind, head, body } => {
                let body_at = at + PREFIX_BYTES + head.len();
                read_entry(kind, head, body_at..body_at + body.len(), names, sink);
                PREFIX_BYTES + head.len() + body.len()
            }
            Found::DamagedBody { kind, head, bytes } => {
                sink(Item::Damage(decode_channel(kind, head)));
                bytes
            }
            Found::DamagedHead { bytes } => {
                sink(Item::Damage(None));
                bytes
            }
            Found::Torn => return at,
            // Room that the file system gave, and no write filled.
            Found::DamagedPrefix if is_empty(rest) => return at,
            Found::DamagedPrefix => {
                sink(Item::Damage(None));
                find_next_record(rest, salt).unwrap_or(rest.len())
            }
        };
    }
    at
}

fn read_entry(kind: u8, head: &[u8], body: Range<usize>, names: &mut Names, sink: &mut dyn FnMut(Item)) {
    let entry = decode(kind, head, names);
    names.take_newest().into_iter().for_each(|name| sink(Item::Name(name)));
    match entry {
        Some(entry) => sink(Item::Entry { entry, body }),
        None => sink(Item::Unknown(decode_channel(kind, head))),
    }
}

fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
