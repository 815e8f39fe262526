//! Connections that wait to be read, and in which order they take turns.

use std::collections::VecDeque;

/// What waits to be read: at most once each, which its owner sees to.
///
/// A storm (thousands that subscribe or vanish at once) must not stand before a connection that has
/// one thing to say. So a third of the turns goes to whoever came last, a third to whoever has waited
/// longest, and a third to those that were read before and have more; what one of them does not need
/// goes to the others. Connections whose peer has ended have a queue and a share of their own.
#[derive(Debug)]
pub struct Ready<T> {
    /// Called by an event, not read since.
    fresh: VecDeque<T>,
    /// Read before, and not to the end.
    again: VecDeque<T>,
    /// The same, since this turn began: each is read once in a turn.
    next_turn: Vec<T>,
    ended: VecDeque<T>,
    /// Whose turn it is: newest, oldest, again.
    whose: u8,
}

impl<T> Ready<T> {
    /// An event called it.
    pub fn push(&mut self, item: T) {
        self.fresh.push_back(item);
    }

    /// It was read, and goes on in the next turn.
    pub fn push_again(&mut self, item: T) {
        self.next_turn.push(item);
    }

    /// Its peer sends no more.
    pub fn push_ended(&mut self, item: T) {
        self.ended.push_back(item);
    }

    /// A turn begins: what was read in the one before may be read again.
    pub fn begin_turn(&mut self) {
        self.again.extend(self.next_turn.drain(..));
    }

    /// The next to read in this turn, those that have ended left out.
    pub fn pop(&mut self) -> Option<T> {
        self.whose = (self.whose + 1) % 3;
        match self.whose {
            0 => self.fresh.pop_back().or_else(|| self.again.pop_front()),
            1 => self.fresh.pop_front().or_else(|| self.again.pop_front()),
            _ => self.again.pop_front().or_else(|| self.fresh.pop_front()),
        }
    }

    /// The next of those that have ended.
    pub fn pop_ended(&mut self) -> Option<T> {
        self.ended.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.again.is_empty() && self.next_turn.is_empty() && self.ended.is_empty()
    }
}

impl<T> Default for Ready<T> {
    fn default() -> Ready<T> {
        Ready {
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            next_turn: Vec::new(),
            ended: VecDeque::new(),
            whose: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pops<T>(ready: &mut Ready<T>) -> Vec<T> {
        std::iter::from_fn(|| ready.pop()).collect()
    }

    #[test]
    fn the_newest_the_oldest_and_those_with_more_take_turns() {
        let mut ready = Ready::default();
        (1..=4).for_each(|n| ready.push(n));
        (11..=12).for_each(|n| ready.push_again(n));
        ready.begin_turn();
        assert_eq!(pops(&mut ready), [1, 11, 4, 2, 12, 3]);
        assert!(ready.is_empty());
    }

    #[test]
    fn who_has_more_waits_for_the_next_turn() {
        let mut ready = Ready::default();
        ready.push_again(1);
        assert_eq!(ready.pop(), None);
        assert!(!ready.is_empty());
        ready.begin_turn();
        assert_eq!(ready.pop(), Some(1));
    }

    #[test]
    fn who_has_ended_stands_before_nobody() {
        let mut ready = Ready::default();
        (1..=3).for_each(|n| ready.push_ended(n));
        ready.push(4);
        assert_eq!(ready.pop(), Some(4));
        assert_eq!(ready.pop(), None);
        assert_eq!(ready.pop_ended(), Some(1));
        assert!(!ready.is_empty());
    }

    #[test]
    fn nobody_waits_for_ever_behind_a_steady_stream() {
        let mut ready = Ready::default();
        ready.push("first");
        for turn in 0.. {
            ready.push("new");
            ready.begin_turn();
            if ready.pop() == Some("first") {
                assert!(turn < 3);
                return;
            }
        }
    }
}
