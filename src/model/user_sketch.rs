//! How many different users there are, where they are too many, and in too many places, to compare.

use std::fmt;

/// Counts different users to within about 1.6 % (few of them nearly exactly), in 4 KiB whatever their number: the
/// sketches of two places together are the sketch of both. Every node makes the same one of the same users.
///
/// Source: Flajolet and others, "HyperLogLog", 2007; with 64 bits of hash, so without its correction for large numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSketch(Box<[u8; REGISTERS]>);

/// Chosen: the error is 1.04 / sqrt(REGISTERS).
const REGISTERS: usize = 1 << REGISTER_BITS;
const REGISTER_BITS: u32 = 12;

/// The longest run of zeros that is left of a hash, and one.
const RANK_MAX: u8 = (64 - REGISTER_BITS + 1) as u8;

impl Default for UserSketch {
    fn default() -> UserSketch {
        UserSketch(Box::new([0; REGISTERS]))
    }
}

impl UserSketch {
    pub fn add(&mut self, user: &str) {
        let hash = hash(user);
        let register = &mut self.0[(hash >> (64 - REGISTER_BITS)) as usize];
        let rest = hash << REGISTER_BITS | 1 << (REGISTER_BITS - 1);
        *register = (*register).max(rest.leading_zeros() as u8 + 1);
    }

    /// Takes in the users of another place.
    pub fn join(&mut self, other: &UserSketch) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
    }

    pub fn count(&self) -> u64 {
        let registers = REGISTERS as f64;
        let alpha = 0.7213 / (1.0 + 1.079 / registers);
        let sum: f64 = self.0.iter().map(|&rank| (-f64::from(rank)).exp2()).sum();
        let raw = alpha * registers * registers / sum;
        let empty = self.0.iter().filter(|&&rank| rank == 0).count();
        let estimate = match raw <= 2.5 * registers && empty > 0 {
            true => registers * (registers / empty as f64).ln(),
            false => raw,
        };
        estimate.round() as u64
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// `None`: they are no sketch.
    pub fn from_bytes(bytes: &[u8]) -> Option<UserSketch> {
        let registers: [u8; REGISTERS] = bytes.try_into().ok()?;
        registers.iter().all(|&rank| rank <= RANK_MAX).then(|| UserSketch(Box::new(registers)))
    }
}

impl fmt::Debug for UserSketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserSketch(about {})", self.count())
    }
}

/// The same in every process, version and machine: FNV-1a, mixed as in SplitMix64 so that all bits count.
fn hash(user: &str) -> u64 {
    let fnv = user
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ fnv >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(users: std::ops::Range<u64>) -> UserSketch {
        let mut sketch = UserSketch::default();
        users.for_each(|user| sketch.add(&user.to_string()));
        sketch
    }

    #[test]
    fn users_are_counted_to_within_some_percent() {
        for count in [0, 1, 2, 10, 100, 1_000, 10_000, 100_000, 300_000] {
            let told = of(0..count).count();
            let error = told.abs_diff(count) as f64;
            assert!(error <= count as f64 * 0.04 && (count > 10 || error == 0.0), "{told} in place of {count}");
        }
    }

    #[test]
    fn users_of_two_places_are_counted_once() {
        let mut sketch = of(0..3_000);
        sketch.join(&of(2_000..5_000));
        assert_eq!(sketch, of(0..5_000));
        assert_eq!(UserSketch::from_bytes(sketch.as_bytes()), Some(sketch));
        assert_eq!(UserSketch::from_bytes(&[0; 7]), None);
        assert_eq!(UserSketch::from_bytes(&[RANK_MAX + 1; REGISTERS]), None);
    }

    /// Nodes of two versions have to agree.
    #[test]
    fn the_hash_stays_as_it_is() {
        assert_eq!((hash(""), hash("42")), (HASH_OF_NOTHING, HASH_OF_42));
    }

    const HASH_OF_NOTHING: u64 = 0xf52a_15e9_a9b5_e89b;
    const HASH_OF_42: u64 = 0xa428_ce54_7116_3b02;
}
