//! Keys of what is served: API, WebSocket, metrics, health.

use super::{MIB, Row};
use crate::api::ErrorMode;
use crate::config::values::Kind;

pub const ROWS: &[Row] = &[
    ("http_api.disabled", Kind::Flag, "false", "Switches the server API off."),
    ("http_api.handler_prefix", Kind::Path, "/api", "Path before the API's methods."),
    ("http_api.key", Kind::Secret, "\"\"", "Key that API requests carry; empty: every request is refused (401)."),
    (
        "http_api.external",
        Kind::Flag,
        "false",
        "Serves the API at the clients' port although there is an internal one.",
    ),
    (
        "http_api.error_mode",
        Kind::OneOf(ErrorMode::NAMES),
        "\"\"",
        "How errors are told: empty: in the body, with status 200; \"transport\": by the HTTP status too.",
    ),
    ("http_api.insecure", Kind::Flag, "false", "Serves the API without a key; for development only."),
    ("websocket.handler_prefix", Kind::Path, "/connection/websocket", "Path of the WebSocket endpoint."),
    (
        "websocket.message_size_limit",
        Kind::Count { min: 128, max: 64 * MIB },
        "65536",
        "Bytes of one message from a client, as it arrives.",
    ),
    ("websocket.compression", Kind::Flag, "false", "Compresses messages (permessage-deflate) where clients offer it."),
    (
        "websocket.compression_level",
        Kind::Count { min: 1, max: 9 },
        "1",
        "1 is fast, 9 small; Centrifugo's -2 to 0 have no counterpart.",
    ),
    (
        "websocket.compression_min_size",
        Kind::Count { min: 0, max: 64 * MIB },
        "0",
        "Only messages of more bytes are compressed; those under 128 or over 131072 never are, nor those that gain nothing.",
    ),
    (
        "websocket.decompressed_message_size_limit",
        Kind::Count { min: 0, max: 1024 * MIB },
        "0",
        "Bytes of a compressed message from a client once it is expanded; 0: ten times `message_size_limit`.",
    ),
    (
        "websocket.write_timeout",
        Kind::Duration { min: "1ms" },
        "1000ms",
        "Time for a connection that is cut to take the rest of what waits for it.",
    ),
    ("prometheus.enabled", Kind::Flag, "false", "Serves metrics."),
    ("prometheus.handler_prefix", Kind::Path, "/metrics", "Path of the metrics."),
    (
        "health.enabled",
        Kind::Flag,
        "false",
        "Serves Centrifugo's health endpoint (`/livez` and `/readyz` are always there).",
    ),
    ("health.handler_prefix", Kind::Path, "/health", "Path of the health endpoint."),
];
