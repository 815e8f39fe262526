//! Keys of the ports and the log.

use super::Row;
use crate::config::options::LogLevel;
use crate::config::values::Kind;

pub const ROWS: &[Row] = &[
    ("http_server.address", Kind::Address, "\"\"", "IP address that clients connect to; empty: every IPv4 address."),
    ("http_server.port", Kind::Port { optional: false }, "8000", "Port that clients connect to; 0: a free one."),
    (
        "http_server.internal_address",
        Kind::Address,
        "\"\"",
        "IP address of the internal port; empty: that of `address`.",
    ),
    (
        "http_server.internal_port",
        Kind::Port { optional: true },
        "\"\"",
        "Port where API, metrics, health and page are served instead; empty: at `port`.",
    ),
    ("log.level", Kind::OneOf(LogLevel::NAMES), "info", "The least severe level that is logged."),
    ("log.file", Kind::Text, "\"\"", "File to append the log to; empty: standard output."),
];
