//! Scenario: rooms talk for a long time while people come and go. Does memory grow, do descriptors leak?

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Args;

use crate::dialect::{Dialect, Role};
use crate::failure::Failure;
use crate::fanout::AFTERMATH;
use crate::fleet::Fleet;
use crate::process::{self, CpuReading};
use crate::report::SoakReport;
use crate::server_options::ServerOptions;
use crate::servers::{HMAC_SECRET, Peer, Programs, Recipe};
use crate::tokens::Tokens;
use crate::traffic::{Plan, Traffic};

#[derive(Args, Clone, Debug)]
pub struct SoakOptions {
    #[command(flatten)]
    pub programs: Programs,
    /// How long the rooms talk
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// How much of that memory may grow: streams fill up, buffers find their size; a quarter and at
    /// most 15 otherwise
    #[arg(long)]
    pub settling_minutes: Option<f64>,
    /// Connections at a time, those that come and go included
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub connections: u32,
    /// Connections a second that come, and as many that go
    #[arg(long, default_value_t = 50.0)]
    pub churn: f64,
    /// Publications a second, of all rooms together
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Fails when memory grows by more, after settling
    #[arg(long, default_value_t = 1.0)]
    pub slope_mib_per_hour_max: f64,
    #[arg(long, default_value_t = 1)]
    pub shards: u16,
}

/// Members of a room that stay; those that come and go are further ones.
const MEMBERS_OF_ROOM: usize = 20;

/// How long somebody who comes and goes is there.
const VISIT: Duration = Duration::from_secs(10);

/// How often memory and descriptors are read.
const READING_INTERVAL: Duration = Duration::from_secs(2);

/// How long the hub may take to close what has gone.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Rooms with a stream that is full after a hundred publications.
const CHANNEL: &str = "recover:soak";

pub fn run(options: &SoakOptions) -> Result<SoakReport, Failure> {
    let recipe = Recipe { shards: options.shards, ..Recipe::plain(Peer::Hub) };
    let hub = recipe.start(&options.programs, None)?;
    let pid = hub.pids()[0];
    let descriptors_before = process::descriptors(pid)?;
    let server = ServerOptions {
        urls: vec![hub.urls()],
        dialect: Dialect::Centrifugo,
        server_pids: vec![pid],
        hmac_secret: Some(HMAC_SECRET.into()),
        rsa_tokens: false,
        sources: 0,
        deflate: false,
    };
    let plan = plan(options);
    let mut fleet = server.fleet(options.connections as usize)?;
    let traffic = Traffic::open(plan.clone(), &server, &mut fleet)?;
    fleet.forgive_from_here();
    let visitors = Visitors::new(plan, options.churn);
    let mut soak = Soak { pid, fleet, traffic, visitors, readings: Vec::new() };

    let cpu_before = CpuReading::take(&[pid])?;
    let begin = Instant::now();
    soak.go_on(begin + Duration::from_secs_f64(options.minutes * 60.0))?;
    let (cpu, wall) = (CpuReading::take(&[pid])?.since(&cpu_before), begin.elapsed());
    soak.finish_deliveries()?;

    let Soak { fleet, traffic, visitors, readings, .. } = soak;
    // All connections at once, with a reset each.
    drop(fleet);
    let descriptors_after = wait_for_descriptors(pid, descriptors_before)?;
    let settling_minutes = options.settling_minutes.unwrap_or((options.minutes / 4.0).min(15.0));
    let settled = begin + Duration::from_secs_f64(settling_minutes * 60.0);
    let settled: Vec<&Reading> = readings.iter().filter(|reading| reading.at >= settled).collect();
    let [first, .., last] = settled[..] else {
        return Err(Failure::new("nothing is left to measure: give more --minutes or fewer --settling-minutes"));
    };
    Ok(SoakReport {
        connections: options.connections as usize,
        minutes: options.minutes,
        publications: traffic.publications(),
        deliveries: traffic.deliveries(),
        churned: visitors.gone,
        churn_failed: visitors.failed,
        latency_us: traffic.latency_us(),
        server_cpu_share: cpu.as_secs_f64() / wall.as_secs_f64(),
        memory_slope_mib_per_hour: slope_mib_per_hour(&settled),
        memory_slope_mib_per_hour_max: options.slope_mib_per_hour_max,
        pss_bytes_settled: first.pss_bytes,
        pss_bytes_end: last.pss_bytes,
        descriptors_before,
        descriptors_most: readings.iter().map(|reading| reading.descriptors).max().unwrap_or(0),
        descriptors_after,
        faults: traffic.close(),
    })
}

/// As many rooms as fill the connections, beside those that come and go and a publisher for each room.
fn plan(options: &SoakOptions) -> Plan {
    let visitors = (options.churn * VISIT.as_secs_f64()).ceil() as usize;
    let lasting = (options.connections as usize).saturating_sub(visitors);
    Plan {
        channel: CHANNEL.into(),
        rooms: (lasting / (MEMBERS_OF_ROOM + 1)).max(1),
        members_of_room: MEMBERS_OF_ROOM,
        payload_bytes: 128,
        rate: options.rate,
        burst: None,
    }
}

