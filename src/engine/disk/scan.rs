//! Reads the segments of a log, oldest first, and says what is whole, torn and damaged.

use std::io;

use super::entry::{Entry, Names, decode, decode_channel};
use super::files::Files;
use super::format::{Found, HEADER_BYTES, SegmentHeader, find_next_record, find_record};
use super::log::Sealed;
use crate::model::{ChannelName, Epoch};

/// What a reader of the log comes upon.
#[derive(Debug)]
pub enum Item {
    Segment {
        number: u64,
        next_epoch: Option<Epoch>,
    },
    Entry(Entry),
    /// Something is lost here: of this channel, or of nobody knows whom.
    Damage(Option<ChannelName>),
    /// A whole record of a kind that this version does not know.
    Unknown(Option<ChannelName>),
}

impl Item {
    /// What it holds in memory besides itself, about.
    pub fn bytes(&self) -> usize {
        match self {
            Item::Entry(Entry::Append(append)) => append.publication.data.len(),
            Item::Entry(Entry::Stream(whole)) => whole.stream.bytes(),
            _ => 0,
        }
    }
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
    let (mut bytes, mut names) = (Vec::new(), Names::default());
    let mut expected = None;
    for outline in outlines(files)? {
        if expected.is_some_and(|expected| expected != outline.number) {
            sink(Item::Damage(None));
        }
        expected = Some(outline.number + 1);
        files.read(outline.number, outline.valid_bytes.unwrap_or(u64::MAX), &mut bytes)?;
        let valid = scan_segment(&outline, &bytes, &mut names, sink);
        sealed.push(Sealed { number: outline.number, bytes: valid as u64 });
    }
    Ok(sealed)
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
fn scan_segment(outline: &Outline, bytes: &[u8], names: &mut Names, sink: &mut dyn FnMut(Item)) -> usize {
    let Outline { number, header, .. } = outline;
    sink(Item::Segment { number: *number, next_epoch: header.map(|header| header.next_epoch) });
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
                sink(read_entry(kind, head, body, names));
                super::format::PREFIX_BYTES + head.len() + body.len()
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

fn read_entry(kind: u8, head: &[u8], body: &[u8], names: &mut Names) -> Item {
    match decode(kind, head, body, names) {
        Some(entry) => Item::Entry(entry),
        None => Item::Unknown(decode_channel(kind, head)),
    }
}

fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
