//! The in-tray: what API, engines and workers put in front of one shard.
//!
//! A sender may lose its core in the middle of a push, and a worker (SCHED_IDLE) that lost it to the very
//! shard may wait for a tenth of a second until it has it back. So the shard never waits for a half-done
//! push, as the queues of the field do by spinning (measured: turns of 190 ms, docs/decisions/0006): it
//! looks again when it is rung, and the sender rings when its message is there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::Doorbell;

/// Makes a tray of `slots` messages in front of the shard that sleeps behind `doorbell`.
pub fn tray<T>(slots: usize, doorbell: Arc<Doorbell>) -> (TraySender<T>, TrayReceiver<T>) {
    assert!(slots > 0, "a tray has room for a message");
    let slots = std::iter::repeat_with(|| Mutex::new(None)).take(slots).collect();
    let queue = Arc::new(Queue { slots, taken: AtomicUsize::new(0), claimed: AtomicUsize::new(0) });
    (TraySender { queue: Arc::clone(&queue), doorbell }, TrayReceiver { queue })
}

/// Anybody's end: cheap to clone, used from any thread, never blocks.
pub struct TraySender<T> {
    queue: Arc<Queue<T>>,
    doorbell: Arc<Doorbell>,
}

/// The shard's end: there is one.
pub struct TrayReceiver<T> {
    queue: Arc<Queue<T>>,
}

/// A ring whose places are claimed in order and filled in any.
///
/// Invariant: `taken <= claimed <= taken + slots`, both counted without end. A sender writes only to the
/// place that it claimed, and nobody claims it again before the receiver has emptied it; so a slot's lock
/// is free whenever it is wanted, but for the moment in which the receiver looks into a place that is not
/// filled yet.
struct Queue<T> {
    slots: Box<[Mutex<Option<T>>]>,
    /// Messages that the receiver took.
    taken: AtomicUsize,
    /// Places that senders claimed.
    claimed: AtomicUsize,
}

impl<T> Queue<T> {
    /// The place of the next message, if there is room.
    fn claim(&self) -> Option<&Mutex<Option<T>>> {
        let mut claimed = self.claimed.load(Ordering::Relaxed);
        loop {
            // Acquire: whoever claims a place anew sees that it is empty.
            let waiting = claimed.wrapping_sub(self.taken.load(Ordering::Acquire));
            if waiting >= self.slots.len() {
                // Also when another sender has claimed meanwhile: then the look is repeated.
                match self.claimed.load(Ordering::Relaxed) {
                    same if same == claimed => return None,
                    newer => claimed = newer,
                }
                continue;
            }
            let next = claimed.wrapping_add(1);
            match self.claimed.compare_exchange_weak(claimed, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(self.slot(claimed)),
                Err(newer) => claimed = newer,
            }
        }
    }

    fn slot(&self, number: usize) -> &Mutex<Option<T>> {
        &self.slots[number % self.slots.len()]
    }

    /// Looks into the oldest place; `None` if its message is not there, or not yet.
    fn look<R>(&self, look: impl FnOnce(&mut Option<T>) -> Option<R>) -> Option<R> {
        let taken = self.taken.load(Ordering::Relaxed);
        if self.claimed.load(Ordering::Acquire) == taken {
            return None;
        }
        match self.slot(taken).try_lock() {
            Ok(mut place) => look(&mut place),
            // Nothing can panic while it holds a place.
            Err(TryLockError::Poisoned(poisoned)) => look(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<T> TraySender<T> {
    /// Puts `message` into the tray and wakes the shard if it sleeps; gives it back if the tray is
    /// full.
    pub fn try_push(&self, message: T) -> Result<(), T> {
        self.try_push_quietly(message)?;
        self.ring();
        Ok(())
    }

    /// The same without waking anybody: [`TraySender::ring`] has to follow.
    pub fn try_push_quietly(&self, message: T) -> Result<(), T> {
        let Some(place) = self.queue.claim() else { return Err(message) };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        Ok(())
    }

    /// Wakes the shard if it sleeps, for all that was put in before.
    pub fn ring(&self) {
        self.doorbell.ring_if_sleeping();
    }
}

impl<T> Clone for TraySender<T> {
    fn clone(&self) -> TraySender<T> {
        TraySender { queue: Arc::clone(&self.queue), doorbell: Arc::clone(&self.doorbell) }
    }
}

impl<T> TrayReceiver<T> {
    /// The oldest message. `None` also while its push is half done: its sender rings afterwards.
    pub fn pop(&self) -> Option<T> {
        let message = self.queue.look(Option::take)?;
        let taken = self.queue.taken.load(Ordering::Relaxed);
        // Release: the place is empty before it is claimed anew.
        self.queue.taken.store(taken.wrapping_add(1), Ordering::Release);
        Some(message)
    }

    /// The second look of going to sleep: whether there is nothing to pop.
    pub fn is_empty(&self) -> bool {
        self.queue.look(|place| place.as_ref().map(|_| ())).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::thread::Thread;

    use super::*;

    #[test]
    fn a_full_tray_gives_the_message_back() {
        let (sender, receiver) = tray(2, Arc::default());
        assert_eq!(sender.try_push(1), Ok(()));
        assert_eq!(sender.clone().try_push(2), Ok(()));
        assert_eq!(sender.try_push(3), Err(3));
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
    }

    /// A worker that lost its core to the shard must not hold it up.
    #[test]
    fn a_half_done_push_is_not_waited_for() {
        let (sender, receiver) = tray(2, Arc::default());
        let place = sender.queue.claim().expect("room for two");
        assert_eq!((receiver.pop(), receiver.is_empty()), (None, true), "claimed");
        let held = place.lock().expect("nobody else holds it");
        assert_eq!((receiver.pop(), receiver.is_empty()), (None, true), "being written");
        drop(held);
        assert_eq!(sender.try_push(2), Ok(()));
        assert_eq!(receiver.pop(), None, "in the order in which places were claimed");
        *place.lock().expect("nobody else holds it") = Some(1);
        assert!(!receiver.is_empty());
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
    }

    /// Three senders and a receiver that sleeps at every chance: with a lost wake this test hangs.
    #[test]
    fn nothing_is_slept_over() {
        const SENDERS: usize = 3;
        const MESSAGES: usize = 20_000;

        let doorbell = Arc::new(Doorbell::new());
        let sleeper: Thread = thread::current();
        doorbell.hang(move || sleeper.unpark());
        let (sender, receiver) = tray(8, Arc::clone(&doorbell));
        let senders: Vec<_> = (0..SENDERS)
            .map(|id| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for number in 0..MESSAGES {
                        let mut message = (id, number);
                        while let Err(back) = sender.try_push(message) {
                            message = back;
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();

        let mut next = [0; SENDERS];
        while next.iter().sum::<usize>() < SENDERS * MESSAGES {
            match receiver.pop() {
                Some((id, number)) => {
                    assert_eq!(number, next[id], "the order of sender {id}");
                    next[id] += 1;
                }
                None => {
                    doorbell.prepare_sleep();
                    if receiver.is_empty() {
                        thread::park();
                    }
                    doorbell.awake();
                }
            }
        }
        for sender in senders {
            sender.join().expect("a sender does not panic");
        }
    }
}
