//! Logs: for people on a terminal, JSON otherwise. Nothing is logged for each message.

use std::backtrace::Backtrace;
use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Starts logging to the standard error; `level` `None` is silence. Called once, before any other
/// thread runs.
///
/// Libraries below us log warnings only, whatever the level.
pub fn start_logs(level: Option<Level>) {
    let filter = match level {
        None => EnvFilter::new("off"),
        Some(level) => EnvFilter::new(format!("{},fanfare={level}", level.min(Level::WARN))),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match stderr().is_terminal() {
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
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("a panic without text");
    let backtrace = Backtrace::capture();
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        %place,
        %backtrace,
        "panic: {message}. This is a bug of Fanfare; please report it."
    );
}
