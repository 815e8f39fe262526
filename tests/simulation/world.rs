//! The whole world of one seed in one thread: shards, lanes, sockets, clients, and the time they
//! share.
//!
//! Everything that happens is an event at a virtual microsecond, and one seeded generator decides
//! all that is left open. So the same seed is the same run, to the last byte.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use fanfare::model::{ClientId, Now};

use super::api::Api;
use super::broker::Broker;
use super::client::Client;
use super::deflate::SharedDeflate;
use super::jobs::Workers;
use super::lanes::{Lane, LaneFault};
use super::ledger::{Checked, Ledger};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::plan::{Plan, Planted};
use super::report::{Mark, Tally};
use super::shard_loop::ShardLoop;
use super::sockets::Socket;

/// Virtual time.
pub type Micros = u64;
pub const MS: Micros = 1000;
pub const SECOND: Micros = 1000 * MS;

/// When wall clocks start, in seconds since 1970.
pub const UNIX_START: i64 = 1_800_000_000;

pub const CLIENTS: usize = 40;
/// The part of a run in which things go wrong is at least so long and so eventful.
const FAULTY_TIME: Micros = 60 * SECOND;
const DEEDS_MIN: u32 = 2000;

/// What happens at a moment. Sockets and clients are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The next step of a shard's event loop; void if the token is not its last one.
    Step {
        shard: usize,
        token: u32,
    },
    /// What was sent first on this socket reaches the hub's kernel.
    Arrive {
        socket: usize,
    },
    ClientReads {
        socket: usize,
    },
    /// Random deeds.
    Deeds,
    /// A client without connection makes one.
    Return {
        client: usize,
    },
    /// A client subscribes again to what it was thrown out of.
    Renew {
        client: usize,
        channel: ChannelIndex,
    },
    Drain,
    /// The workers are done with something.
    JobEnds {
        at: usize,
    },
    /// A request reaches the broker that was sent in this life of it.
    BrokerAsked {
        at: usize,
        life: u32,
    },
    /// Something of the broker's reaches a shard.
    BrokerTells {
        at: usize,
        life: u32,
    },
    BrokerBack,
    /// Bounds are looked at.
    Watch,
    /// The faulty part is over; what comes then is in `finale.rs`.
    Finale(Act),
}

/// The end of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    Heal,
    Mark { channel: ChannelIndex },
    AskTops,
    Compare,
    CompareAgain,
    AllGone,
}

pub struct World {
    pub now: Micros,
    pub random: fastrand::Rng,
    pub plan: Plan,
    pub loops: Vec<ShardLoop>,
    /// From shard to shard: `from * shards + to`.
    pub lanes: Vec<Lane>,
    /// All there ever were.
    pub sockets: Vec<Socket>,
    pub clients: Vec<Client>,
    /// Whose connection had which id.
    pub client_ids: HashMap<ClientId, usize>,
    pub ledger: Ledger,
    pub api: Api,
    pub tally: Tally,
    pub deflate: SharedDeflate,
    pub workers: Workers,
    pub broker: Broker,
    stalls: Stalls,
    pub is_faulty: bool,
    /// Nobody comes back any more.
    pub is_closing: bool,
    pub is_done: bool,
    pub drained: Option<usize>,
    /// Patience when that began.
    pub drained_at: Micros,
    /// The last publication in each channel, and when it was asked for.
    pub markers: HashMap<ChannelIndex, (u32, Micros)>,
    pub deeds: u32,
    queue: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    next_sequence: u64,
    prints: bool,
}