struct Soak {
    pid: u32,
    fleet: Fleet,
    traffic: Traffic,
    visitors: Visitors,
    readings: Vec<Reading>,
}

/// What the hub held at a moment.
struct Reading {
    at: Instant,
    pss_bytes: u64,
    descriptors: usize,
}

impl Soak {
    fn go_on(&mut self, end: Instant) -> Result<(), Failure> {
        self.traffic.begin_phase();
        let mut reading_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if now >= reading_at {
                self.read()?;
                reading_at += READING_INTERVAL;
            }
            self.traffic.publish_due(&mut self.fleet)?;
            self.visitors.come_and_go(&mut self.fleet)?;
            let until = self.traffic.next_due().min(self.visitors.next_due).min(reading_at).min(end);
            self.turn(until)?;
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        let (pss_bytes, descriptors) = (process::pss_bytes(&[self.pid])?, process::descriptors(self.pid)?);
        self.readings.push(Reading { at: Instant::now(), pss_bytes, descriptors });
        Ok(())
    }

    /// Waits for what is under way, and then for what comes twice.
    fn finish_deliveries(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + CLOSE_PATIENCE;
        while !self.traffic.is_complete() && Instant::now() < end {
            self.turn(end)?;
        }
        let end = Instant::now() + AFTERMATH;
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    fn turn(&mut self, until: Instant) -> Result<(), Failure> {
        let Soak { fleet, traffic, visitors, .. } = self;
        fleet.turn_until(until, |number, at, line| match traffic.owns(number) {
            true => traffic.receive(number, at, line),
            false => Dialect::Centrifugo.hear(line).map(drop),
        })?;
        for (number, why) in fleet.take_endings() {
            eprintln!("connection {number} ended: {why}");
            visitors.failed += 1;
        }
        Ok(())
    }
}

/// People who come to one of the rooms, stay for a while and vanish.
struct Visitors {
    plan: Plan,
    interval: Duration,
    tokens: Tokens,
    /// Who is there, who came first in front.
    here: VecDeque<(usize, Instant)>,
    /// Numbers of links that nobody uses.
    free: Vec<usize>,
    next_due: Instant,
    come: usize,
    gone: u64,
    failed: u64,
}

impl Visitors {
    fn new(plan: Plan, rate: f64) -> Visitors {
        Visitors {
            plan,
            interval: Duration::from_secs_f64(1.0 / rate),
            tokens: Tokens::hmac(HMAC_SECRET),
            here: VecDeque::new(),
            free: Vec::new(),
            next_due: Instant::now(),
            come: 0,
            gone: 0,
            failed: 0,
        }
    }

    fn come_and_go(&mut self, fleet: &mut Fleet) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some((number, _)) = self.here.pop_front_if(|(_, since)| now.duration_since(*since) >= VISIT) {
            // Ten seconds are enough to be let in.
            self.failed += u64::from(!fleet.is_ready(number));
            fleet.cut(number);
            self.gone += 1;
            self.free.push(number);
        }
        while self.next_due <= now {
            self.next_due += self.interval;
            let number = self.free.pop().unwrap_or(fleet.len());
            let channel = self.plan.channel_of(self.come % self.plan.rooms);
            // Users of their own, beyond those who stay.
            let token = self.tokens.sign(1_000_000 + self.come)?;
            fleet.begin(number, Dialect::Centrifugo.introduce(Role::Member, Some(&token), &channel))?;
            self.here.push_back((number, now));
            self.come += 1;
        }
        Ok(())
    }
}

/// Waits until the hub has no more descriptors than `base`; returns what it has at last.
fn wait_for_descriptors(pid: u32, base: usize) -> Result<usize, Failure> {
    let end = Instant::now() + CLOSE_PATIENCE;
    loop {
        let now = process::descriptors(pid)?;
        if now <= base || Instant::now() > end {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The slope of the line that is nearest to all readings (least squares).
fn slope_mib_per_hour(readings: &[&Reading]) -> f64 {
    let begin = readings[0].at;
    let points = readings.iter().map(|reading| {
        (reading.at.duration_since(begin).as_secs_f64() / 3600.0, reading.pss_bytes as f64 / f64::from(1 << 20))
    });
    let count = readings.len() as f64;
    let (hours, mib) = points.clone().fold((0.0, 0.0), |(x, y), (hour, mib)| (x + hour / count, y + mib / count));
    let (above, below) = points.fold((0.0, 0.0), |(above, below), (hour, one)| {
        (above + (hour - hours) * (one - mib), below + (hour - hours).powi(2))
    });
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line_through_all_readings() {
        let begin = Instant::now();
        let readings = [10, 11, 14, 13].into_iter().zip(0..).map(|(mib, minute)| Reading {
            at: begin + Duration::from_secs(60 * minute),
            pss_bytes: mib << 20,
            descriptors: 0,
        });
        let readings: Vec<Reading> = readings.collect();
        // By hand: 6 / 5 MiB a minute.
        let slope = slope_mib_per_hour(&readings.iter().collect::<Vec<_>>());
        assert!((slope - 72.0).abs() < 1e-6, "{slope}");
    }
}
