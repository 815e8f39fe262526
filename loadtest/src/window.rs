//! Publications that not every member has received yet.

use std::time::{Duration, Instant};

/// A sliding window: publication n + K goes out when all members have publication n.
///
/// K = 1 is one publication at a time; with more the server gets the chance to join frames.
#[derive(Debug)]
pub struct Window {
    /// Publication n stands in slot n mod K.
    slots: Box<[Slot]>,
    members: u32,
    published: u64,
    outstanding: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sequence: u64,
    at: Instant,
    /// Members that have not received it; 0: the slot is free.
    missing: u32,
}

impl Window {
    /// `in_flight` is K, at least 1.
    pub fn new(in_flight: usize, members: usize) -> Window {
        let free = Slot { sequence: 0, at: Instant::now(), missing: 0 };
        let members = u32::try_from(members).expect("members are sockets of one process");
        Window { slots: vec![free; in_flight].into_boxed_slice(), members, published: 0, outstanding: 0 }
    }

    /// How many publications there were: the sequence number of the newest one.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Whether all members have all publications.
    pub fn is_idle(&self) -> bool {
        self.outstanding == 0
    }

    /// The sequence number of the next publication, `None` while the window is full.
    pub fn publish(&mut self, at: Instant) -> Option<u64> {
        let sequence = self.published + 1;
        let slot = self.slot_mut(sequence);
        if slot.missing > 0 {
            return None;
        }
        *slot = Slot { sequence, at, missing: 0 };
        let missing = self.members;
        self.slot_mut(sequence).missing = missing;
        self.published = sequence;
        self.outstanding += 1;
        Some(sequence)
    }

    /// One more member received `sequence`. Returns how long that took, `None` for a publication
    /// that was given up.
    pub fn receive(&mut self, sequence: u64, at: Instant) -> Option<Duration> {
        let slot = self.slot_mut(sequence);
        if slot.sequence != sequence || slot.missing == 0 {
            return None;
        }
        slot.missing -= 1;
        let (sent, is_complete) = (slot.at, slot.missing == 0);
        self.outstanding -= usize::from(is_complete);
        Some(at.saturating_duration_since(sent))
    }

    /// Waits no longer for what has not come.
    pub fn give_up(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.missing = 0);
        self.outstanding = 0;
    }

    fn slot_mut(&mut self, sequence: u64) -> &mut Slot {
        let index = sequence % self.slots.len() as u64;
        &mut self.slots[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_when_all_members_have_the_oldest() {
        let now = Instant::now();
        let mut window = Window::new(2, 2);
        assert_eq!([window.publish(now), window.publish(now), window.publish(now)], [Some(1), Some(2), None]);
        // The second completes first; the window waits for the first.
        window.receive(2, now);
        window.receive(2, now);
        window.receive(1, now);
        assert_eq!(window.publish(now), None);
        window.receive(1, now);
        assert!(window.is_idle());
        assert_eq!([window.publish(now), window.publish(now), window.publish(now)], [Some(3), Some(4), None]);
    }

    #[test]
    fn a_receipt_tells_its_latency() {
        let now = Instant::now();
        let mut window = Window::new(1, 1);
        window.publish(now);
        assert_eq!(window.receive(1, now + Duration::from_micros(70)), Some(Duration::from_micros(70)));
    }

    #[test]
    fn what_was_given_up_does_not_count_any_more() {
        let now = Instant::now();
        let mut window = Window::new(1, 2);
        window.publish(now);
        window.give_up();
        assert!(window.is_idle());
        assert_eq!(window.receive(1, now), None);
        assert_eq!(window.publish(now), Some(2));
        assert_eq!(window.receive(1, now), None);
        assert!(!window.is_idle());
    }
}
