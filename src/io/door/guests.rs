//! Everybody between accept and upgrade: bounded, and those that keep us waiting leave first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{AbortHandle, spawn_local};

use crate::telemetry::{Counter, ShardMetrics};

/// The tasks of one shard's HTTP connections, at most `max` of them.
///
/// When it is full, a newcomer takes the place of the one that has waited longest for a head: a
/// flood of half-sent heads costs those that send them, while honest ones are through within a
/// round trip. If all have sent theirs and wait for our answer, the newcomer is turned away.
pub(super) struct Guests {
    max: usize,
    metrics: Arc<ShardMetrics>,
    seats: RefCell<Seats>,
}

/// By number; numbers grow, so the first is the oldest.
#[derive(Default)]
struct Seats {
    next_number: u64,
    /// Those whose head has not come yet.
    owing: BTreeMap<u64, AbortHandle>,
    /// Those that wait for an answer of ours.
    served: BTreeMap<u64, AbortHandle>,
}

/// A connection's place among the guests, free again when this is dropped.
pub(super) struct Guest {
    guests: Rc<Guests>,
    number: Cell<u64>,
}

impl Guests {
    pub fn new(max: usize, metrics: Arc<ShardMetrics>) -> Rc<Guests> {
        Rc::new(Guests { max, metrics, seats: RefCell::default() })
    }

    /// Whether there is a place for one more, after sending the slowest away if need be.
    pub fn make_room(&self) -> bool {
        let slowest = {
            let mut seats = self.seats.borrow_mut();
            if seats.owing.len() + seats.served.len() < self.max {
                return true;
            }
            seats.owing.pop_first()
        };
        slowest.is_some_and(|(_, task)| {
            task.abort();
            true
        })
    }

    /// Starts the task of a new connection, which owes us a head. There must be room.
    pub fn seat<F: Future<Output = ()> + 'static>(self: &Rc<Self>, visit: impl FnOnce(Guest) -> F) {
        let number = self.seats.borrow_mut().draw_number();
        let task = spawn_local(visit(Guest { guests: Rc::clone(self), number: Cell::new(number) }));
        let mut seats = self.seats.borrow_mut();
        seats.owing.insert(number, task.abort_handle());
        assert!(seats.owing.len() + seats.served.len() <= self.max, "room was made first");
    }
}

impl Seats {
    fn draw_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Guest {
    /// What the guest owed has come, a head or a part of its handshake: from here on it waits for us.
    pub fn is_waiting(&self) {
        let mut seats = self.guests.seats.borrow_mut();
        if let Some(task) = seats.owing.remove(&self.number.get()) {
            seats.served.insert(self.number.get(), task);
        }
    }

    /// The answer is given: the guest owes us what comes next, if anything does.
    pub fn is_owing(&self) {
        let mut seats = self.guests.seats.borrow_mut();
        if let Some(task) = seats.served.remove(&self.number.get()) {
            self.number.set(seats.draw_number());
            seats.owing.insert(self.number.get(), task);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut seats = self.guests.seats.borrow_mut();
        let number = self.number.get();
        if seats.owing.remove(&number).or_else(|| seats.served.remove(&number)).is_some() && std::thread::panicking() {
            // The runtime swallows a task's panic: without this count nobody would hear of it.
            self.guests.metrics.add(Counter::Bugs, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::mpsc;
    use tokio::task::LocalSet;

    use super::*;

    /// Says who it was when its guest is gone.
    struct Report(&'static str, mpsc::UnboundedSender<&'static str>);

    impl Drop for Report {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    /// Guests of a door with three places, and the order in which they leave.
    struct Evening {
        guests: Rc<Guests>,
        gone: mpsc::UnboundedSender<&'static str>,
        leaving: mpsc::UnboundedReceiver<&'static str>,
    }

    impl Evening {
        fn new() -> Evening {
            let (gone, leaving) = mpsc::unbounded_channel();
            Evening { guests: Guests::new(3, Arc::default()), gone, leaving }
        }

        /// Seats a guest that does `then` with its place and stays.
        async fn seat(&self, name: &'static str, then: impl FnOnce(&Guest) + 'static) {
            assert!(self.guests.make_room(), "room for {name}");
            let report = Report(name, self.gone.clone());
            self.guests.seat(move |guest| async move {
                let _report = report;
                then(&guest);
                pending().await
            });
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_owes_a_head_for_longest_makes_room() {
        LocalSet::new()
            .run_until(async {
                let mut evening = Evening::new();
                evening.seat("served", Guest::is_waiting).await;
                evening.seat("slow", |_| ()).await;
                evening.seat("slower", |_| ()).await;
                evening.seat("newcomer", Guest::is_waiting).await;
                assert_eq!(evening.leaving.recv().await, Some("slow"));
                evening.seat("another", Guest::is_waiting).await;
                assert_eq!(evening.leaving.recv().await, Some("slower"));
                assert!(!evening.guests.make_room(), "all wait for answers of ours");
            })
            .await;
    }

    #[tokio::test]
    async fn who_was_answered_owes_the_next_head() {
        LocalSet::new()
            .run_until(async {
                let mut evening = Evening::new();
                let keep_alive = |guest: &Guest| {
                    guest.is_waiting();
                    guest.is_owing();
                };
                evening.seat("served", Guest::is_waiting).await;
                evening.seat("kept alive", keep_alive).await;
                evening.seat("kept alive later", keep_alive).await;
                evening.seat("newcomer", |_| ()).await;
                assert_eq!(evening.leaving.recv().await, Some("kept alive"));
                evening.seat("another", |_| ()).await;
                assert_eq!(evening.leaving.recv().await, Some("kept alive later"));
            })
            .await;
    }

    #[tokio::test]
    async fn a_place_is_free_when_its_guest_is_gone() {
        LocalSet::new()
            .run_until(async {
                let guests = Guests::new(1, Arc::default());
                for _ in 0..3 {
                    assert!(guests.make_room());
                    guests.seat(|guest| async move { guest.is_waiting() });
                    tokio::task::yield_now().await;
                }
            })
            .await;
    }
}
