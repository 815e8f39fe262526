//! What a configuration comes to: everything a node needs to know, checked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::ErrorMode;
use crate::io::{AdmissionLimits, Pair, PortSharing};
use crate::shard;

use super::engines::EnginesOptions;

/// Options of one node. Nobody who holds them checks them again.
#[derive(Clone, Debug)]
pub struct Options {
    /// At least 1.
    pub shards: u16,
    /// Where clients connect; port 0: a free one.
    pub client_address: SocketAddr,
    /// Where API, metrics, health and page are served instead; `None`: at `client_address` too.
    pub internal_address: Option<SocketAddr>,
    /// `None`: the port is plain.
    pub client_tls: Option<Pair>,
    /// The same for the internal port, if there is one.
    pub internal_tls: Option<Pair>,
    pub http: HttpOptions,
    pub admission: AdmissionLimits,
    pub api: ApiOptions,
    /// The same for every shard.
    pub shard: shard::Options,
    pub engines: EnginesOptions,
    pub workers: WorkerOptions,
    pub log: LogOptions,
    pub memory_limit: MemoryLimit,
    /// Where the process id is written; `None`: nowhere.
    pub pid_file: Option<PathBuf>,
    /// From the signal to the end of the process.
    pub shutdown_timeout: Duration,
    /// From the signal until clients are told to go; less than the time-out.
    pub shutdown_grace: Duration,
    /// Other processes may have the clients' port too.
    pub client_port_sharing: PortSharing,
    /// Secrets to print at start, in dev mode only.
    pub dev: Option<DevSecrets>,
    /// How this node names itself to operators.
    pub node_name: String,
}

/// Paths begin with "/" and do not end with one, "/" itself excepted; no two are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// Glob patterns of the origins that browsers may connect from, lower-case. Empty: requests
    /// with an `Origin` header are refused. Source: protocol page, section 1.1.
    pub allowed_origins: Vec<String>,
    /// The header in which a trusted proxy says who the user is. `None`: only tokens say that.
    pub user_header: Option<String>,
    pub websocket_path: String,
    /// Sends go to the kernel in batches, where it takes them.
    pub io_uring: bool,
    /// Clients that offer permessage-deflate get it.
    pub compression: bool,
    /// What stands before `/publish` and the other methods.
    pub api_prefix: String,
    /// `None`: switched off.
    pub health_path: Option<String>,
    /// `None`: switched off.
    pub metrics_path: Option<String>,
    /// The page at "/".
    pub page: bool,
    /// The echo endpoint at "/echo", for conformance tests.
    pub echo: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOptions {
    /// `None`: nobody may call the API unless it is `insecure`.
    pub key: Option<Secret>,
    /// No key is asked for.
    pub insecure: bool,
    pub disabled: bool,
    pub error_mode: ErrorMode,
    /// Served at the client address although there is an internal one.
    pub external: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerOptions {
    /// At least 1.
    pub threads: usize,
}

/// Above which memory new clients are refused and the largest outboxes cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    Off,
    /// Nine tenths of the control group's limit, if it has one.
    OfGroup,
    Bytes(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    pub level: LogLevel,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Generated at start and gone with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevSecrets {
    /// Signs connection tokens (HS256).
    pub hmac_secret: Secret,
    pub api_key: Secret,
}

/// A text that must not get into logs: it shows as three dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl LogLevel {
    /// The names of `log.level`, which are Centrifugo's.
    pub const NAMES: &[&str] = &["none", "error", "warn", "info", "debug", "trace"];

    pub fn parse(name: &str) -> Option<LogLevel> {
        Some(match name {
            "none" => LogLevel::Off,
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => return None,
        })
    }

    /// As a filter of `tracing` names it.
    pub fn as_filter(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
