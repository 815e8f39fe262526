//! Every interleaving of a lane and its doorbell, with weak memory orders.
//!
//! The model runs the very file that the hub runs (`src/lane/doorbell.rs`) on loom's atomics. The
//! lane is modelled as what matters of it: a slot published with release and seen with acquire.
//! Three more runs each leave one step of the protocol out and must be caught, so that the proof
//! is known to be able to fail. (A sequentially consistent checker can't see two of these.)

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicBool;
use loom::thread;

mod sync {
    pub use loom::sync::atomic::{AtomicBool, fence};
    pub use std::sync::atomic::Ordering;
}
#[path = "../src/lane/doorbell.rs"]
#[allow(dead_code, clippy::duplicate_mod)]
mod doorbell;

/// The same file, with fences that do nothing.
#[path = "../src/lane"]
mod fenceless {
    mod sync {
        pub use loom::sync::atomic::AtomicBool;
        pub use std::sync::atomic::Ordering;

        pub fn fence(_: Ordering) {}
    }
    #[allow(dead_code, clippy::duplicate_mod)]
    pub mod doorbell;
}

/// What the hub's `Doorbell` offers, so that one model runs both compilations of it.
trait Sleeper: Send + Sync + 'static {
    fn hung(bell: impl Fn() + Send + Sync + 'static) -> Self;
    fn prepare_sleep(&self);
    fn awake(&self);
    fn ring_if_sleeping(&self);
}

macro_rules! sleeper {
    ($doorbell:ty) => {
        impl Sleeper for $doorbell {
            fn hung(bell: impl Fn() + Send + Sync + 'static) -> Self {
                let doorbell = <$doorbell>::new();
                doorbell.hang(bell);
                doorbell
            }
            fn prepare_sleep(&self) {
                <$doorbell>::prepare_sleep(self);
            }
            fn awake(&self) {
                <$doorbell>::awake(self);
            }
            fn ring_if_sleeping(&self) {
                <$doorbell>::ring_if_sleeping(self);
            }
        }
    };
}
sleeper!(doorbell::Doorbell);
sleeper!(fenceless::doorbell::Doorbell);

#[derive(Clone, Copy, PartialEq)]
enum SecondLook {
    Taken,
    LeftOut,
}

#[derive(Clone, Copy, PartialEq)]
enum Ringing {
    AfterThePush,
    BeforeThePush,
}

/// `senders` put one message each into a lane of their own, while the sleeper goes to sleep between
/// its looks into the lanes. It gets up for a ring that it finds; else it lies there, and in the end
/// must have either all messages or a ring.
fn model<D: Sleeper>(senders: usize, second_look: SecondLook, ringing: Ringing) {
    let mut exploration = loom::model::Builder::new();
    // All interleavings of two threads; of three, those with at most three preemptions: seconds
    // instead of many minutes.
    exploration.preemption_bound = (senders > 1).then_some(3);
    exploration.check(move || {
        // As an eventfd: remembers a ring that comes before the sleep, and is one thing after another.
        let rung = Arc::new(AtomicBool::new(false));
        let doorbell = Arc::new(D::hung({
            let rung = Arc::clone(&rung);
            move || {
                rung.swap(true, Ordering::AcqRel);
            }
        }));
        let lanes: Vec<_> = (0..senders).map(|_| Arc::new(AtomicBool::new(false))).collect();

        let threads: Vec<_> = lanes
            .iter()
            .map(|lane| {
                let (lane, doorbell) = (Arc::clone(lane), Arc::clone(&doorbell));
                thread::spawn(move || {
                    if ringing == Ringing::BeforeThePush {
                        doorbell.ring_if_sleeping();
                    }
                    lane.store(true, Ordering::Release);
                    if ringing == Ringing::AfterThePush {
                        doorbell.ring_if_sleeping();
                    }
                })
            })
            .collect();

        let look = || lanes.iter().filter(|lane| lane.load(Ordering::Acquire)).count();
        let mut seen = look();
        while seen < senders {
            doorbell.prepare_sleep();
            if second_look == SecondLook::LeftOut || look() == seen {
                let woken = rung.swap(false, Ordering::AcqRel);
                if !woken {
                    break;
                }
            }
            doorbell.awake();
            seen = look();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(seen == senders || rung.swap(false, Ordering::AcqRel), "a wake is lost");
    });
}

#[test]
fn no_wake_is_lost() {
    model::<doorbell::Doorbell>(1, SecondLook::Taken, Ringing::AfterThePush);
}

#[test]
fn one_ring_serves_two_senders() {
    model::<doorbell::Doorbell>(2, SecondLook::Taken, Ringing::AfterThePush);
}

#[test]
#[should_panic(expected = "a wake is lost")]
fn the_model_catches_missing_fences() {
    model::<fenceless::doorbell::Doorbell>(1, SecondLook::Taken, Ringing::AfterThePush);
}

#[test]
#[should_panic(expected = "a wake is lost")]
fn the_model_catches_a_missing_second_look() {
    model::<doorbell::Doorbell>(1, SecondLook::LeftOut, Ringing::AfterThePush);
}

#[test]
#[should_panic(expected = "a wake is lost")]
fn the_model_catches_a_ring_before_the_push() {
    model::<doorbell::Doorbell>(1, SecondLook::Taken, Ringing::BeforeThePush);
}
