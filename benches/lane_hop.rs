//! CPU time of a hop from one shard's thread to another's: the real lanes and doorbells, nothing else.
//!
//! A batch goes to the other thread and back, for each batch again. *Awake*: both threads look into
//! their lanes without a pause, and all of their CPU time counts, the looking too. *Sleeping*: both
//! wait in a poll set behind their doorbell, as a shard does that has nothing else to do, so that
//! each batch has to wake one. A message is a pointer to a delivery, as in a fan-out.
//!
//! A second table is about a receiver that looks into its lanes for a while before it sleeps: messages
//! come one by one at a steady pace, and the CPU time of the receiver, that of the sender's pushes and
//! rings, and the time from push to arrival are told (docs/decisions/0003).
//!
//! `cargo bench --bench lane_hop` prints both: the median of several rounds, and of the hops the least,
//! since a thread that waits for a core while the other spins makes a round dearer, never cheaper.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::lane::{Ports, mesh};
use fanfare::limits;
use fanfare::model::{ChannelName, Encoding, Format, Frames, Variant};
use fanfare::room::{Delivery, DeliveryKind};
use fanfare::shard::LaneMessage;
use mio::{Events, Poll, Token, Waker};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 15;

/// How a thread waits for its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Awake,
    Sleeping,
}

fn main() {
    println!("CPU time of both threads for each hop of one message (us)");
    println!("{:<10} {:>6} {:>8} {:>8}", "waiting", "batch", "median", "least");
    for (waits, batch, trips) in [
        (Waits::Awake, 1, 20_000),
        (Waits::Awake, 32, 2_000),
        (Waits::Sleeping, 1, 2_000),
        (Waits::Sleeping, 32, 1_000),
    ] {
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(waits, batch, trips)).collect();
        rounds.sort_by(f64::total_cmp);
        println!("{:<10} {batch:>6} {:>8.3} {:>8.3}", format!("{waits:?}"), rounds[ROUNDS / 2], rounds[0]);
    }
    println!("\none message at a time (us): CPU of receiver and sender for each, and time until it arrives");
    println!("{:<10} {:>6} {:>8} {:>8} {:>8} {:>8}", "each", "spins", "receiver", "sender", "p50", "p99");
    for every_us in [10, 30, 100, 300] {
        for spins_us in [0, 5, 15, 50] {
            let rounds: Vec<Paced> = (0..PACED_ROUNDS).map(|_| paced(every_us, spins_us)).collect();
            let median = |of: fn(&Paced) -> f64| {
                let mut values: Vec<f64> = rounds.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "{every_us:<10} {spins_us:>6} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
                median(|paced| paced.receiver),
                median(|paced| paced.sender),
                median(|paced| paced.p50),
                median(|paced| paced.p99),
            );
        }
    }
}

const PACED_ROUNDS: usize = 7;
const PACED_MESSAGES: u32 = 3_000;

/// What a message costs that comes to a receiver which spins and then sleeps, in microseconds.
struct Paced {
    receiver: f64,
    sender: f64,
    p50: f64,
    p99: f64,
}

/// Sends a message every `every_us`; its receiver looks for `spins_us` before it sleeps.
fn paced(every_us: u64, spins_us: u64) -> Paced {
    let mut ports = mesh::<Instant>(2, limits::LANE_SLOTS);
    let mut far = End::new(ports.pop().expect("two shards"), Waits::Sleeping);
    let mut near = ports.pop().expect("two shards");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pin = move |nth: usize| cores.get(nth).map(|core| core_affinity::set_for_current(*core));
    let receiver = thread::spawn({
        let pin = pin.clone();
        move || {
            pin(1);
            let mut took = Vec::with_capacity(PACED_MESSAGES as usize);
            let began = cpu_time();
            while took.len() < PACED_MESSAGES as usize {
                match far.next(Duration::from_micros(spins_us)) {
                    Some(sent) => took.push(sent.elapsed()),
                    None => far.sleep(),
                }
            }
            (cpu_time() - began, took)
        }
    });
    let sender = thread::spawn(move || {
        pin(0);
        let began = Instant::now();
        let mut cpu = Duration::ZERO;
        for n in 0..PACED_MESSAGES {
            while began.elapsed() < Duration::from_micros(every_us) * n {
                std::hint::spin_loop();
            }
            let before = cpu_time();
            while near.push(1, Instant::now()).is_err() {}
            near.ring(1);
            cpu += cpu_time() - before;
        }
        cpu
    });
    let sender = sender.join().expect("the sender does not panic");
    let (receiver, mut took) = receiver.join().expect("the receiver does not panic");
    took.sort();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let each = |time: Duration| us(time) / f64::from(PACED_MESSAGES);
    let at = |percent: usize| us(took[took.len() * percent / 100]);
    Paced { receiver: each(receiver), sender: each(sender), p50: at(50), p99: at(99) }
}

