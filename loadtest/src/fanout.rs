//! Scenario: all members of one channel receive each publication.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;

use crate::dialect::Role;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::ledger::{Ledger, Receipt};
use crate::process::Meter;
use crate::publisher::{Publisher, ServerApi};
use crate::report::{FanoutReport, Percentiles};
use crate::server_options::{ServerOptions, Waiting};
use crate::stamp::{self, Filling, PAYLOAD_BYTES_MIN, StampReader};
use crate::window::Window;

/// How long the run listens on after the last publication, for what comes twice or late.
pub const AFTERMATH: Duration = Duration::from_millis(100);

#[derive(Args, Clone, Debug)]
pub struct FanoutOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Bytes of each publication's data
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload: usize,
    /// What the data is filled with beside its sequence number
    #[arg(long, value_enum, default_value_t = Filling::Plain)]
    pub filling: Filling,
    /// Publications that not all members have received yet: the next goes out when the oldest is complete
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub in_flight: u8,
    /// Publications to measure
    #[arg(long, default_value_t = 2_000)]
    pub publications: u64,
    /// Publications before the measurement
    #[arg(long, default_value_t = 200)]
    pub warm_up: u64,
    /// Ends the measured phase early, and the warm-up as well
    #[arg(long, default_value_t = 20.0)]
    pub seconds_max: f64,
    /// Gives up what is missing when nothing has come for so long
    #[arg(long, default_value_t = 2_000)]
    pub stall_ms: u64,
    #[arg(long, default_value = "loadtest")]
    pub channel: String,
    /// Publishes through the server API (http://host:port/api) instead of a client connection
    #[arg(long, requires = "api_key")]
    pub api_url: Option<String>,
    #[arg(long)]
    pub api_key: Option<String>,
    /// What the generator does when nothing has come
    #[arg(long, value_enum, default_value_t = Waiting::Sleep)]
    pub waiting: Waiting,
}

pub fn payload_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes >= PAYLOAD_BYTES_MIN => Ok(bytes),
        Ok(_) => Err(format!("at least {PAYLOAD_BYTES_MIN} bytes: the sequence number must fit")),
        Err(error) => Err(error.to_string()),
    }
}

/// Opens the members, publishes, and returns what was found.
pub fn run(options: &FanoutOptions) -> Result<FanoutReport, Failure> {
    let mut run = Run::open(options)?;
    run.publish_and_receive(options.warm_up)?;
    run.latency_us.reset();
    run.deliveries = 0;

    let published_before = run.window.published();
    let meter = Meter::start(&options.server.server_pids)?;
    run.publish_and_receive(options.publications)?;
    let spent = meter.stop()?;
    let deliveries = run.deliveries;
    let publications = run.window.published() - published_before;

    run.listen_on(AFTERMATH)?;
    Ok(FanoutReport {
        url: options.server.url(),
        members: options.members as usize,
        payload_bytes: options.payload,
        line_bytes: run.line_bytes,
        in_flight: options.in_flight.into(),
        publisher: match run.publisher {
            Publisher::Client { .. } => "a client connection".into(),
            Publisher::Api(_) => "the server API".into(),
        },
        publications,
        deliveries,
        seconds: spent.seconds,
        deliveries_per_second: deliveries as f64 / spent.seconds,
        server_cpu_us_per_delivery: spent.server_us_each(deliveries),
        generator_cpu_us_per_delivery: spent.own_us_each(deliveries),
        latency_us: Percentiles::from(&run.latency_us),
        faults: run.ledger.close(run.window.published()),
        stalls: run.stalls,
    })
}

struct Run<'a> {
    options: &'a FanoutOptions,
    /// The members are the links 0 to `members - 1`.
    fleet: Fleet,
    publisher: Publisher,
    window: Window,
    ledger: Ledger,
    stamp: StampReader,
    latency_us: Histogram<u64>,
    /// Publications received since the last reset, repeats too.
    deliveries: u64,
    /// Of the last delivery.
    line_bytes: usize,
    stalls: u64,
}

impl<'a> Run<'a> {
    fn open(options: &'a FanoutOptions) -> Result<Run<'a>, Failure> {
        let members = options.members as usize;
        let mut fleet = options.server.fleet(members + 1)?;
        options.server.open(&mut fleet, members, Role::Member, |_| options.channel.clone())?;
        let publisher = match (&options.api_url, &options.api_key) {
            (Some(url), Some(key)) => Publisher::Api(ServerApi::connect(url, key)?),
            _ => {
                options.server.open(&mut fleet, 1, Role::Publisher, |_| options.channel.clone())?;
                Publisher::Client { link: members }
            }
        };
        Ok(Run {
            options,
            fleet,
            publisher,
            window: Window::new(options.in_flight.into(), members),
            ledger: Ledger::new(members),
            stamp: StampReader::default(),
            // A minute at most, to three digits.
            latency_us: Histogram::new_with_max(60_000_000, 3).expect("constant bounds are valid"),
            deliveries: 0,
            line_bytes: 0,
            stalls: 0,
        })
    }

    /// Publishes `count` times, fewer when the time is over, and waits for all receipts.
    fn publish_and_receive(&mut self, count: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs_f64(self.options.seconds_max);
        let stall = Duration::from_millis(self.options.stall_ms);
        let wait = match self.options.waiting {
            Waiting::Sleep => Duration::from_millis(10),
            Waiting::Spin => Duration::ZERO,
        };
        let end = self.window.published() + count;
        let mut progress = Instant::now();
        let mut batch = Vec::new();
        loop {
            let now = Instant::now();
            while self.window.published() < end
                && now < deadline
                && let Some(sequence) = self.window.publish(now)
            {
                batch.push((sequence, stamp::payload(sequence, self.options.payload, self.options.filling)));
            }
            if !batch.is_empty() {
                self.publisher.publish(&mut self.fleet, &self.options.channel, &batch)?;
                batch.clear();
            } else if self.window.is_idle() {
                return Ok(());
            }
            let before = self.deliveries;
            self.turn(wait)?;
            if self.deliveries > before {
                progress = now;
            } else if progress.elapsed() > stall {
                self.window.give_up();
                self.stalls += 1;
                progress = Instant::now();
            }
        }
    }

    fn listen_on(&mut self, time: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// One turn of the poll set: enters what came into the books.
    fn turn(&mut self, wait: Duration) -> Result<(), Failure> {
        let Run { fleet, window, ledger, stamp, latency_us, deliveries, line_bytes, .. } = self;
        let members = self.options.members as usize;
        let dialect = fleet.dialect();
        fleet.turn(wait, |link, at, line| {
            let Some(sequence) = stamp.read(line) else { return dialect.hear(line).map(drop) };
            if link >= members || !(1..=window.published()).contains(&sequence) {
                return Err(Failure::new(format!(
                    "the server delivered publication {sequence} to connection {link}, where it does not belong"
                )));
            }
            *deliveries += 1;
            *line_bytes = line.len();
            if ledger.receive(link, sequence) != Receipt::Again
                && let Some(latency) = window.receive(sequence, at)
            {
                latency_us.saturating_record(latency.as_micros() as u64);
            }
            Ok(())
        })?;
        self.publisher.check_replies()
    }
}
