//! The JSON format: one command or reply a line, payloads embedded as the JSON they are.

mod commands;
mod reader;
mod replies;
mod requests;
mod writer;

pub use commands::Commands;
pub use replies::{append_ping, append_push, append_reply};
