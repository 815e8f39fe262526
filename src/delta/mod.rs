//! The difference between two payloads, in the format of Fossil.
//!
//! A patch says a payload as pieces of the one before it (its *base*) and bytes that are new:
//!
//! ```text
//! patch  := size "\n" piece* checksum ";"
//! piece  := count "@" offset ","      copy so many bytes of the base, from there
//!         | count ":" bytes           take these
//! ```
//!
//! `size` is the payload's length and `checksum` the sum of its big-endian 32-bit words, the last one
//! filled up with zeros. Numbers are written in base 64, the most significant digit first.
//! Source: fossil-scm.org, "Fossil Delta Format". What SDKs accept was read in centrifuge-js 5.8.0.
//!
//! Invariants: what [`create`] gives restores the payload exactly and is shorter than it; for a text
//! it is a text; time and memory are linear in the bytes of both, whatever they hold. Must never touch
//! anything else of ours. Read `mod.rs` first, then `blocks.rs`.

mod blocks;
mod writer;

#[cfg(test)]
#[path = "../../tests/support/fossil.rs"]
pub mod fossil;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::limits::DELTA_BYTES_MAX;
use blocks::{BLOCK_BYTES, Blocks, RollingHash};
use writer::Writer;

/// The patch that makes `target` of `base`, or `None` when it would not be shorter than `target`, or
/// one of them is over `DELTA_BYTES_MAX`.
///
/// If `target` is UTF-8, so is the patch: JSON carries patches as texts. `base` may be cut anywhere,
/// for nobody reads the pieces by themselves.
pub fn create(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if base.len().max(target.len()) > DELTA_BYTES_MAX {
        return None;
    }
    let cuts = Cuts { text: str::from_utf8(target).ok() };
    let mut patch = Writer::new(target);
    // Most changes are small: the ends are compared, and only what is between them is searched for.
    let prefix = cuts.at_or_before(common_prefix(base, target));
    let suffix = common_suffix(&base[prefix..], &target[prefix..]);
    let changed = prefix..cuts.at_or_after(target.len() - suffix);
    patch.copy(0, 0..prefix);
    if changed.len() >= BLOCK_BYTES && base.len() >= BLOCK_BYTES {
        search(base, &target[..changed.end], changed.start, cuts, &mut patch);
    }
    let offset = base.len() - (target.len() - changed.end);
    patch.copy(offset, changed.end..target.len());
    let patch = patch.finish();
    (patch.len() < target.len()).then_some(patch)
}

/// Writes copies for the pieces of `target[from..]` that occur anywhere in `base`.
fn search(base: &[u8], target: &[u8], from: usize, cuts: Cuts<'_>, patch: &mut Writer<'_>) {
    let blocks = Blocks::of(base);
    let mut at = from;
    while let Some(window) = target.get(at..at + BLOCK_BYTES) {
        let mut hash = RollingHash::of(window);
        let found = loop {
            if let Some(found) = find_longest(base, target, at, patch.written(), blocks.candidates(hash)) {
                break found;
            }
            let Some(next) = target.get(at + BLOCK_BYTES) else { return };
            hash.roll(target[at], *next);
            at += 1;
        };
        at = found.end();
        let copied = cuts.within(found.start..found.end());
        patch.copy(found.offset + (copied.start - found.start), copied);
    }
}

/// A piece of the target that is in the base.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// In the target.
    start: usize,
    /// In the base.
    offset: usize,
    length: usize,
}

impl Found {
    fn end(self) -> usize {
        self.start + self.length
    }
}

/// The longest match around `target[at..]` of those that begin at `candidates` in the base, extended
/// to both sides, but not to before `least`. At least a block long.
fn find_longest(
    base: &[u8],
    target: &[u8],
    at: usize,
    least: usize,
    candidates: impl Iterator<Item = usize>,
) -> Option<Found> {
    let matches = candidates.filter_map(|offset| {
        let ahead = common_prefix(&base[offset..], &target[at..]);
        if ahead < BLOCK_BYTES {
            return None;
        }
        let behind = common_suffix(&base[..offset], &target[least..at]);
        Some(Found { start: at - behind, offset: offset - behind, length: behind + ahead })
    });
    matches.max_by_key(|found| found.length)
}

/// Where the target may be cut: a text only between characters.
#[derive(Clone, Copy)]
struct Cuts<'a> {
    /// `None`: it is no text.
    text: Option<&'a str>,
}

impl Cuts<'_> {
    fn is_one(self, at: usize) -> bool {
        self.text.is_none_or(|text| text.is_char_boundary(at))
    }

    fn at_or_before(self, at: usize) -> usize {
        (0..=at).rev().find(|at| self.is_one(*at)).unwrap_or(0)
    }

    fn at_or_after(self, at: usize) -> usize {
        (at..).find(|at| self.is_one(*at)).unwrap_or(at)
    }

    /// The longest part of `range` with a cut at each end; empty when there is none.
    fn within(self, range: Range<usize>) -> Range<usize> {
        let start = self.at_or_after(range.start);
        start..self.at_or_before(range.end).max(start)
    }
}

/// How many bytes are the same at the beginning of both.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let equal = |(one, other): &(&[u8], &[u8])| one == other;
    let whole = one.chunks_exact(BLOCK_BYTES).zip(other.chunks_exact(BLOCK_BYTES)).take_while(equal).count();
    let whole = whole * BLOCK_BYTES;
    whole + one[whole..].iter().zip(&other[whole..]).take_while(|(one, other)| one == other).count()
}

/// The same at the end.
fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    let equal = |(one, other): &(&[u8], &[u8])| one == other;
    let whole = one.rchunks_exact(BLOCK_BYTES).zip(other.rchunks_exact(BLOCK_BYTES)).take_while(equal).count();
    let (one, other) = (&one[..one.len() - whole * BLOCK_BYTES], &other[..other.len() - whole * BLOCK_BYTES]);
    whole * BLOCK_BYTES + one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
}
