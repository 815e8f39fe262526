//! Commands beside the server: they ask a running one, look at the machine, or print something.
//!
//! One file for each command; `server` says where the asked one is, `link` connects to it, with the
//! certificates of `trust`, and `http` calls it. Flags stand in `config/commands.rs`.
//!
//! Invariants: what a program would read goes to standard output and nothing else does; a key is
//! sent only to the server whose certificate was checked; every wait has an end.
//! Must never touch a shard or a handle: these commands are other processes than the hub.
//! Read `server.rs` first, then `healthcheck.rs`.

mod completions;
pub mod config;
mod doctor;
mod drain;
mod engines;
mod healthcheck;
mod http;
mod link;
mod process;
mod publish;
pub mod reload;
mod server;
mod subscribe;
mod token;
mod trust;
mod version;

use std::fmt::{self, Display};
use std::io;
use std::process::ExitCode;

use tokio::runtime;

use crate::config::Tool;

pub use engines::{Tried, TryEngines};

/// Runs a command and says how it ended; trouble is told on standard error.
pub fn run(tool: &Tool, try_engines: TryEngines) -> ExitCode {
    exit(match tool {
        Tool::Completions { shell } => completions::run(*shell),
        Tool::Doctor(arguments) => doctor::run(arguments, try_engines),
        Tool::Drain(arguments) => drain::run(arguments),
        Tool::Healthcheck(arguments) => healthcheck::run(arguments),
        Tool::Pub(arguments) => publish::run(arguments),
        Tool::Sub(arguments) => subscribe::run(arguments),
        Tool::Token(tool) => token::run(tool),
        Tool::Version(arguments) => version::run(*arguments),
    })
}

/// Tells how a command ended.
pub fn exit(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fanfare: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    message: String,
}

/// What the exit code tells a script. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A check failed, or the server refused.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The server can't be reached, or does not answer in time.
    Unreachable = 3,
}

impl Failure {
    pub fn failed(message: impl Display) -> Failure {
        Failure { exit: Exit::Failed, message: message.to_string() }
    }

    pub fn usage(message: impl Display) -> Failure {
        Failure { exit: Exit::Usage, message: message.to_string() }
    }

    pub fn unreachable(message: impl Display) -> Failure {
        Failure { exit: Exit::Unreachable, message: message.to_string() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Runs what waits for sockets, on this thread alone.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("can't wait for sockets: {error}")))?.block_on(future)
}

/// `text`, or standard input where it is `-`.
fn read_argument(text: &str) -> Result<String, Failure> {
    match text {
        "-" => io::read_to_string(io::stdin()).map_err(|error| Failure::usage(format!("standard input: {error}"))),
        text => Ok(text.to_owned()),
    }
}

/// One line of JSON on standard output.
fn print_json(value: &serde_json::Value) {
    println!("{value}");
}
