//! Load generator: how fast, how exact and how small a hub is.
//!
//! Reading order: `websocket` and `commands` (the wire), `link` and `fleet` (connections on one poll
//! set), `stamp`, `window` and `ledger` (what is checked), then the scenarios `fanout` and `idle`;
//! `servers`, `runs`, `smoke` and `compare` start servers and run scenarios against them. The README says how the numbers are made.

mod commands;
mod compare;
mod failure;
mod fanout;
mod figures;
mod fleet;
mod idle;
mod ledger;
mod link;
mod machine;
mod process;
mod publisher;
mod report;
mod runs;
mod servers;
mod smoke;
mod stamp;
mod target;
mod tokens;
mod websocket;
mod window;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use failure::{Doing, Failure};

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
    /// Many connections that only answer pings: memory for each connection
    Idle(idle::IdleOptions),
    /// Starts the hub and runs every scenario small: exactness, for CI
    Smoke(smoke::SmokeOptions),
    /// Starts the hub and the Node peer in turn and compares them: the figures, about 6 minutes
    Compare(compare::CompareOptions),
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
        Scenario::Idle(options) => {
            print(&idle::run(&options)?, cli.json)?;
            Ok(ExitCode::SUCCESS)
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
    }
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
