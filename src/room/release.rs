//! What leaves a room while some of it is still being prepared elsewhere: the line.

use std::collections::VecDeque;

/// A line in which what is ready waits for what came before it.
///
/// `T` leaves at the front, in the order in which its places were taken; `P` is what is prepared, and
/// becomes a `T`. Only the first few are prepared at a time, so that one room's work does not crowd
/// out another's.
#[derive(Debug)]
pub struct Line<T, P> {
    places: VecDeque<Place<T, P>>,
    /// Ticket of the place in front; those behind it follow one by one.
    front: u64,
    at_work: usize,
}

#[derive(Debug)]
enum Place<T, P> {
    Ready(T),
    Waiting(P),
    AtWork(P),
    /// Taken out while it changes.
    Empty,
}

impl<T, P> Default for Line<T, P> {
    fn default() -> Line<T, P> {
        Line { places: VecDeque::new(), front: 0, at_work: 0 }
    }
}

impl<T, P> Line<T, P> {
    pub fn push_ready(&mut self, ready: T) {
        self.places.push_back(Place::Ready(ready));
    }

    pub fn push_waiting(&mut self, waiting: P) {
        self.places.push_back(Place::Waiting(waiting));
    }

    /// What is to be prepared next, with the ticket that `finish` wants; `None` while `at_once` are
    /// being prepared already.
    pub fn next_work(&mut self, at_once: usize) -> Option<(u64, &P)> {
        if self.at_work >= at_once {
            return None;
        }
        let at = self.places.iter().position(|place| matches!(place, Place::Waiting(_)))?;
        self.at_work += 1;
        let place = &mut self.places[at];
        if let Place::Waiting(waiting) = std::mem::replace(place, Place::Empty) {
            *place = Place::AtWork(waiting);
        }
        match place {
            Place::AtWork(work) => Some((self.front + at as u64, work)),
            _ => None,
        }
    }

    /// The work with this ticket is done: `make` says what leaves in its place.
    ///
    /// Panics when nothing was at work there.
    pub fn finish(&mut self, ticket: u64, make: impl FnOnce(P) -> T) {
        let place = &mut self.places[usize::try_from(ticket - self.front).expect("a line is in memory")];
        let Place::AtWork(work) = std::mem::replace(place, Place::Empty) else {
            panic!("ticket {ticket} is not at work");
        };
        *place = Place::Ready(make(work));
        self.at_work -= 1;
    }

    /// The next that may leave.
    pub fn pop(&mut self) -> Option<T> {
        match self.places.front()? {
            Place::Ready(_) => {}
            _ => return None,
        }
        self.front += 1;
        match self.places.pop_front() {
            Some(Place::Ready(ready)) => Some(ready),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(line: &mut Line<u32, u32>) -> Vec<u32> {
        std::iter::from_fn(|| line.pop()).collect()
    }

    #[test]
    fn all_leave_in_the_order_of_their_places() {
        let mut line = Line::default();
        line.push_ready(0);
        line.push_waiting(1);
        line.push_ready(2);
        line.push_waiting(3);
        line.push_waiting(4);
        line.push_ready(5);
        assert_eq!(leaving(&mut line), [0]);
        let mut tickets = Vec::new();
        while let Some((ticket, work)) = line.next_work(2) {
            tickets.push((ticket, *work));
        }
        assert_eq!(tickets, [(1, 1), (3, 3)], "two at once");
        line.finish(3, |work| work * 10);
        assert_eq!(leaving(&mut line), [0; 0]);
        assert_eq!(line.next_work(2), Some((4, &4)));
        line.finish(1, |work| work * 10);
        assert_eq!(leaving(&mut line), [10, 2, 30]);
        line.push_waiting(6);
        assert_eq!(line.next_work(2), Some((6, &6)), "tickets go on");
        line.finish(6, |work| work);
        line.finish(4, |work| work * 10);
        assert_eq!(leaving(&mut line), [40, 5, 6]);
        assert!(line.is_empty());
    }

    #[test]
    #[should_panic(expected = "ticket 0 is not at work")]
    fn what_is_not_at_work_is_not_finished() {
        let mut line: Line<u32, u32> = Line::default();
        line.push_waiting(1);
        line.finish(0, |work| work);
    }
}
