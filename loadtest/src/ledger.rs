//! Who received what: counts lost, duplicated and reordered publications.

use serde::{Deserialize, Serialize};

/// What one receipt was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// In order, or after a gap whose publications may still come.
    First,
    /// After a later one; once seen it is not lost.
    Late,
    Again,
}

/// What went wrong, summed over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
}

impl Faults {
    pub fn is_none(&self) -> bool {
        *self == Faults::default()
    }

    pub fn add(&mut self, other: Faults) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

/// One row for each member of the channel; sequence numbers count from 1.
#[derive(Debug)]
pub struct Ledger {
    rows: Vec<Row>,
    faults: Faults,
}

/// The newest sequence number that a member has seen, and which of the 64 up to it.
#[derive(Clone, Copy, Debug)]
struct Row {
    newest: u64,
    /// Bit n: `newest - n` was seen.
    seen: u64,
}

impl Ledger {
    pub fn new(members: usize) -> Ledger {
        // Nothing before the first publication can be missed: all of it counts as seen.
        Ledger { rows: vec![Row { newest: 0, seen: u64::MAX }; members], faults: Faults::default() }
    }

    /// Enters that `member` received `sequence`.
    pub fn receive(&mut self, member: usize, sequence: u64) -> Receipt {
        let row = &mut self.rows[member];
        if sequence > row.newest {
            self.faults.lost += row.advance(sequence);
            row.seen |= 1;
            return Receipt::First;
        }
        let age = row.newest - sequence;
        if age >= 64 {
            // Too old to know whether it came before: it was counted as seen or as lost when it left.
            self.faults.reordered += 1;
            return Receipt::Late;
        }
        if row.seen & 1 << age != 0 {
            self.faults.duplicated += 1;
            return Receipt::Again;
        }
        row.seen |= 1 << age;
        self.faults.reordered += 1;
        Receipt::Late
    }

    /// Closes the books: what of the first `published` publications has not come is lost.
    pub fn close(self, published: u64) -> Faults {
        self.close_each(|_| published)
    }

    /// The same where members are in several rooms; `published` is given the member.
    pub fn close_each(mut self, published: impl Fn(usize) -> u64) -> Faults {
        for (member, row) in self.rows.iter_mut().enumerate() {
            let published = published(member);
            assert!(row.newest <= published, "a member received what nobody published");
            self.faults.lost += row.advance(published) + u64::from(row.seen.count_zeros());
        }
        self.faults
    }
}

impl Row {
    /// Moves on to `newest`, which is not seen yet. Returns how many publications left unseen.
    fn advance(&mut self, newest: u64) -> u64 {
        let steps = newest - self.newest;
        self.newest = newest;
        match steps {
            0 => 0,
            1..64 => {
                let left = self.seen >> (64 - steps);
                self.seen <<= steps;
                steps - u64::from(left.count_ones())
            }
            64.. => {
                let unseen = u64::from(self.seen.count_zeros()) + (steps - 64);
                self.seen = 0;
                unseen
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one member's receipts come to when `published` were published.
    fn check(receipts: impl IntoIterator<Item = u64>, published: u64, [lost, duplicated, reordered]: [u64; 3]) {
        let mut ledger = Ledger::new(2);
        for sequence in 1..=published {
            ledger.receive(1, sequence);
        }
        for sequence in receipts {
            ledger.receive(0, sequence);
        }
        assert_eq!(ledger.close(published), Faults { lost, duplicated, reordered });
    }

    #[test]
    fn all_in_order_is_no_fault() {
        check(1..=1000, 1000, [0, 0, 0]);
        check([], 0, [0, 0, 0]);
    }

    #[test]
    fn gaps_are_lost_wherever_they_are() {
        check([2, 3], 3, [1, 0, 0]);
        check([1, 3], 3, [1, 0, 0]);
        check([1, 2], 3, [1, 0, 0]);
        check([], 500, [500, 0, 0]);
        check([1, 500], 500, [498, 0, 0]);
        check((1..=1000).filter(|n| n % 100 != 0), 1000, [10, 0, 0]);
        for gap in [62, 63, 64, 65, 66] {
            check([1, 1 + gap], 1 + gap, [gap - 1, 0, 0]);
        }
    }

    #[test]
    fn late_ones_are_reordered_and_not_lost() {
        check([1, 3, 2, 4], 4, [0, 0, 1]);
        check([2, 1], 2, [0, 0, 1]);
        check((2..=64).chain([1]), 64, [0, 0, 1]);
    }

    #[test]
    fn repeats_are_duplicated() {
        check([1, 1, 2, 3, 2], 3, [0, 2, 0]);
        check([1, 3, 3], 3, [1, 1, 0]);
    }

    #[test]
    fn what_is_too_old_to_tell_stays_lost_and_is_reordered() {
        check((2..=100).chain([1]), 100, [1, 0, 1]);
    }
}
