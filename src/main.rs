//! Flags, configuration, start, exit code.
//!
//! Exit codes of a node: 0 it ran and stopped as asked, 1 it could not start, 2 the command line is wrong.
//! Those of the other commands stand in `cli`.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use fanfare::config::{Command, CommandLine, Flags, Layers, LogOptions};
use fanfare::{cli, node, telemetry};
use tikv_jemallocator::Jemalloc;

/// Gives back what thousands of handshakes took at once (docs/decisions/0004).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let start = Instant::now();
    match CommandLine::parse().into_command() {
        Command::Config(command) => cli::config::run(command, node::try_engines),
        Command::Reload(arguments) => cli::exit(cli::reload::run(arguments)),
        Command::Tool(tool) => cli::run(&tool, node::try_engines),
        Command::Serve(flags) => serve(flags, start).map_or_else(fail, |()| ExitCode::SUCCESS),
    }
}

fn serve(flags: Flags, start: Instant) -> Result<(), Box<dyn std::error::Error>> {
    let layers = Layers::of_process(flags);
    let configuration = layers.read()?;
    start_logs(&configuration.options.log)?;
    for warning in configuration.warnings.iter().chain(&configuration.advice) {
        tracing::warn!("{warning}");
    }
    Ok(node::run(&configuration, layers, start)?)
}

fn start_logs(options: &LogOptions) -> Result<(), String> {
    let file = options.file.as_ref().map(|path| {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| format!("log.file: {}: {error}", path.display()))
    });
    telemetry::start_logs(options.level.as_filter(), file.transpose()?);
    telemetry::log_panics();
    Ok(())
}

/// To the standard error also when the log goes to a file: whoever starts a node looks there.
fn fail(error: impl Display) -> ExitCode {
    eprintln!("fanfare: {error}");
    ExitCode::FAILURE
}
