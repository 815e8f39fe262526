//! Scenario: people who come with a token and subscribe, so many at a time: what each costs.

use clap::Args;

use crate::dialect::Role;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::process::Meter;
use crate::report::ConnectReport;
use crate::server_options::ServerOptions;
use crate::tokens::Tokens;

#[derive(Args, Clone, Debug)]
pub struct ConnectOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    /// Connections of the measured phase; they stay open
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Connections that are opened before it, unmeasured
    #[arg(long, default_value_t = 1_000)]
    pub warm_up: u32,
    /// Handshakes in flight
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// The channel that all subscribe to
    #[arg(long, default_value = "loadtest")]
    pub channel: String,
}

pub fn run(options: &ConnectOptions) -> Result<ConnectReport, Failure> {
    let (warm_up, connections) = (options.warm_up as usize, options.connections as usize);
    let mut fleet = options.server.fleet(warm_up + connections)?;
    let tokens = options.server.tokens()?;
    open(options, &mut fleet, tokens.as_ref(), warm_up)?;

    let meter = Meter::start(&options.server.server_pids)?;
    open(options, &mut fleet, tokens.as_ref(), connections)?;
    let spent = meter.stop()?;
    Ok(ConnectReport {
        url: options.server.url(),
        connections,
        in_flight: options.in_flight as usize,
        tokens: tokens.as_ref().map_or("none", Tokens::algorithm).into(),
        seconds: spent.seconds,
        connections_per_second: connections as f64 / spent.seconds,
        server_cpu_us_per_connection: spent.server_us_each(connections as u64),
        generator_cpu_us_per_connection: spent.own_us_each(connections as u64),
    })
}

/// Opens `count` more and waits until each is connected and subscribed.
fn open(options: &ConnectOptions, fleet: &mut Fleet, tokens: Option<&Tokens>, count: usize) -> Result<(), Failure> {
    let dialect = options.server.dialect;
    fleet.open(count, options.in_flight as usize, |number| {
        let token = tokens.map(|tokens| tokens.sign(number)).transpose()?;
        Ok(dialect.introduce(Role::Member, token.as_deref(), &options.channel))
    })?;
    Ok(())
}
