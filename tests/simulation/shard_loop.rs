//! A shard's event loop, one step at a time.
//!
//! The order of a turn and of going to sleep is that of `fanfare::io`'s loop; here each step is an
//! event of its own, so that other shards, clients and stalls come between any two of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare::lane::{Doorbell, TrayReceiver, TraySender, tray};
use fanfare::limits;
use fanfare::model::{Now, ShardId};
use fanfare::shard::{HomeAnswer, LaneMessage, Shard, TrayMessage};
use fanfare::telemetry::ShardMetrics;

use super::ledger::Checked;
use super::namespaces::find_channel;
use super::plan::{Plan, Planted};
use super::report::Mark;
use super::world::{Event, Micros, World};

/// Where an event loop stands. A turn is `Look` to `End`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes the poll set's events, opens connections.
    Look,
    Read,
    TakeLane(usize),
    Decide,
    Write,
    PushLane(usize),
    Ring(usize),
    End,
    PrepareSleep,
    SecondLook,
    Asleep,
}

/// One event of a poll set.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    pub socket: usize,
    pub is_writable: bool,
}

pub struct ShardLoop {
    pub shard: Shard,
    pub metrics: Arc<ShardMetrics>,
    pub tray_sender: TraySender<TrayMessage>,
    tray: TrayReceiver<TrayMessage>,
    doorbell: Arc<Doorbell>,
    /// The bell rang and the loop has not looked since.
    rung: Arc<AtomicBool>,

    at: Step,
    token: u32,
    pub frozen_until: Micros,
    /// Time of the turn.
    pub now: Now,
    cut: bool,
    no_room: bool,
    deadline: Duration,

    pub readiness: Vec<Readiness>,
    pub arriving: VecDeque<usize>,
    pub to_read: VecDeque<usize>,
    pub to_write: Vec<usize>,
    /// Socket by slot.
    pub sockets: Vec<Option<usize>>,

    /// Channels with deliveries that came by lane and are not walked to the end, as bits; and those
    /// of them of which some slice was walked.
    coming: u32,
    pub walking: u32,
}

impl ShardLoop {
    pub fn new(id: usize, plan: &Plan, seed: u64) -> ShardLoop {
        let metrics = Arc::new(ShardMetrics::default());
        let doorbell = Arc::new(Doorbell::new());
        let rung = Arc::new(AtomicBool::new(false));
        let bell = Arc::clone(&rung);
        doorbell.hang(move || bell.store(true, Ordering::Relaxed));
        let (tray_sender, tray) = tray(limits::TRAY_SLOTS, Arc::clone(&doorbell));
        let now = Now { monotonic: Duration::ZERO, unix_millis: 0 };
        ShardLoop {
            shard: Shard::new(ShardId(id as u16), Arc::clone(&plan.options), Arc::clone(&metrics), seed),
            metrics,
            tray_sender,
            tray,
            doorbell,
            rung,
            at: Step::Look,
            token: 0,
            frozen_until: 0,
            now,
            cut: false,
            no_room: false,
            deadline: Duration::ZERO,
            readiness: Vec::new(),
            arriving: VecDeque::new(),
            to_read: VecDeque::new(),
            to_write: Vec::new(),
            sockets: Vec::new(),
            coming: 0,
            walking: 0,
        }
    }

    /// The turn's share was used up: another turn follows at once.
    pub fn cut_short(&mut self) {
        self.cut = true;
    }

    /// Something waits for room elsewhere: the next turn comes soon.
    pub fn no_room(&mut self) {
        self.no_room = true;
    }
}

impl World {
    /// The loop's next step comes after `delay`; whatever was scheduled for it is void.
    pub fn schedule_step(&mut self, shard: usize, delay: Micros) {
        self.loops[shard].token += 1;
        let token = self.loops[shard].token;
        self.after(delay, Event::Step { shard, token });
    }

    /// Something the poll set waits for happened.
    pub fn wake(&mut self, shard: usize) {
        if self.loops[shard].at == Step::Asleep {
            // It is up; running takes a while.
            self.loops[shard].at = Step::Look;
            let delay = self.random.u64(1..=2 * self.plan.step_max);
            self.schedule_step(shard, delay);
        }
    }

    /// Wakes the shard if its bell rang.
    pub fn heed_bell(&mut self, shard: usize) {
        if self.loops[shard].rung.load(Ordering::Relaxed) {
            if self.loops[shard].at == Step::SecondLook {
                self.tally.add(Mark::RungBeforeSleep, 1);
            }
            self.wake(shard);
        }
    }

    pub fn step(&mut self, shard: usize, token: u32) -> Checked {
        let it = &mut self.loops[shard];
        if it.token != token {
            return Ok(());
        }
        if self.now < it.frozen_until {
            let delay = it.frozen_until - self.now + self.random.u64(..100);
            self.schedule_step(shard, delay);
            return Ok(());
        }
        let next = match it.at {
            Step::Look | Step::Asleep => {
                self.look(shard);
                Step::Read
            }
            Step::Read => {
                self.read_sockets(shard)?;
                Step::TakeLane(0)
            }
            Step::TakeLane(from) if from < self.plan.shards => {
                self.take_lane(shard, from)?;
                Step::TakeLane(from + 1)
            }
            Step::TakeLane(_) => Step::Decide,
            Step::Decide => {
                self.decide(shard);
                Step::Write
            }
            Step::Write => {
                self.write_sockets(shard)?;
                self.close_sockets(shard)?;
                Step::PushLane(0)
            }
            Step::PushLane(to) if to < self.plan.shards => match self.push_lane(shard, to) {
                true => Step::Ring(to),
                false => Step::PushLane(to + 1),
            },
            Step::PushLane(_) => Step::End,
            Step::Ring(to) => {
                self.loops[to].doorbell.ring_if_sleeping();
                self.heed_bell(to);
                Step::PushLane(to + 1)
            }
            Step::End => self.end_turn(shard)?,
            Step::PrepareSleep => self.prepare_sleep(shard),
            Step::SecondLook => self.second_look(shard),
        };
        self.loops[shard].at = next;
        let delay = match next {
            Step::Asleep => (self.loops[shard].deadline.as_micros() as Micros).saturating_sub(self.now).max(1),
            // Steps without anything to do take no time.
            Step::TakeLane(from) if from == shard => 0,
            _ => self.random.u64(1..=self.plan.step_max),
        };
        self.schedule_step(shard, delay);
        Ok(())
    }

