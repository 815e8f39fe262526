//! Logs: for people on a terminal, JSON otherwise. Nothing is logged for each message.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Starts logging to `file`, to the standard error without one. Called once, before any other
/// thread runs.
///
/// `level` is one of `off`, `error`, `warn`, `info`, `debug`, `trace`; libraries below us log
/// warnings at most, whatever it is.
pub fn start_logs(level: &str, file: Option<File>) {
    let filter = match level {
        "off" | "error" => EnvFilter::new(level),
        // What this one says of a connection the engine says too, with the place and the fix.
        level => EnvFilter::new(format!("warn,async_nats=off,fanfare={level}")),
    };
    let is_read_by_people = file.is_none() && stderr().is_terminal();
    let writer = file.map_or_else(|| BoxMakeWriter::new(stderr), |file| BoxMakeWriter::new(Arc::new(file)));
    // A line that can't be written is lost; to complain of that on a standard error that is closed would be a panic.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match is_read_by_people {
        true => logs.with_target(false).init(),
        false => logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
}

/// Lets every panic be logged, with its thread and place, instead of printed. A backtrace comes
/// with it when RUST_BACKTRACE asks for one.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("a panic without text");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(thread, place, backtrace, "a bug of Fanfare, please report it: {message}");
}
