//! Load generator: how fast, how exact and how small a hub is.
//!
//! Reading order: `dialect` and `websocket` (the wire), `link` and `fleet` (connections on one poll
//! set), `stamp`, `window` and `ledger` (what is checked), then the scenarios: `fanout` (as fast as it
//! goes), `rooms` and `traffic` (by the clock), `echo`, `connect`, `idle`, `soak`, and `beside` with its
//! disturbances.
//! `scenarios` is the table of what is compared, `servers`, `running` and `brokers` start who is compared, `compare` measures,
//! `saved` keeps the runs, `render` and `plot` show them. The README says how the numbers are made.

mod alarm;
mod beside;
mod brokers;
mod churn;
mod commands;
mod compare;
mod connect;
mod dialect;
mod echo;
mod failure;
mod fanout;
mod fleet;
mod floor;
mod herd;
mod idle;
mod ledger;
mod link;
mod machine;
mod many;
mod node_loss;
mod plot;
mod process;
mod publisher;
mod render;
mod report;
mod rooms;
mod running;
mod runs;
mod saved;
mod scenarios;
mod scratch;
mod server_options;
mod servers;
mod slow;
mod smoke;
mod soak;
mod spread;
mod stall;
mod stamp;
mod target;
mod tokens;
mod traffic;
mod websocket;
mod window;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use beside::{BesideOptions, Disturbance};
use churn::Churn;
use failure::{Doing, Failure};
use herd::Herd;
use node_loss::NodeLoss;
use slow::Slow;
use stall::Stall;

#[derive(Parser)]
#[command(about = "Load generator for Fanfare and other servers of Centrifugo's JSON protocol", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    /// Keeps the generator on this core
    #[arg(long, global = true)]
    core: Option<usize>,
    /// Prints JSON instead of the table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Scenario {
    /// Members of one channel receive publications: CPU for each delivery, latency, exactness
    Fanout(fanout::FanoutOptions),
    /// People come with tokens and subscribe, 64 at a time: CPU for each
    Connect(connect::ConnectOptions),
    /// Many connections that only answer pings: memory for each connection
    Idle(idle::IdleOptions),
    /// Rooms that are published to by the clock: CPU for each delivery below saturation
    Rooms(rooms::RoomsOptions),
    /// Each connection publishes to itself: CPU of a publish, its reply and the push
    Echo(echo::EchoOptions),
    /// Large payloads beside a quiet room: its latency
    Stall(stall::StallOptions),
    /// Members that do not read beside a quiet room: its latency, and the server's memory
    Slow(slow::SlowOptions),
    /// Connections that come and vanish beside a quiet room: its latency, CPU of a connection
    Churn(churn::ChurnOptions),
    /// All members of a room are cut, come back and recover, beside a quiet room
    Herd(herd::HerdOptions),
    /// One of several nodes is killed: its clients come back to the others, beside a quiet room on those
    NodeLoss(node_loss::NodeLossOptions),
    /// Starts the hub, and lets rooms talk while people come and go: memory and descriptors over time
    Soak(soak::SoakOptions),
    /// Starts the hub and runs every scenario small: exactness, for CI
    Smoke(smoke::SmokeOptions),
    /// Starts the hub and its peers in turn and compares them: the figures, about 10 minutes
    Compare(compare::CompareOptions),
    /// Serves as the floor of a comparison: nothing but reads and sends
    Floor(floor::FloorOptions),
    /// Fills the tables of docs/performance.md and draws its plots from saved runs
    Render(render::RenderOptions),
}

/// 0: all is well; 1: there is a result, but a delivery was not exact or a goal was missed; 2: none.
fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(exit) => exit,
        Err(failure) => {
            eprintln!("loadtest: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if let Some(core) = cli.core {
        process::pin_to_core(core)?;
    }
    match cli.scenario {
        Scenario::Fanout(options) => {
            let report = fanout::run(&options)?;
            print(&report, cli.json)?;
            Ok(exit_code(report.faults.is_none()))
        }
        Scenario::Connect(options) => {
            print(&connect::run(&options)?, cli.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Scenario::Idle(options) => {
            print(&idle::run(&options)?, cli.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Scenario::Rooms(options) => {
            let report = rooms::run(&options)?;
            print(&report, cli.json)?;
            Ok(exit_code(report.faults.is_none()))
        }
        Scenario::Echo(options) => {
            let report = echo::run(&options)?;
            print(&report, cli.json)?;
            Ok(exit_code(report.faults.is_none()))
        }
        Scenario::Stall(options) => print_beside(&options.beside, Stall::new(&options), cli.json),
        Scenario::Slow(options) => print_beside(&options.beside, Slow::new(&options), cli.json),
        Scenario::Churn(options) => print_beside(&options.beside, Churn::new(&options)?, cli.json),
        Scenario::Herd(options) => print_beside(&options.beside, Herd::new(&options)?, cli.json),
        Scenario::NodeLoss(options) => print_beside(&options.beside_survivors(), NodeLoss::new(&options)?, cli.json),
        Scenario::Soak(options) => {
            let report = soak::run(&options)?;
            print(&report, cli.json)?;
            Ok(exit_code(report.is_well()))
        }
        Scenario::Smoke(options) => {
            let is_exact = smoke::run(&options)?;
            if !is_exact {
                eprintln!("loadtest: something was lost, duplicated, reordered or not published in time");
            }
            Ok(exit_code(is_exact))
        }
        Scenario::Compare(options) => {
            let comparison = compare::run(&options)?;
            print(&comparison, cli.json)?;
            Ok(exit_code(comparison.is_exact() && comparison.are_goals_met()))
        }
        Scenario::Floor(options) => floor::run(&options).map(|()| ExitCode::SUCCESS),
        Scenario::Render(options) => render::run(&options).map(|()| ExitCode::SUCCESS),
    }
}

fn print_beside(options: &BesideOptions, disturbance: impl Disturbance, json: bool) -> Result<ExitCode, Failure> {
    let report = beside::run(options, disturbance)?;
    print(&report, json)?;
    Ok(exit_code(report.faults.is_none()))
}

fn exit_code(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn print(report: &(impl Serialize + Display), json: bool) -> Result<(), Failure> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(report).doing("writing the report")?),
        false => println!("{report}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_stand_for_one_another() {
        Cli::command().debug_assert();
    }
}
