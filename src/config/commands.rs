//! Arguments of the commands that are no server: tools for people, scripts and orchestrators.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::duration;
use super::flags::{Flags, read_address};
use super::token_flags::TokenTool;

/// Everything that `fanfare` does besides serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Tool {
    /// Ask the server whether it is ready; for the health check of a container
    Healthcheck(HealthcheckArguments),
    /// Look for what stands in the way of serving: on this machine, in the configuration, at the server
    Doctor(DoctorArguments),
    /// Tell a server of this machine to drain and end, and wait until it has
    Drain(DrainArguments),
    /// Publish to a channel, through the server API
    Pub(PublishArguments),
    /// Subscribe to channels as a client and print what comes
    Sub(SubscribeArguments),
    /// Sign and verify tokens
    #[command(subcommand)]
    Token(TokenTool),
    /// Print the version
    Version(OutputArguments),
    /// Print a completion script, for example: fanfare completions bash > /etc/bash_completion.d/fanfare
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// A server of this machine: that of the configuration, by default that of dev mode.
#[derive(Args, Clone, Debug, Default)]
pub struct LocalArguments {
    /// Find the server, its API key and its certificate in this configuration
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,

    /// The server was given this --address
    #[arg(long, value_name = "IP", value_parser = read_address)]
    pub address: Option<IpAddr>,

    /// The server was given this --port
    #[arg(short, long)]
    pub port: Option<u16>,

    /// The server was given this --internal_port
    #[arg(long = "internal_port", alias = "internal-port", value_name = "PORT")]
    pub internal_port: Option<u16>,
}

/// Which server is asked: one of this machine, or the one at a URL.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArguments {
    #[command(flatten)]
    pub local: LocalArguments,

    /// Ask the server at this URL instead, for example https://hub.example.com; no configuration is read
    #[arg(long, conflicts_with_all = ["address", "port", "internal_port"])]
    pub url: Option<String>,

    /// With --url https://: trust what these roots (PEM) have signed [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca: Option<PathBuf>,
}

impl LocalArguments {
    /// The flags that the server was started with, as far as they say where it is.
    pub fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            address: self.address,
            port: self.port,
            internal_port: self.internal_port,
            // It runs already; nothing is opened here.
            allow_insecure: true,
            ..Flags::default()
        }
    }
}

#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputArguments {
    /// Print for people or for programs
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Args, Clone, Debug)]
pub struct HealthcheckArguments {
    #[command(flatten)]
    pub server: ServerArguments,

    /// Ask whether it lives (/livez): a server that drains is alive and not ready
    #[arg(long)]
    pub live: bool,

    /// Give up after this time
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = read_duration)]
    pub timeout: Duration,

    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub struct DoctorArguments {
    #[command(flatten)]
    pub local: LocalArguments,

    #[command(flatten)]
    pub key: KeyArguments,

    /// Connections that this machine should carry
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub connections: u64,

    /// Do not ask the server: it does not run yet
    #[arg(long)]
    pub offline: bool,

    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub struct DrainArguments {
    /// Find the process by the pid_file of this configuration
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,

    /// The process, for example 1 in a container
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,

    /// Give up waiting after this time; the drain goes on [default: shutdown.timeout and 5s]
    #[arg(long, value_name = "DURATION", value_parser = read_duration)]
    pub timeout: Option<Duration>,

    #[command(flatten)]
    pub output: OutputArguments,
}

/// The key of calls to the server API.
#[derive(Args, Clone, Default)]
pub struct KeyArguments {
    /// Key of the server API, if it is not the one in the configuration
    #[arg(
        long = "api-key",
        alias = "api_key",
        value_name = "KEY",
        env = "FANFARE_HTTP_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
}

/// The key does not get into logs.
impl fmt::Debug for KeyArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyArguments(...)")
    }
}

#[derive(Args, Clone, Debug)]
pub struct PublishArguments {
    pub channel: String,

    /// JSON, for example '{"text": "hello"}'; -: read it from standard input
    pub data: String,

    #[command(flatten)]
    pub server: ServerArguments,

    #[command(flatten)]
    pub key: KeyArguments,

    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub struct SubscribeArguments {
    #[arg(value_name = "CHANNEL", required = true)]
    pub channels: Vec<String>,

    /// Connect with this token; -: read it from standard input
    #[arg(long)]
    pub token: Option<String>,

    /// End after so many publications
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    #[command(flatten)]
    pub server: ServerArguments,

    #[command(flatten)]
    pub output: OutputArguments,
}

pub fn read_duration(text: &str) -> Result<Duration, &'static str> {
    duration::parse(text).ok_or("it should be a duration, such as 500ms, 3s or 1m")
}
