//! Scenarios: a quiet room alone, then the same room beside something that disturbs it.
//!
//! The room is published to by the clock, so that its p99 tells what a stall of the server does to
//! those who have nothing to do with its cause. For the same reason the disturbance has a thread of its own, below the
//! priority of the one that measures: what it reads and writes is never in the quiet room's way in here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::Failure;
use crate::fanout::AFTERMATH;
use crate::fleet::Fleet;
use crate::ledger::Faults;
use crate::process::{self, Meter, Spent};
use crate::report::{BesideReport, Percentiles};
use crate::server_options::ServerOptions;
use crate::traffic::{Plan, Traffic};

#[derive(Args, Clone, Debug)]
pub struct BesideOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    /// Members of the quiet room
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub quiet_members: u32,
    /// Publications a second in the quiet room
    #[arg(long, default_value_t = 200.0)]
    pub quiet_rate: f64,
    /// Length of each of the two phases; a quarter of it goes before them, unmeasured
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
}

/// The count of connections that a disturbance opened while it disturbed.
pub const CONNECTIONS: &str = "connections";

/// What happens beside the quiet room.
pub trait Disturbance: Send {
    fn name(&self) -> &'static str;

    /// Which of several servers the quiet room is on; `None`: all of them.
    fn quiet_servers(&self) -> Option<Range<usize>> {
        None
    }

    /// Connections that it may open.
    fn connections(&self) -> usize;

    /// Opens what is there from the beginning. Its links may end without ending the run.
    fn open(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure>;

    /// Goes on, at least every other millisecond.
    fn act(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure>;

    /// Takes a line of one of its links.
    fn receive(&mut self, number: usize, at: Instant, line: &[u8]) -> Result<(), Failure>;

    /// Is told that one of its links ended, and why.
    fn end(&mut self, number: usize, why: &Failure);

    /// Whether it wants the phase to go on past its time.
    fn is_busy(&self) -> bool {
        false
    }

    /// Whether nothing of it is under way.
    fn is_settled(&self) -> bool {
        true
    }

    /// What it counted, and what its healthy members missed.
    fn close(self, fleet: &mut Fleet, seconds: f64) -> Result<(BTreeMap<String, f64>, Faults), Failure>;
}

/// The longest sleep: a disturbance wants its turn, and either thread looks what the other does.
const SLEEP_MAX: Duration = Duration::from_millis(2);

/// How long past its time a phase goes on for a busy disturbance.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);

/// How long what is under way at the end may take.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How often memory is read: it costs the server's process a walk of its page tables.
const PSS_INTERVAL: Duration = Duration::from_millis(500);

pub fn run<D: Disturbance>(options: &BesideOptions, disturbance: D) -> Result<BesideReport, Failure> {
    let server = &options.server;
    let quiet_links = options.quiet_members as usize + 1;
    process::raise_descriptor_limit(quiet_links + disturbance.connections())?;
    let name = disturbance.name().to_owned();
    let mut disturber = Disturber::open(server, disturbance)?;
    let mut fleet = server.fleet(quiet_links)?;
    if let Some(servers) = disturber.disturbance.quiet_servers() {
        fleet.open_to(servers);
    }
    let traffic = Traffic::open(plan(options), server, &mut fleet)?;

    let control = Control::default();
    let measured = thread::scope(|scope| {
        let thread = scope.spawn(|| disturber.run(&control));
        let measured = Quiet { options, fleet, traffic, control: &control, thread: &thread }.measure();
        control.enter(Phase::Over);
        thread.join().expect("the disturbance does not panic")?;
        measured
    })?;
    let Measured { alone, beside, alone_pss_bytes, mut faults } = measured;
    let Disturber { disturbance, mut fleet, pss_bytes_most, .. } = disturber;
    let (mut counts, further) = disturbance.close(&mut fleet, beside.spent.seconds)?;
    faults.add(further);
    counts.insert("seconds_beside".into(), beside.spent.seconds);
    let share = |spent: &Spent| spent.server_cpu.map(|cpu| cpu.as_secs_f64() / spent.seconds);
    if let (Some(connections), Some(quiet_us), Some(cpu)) =
        (counts.get(CONNECTIONS), alone.spent.server_us_each(alone.deliveries), beside.spent.server_cpu)
    {
        // The quiet room's deliveries are taken off at what they cost alone.
        let us = cpu.as_secs_f64() * 1e6 - quiet_us * beside.deliveries as f64;
        counts.insert("server_cpu_us_per_connection".into(), us / connections.max(1.0));
    }
    Ok(BesideReport {
        url: server.url(),
        disturbance: name,
        server_cpu_share_alone: share(&alone.spent),
        server_cpu_share_beside: share(&beside.spent),
        alone_us: alone.latency_us,
        beside_us: beside.latency_us,
        seconds_of_each: options.seconds,
        server_pss_bytes_alone: alone_pss_bytes,
        server_pss_bytes_most: pss_bytes_most,
        counts,
        faults,
    })
}

fn plan(options: &BesideOptions) -> Plan {
    Plan {
        channel: "quiet".into(),
        rooms: 1,
        members_of_room: options.quiet_members as usize,
        payload_bytes: 128,
        rate: options.quiet_rate,
        burst: None,
    }
}

/// What goes on; the quiet room's thread decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// The disturbance reads what comes, and does nothing.
    Alone,
    Beside,
    /// What is under way arrives.
    Settling,
    Over,
}

const PHASES: [Phase; 4] = [Phase::Alone, Phase::Beside, Phase::Settling, Phase::Over];

/// What the two threads tell each other.
#[derive(Debug, Default)]
struct Control {
    phase: AtomicU8,
    is_busy: AtomicBool,
    is_settled: AtomicBool,
}

impl Control {
    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Acquire))]
    }

    fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }
}

