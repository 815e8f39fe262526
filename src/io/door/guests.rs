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

    /// Starts the task of a new connection, which owes us a head. Gives `visit` back if there is no
    /// place for it.
    pub fn admit<V, F>(self: &Rc<Self>, visit: V) -> Result<(), V>
    where
        V: FnOnce(Guest) -> F,
        F: Future<Output = ()> + 'static,
    {
        if self.is_full() {
            // Before the abort: that may drop the task, and with it the guest, at once.
            let oldest = self.seats.borrow_mut().owing.pop_first();
            let Some((_, task)) = oldest else { return Err(visit) };
            task.abort();
        }
        let number = self.seats.borrow_mut().draw_number();
        let task = spawn_local(visit(Guest { guests: Rc::clone(self), number: Cell::new(number) }));
        self.seats.borrow_mut().owing.insert(number, task.abort_handle());
        Ok(())
    }

    fn is_full(&self) -> bool {
        let seats = self.seats.borrow();
        seats.owing.len() + seats.served.len() >= self.max
    }
}

impl Seats {
    fn draw_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Guest {
    /// The head has come: from here on the guest waits for us.
    pub fn sent_its_head(&self) {
        let mut seats = self.guests.seats.borrow_mut();
        if let Some(task) = seats.owing.remove(&self.number.get()) {
            seats.served.insert(self.number.get(), task);
        }
    }

    /// The answer is given: the guest owes us the head of its next request, if there is one.
    pub fn was_answered(&self) {
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

    /// Admits a guest that reports its name when it is gone.
    fn admit(
        guests: &Rc<Guests>,
        name: &'static str,
        gone: &mpsc::UnboundedSender<&'static str>,
        has_head: bool,
    ) -> bool {
        struct Report(&'static str, mpsc::UnboundedSender<&'static str>);
        impl Drop for Report {
            fn drop(&mut self) {
                let _ = self.1.send(self.0);
            }
        }
        let report = Report(name, gone.clone());
        let visit = move |guest: Guest| {
            if has_head {
                // The task starts later than its place is taken.
            }
            async move {
                let _report = report;
                if has_head {
                    guest.sent_its_head();
                }
                pending::<()>().await;
                drop(guest);
            }
        };
        guests.admit(visit).is_ok()
    }

    #[tokio::test]
    async fn the_longest_without_a_head_makes_room() {
        LocalSet::new()
            .run_until(async {
                let guests = Guests::new(3, Arc::default());
                let (gone, mut leaving) = mpsc::unbounded_channel();
                assert!(admit(&guests, "with a head", &gone, true));
                tokio::task::yield_now().await;
                assert!(admit(&guests, "oldest", &gone, false));
                assert!(admit(&guests, "second", &gone, false));
                assert!(admit(&guests, "newcomer", &gone, true));
                assert_eq!(leaving.recv().await, Some("oldest"));
                tokio::task::yield_now().await;
                assert!(admit(&guests, "another", &gone, true));
                assert_eq!(leaving.recv().await, Some("second"));
                tokio::task::yield_now().await;
                assert!(!admit(&guests, "one too many", &gone, true), "all wait for answers of ours");
                assert_eq!(leaving.recv().await, Some("one too many"));
            })
            .await;
    }
}
