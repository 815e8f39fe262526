//! Scenarios: a quiet room alone, then the same room beside something that disturbs it.
//!
//! The room is published to by the clock, so that its p99 tells what a stall of the server does to
//! those who have nothing to do with its cause.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::Failure;
use crate::fanout::AFTERMATH;
use crate::fleet::Fleet;
use crate::ledger::Faults;
use crate::process::{self, Meter};
use crate::report::BesideReport;
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
pub trait Disturbance {
    fn name(&self) -> &'static str;

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

/// The longest sleep: a disturbance wants its turn.
const SLEEP_MAX: Duration = Duration::from_millis(2);

/// How long past its time a phase goes on for a busy disturbance.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);

/// How long what is under way at the end may take.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How often memory is read: it costs the server's process a walk of its page tables.
const PSS_INTERVAL: Duration = Duration::from_millis(500);

pub fn run<D: Disturbance>(options: &BesideOptions, disturbance: D) -> Result<BesideReport, Failure> {
    let plan = Plan {
        channel: "quiet".into(),
        rooms: 1,
        members_of_room: options.quiet_members as usize,
        payload_bytes: 128,
        rate: options.quiet_rate,
        burst: None,
    };
    let server = &options.server;
    let mut fleet = server.fleet(options.quiet_members as usize + 1 + disturbance.connections())?;
    let traffic = Traffic::open(plan, server, &mut fleet)?;
    fleet.forgive_from_here();
    let mut run = Run { server, fleet, traffic, disturbance, pss_bytes_most: None };
    run.disturbance.open(server, &mut run.fleet)?;
    let name = run.disturbance.name().to_owned();

    run.go_on(options.seconds / 4.0, Phase::Alone)?;
    let meter = Meter::start(server.server_pid)?;
    run.go_on(options.seconds, Phase::Alone)?;
    let alone = meter.stop()?;
    let (alone_us, pss_bytes_alone) = (run.traffic.latency_us(), run.pss_bytes()?);
    let deliveries_alone = run.traffic.deliveries();

    let meter = Meter::start(server.server_pid)?;
    run.go_on(options.seconds, Phase::Beside)?;
    let beside = meter.stop()?;
    let (beside_us, deliveries_beside) = (run.traffic.latency_us(), run.traffic.deliveries());

    let Run { mut fleet, mut traffic, mut disturbance, pss_bytes_most, .. } = run;
    let end = Instant::now() + AFTERMATH;
    let is_over = |traffic: &Traffic, disturbance: &D| traffic.is_complete() && disturbance.is_settled();
    while Instant::now() < end || (!is_over(&traffic, &disturbance) && end.elapsed() < SETTLE_PATIENCE) {
        turn(&mut fleet, &mut traffic, &mut disturbance, Instant::now() + SLEEP_MAX)?;
    }
    let (mut counts, mut faults) = disturbance.close(&mut fleet, beside.seconds)?;
    counts.insert("seconds_beside".into(), beside.seconds);
    faults.add(traffic.close());
    let share = |spent: &process::Spent| spent.server_cpu.map(|cpu| cpu.as_secs_f64() / spent.seconds);
    if let (Some(connections), Some(quiet_us), Some(cpu)) =
        (counts.get(CONNECTIONS), alone.server_us_each(deliveries_alone), beside.server_cpu)
    {
        // The quiet room's deliveries are taken off at what they cost alone.
        let us = cpu.as_secs_f64() * 1e6 - quiet_us * deliveries_beside as f64;
        counts.insert("server_cpu_us_per_connection".into(), us / connections.max(1.0));
    }
    Ok(BesideReport {
        url: server.url.clone(),
        disturbance: name,
        alone_us,
        beside_us,
        seconds_of_each: options.seconds,
        server_cpu_share_alone: share(&alone),
        server_cpu_share_beside: share(&beside),
        server_pss_bytes_alone: pss_bytes_alone,
        server_pss_bytes_most: pss_bytes_most,
        counts,
        faults,
    })
}

struct Run<'a, D> {
    server: &'a ServerOptions,
    fleet: Fleet,
    traffic: Traffic,
    disturbance: D,
    pss_bytes_most: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Alone,
    Beside,
}

impl<D: Disturbance> Run<'_, D> {
    fn go_on(&mut self, seconds: f64, phase: Phase) -> Result<(), Failure> {
        self.traffic.begin_phase();
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let mut pss_at = Instant::now();
        loop {
            let now = Instant::now();
            let is_busy = phase == Phase::Beside && self.disturbance.is_busy() && now < end + BUSY_PATIENCE;
            if now >= end && !is_busy {
                return Ok(());
            }
            self.traffic.publish_due(&mut self.fleet)?;
            if phase == Phase::Beside {
                self.disturbance.act(self.server, &mut self.fleet)?;
                if now >= pss_at {
                    self.pss_bytes_most = self.pss_bytes_most.max(self.pss_bytes()?);
                    pss_at = now + PSS_INTERVAL;
                }
            }
            let until = self.traffic.next_due().min(now + SLEEP_MAX);
            turn(&mut self.fleet, &mut self.traffic, &mut self.disturbance, until)?;
        }
    }

    fn pss_bytes(&self) -> Result<Option<u64>, Failure> {
        self.server.server_pid.map(process::pss_bytes).transpose()
    }
}

fn turn<D: Disturbance>(
    fleet: &mut Fleet,
    traffic: &mut Traffic,
    disturbance: &mut D,
    until: Instant,
) -> Result<(), Failure> {
    fleet.turn_until(until, |number, at, line| match traffic.owns(number) {
        true => traffic.receive(number, at, line),
        false => disturbance.receive(number, at, line),
    })?;
    for (number, why) in fleet.take_endings() {
        disturbance.end(number, &why);
    }
    Ok(())
}
