//! The in-tray: what API, engines and workers put in front of one shard.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::Doorbell;

/// Makes a tray of `slots` messages in front of the shard that sleeps behind `doorbell`.
pub fn tray<T>(slots: usize, doorbell: Arc<Doorbell>) -> (TraySender<T>, TrayReceiver<T>) {
    let queue = Arc::new(ArrayQueue::new(slots));
    (TraySender { queue: Arc::clone(&queue), doorbell }, TrayReceiver { queue })
}

/// Anybody's end: cheap to clone, used from any thread, never blocks.
pub struct TraySender<T> {
    queue: Arc<ArrayQueue<T>>,
    doorbell: Arc<Doorbell>,
}

/// The shard's end.
pub struct TrayReceiver<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T> TraySender<T> {
    /// Puts `message` into the tray and wakes the shard if it sleeps; gives it back if the tray is
    /// full.
    pub fn try_push(&self, message: T) -> Result<(), T> {
        self.queue.push(message)?;
        self.doorbell.ring_if_sleeping();
        Ok(())
    }
}

impl<T> Clone for TraySender<T> {
    fn clone(&self) -> TraySender<T> {
        TraySender { queue: Arc::clone(&self.queue), doorbell: Arc::clone(&self.doorbell) }
    }
}

impl<T> TrayReceiver<T> {
    /// The oldest message. `None` also while a push is half done: its sender rings afterwards, and
    /// `is_empty` already says no.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// The second look of going to sleep.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
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
