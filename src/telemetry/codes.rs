//! Counts by code, or by name, without a map: a fixed place for each one that can occur.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of the codes in a few ranges; codes outside share one last place.
///
/// `N` is [`places`] of the ranges.
#[derive(Debug)]
pub struct CodeCounts<const N: usize> {
    ranges: &'static [(u16, u16)],
    counts: [AtomicU64; N],
}

/// How many places the ranges need, with the one for all other codes.
pub const fn places(ranges: &[(u16, u16)]) -> usize {
    let (mut sum, mut index) = (1, 0);
    while index < ranges.len() {
        sum += (ranges[index].1 - ranges[index].0) as usize + 1;
        index += 1;
    }
    sum
}

impl<const N: usize> CodeCounts<N> {
    /// `ranges` are inclusive and do not overlap.
    pub const fn new(ranges: &'static [(u16, u16)]) -> CodeCounts<N> {
        assert!(places(ranges) == N, "a place for each code and one for the rest");
        CodeCounts { ranges, counts: [const { AtomicU64::new(0) }; N] }
    }

    /// The place of `code`.
    pub fn cell(&self, code: u16) -> &AtomicU64 {
        let mut first = 0;
        for &(from, to) in self.ranges {
            if (from..=to).contains(&code) {
                return &self.counts[first + usize::from(code - from)];
            }
            first += usize::from(to - from) + 1;
        }
        &self.counts[N - 1]
    }

    /// The codes that occurred, with their counts; `None` stands for all outside the ranges.
    pub fn occurred(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let known = self.ranges.iter().flat_map(|&(from, to)| from..=to).map(Some);
        known
            .chain(std::iter::once(None))
            .zip(&self.counts)
            .map(|(code, count)| (code, count.load(Ordering::Relaxed)))
            .filter(|&(_, count)| count > 0)
    }
}

/// Counts by name; names outside the list share one last place, called `other`.
///
/// `N` is one more than the names.
#[derive(Debug)]
pub struct NameCounts<const N: usize> {
    names: &'static [&'static str],
    counts: [AtomicU64; N],
}

impl<const N: usize> NameCounts<N> {
    pub const fn new(names: &'static [&'static str]) -> NameCounts<N> {
        assert!(names.len() + 1 == N, "a place for each name and one for the rest");
        NameCounts { names, counts: [const { AtomicU64::new(0) }; N] }
    }

    /// The place of `name`.
    pub fn cell(&self, name: &str) -> &AtomicU64 {
        let index = self.names.iter().position(|known| *known == name).unwrap_or(N - 1);
        &self.counts[index]
    }

    /// All names with their counts; `other` only when it occurred.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let names = self.names.iter().copied().chain(std::iter::once("other"));
        names.zip(counts).filter(|&(name, count)| name != "other" || count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: &[(u16, u16)] = &[(100, 102), (3000, 3001)];

    #[test]
    fn each_code_has_its_place_and_the_rest_share_one() {
        let counts = CodeCounts::<{ places(RANGES) }>::new(RANGES);
        for code in [100, 102, 102, 3001, 99, 103, 65535] {
            counts.cell(code).fetch_add(1, Ordering::Relaxed);
        }
        let occurred: Vec<_> = counts.occurred().collect();
        assert_eq!(occurred, [(Some(100), 1), (Some(102), 2), (Some(3001), 1), (None, 3)]);
    }

    #[test]
    fn unknown_names_are_counted_as_other() {
        let counts = NameCounts::<3>::new(&["a", "b"]);
        counts.cell("b").fetch_add(2, Ordering::Relaxed);
        assert_eq!(counts.all().collect::<Vec<_>>(), [("a", 0), ("b", 2)]);
        counts.cell("c").fetch_add(1, Ordering::Relaxed);
        assert_eq!(counts.all().collect::<Vec<_>>(), [("a", 0), ("b", 2), ("other", 1)]);
    }
}
