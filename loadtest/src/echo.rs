//! Scenario: each connection publishes to a channel of its own, and goes on when it has the reply
//! and the publication.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;

use crate::dialect::{Heard, Role};
use crate::failure::Failure;
use crate::fanout::{self, AFTERMATH};
use crate::fleet::Fleet;
use crate::ledger::{Ledger, Receipt};
use crate::process::Meter;
use crate::publisher::FIRST_PUBLISH_ID;
use crate::report::{EchoReport, Percentiles};
use crate::server_options::{ServerOptions, Waiting};
use crate::stamp::{self, Filling, StampReader};

#[derive(Args, Clone, Debug)]
pub struct EchoOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Bytes of each publication's data
    #[arg(long, default_value_t = 128, value_parser = fanout::payload_bytes)]
    pub payload: usize,
    /// Length of the measured phase; a quarter of it goes before it, unmeasured
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// What the channels' names begin with
    #[arg(long, default_value = "loadtest")]
    pub channel: String,
    /// What the generator does when nothing has come
    #[arg(long, value_enum, default_value_t = Waiting::Sleep)]
    pub waiting: Waiting,
}

pub fn run(options: &EchoOptions) -> Result<EchoReport, Failure> {
    let connections = options.connections as usize;
    let mut fleet = options.server.fleet(connections)?;
    options.server.open(&mut fleet, connections, Role::Both, |number| channel(options, number))?;
    let mut run = Run {
        options,
        callers: vec![Caller::default(); connections],
        ledger: Ledger::new(connections),
        stamp: StampReader::default(),
        latency_us: Histogram::new_with_max(60_000_000, 3).expect("constant bounds are valid"),
        echoes: 0,
        line_bytes: 0,
    };
    run.go_on(&mut fleet, options.seconds / 4.0)?;

    run.echoes = 0;
    run.latency_us.reset();
    let meter = Meter::start(&options.server.server_pids)?;
    run.go_on(&mut fleet, options.seconds)?;
    let spent = meter.stop()?;
    let echoes = run.echoes;

    let end = Instant::now() + AFTERMATH;
    while Instant::now() < end {
        run.turn(&mut fleet, Duration::from_millis(10))?;
    }
    let published: Vec<u64> = run.callers.iter().map(|caller| caller.published).collect();
    Ok(EchoReport {
        url: options.server.url(),
        connections,
        payload_bytes: options.payload,
        line_bytes: run.line_bytes,
        is_acknowledged: options.server.dialect.acknowledges_members(),
        echoes,
        seconds: spent.seconds,
        echoes_per_second: echoes as f64 / spent.seconds,
        server_cpu_us_per_echo: spent.server_us_each(echoes),
        generator_cpu_us_per_echo: spent.own_us_each(echoes),
        latency_us: Percentiles::from(&run.latency_us),
        faults: run.ledger.close_each(|caller| published[caller]),
    })
}

fn channel(options: &EchoOptions, number: usize) -> String {
    format!("{}-{number}", options.channel)
}

struct Run<'a> {
    options: &'a EchoOptions,
    callers: Vec<Caller>,
    ledger: Ledger,
    stamp: StampReader,
    latency_us: Histogram<u64>,
    echoes: u64,
    line_bytes: usize,
}

/// One connection: what it has published, and what it still waits for.
#[derive(Clone, Debug, Default)]
struct Caller {
    published: u64,
    at: Option<Instant>,
    misses_reply: bool,
    misses_push: bool,
}

impl Run<'_> {
    /// Goes on for so long, and waits for the last echoes.
    fn go_on(&mut self, fleet: &mut Fleet, seconds: f64) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let patience = end + Duration::from_secs(2);
        let wait = match self.options.waiting {
            Waiting::Sleep => Duration::from_millis(10),
            Waiting::Spin => Duration::ZERO,
        };
        loop {
            let now = Instant::now();
            let mut is_idle = true;
            for number in 0..self.callers.len() {
                if !self.callers[number].is_waiting() && now < end {
                    self.publish(fleet, number)?;
                }
                is_idle &= !self.callers[number].is_waiting();
            }
            if is_idle || now > patience {
                return Ok(());
            }
            self.turn(fleet, wait)?;
        }
    }

    fn publish(&mut self, fleet: &mut Fleet, number: usize) -> Result<(), Failure> {
        let caller = &mut self.callers[number];
        caller.published += 1;
        caller.at = Some(Instant::now());
        (caller.misses_push, caller.misses_reply) = (true, fleet.dialect().acknowledges_members());
        let data = stamp::payload(caller.published, self.options.payload, Filling::Plain);
        let mut frame = Vec::new();
        let id = FIRST_PUBLISH_ID + caller.published;
        fleet.dialect().publish(&mut frame, id, &channel(self.options, number), &data);
        fleet.send(number, &frame)
    }

    fn turn(&mut self, fleet: &mut Fleet, wait: Duration) -> Result<(), Failure> {
        let Run { callers, ledger, stamp, latency_us, echoes, line_bytes, .. } = self;
        let dialect = fleet.dialect();
        fleet.turn(wait, |number, at, line| {
            let caller = &mut callers[number];
            match stamp.read(line) {
                Some(sequence) if sequence > caller.published => {
                    return Err(Failure::new(format!("connection {number} received what nobody published")));
                }
                Some(sequence) => {
                    *line_bytes = line.len();
                    if ledger.receive(number, sequence) == Receipt::First {
                        caller.misses_push = false;
                    }
                }
                None => {
                    if dialect.hear(line)? == Heard::Reply {
                        caller.misses_reply = false;
                    }
                }
            }
            if !caller.is_waiting()
                && let Some(begin) = caller.at.take()
            {
                *echoes += 1;
                latency_us.saturating_record(at.saturating_duration_since(begin).as_micros() as u64);
            }
            Ok(())
        })
    }
}

impl Caller {
    fn is_waiting(&self) -> bool {
        self.misses_push || self.misses_reply
    }
}
