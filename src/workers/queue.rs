//! What waits for a worker, in the order it came, up to a bound.
//!
//! A worker may lose its core while it takes something out, and at SCHED_IDLE it may wait for a tenth of a
//! second until it has it back. So nobody who puts something in ever waits for that: a ring would have to,
//! when it comes around to the place that is half emptied (docs/decisions/0006). Here the places are
//! segments of a list, which is never come around to, and the bound is a count.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;

pub struct BoundedQueue<T> {
    waiting: SegQueue<T>,
    /// Those that are put in, or are about to be, and not taken out for good. Never above `count_max`.
    count: AtomicUsize,
    count_max: usize,
}

impl<T> BoundedQueue<T> {
    pub fn new(count_max: usize) -> BoundedQueue<T> {
        BoundedQueue { waiting: SegQueue::new(), count: AtomicUsize::new(0), count_max }
    }

    /// Gives `item` back if the queue is full.
    pub fn push(&self, item: T) -> Result<(), T> {
        let one_more = |count| (count < self.count_max).then_some(count + 1);
        // The list orders what is put in; the count guards nothing but itself.
        if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(item);
        }
        self.waiting.push(item);
        Ok(())
    }

    pub fn pop(&self) -> Option<T> {
        let item = self.waiting.pop()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(item)
    }

    /// The second look of going to sleep: whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_full_queue_gives_back_what_does_not_fit() {
        let queue = BoundedQueue::new(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!((queue.pop(), queue.push(4)), (Some(1), Ok(())));
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(2), Some(4), None));
        assert!(queue.is_empty());
    }

    #[test]
    fn each_item_is_taken_once_and_the_bound_holds() {
        const EACH: u64 = 20_000;
        let queue = BoundedQueue::new(8);
        let put = |first: u64| {
            for item in (first..2 * EACH).step_by(2) {
                let mut item = item;
                while let Err(again) = queue.push(item) {
                    assert!(queue.count.load(Ordering::Relaxed) <= 8);
                    item = again;
                    thread::yield_now();
                }
            }
        };
        let take = || {
            let (mut sum, mut count) = (0, 0);
            while count < EACH {
                match queue.pop() {
                    Some(item) => (sum, count) = (sum + item, count + 1),
                    None => thread::yield_now(),
                }
            }
            sum
        };
        let sum: u64 = thread::scope(|scope| {
            let takers = [scope.spawn(take), scope.spawn(take)];
            scope.spawn(|| put(0));
            scope.spawn(|| put(1));
            takers.into_iter().map(|taker| taker.join().expect("a taker ends")).sum()
        });
        assert_eq!(sum, (0..2 * EACH).sum::<u64>());
        assert!(queue.is_empty() && queue.count.load(Ordering::Relaxed) == 0);
    }
}
