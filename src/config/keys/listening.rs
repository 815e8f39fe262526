//! Keys of the ports and the log.

use super::Row;
use crate::config::options::LogLevel;
use crate::config::values::Kind;

pub const ROWS: &[Row] = &[
    ("http_server.address", Kind::Address, "\"\"", "IP address that clients connect to; empty: every IPv4 address."),
    ("http_server.port", Kind::Port { optional: false }, "8000", "Port that clients connect to; 0: a free one."),
    (
        "http_server.reuse_port",
        Kind::Flag,
        "false",
        "Clients' port: hubs of one user may have it together, so that the next one starts before this one stops.",
    ),
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
    ("http_server.tls.enabled", Kind::Flag, "false", "The clients' port speaks TLS, and nothing else."),
    (
        "http_server.tls.cert_pem",
        Kind::Text,
        "\"\"",
        "Certificate, and those between it and its root: the path of a PEM file, PEM, or its base64. Files are read anew when they change, and at SIGHUP.",
    ),
    (
        "http_server.tls.key_pem",
        Kind::Secret,
        "\"\"",
        "Private key of the certificate, not encrypted: a path, PEM, or its base64.",
    ),
    (
        "http_server.tls.client_ca_pem",
        Kind::Text,
        "\"\"",
        "Roots of the certificates that clients must show: a path, PEM, or its base64; empty: they need not show any.",
    ),
    (
        "http_server.tls_external",
        Kind::Flag,
        "false",
        "`http_server.tls` is for the clients' port alone, and not for the internal one too.",
    ),
    (
        "http_server.internal_tls.enabled",
        Kind::Flag,
        "false",
        "The internal port speaks TLS with a certificate of its own.",
    ),
    ("http_server.internal_tls.cert_pem", Kind::Text, "\"\"", "Its certificate, as `http_server.tls.cert_pem`."),
    ("http_server.internal_tls.key_pem", Kind::Secret, "\"\"", "Its key."),
    ("http_server.internal_tls.client_ca_pem", Kind::Text, "\"\"", "Roots of the certificates that callers must show."),
    ("log.level", Kind::OneOf(LogLevel::NAMES), "info", "The least severe level that is logged."),
    ("log.file", Kind::Text, "\"\"", "File to append the log to; empty: standard error."),
];
