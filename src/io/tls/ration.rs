//! How much of a turn handshakes may take.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The CPU time that one shard gives to handshakes between two of its turns, first come first served.
///
/// Whoever has something to compute waits for the baton. While less than the turn's share is spent
/// the baton goes on to the next; after that it stays away until the next turn, in which the open
/// connections are read, walked and written. So a storm of handshakes is as long a wait for them
/// as one share and one step, however many there are.
pub struct Ration {
    baton: Semaphore,
    share: Duration,
    spent: Cell<Duration>,
    /// The baton waits for the next turn.
    is_used_up: Cell<bool>,
    /// The sleeping shard, to be woken when the share is used up.
    sleeper: RefCell<Option<Waker>>,
}

impl Ration {
    pub fn new(share: Duration) -> Ration {
        Ration {
            baton: Semaphore::new(1),
            share,
            spent: Cell::default(),
            is_used_up: Cell::default(),
            sleeper: RefCell::default(),
        }
    }

    /// Does `work` when its turn has come, and charges what it took.
    pub async fn charge<T>(&self, work: impl FnOnce() -> T) -> T {
        let baton = self.baton.acquire().await.expect("nobody closes the semaphore");
        let begun = Instant::now();
        let done = work();
        let spent = self.spent.get() + begun.elapsed();
        self.spent.set(spent);
        if spent >= self.share {
            baton.forget();
            self.is_used_up.set(true);
            if let Some(sleeper) = self.sleeper.take() {
                sleeper.wake();
            }
        }
        done
    }

    /// A new turn, a new share. Returns whether the last one was used up, so that somebody may be
    /// waiting for the turn after this.
    pub fn renew(&self) -> bool {
        self.spent.set(Duration::ZERO);
        let was_used_up = self.is_used_up.take();
        if was_used_up {
            self.baton.add_permits(1);
        }
        was_used_up
    }

    /// Whether the share is used up; if not, `context` is woken when it is.
    pub fn poll_used_up(&self, context: &Context<'_>) -> bool {
        let mut sleeper = self.sleeper.borrow_mut();
        if !sleeper.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *sleeper = Some(context.waker().clone());
        }
        self.is_used_up.get()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// Polls `future` once with a waker that does nothing.
    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_used_up_share_waits_for_the_next_turn() {
        let ration = Ration::new(Duration::ZERO);
        let mut first = pin!(ration.charge(|| 1));
        let mut second = pin!(ration.charge(|| 2));
        let mut third = pin!(ration.charge(|| 3));
        assert_eq!(poll(first.as_mut()), Poll::Ready(1));
        assert!(ration.poll_used_up(&Context::from_waker(Waker::noop())));
        assert_eq!(poll(third.as_mut()), Poll::Pending);
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert!(ration.renew());
        assert_eq!(poll(second.as_mut()), Poll::Pending, "the third came first");
        assert_eq!(poll(third.as_mut()), Poll::Ready(3));
        assert!(ration.renew());
        assert_eq!(poll(second.as_mut()), Poll::Ready(2));
        assert!(ration.renew());
        assert!(!ration.renew(), "nobody used the last turn's");
    }

    #[test]
    fn what_is_left_of_a_share_goes_to_the_next_in_line() {
        let ration = Ration::new(Duration::from_secs(3600));
        for number in 0..3 {
            assert_eq!(poll(pin!(ration.charge(|| number))), Poll::Ready(number));
        }
        assert!(!ration.poll_used_up(&Context::from_waker(Waker::noop())));
        assert!(!ration.renew());
    }

    /// A guest that is sent away while it waits takes nobody's place with it.
    #[test]
    fn who_leaves_the_line_does_not_hold_it_up() {
        let ration = Ration::new(Duration::ZERO);
        assert_eq!(poll(pin!(ration.charge(|| ()))), Poll::Ready(()));
        let mut last = pin!(ration.charge(|| ()));
        {
            let mut gone = pin!(ration.charge(|| ()));
            assert_eq!(poll(gone.as_mut()), Poll::Pending);
            assert_eq!(poll(last.as_mut()), Poll::Pending);
        }
        assert!(ration.renew());
        assert_eq!(poll(last.as_mut()), Poll::Ready(()));
    }
}
