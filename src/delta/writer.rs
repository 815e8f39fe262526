//! The pieces of a patch.

use std::ops::Range;

/// A shorter copy saves nothing: it takes up to eight bytes itself, and divides what is inserted.
const COPY_BYTES_MIN: usize = 12;

/// Writes the patch for one target, front to back.
pub struct Writer<'a> {
    out: Vec<u8>,
    target: &'a [u8],
    /// So much of the target is said.
    written: usize,
}

impl Writer<'_> {
    pub fn new(target: &[u8]) -> Writer<'_> {
        let mut writer = Writer { out: Vec::with_capacity(64), target, written: 0 };
        writer.number(target.len() as u32);
        writer.out.push(b'\n');
        writer
    }

    /// Where in the target it goes on.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Says `target[range]` as what stands at `offset` in the base. Too short a copy is left to be
    /// inserted. What lies between two copies is inserted.
    pub fn copy(&mut self, offset: usize, range: Range<usize>) {
        debug_assert!(range.start >= self.written, "copies are given front to back");
        if range.len() < COPY_BYTES_MIN {
            return;
        }
        self.insert_until(range.start);
        self.number(range.len() as u32);
        self.out.push(b'@');
        self.number(offset as u32);
        self.out.push(b',');
        self.written = range.end;
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.insert_until(self.target.len());
        self.number(checksum(self.target));
        self.out.push(b';');
        self.out
    }

    fn insert_until(&mut self, end: usize) {
        let inserted = &self.target[self.written..end];
        if !inserted.is_empty() {
            self.number(inserted.len() as u32);
            self.out.push(b':');
            self.out.extend_from_slice(inserted);
        }
        self.written = end;
    }

    fn number(&mut self, number: u32) {
        let digits = number.checked_ilog2().map_or(1, |log| log / DIGIT_BITS + 1);
        let digits = (0..digits).rev().map(|place| DIGITS[(number >> (place * DIGIT_BITS)) as usize % DIGITS.len()]);
        self.out.extend(digits);
    }
}

const DIGIT_BITS: u32 = 6;
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

fn checksum(target: &[u8]) -> u32 {
    let (words, rest) = target.as_chunks();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).fold(0, |sum: u32, word| sum.wrapping_add(u32::from_be_bytes(*word)))
}
