//! Scenario: rooms that are published to by the clock, at a rate that the server can keep.

use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::Failure;
use crate::fanout::{self, AFTERMATH};
use crate::fleet::Fleet;
use crate::process::Meter;
use crate::report::RoomsReport;
use crate::server_options::{ServerOptions, Waiting};
use crate::traffic::{Plan, Traffic};

/// How long the last publications may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub struct RoomsOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub rooms: u32,
    /// Members of each room
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Bytes of each publication's data
    #[arg(long, default_value_t = 128, value_parser = fanout::payload_bytes)]
    pub payload: usize,
    /// Publications a second, of all rooms together
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// So many publications at that rate, then a pause until all have them
    #[arg(long)]
    pub burst: Option<u64>,
    /// Length of the measured phase; a quarter of it goes before it, unmeasured
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// The room's name, or what the rooms' names begin with
    #[arg(long, default_value = "loadtest")]
    pub channel: String,
    /// What the generator does when nothing has come
    #[arg(long, value_enum, default_value_t = Waiting::Sleep)]
    pub waiting: Waiting,
}

pub fn run(options: &RoomsOptions) -> Result<RoomsReport, Failure> {
    let (rooms, members) = (options.rooms as usize, options.members as usize);
    let mut fleet = options.server.fleet(rooms * (members + 1))?;
    let plan = Plan {
        channel: options.channel.clone(),
        rooms,
        members_of_room: members,
        payload_bytes: options.payload,
        rate: options.rate,
        burst: options.burst,
    };
    let mut traffic = Traffic::open(plan, &options.server, &mut fleet)?;
    go_on(&mut traffic, &mut fleet, options.seconds / 4.0, options.waiting)?;

    let meter = Meter::start(&options.server.server_pids)?;
    go_on(&mut traffic, &mut fleet, options.seconds, options.waiting)?;
    let spent = meter.stop()?;
    let (publications, deliveries, latency_us) = (traffic.publications(), traffic.deliveries(), traffic.latency_us());

    // What comes twice or late.
    let end = Instant::now() + AFTERMATH;
    while Instant::now() < end {
        turn(&mut traffic, &mut fleet, end)?;
    }
    Ok(RoomsReport {
        url: options.server.url(),
        rooms,
        members_of_room: members,
        payload_bytes: options.payload,
        line_bytes: traffic.line_bytes,
        publications,
        deliveries,
        seconds: spent.seconds,
        deliveries_per_second: deliveries as f64 / spent.seconds,
        server_cpu_us_per_delivery: spent.server_us_each(deliveries),
        generator_cpu_us_per_delivery: spent.own_us_each(deliveries),
        latency_us,
        faults: traffic.close(),
    })
}

/// Publishes for so long and waits until all have everything.
fn go_on(traffic: &mut Traffic, fleet: &mut Fleet, seconds: f64, waiting: Waiting) -> Result<(), Failure> {
    traffic.begin_phase();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        traffic.publish_due(fleet)?;
        match waiting {
            Waiting::Sleep => turn(traffic, fleet, traffic.next_due().min(end))?,
            Waiting::Spin => fleet.turn(Duration::ZERO, |link, at, line| traffic.receive(link, at, line))?,
        }
    }
    let patience = Instant::now() + DRAIN_PATIENCE;
    while !traffic.is_complete() && Instant::now() < patience {
        turn(traffic, fleet, patience)?;
    }
    Ok(())
}

fn turn(traffic: &mut Traffic, fleet: &mut Fleet, until: Instant) -> Result<(), Failure> {
    fleet.turn_until(until, |link, at, line| traffic.receive(link, at, line))
}