/// The thread of a disturbance, with connections of its own.
struct Disturber<'a, D> {
    server: &'a ServerOptions,
    disturbance: D,
    fleet: Fleet,
    pss_bytes_most: Option<u64>,
}

impl<D: Disturbance> Disturber<'_, D> {
    fn open(server: &ServerOptions, mut disturbance: D) -> Result<Disturber<'_, D>, Failure> {
        let mut fleet = server.fleet(disturbance.connections())?;
        fleet.forgive_from_here();
        disturbance.open(server, &mut fleet)?;
        Ok(Disturber { server, disturbance, fleet, pss_bytes_most: None })
    }

    fn run(&mut self, control: &Control) -> Result<(), Failure> {
        process::lower_this_thread();
        let mut pss_at = Instant::now();
        loop {
            let now = Instant::now();
            match control.phase() {
                Phase::Over => return Ok(()),
                Phase::Beside => {
                    self.disturbance.act(self.server, &mut self.fleet)?;
                    if now >= pss_at {
                        self.pss_bytes_most = self.pss_bytes_most.max(pss_bytes(self.server)?);
                        pss_at = now + PSS_INTERVAL;
                    }
                }
                Phase::Alone | Phase::Settling => {}
            }
            control.is_busy.store(self.disturbance.is_busy(), Ordering::Release);
            control.is_settled.store(self.disturbance.is_settled(), Ordering::Release);
            self.fleet.turn_until(now + SLEEP_MAX, |number, at, line| self.disturbance.receive(number, at, line))?;
            for (number, why) in self.fleet.take_endings() {
                self.disturbance.end(number, &why);
            }
        }
    }
}

/// The thread of the quiet room.
struct Quiet<'a, 'scope> {
    options: &'a BesideOptions,
    fleet: Fleet,
    traffic: Traffic,
    control: &'a Control,
    thread: &'a ScopedJoinHandle<'scope, Result<(), Failure>>,
}

struct Measured {
    alone: PhaseReport,
    beside: PhaseReport,
    alone_pss_bytes: Option<u64>,
    faults: Faults,
}

struct PhaseReport {
    latency_us: Percentiles,
    deliveries: u64,
    spent: Spent,
}

impl Quiet<'_, '_> {
    fn measure(mut self) -> Result<Measured, Failure> {
        let seconds = self.options.seconds;
        self.go_on(seconds / 4.0, Phase::Alone)?;
        let alone = self.measure_phase(Phase::Alone)?;
        let alone_pss_bytes = pss_bytes(&self.options.server)?;
        let beside = self.measure_phase(Phase::Beside)?;
        self.settle()?;
        Ok(Measured { alone, beside, alone_pss_bytes, faults: self.traffic.close() })
    }

    fn measure_phase(&mut self, phase: Phase) -> Result<PhaseReport, Failure> {
        let meter = Meter::start(&self.options.server.server_pids)?;
        self.go_on(self.options.seconds, phase)?;
        let spent = meter.stop()?;
        Ok(PhaseReport { latency_us: self.traffic.latency_us(), deliveries: self.traffic.deliveries(), spent })
    }

    fn go_on(&mut self, seconds: f64, phase: Phase) -> Result<(), Failure> {
        self.traffic.begin_phase();
        self.control.enter(phase);
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            let now = Instant::now();
            let is_busy = phase == Phase::Beside && self.control.is_busy() && now < end + BUSY_PATIENCE;
            // A disturbance that has failed says so when its thread is joined.
            if (now >= end && !is_busy) || self.thread.is_finished() {
                return Ok(());
            }
            self.traffic.publish_due(&mut self.fleet)?;
            self.turn_until(self.traffic.next_due().min(now + SLEEP_MAX))?;
        }
    }

    /// Reads until everything has arrived, and a while longer.
    fn settle(&mut self) -> Result<(), Failure> {
        self.control.enter(Phase::Settling);
        let end = Instant::now() + AFTERMATH;
        let is_over = |quiet: &Self| quiet.traffic.is_complete() && quiet.control.is_settled();
        while Instant::now() < end || (!is_over(self) && end.elapsed() < SETTLE_PATIENCE) {
            self.turn_until(Instant::now() + SLEEP_MAX)?;
        }
        Ok(())
    }

    fn turn_until(&mut self, moment: Instant) -> Result<(), Failure> {
        let Quiet { fleet, traffic, .. } = self;
        fleet.turn_until(moment, |number, at, line| traffic.receive(number, at, line))
    }
}

fn pss_bytes(server: &ServerOptions) -> Result<Option<u64>, Failure> {
    let pids = &server.server_pids;
    (!pids.is_empty()).then(|| process::pss_bytes(pids)).transpose()
}
