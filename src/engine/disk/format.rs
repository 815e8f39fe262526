//! How records stand in a segment: each with checksums of its own, so that what is torn, what is damaged and
//! what is whole are told apart.
//!
//! A **segment** begins with a header ([`SegmentHeader`]); records follow without gaps:
//!
//! | bytes | what                                                       |
//! |-------|------------------------------------------------------------|
//! | 1     | kind                                                       |
//! | 3     | length of the head                                         |
//! | 4     | length of the body                                         |
//! | 4     | checksum of the head: channel, position, times             |
//! | 4     | checksum of the body: the publications                     |
//! | 4     | checksum of these 16 bytes                                 |
//! | ..    | head, body                                                 |
//!
//! All numbers are little-endian. Checksums are CRC-32C, begun with the segment's random salt: a payload that
//! looks like a record is none, whoever made it.
//!
//! Since the lengths have a checksum, a record whose end is missing is *torn* (the write never came to its end),
//! and a whole one that differs from its checksum is *damaged*. If only its body is, its head still says whose.

use crc32c::{crc32c, crc32c_append};

use crate::model::Epoch;

/// What stands before each record.
pub const PREFIX_BYTES: usize = 20;

pub const HEADER_BYTES: usize = 44;

const MAGIC: [u8; 8] = *b"FANFLOG\x01";

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Counted from 1; the order of the log.
    pub number: u64,
    /// How much of the segment before is valid: what stands behind was never confirmed.
    pub before_bytes: u64,
    /// Epoch of streams yet to begin when it was written.
    pub next_epoch: Epoch,
    pub salt: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.before_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(self.next_epoch.as_str().as_bytes());
        bytes[32..36].copy_from_slice(&self.salt.to_le_bytes());
        let sum = crc32c(&bytes[..40]);
        bytes[40..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` if it is damaged, or not of ours.
    pub fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
        let mut reader = Reader(bytes.get(..HEADER_BYTES)?);
        if reader.take(8)? != MAGIC || crc32c(&bytes[..40]) != u32_at(bytes, 40) {
            return None;
        }
        let (number, before_bytes, next_epoch) = (reader.u64()?, reader.u64()?, reader.epoch()?);
        Some(SegmentHeader { number, before_bytes, next_epoch, salt: reader.u32()? })
    }
}

/// Appends a record to `out`: `write` appends its head, says where it ends, and appends its body.
pub fn encode_record(
    out: &mut Vec<u8>,
    salt: u32,
    kind: u8,
    head: impl FnOnce(&mut Vec<u8>),
    body: impl FnOnce(&mut Vec<u8>),
) {
    let begin = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    head(out);
    let head_end = out.len();
    body(out);
    let (head, body) = (begin + PREFIX_BYTES..head_end, head_end..out.len());
    let head_bytes = u32::try_from(head.len()).expect("names and keys are bounded");
    assert!(head_bytes < 1 << 24, "names and keys are bounded");
    let body_bytes = u32::try_from(body.len()).expect("publications are bounded");
    let (head_sum, body_sum) = (crc32c_append(salt, &out[head]), crc32c_append(salt, &out[body]));
    let prefix = &mut out[begin..begin + PREFIX_BYTES];
    prefix[..4].copy_from_slice(&(u32::from(kind) | head_bytes << 8).to_le_bytes());
    prefix[4..8].copy_from_slice(&body_bytes.to_le_bytes());
    prefix[8..12].copy_from_slice(&head_sum.to_le_bytes());
    prefix[12..16].copy_from_slice(&body_sum.to_le_bytes());
    let sum = crc32c_append(salt, &prefix[..16]);
    prefix[16..].copy_from_slice(&sum.to_le_bytes());
}

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record { kind: u8, head: &'a [u8], body: &'a [u8] },
    /// The head is whole, the body isn't what was written.
    DamagedBody { kind: u8, head: &'a [u8], bytes: usize },
    /// Nobody knows whose record it was; the next one is `bytes` further.
    DamagedHead { bytes: usize },
    /// Nobody knows where it ends.
    DamagedPrefix,
    /// It has no end: the write did not finish.
    Torn,
}

/// Reads the record at the beginning of `bytes`, which are not empty.
pub fn find_record(bytes: &[u8], salt: u32) -> Found<'_> {
    let Some((prefix, rest)) = bytes.split_at_checked(PREFIX_BYTES) else { return Found::Torn };
    if crc32c_append(salt, &prefix[..16]) != u32_at(prefix, 16) {
        return Found::DamagedPrefix;
    }
    let kind = prefix[0];
    let head_bytes = (u32_at(prefix, 0) >> 8) as usize;
    let body_bytes = u32_at(prefix, 4) as usize;
    let Some((head, rest)) = rest.split_at_checked(head_bytes) else { return Found::Torn };
    let Some(body) = rest.get(..body_bytes) else { return Found::Torn };
    let bytes = PREFIX_BYTES + head_bytes + body_bytes;
    if crc32c_append(salt, head) != u32_at(prefix, 8) {
        return Found::DamagedHead { bytes };
    }
    match crc32c_append(salt, body) == u32_at(prefix, 12) {
        true => Found::Record { kind, head, body },
        false => Found::DamagedBody { kind, head, bytes },
    }
}

/// How far it is from the beginning of `bytes` to the next place at which a record can begin.
pub fn find_next_record(bytes: &[u8], salt: u32) -> Option<usize> {
    let mut places = bytes.windows(PREFIX_BYTES).enumerate().skip(1);
    places.find(|(_, prefix)| crc32c_append(salt, &prefix[..16]) == u32_at(prefix, 16)).map(|(place, _)| place)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// Takes numbers and texts from the front of some bytes.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A text behind its length.
    pub fn text(&mut self) -> Option<&'a str> {
        let bytes = self.u16()?;
        str::from_utf8(self.take(usize::from(bytes))?).ok()
    }

    pub fn epoch(&mut self) -> Option<Epoch> {
        Epoch::parse(str::from_utf8(self.take(8)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 0x1234_5678;

    fn record(head: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_record(&mut out, SALT, 7, |out| out.extend_from_slice(head), |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn a_record_comes_back_and_says_how_it_is_broken() {
        let bytes = record(b"head", b"the body");
        assert_eq!(find_record(&bytes, SALT), Found::Record { kind: 7, head: b"head", body: b"the body" });
        for end in 1..bytes.len() {
            assert_eq!(find_record(&bytes[..end], SALT), Found::Torn, "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            match (at, find_record(&flipped, SALT)) {
                (..20, Found::DamagedPrefix) => {}
                (20..24, Found::DamagedHead { bytes: 32 }) => {}
                (24.., Found::DamagedBody { kind: 7, head: b"head", bytes: 32 }) => {}
                (_, found) => panic!("flipped at {at}: {found:?}"),
            }
        }
    }

    #[test]
    fn the_next_record_is_found_behind_a_broken_one_and_a_payload_is_none() {
        let mut inner = Vec::new();
        encode_record(&mut inner, SALT + 1, 7, |_| (), |_| ());
        let mut bytes = record(b"first", &inner);
        let first = bytes.len();
        bytes.extend(record(b"second", b""));
        assert_eq!(find_next_record(&bytes, SALT), Some(first), "what has another salt is no record");
        assert_eq!(find_next_record(&bytes[..first], SALT), None);
    }

    #[test]
    fn a_header_comes_back_or_is_refused() {
        let next_epoch = Epoch::from_random(9);
        let header = SegmentHeader { number: 3, before_bytes: 1 << 40, next_epoch, salt: SALT };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for at in 0..HEADER_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(SegmentHeader::decode(&flipped), None, "flipped at {at}");
            assert_eq!(SegmentHeader::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