    fn look(&mut self, shard: usize) {
        let now = self.now_for_shards();
        let it = &mut self.loops[shard];
        it.doorbell.awake();
        it.rung.store(false, Ordering::Relaxed);
        it.now = now;
        for readiness in std::mem::take(&mut it.readiness) {
            self.take_note(shard, readiness);
        }
        self.loops[shard].cut = self.take_arrivals(shard);
    }

    fn take_lane(&mut self, shard: usize, from: usize) -> Checked {
        if from == shard {
            return Ok(());
        }
        for _ in 0..limits::TURN_MESSAGES_MAX {
            let Some(message) = self.lanes[from * self.plan.shards + shard].pop() else { return Ok(()) };
            self.mark_message(shard, &message);
            let it = &mut self.loops[shard];
            it.shard.lane_message(it.now, ShardId(from as u16), message);
        }
        self.loops[shard].cut = true;
        Ok(())
    }

    fn decide(&mut self, shard: usize) {
        let it = &mut self.loops[shard];
        while let Some(message) = it.tray.pop() {
            it.shard.tray_message(it.now, message);
        }
        if it.shard.next_timeout() <= it.now.monotonic {
            it.cut |= it.shard.timers(it.now);
        }
        let is_walking = it.shard.walk(it.now);
        it.cut |= is_walking;
        it.walking = if is_walking { it.coming } else { 0 };
        it.coming = it.walking;
    }

    /// Returns whether the other shard has to be rung.
    fn push_lane(&mut self, shard: usize, to: usize) -> bool {
        if to == shard {
            return false;
        }
        let lane = &mut self.lanes[shard * self.plan.shards + to];
        let it = &mut self.loops[shard];
        let mut sent = false;
        while !lane.is_full()
            && let Some(message) = it.shard.next_outgoing(ShardId(to as u16))
        {
            if let LaneMessage::Behind { .. } = message {
                self.tally.add(Mark::Behind, 1);
            }
            lane.push(message, &mut self.random);
            sent = true;
        }
        if lane.is_full() {
            self.tally.add(Mark::FullLane, 1);
        }
        sent
    }

    fn end_turn(&mut self, shard: usize) -> Result<Step, super::ledger::Violation> {
        self.resume_sockets(shard);
        self.take_answers()?;
        self.loops[shard].no_room = false;
        self.take_jobs(shard);
        self.take_requests(shard);
        let it = &mut self.loops[shard];
        it.cut |= !it.to_read.is_empty();
        it.no_room |= it.shard.has_outgoing();
        Ok(if it.cut { Step::Look } else { Step::PrepareSleep })
    }

    fn prepare_sleep(&mut self, shard: usize) -> Step {
        let it = &mut self.loops[shard];
        let now = Duration::from_micros(self.now);
        let at_most = if it.no_room { limits::ROOM_RETRY } else { limits::HEARTBEAT_INTERVAL };
        let next_multiple = at_most * (now.as_micros() / at_most.as_micros() + 1) as u32;
        it.deadline = it.shard.next_timeout().min(next_multiple);
        if it.deadline <= now {
            return Step::Look;
        }
        it.doorbell.prepare_sleep();
        Step::SecondLook
    }

    fn second_look(&mut self, shard: usize) -> Step {
        let shards = self.plan.shards;
        let lanes_are_empty = (0..shards).all(|from| self.lanes[from * shards + shard].is_empty());
        let it = &mut self.loops[shard];
        let may_sleep = lanes_are_empty && it.tray.is_empty();
        if !may_sleep {
            self.tally.add(Mark::SecondLookFound, 1);
        }
        if !may_sleep && self.plan.planted != Planted::NoSecondLook {
            return Step::Look;
        }
        // The poll set returns at once for what came before the sleep.
        let is_called = it.rung.load(Ordering::Relaxed) || !it.readiness.is_empty() || !it.arriving.is_empty();
        if is_called { Step::Look } else { Step::Asleep }
    }

    /// Takes note of what only shows inside the hub.
    fn mark_message(&mut self, shard: usize, message: &LaneMessage) {
        let it = &mut self.loops[shard];
        match message {
            LaneMessage::Deliver(delivery) => {
                if let Some(channel) = find_channel(delivery.channel.as_str()) {
                    it.coming |= 1 << channel;
                }
            }
            LaneMessage::Answer(reached) => {
                if let HomeAnswer::Subscribed { outcome: Ok(_), .. } = reached.answer
                    && let Some(channel) = find_channel(reached.channel.as_str())
                    && it.walking & 1 << channel != 0
                {
                    self.tally.add(Mark::JoinInWalk, 1);
                }
            }
            _ => {}
        }
    }
}