/// Sends `batch` messages to and fro, `trips` times. Returns the microseconds of CPU for each hop.
fn round(waits: Waits, batch: usize, trips: usize) -> f64 {
    let mut ports = mesh::<LaneMessage>(2, limits::LANE_SLOTS);
    let far = End::new(ports.pop().expect("two shards"), waits);
    let near = End::new(ports.pop().expect("two shards"), waits);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pin = move |nth: usize| cores.get(nth).map(|core| core_affinity::set_for_current(*core));
    let other = thread::spawn({
        let pin = pin.clone();
        move || {
            pin(1);
            far.bounce(batch, trips)
        }
    });
    let own = thread::spawn(move || {
        pin(0);
        near.serve(batch, trips)
    });
    let cpu = own.join().expect("the near end does not panic") + other.join().expect("the far end does not panic");
    cpu.as_secs_f64() * 1e6 / (2 * batch * trips) as f64
}

/// One thread's end of the lanes.
struct End<T> {
    ports: Ports<T>,
    poll: Poll,
    waits: Waits,
}

impl<T> End<T> {
    fn new(ports: Ports<T>, waits: Waits) -> End<T> {
        let poll = Poll::new().expect("a poll set");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        ports.doorbell().hang(move || waker.wake().expect("the sleeper's poll set is open"));
        End { ports, poll, waits }
    }

    /// The next message, if one comes within `spin`.
    fn next(&mut self, spin: Duration) -> Option<T> {
        let began = Instant::now();
        loop {
            let message = self.ports.pop(1 - self.ports.id());
            if message.is_some() || began.elapsed() >= spin {
                return message;
            }
            std::hint::spin_loop();
        }
    }

    fn sleep(&mut self) {
        self.ports.doorbell().prepare_sleep();
        if self.ports.is_empty() {
            let mut events = Events::with_capacity(1);
            self.poll.poll(&mut events, None).expect("the poll set works");
        }
        self.ports.doorbell().awake();
    }
}

impl End<LaneMessage> {
    /// Starts each trip. Returns the CPU time of all of them.
    fn serve(mut self, batch: usize, trips: usize) -> Duration {
        let message = Arc::new(delivery());
        let mut held: Vec<LaneMessage> = (0..batch).map(|_| LaneMessage::Deliver(Arc::clone(&message))).collect();
        let began = cpu_time();
        for _ in 0..trips {
            self.send(&mut held);
            self.receive(&mut held, batch);
        }
        cpu_time() - began
    }

    /// Sends back whatever comes.
    fn bounce(mut self, batch: usize, trips: usize) -> Duration {
        let mut held = Vec::with_capacity(batch);
        let began = cpu_time();
        for _ in 0..trips {
            self.receive(&mut held, batch);
            self.send(&mut held);
        }
        cpu_time() - began
    }

    /// As a turn does it: one ring for the batch.
    fn send(&mut self, held: &mut Vec<LaneMessage>) {
        let other = 1 - self.ports.id();
        for message in held.drain(..) {
            assert!(self.ports.push(other, message).is_ok(), "the lane has room");
        }
        self.ports.ring(other);
    }

    fn receive(&mut self, held: &mut Vec<LaneMessage>, batch: usize) {
        let other = 1 - self.ports.id();
        loop {
            while let Some(message) = self.ports.pop(other) {
                held.push(message);
            }
            if held.len() == batch {
                return;
            }
            match self.waits {
                Waits::Awake => std::hint::spin_loop(),
                Waits::Sleeping => self.sleep(),
            }
        }
    }
}

fn delivery() -> Delivery {
    let channel = ChannelName::parse("room", 255).expect("a short name");
    let mut frames = Frames::default();
    frames.push(Encoding::plain(Format::CentrifugoJson), Variant::Ready(Bytes::from_static(b"a frame")));
    Delivery { channel, kind: DeliveryKind::Publication(None), tag: None, frames }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
}
