//! Load generator: how fast, how exact and how small a hub is.
//!
//! Reading order: `websocket` and `commands` (the wire), `link` and `fleet` (connections on one poll
//! set), `stamp`, `window` and `ledger` (what is checked), then the scenarios `fanout` and `idle`.
//! The README says how the numbers are made.

mod commands;
mod failure;
mod fanout;
mod fleet;
mod idle;
mod ledger;
mod link;
mod process;
mod publisher;
mod report;
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
}

/// 0: measured and exact; 1: measured, but something was lost, duplicated or reordered; 2: no result.
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
            Ok(ExitCode::from(u8::from(!report.faults.is_none())))
        }
        Scenario::Idle(options) => {
            print(&idle::run(&options)?, cli.json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print(report: &(impl Serialize + Display), json: bool) -> Result<(), Failure> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(report).doing("writing the report")?),
        false => println!("{report}"),
    }
    Ok(())
}
