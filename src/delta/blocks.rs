//! Where in the base the bytes of a window stand.

/// Bytes of a block: what a match is found by, and so the shortest that is found away from the ends.
/// Fossil's own.
pub const BLOCK_BYTES: usize = 16;

/// Blocks of one bucket that are compared, so that a base which repeats itself costs no more time than
/// another one. Chosen: records of one list differ in their first block or two.
const CANDIDATES_MAX: usize = 8;

/// The blocks of a base by their hash, in buckets. A block's number is its offset in blocks.
pub struct Blocks {
    /// First block of each bucket, from 1; 0: none.
    first: Vec<u32>,
    /// The next one of the same bucket, by block.
    next: Vec<u32>,
    /// What is left of a hash's bits as the bucket's number.
    shift: u32,
}

impl Blocks {
    /// `base` has at least one block.
    pub fn of(base: &[u8]) -> Blocks {
        let count = base.len() / BLOCK_BYTES;
        let buckets = (2 * count).next_power_of_two();
        let shift = u32::BITS - buckets.ilog2();
        let mut blocks = Blocks { first: vec![0; buckets], next: vec![0; count], shift };
        // Backwards, so that a bucket's first block is the one that stands first in the base.
        for (number, block) in base.chunks_exact(BLOCK_BYTES).enumerate().rev() {
            let bucket = blocks.bucket_of(RollingHash::of(block));
            blocks.next[number] = std::mem::replace(&mut blocks.first[bucket], number as u32 + 1);
        }
        blocks
    }

    /// Offsets of the blocks whose bytes may be those that `hash` was made of.
    pub fn candidates(&self, hash: RollingHash) -> impl Iterator<Item = usize> {
        let mut at = self.first[self.bucket_of(hash)];
        let chain = std::iter::from_fn(move || {
            let block = at.checked_sub(1)? as usize;
            at = self.next[block];
            Some(block * BLOCK_BYTES)
        });
        chain.take(CANDIDATES_MAX)
    }

    fn bucket_of(&self, hash: RollingHash) -> usize {
        // The upper bits of the product depend on all bits of the hash (Fibonacci hashing).
        (hash.0.wrapping_mul(0x9e37_79b9) >> self.shift) as usize
    }
}

/// A polynomial over the bytes of a window, modulo 2^32.
#[derive(Clone, Copy)]
pub struct RollingHash(u32);

/// Any odd number whose powers differ; this one is of Knuth's (TAOCP 3.3.4).
const FACTOR: u32 = 1_664_525;

/// What the byte that leaves the window is multiplied by.
const LEAVING: u32 = FACTOR.wrapping_pow(BLOCK_BYTES as u32);

impl RollingHash {
    pub fn of(window: &[u8]) -> RollingHash {
        RollingHash(window.iter().fold(0, |hash: u32, byte| hash.wrapping_mul(FACTOR).wrapping_add(u32::from(*byte))))
    }

    /// The window moves on by a byte.
    pub fn roll(&mut self, leaving: u8, entering: u8) {
        let hash = self.0.wrapping_mul(FACTOR).wrapping_add(u32::from(entering));
        self.0 = hash.wrapping_sub(u32::from(leaving).wrapping_mul(LEAVING));
    }
}