impl World {
    pub fn new(seed: u64, planted: Planted, prints: bool) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut random, planted);
        let fault: Option<LaneFault> = match planted {
            Planted::Lane(fault) => Some(fault),
            _ => None,
        };
        let loops = (0..plan.shards).map(|id| ShardLoop::new(id, &plan, random.u64(..))).collect();
        let lanes = (0..plan.shards * plan.shards).map(|_| Lane::new(plan.ring_slots, fault)).collect();
        let mut clients: Vec<Client> =
            (0..CLIENTS).map(|_| Client::draw(&mut random, plan.has_little_memory())).collect();
        let brokered = (0..CHANNELS.len()).map(|channel| plan.is_brokered(channel)).collect();
        if plan.brokered > 0 {
            // What the server grants fails with its broker, and ends connections: that is another plan's.
            clients.iter_mut().for_each(Client::take_grants);
        }
        let mut world = World {
            now: 0,
            loops,
            lanes,
            sockets: Vec::new(),
            clients,
            client_ids: HashMap::new(),
            ledger: Ledger::new(brokered),
            api: Api::default(),
            tally: Tally::default(),
            deflate: SharedDeflate::default(),
            workers: Workers::new(plan.options.compression),
            broker: Broker::new(random.u64(..)),
            stalls: Stalls::default(),
            is_faulty: true,
            is_closing: false,
            is_done: false,
            drained: None,
            drained_at: 0,
            markers: HashMap::new(),
            deeds: 0,
            queue: BinaryHeap::new(),
            next_sequence: 0,
            prints,
            plan,
            random,
        };
        world.begin();
        world
    }

    /// Runs to the end, or to the first broken promise.
    pub fn run(&mut self) -> Checked {
        while !self.is_done {
            let Reverse((when, _, event)) = self.queue.pop().expect("shards wake by themselves");
            self.now = when;
            self.tally.add(Mark::Events, 1);
            self.handle(event)?;
        }
        self.tally.add(Mark::VirtualSeconds, self.now / SECOND);
        Ok(())
    }

    pub fn after(&mut self, delay: Micros, event: Event) {
        self.next_sequence += 1;
        self.queue.push(Reverse((self.now + delay, self.next_sequence, event)));
    }

    pub fn now_for_shards(&self) -> Now {
        Now {
            monotonic: std::time::Duration::from_micros(self.now),
            unix_millis: UNIX_START * 1000 + (self.now / MS) as i64,
        }
    }

    /// The time by which the hub is judged: it stops while the process, or one of its threads, stands
    /// still through no fault of its own.
    pub fn patience(&self) -> Micros {
        self.now - self.stalls.until(self.now)
    }

    /// Some shard stands still from now on. What comes meanwhile takes a while to be worked off.
    pub fn stall(&mut self, time: Micros) {
        self.stalls.add(self.now, time + time / 8);
    }

    pub fn chance(&mut self, one_in: u32) -> bool {
        self.random.u32(..one_in) == 0
    }

    /// Tells what happened, when a single seed is replayed.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.prints {
            println!("{:>10.6} {}", self.now as f64 / SECOND as f64, what());
        }
    }

    fn begin(&mut self) {
        self.note(|| self.plan.to_string());
        for shard in 0..self.plan.shards {
            let delay = self.random.u64(..MS);
            self.schedule_step(shard, delay);
        }
        for client in 0..CLIENTS {
            let delay = self.random.u64(..SECOND);
            self.after(delay, Event::Return { client });
        }
        if let Some((when, _, _)) = self.plan.drain {
            self.after(when, Event::Drain);
        }
        self.after(SECOND, Event::Deeds);
        self.after(SECOND, Event::Watch);
    }

    fn handle(&mut self, event: Event) -> Checked {
        match event {
            Event::Step { shard, token } => self.step(shard, token)?,
            Event::Arrive { socket } => self.arrive(socket),
            Event::ClientReads { socket } => self.client_reads(socket)?,
            Event::Deeds => self.do_deeds()?,
            Event::Return { client } => self.connect(client),
            Event::Renew { client, channel } => self.renew(client, channel),
            Event::Drain => self.drain(),
            Event::JobEnds { at } => self.job_ends(at),
            Event::BrokerAsked { at, life } => self.broker_asked(at, life),
            Event::BrokerTells { at, life } => self.broker_tells(at, life),
            Event::BrokerBack => self.broker_back(),
            Event::Watch => self.watch()?,
            Event::Finale(act) => self.finale(act)?,
        }
        Ok(())
    }

    fn do_deeds(&mut self) -> Checked {
        let count = self.random.u32(1..=self.plan.cluster_max);
        for _ in 0..count {
            self.deeds += 1;
            self.do_something()?;
        }
        self.tally.add(Mark::Deeds, u64::from(count));
        if self.now >= FAULTY_TIME && self.deeds >= DEEDS_MIN {
            self.after(0, Event::Finale(Act::Heal));
        } else {
            let gap = self.random.u64(..=self.plan.cluster_gap);
            self.after(gap, Event::Deeds);
        }
        Ok(())
    }
}

/// Time in which something stood still.
#[derive(Default)]
struct Stalls {
    /// Of those that are over.
    sum: Micros,
    /// The last one, longer where several overlap.
    begin: Micros,
    end: Micros,
}

impl Stalls {
    fn add(&mut self, now: Micros, time: Micros) {
        if now > self.end {
            self.sum += self.end - self.begin;
            (self.begin, self.end) = (now, now);
        }
        self.end = self.end.max(now + time);
    }

    fn until(&self, now: Micros) -> Micros {
        self.sum + now.min(self.end) - self.begin.min(now)
    }
}
