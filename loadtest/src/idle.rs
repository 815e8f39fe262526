//! Scenario: many connections that only answer pings.

use std::time::{Duration, Instant};

use clap::Args;

use crate::dialect::{Dialect, Heard, Role};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::process::{self, CpuReading};
use crate::report::IdleReport;
use crate::server_options::ServerOptions;
use crate::websocket;

#[derive(Args, Clone, Debug)]
pub struct IdleOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Connections that are being opened at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub opening: u32,
    /// How long the connections are held before memory is read
    #[arg(long, default_value_t = 5.0)]
    pub hold_seconds: f64,
    /// The channel that all connections subscribe to
    #[arg(long, default_value = "loadtest")]
    pub channel: String,
    /// Gives each connection a channel of its own: the name, a dash and the connection's number
    #[arg(long)]
    pub channel_per_connection: bool,
    /// Subscribes each connection to so many channels more, which all share, and tells what each of those
    /// subscriptions takes; Centrifugo's dialect only
    #[arg(long, default_value_t = 0)]
    pub further: u32,
}

/// For the answers to all further subscriptions.
const FURTHER_PATIENCE: Duration = Duration::from_secs(60);

/// Opens the connections, holds them, and returns what they cost the server.
pub fn run(options: &IdleOptions) -> Result<IdleReport, Failure> {
    let connections = options.connections as usize;
    let pids = &options.server.server_pids;
    if pids.is_empty() {
        return Err(Failure::new("idle needs --server-pid: it reads the memory"));
    }
    let mut fleet = options.server.fleet(connections)?;
    let tokens = options.server.tokens()?;
    let dialect = options.server.dialect;

    let pss_before = process::pss_bytes(pids)?;
    let cpu_before = CpuReading::take(pids)?;
    let opening = fleet.open(connections, options.opening as usize, |number| {
        let token = tokens.as_ref().map(|tokens| tokens.sign(number)).transpose()?;
        let own_channel = options.channel_per_connection.then(|| format!("{}-{number}", options.channel));
        let channel = own_channel.as_deref().unwrap_or(&options.channel);
        Ok(dialect.introduce(Role::Member, token.as_deref(), channel))
    })?;
    let cpu_open = CpuReading::take(pids)?;

    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < options.hold_seconds {
        fleet.turn(Duration::from_millis(100), |_, _, line| dialect.hear(line).map(drop))?;
    }
    let hold_seconds = begin.elapsed().as_secs_f64();
    let cpu_idle = CpuReading::take(pids)?;
    let pss_after = process::pss_bytes(pids)?;
    let mut bytes_per_further = None;
    if options.further > 0 {
        subscribe_further(&mut fleet, options)?;
        let growth = process::pss_bytes(pids)? as f64 - pss_after as f64;
        bytes_per_further = Some(growth / (connections as f64 * f64::from(options.further)));
    }

    Ok(IdleReport {
        url: options.server.url(),
        connections,
        channel: match options.channel_per_connection {
            true => "a channel each".into(),
            false => format!("the channel {}", options.channel),
        },
        connections_per_second: connections as f64 / opening.as_secs_f64(),
        bytes_per_connection: (pss_after as f64 - pss_before as f64) / connections as f64,
        bytes_per_further_subscription: bytes_per_further,
        server_pss_bytes_before: pss_before,
        server_pss_bytes_after: pss_after,
        server_cpu_us_per_opening: cpu_open.since(&cpu_before).as_secs_f64() * 1e6 / connections as f64,
        hold_seconds,
        server_cpu_share_idle: cpu_idle.since(&cpu_open).as_secs_f64() / hold_seconds,
    })
}

/// Subscribes every connection to `further` channels more, and returns when all have been answered.
fn subscribe_further(fleet: &mut Fleet, options: &IdleOptions) -> Result<(), Failure> {
    if options.server.dialect != Dialect::Centrifugo {
        return Err(Failure::new("--further is for Centrifugo's dialect: leave it out"));
    }
    // The introduction took 1 and 2.
    let command = |n: u32| format!(r#"{{"id":{},"subscribe":{{"channel":"{}-further-{n}"}}}}"#, n + 3, options.channel);
    let mut message = Vec::new();
    let commands: Vec<String> = (0..options.further).map(command).collect();
    websocket::encode_text(&mut message, commands.join("\n").as_bytes());
    for number in 0..fleet.len() {
        fleet.send(number, &message)?;
    }
    let (wanted, begin) = (fleet.len() as u64 * u64::from(options.further), Instant::now());
    let mut answered = 0;
    while answered < wanted {
        if begin.elapsed() > FURTHER_PATIENCE {
            return Err(Failure::new(format!("{answered} of {wanted} further subscriptions were answered in 60 s")));
        }
        fleet.turn(Duration::from_millis(100), |_, _, line| {
            answered += u64::from(options.server.dialect.hear(line)? == Heard::Reply);
            Ok(())
        })?;
    }
    Ok(())
}
