//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::commands::Tool;
use super::config_commands::{ConfigCommand, ReloadArguments};
use super::values::parse_address;

/// A real-time WebSocket hub that speaks Centrifugo's client protocol.
#[derive(Clone, Debug, Parser)]
#[command(name = "fanfare", version, args_conflicts_with_subcommands = true)]
#[command(after_help = AFTER_HELP)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the hub; what `fanfare` does without a command
    Serve(Flags),
    /// Write, check and show configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Tell a running hub to read its configuration again
    Reload(ReloadArguments),
    #[command(flatten)]
    Tool(Tool),
}

const AFTER_HELP: &str = "\
Without a file the hub runs in dev mode: on this machine only, everything is allowed.

Exit codes:
  0  done; the server ran and stopped as asked
  1  a check failed, the server refused, or the server could not start
  2  the command line is wrong, or a command could not read the configuration
  3  the server can't be reached";

impl CommandLine {
    /// `fanfare` alone is `fanfare serve`.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// Flags win over the environment, which wins over the file.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Read the configuration from this file, TOML, YAML or JSON, with Centrifugo's keys
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Listen for clients on this IP address
    #[arg(long, value_name = "IP", value_parser = read_address)]
    pub address: Option<IpAddr>,

    /// Listen for clients on this port; 0: a free one
    #[arg(short, long)]
    pub port: Option<u16>,

    /// Serve API, metrics, health and page on this port instead
    #[arg(long = "internal_port", alias = "internal-port", value_name = "PORT")]
    pub internal_port: Option<u16>,

    /// Own connections with this many threads; each core has one otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub shards: Option<u16>,

    /// Refuse a file with keys that do nothing here
    #[arg(long)]
    pub strict: bool,

    /// Let dev mode and insecure settings be reached from other machines
    #[arg(long = "allow-insecure", alias = "allow_insecure")]
    pub allow_insecure: bool,

    /// Serve the echo endpoint of conformance tests at /echo
    #[arg(long, hide = true)]
    pub echo: bool,
}

impl Flags {
    /// The flags that set keys: each with the key's path and its value.
    pub fn settings(&self) -> Vec<(&'static str, &'static str, String)> {
        let address = self.address.map(|address| ("--address", "http_server.address", address.to_string()));
        let port = self.port.map(|port| ("--port", "http_server.port", port.to_string()));
        let internal =
            self.internal_port.map(|port| ("--internal_port", "http_server.internal_port", port.to_string()));
        let shards = self.shards.map(|shards| ("--shards", "fanfare.shards", shards.to_string()));
        [address, port, internal, shards].into_iter().flatten().collect()
    }
}

pub fn read_address(text: &str) -> Result<IpAddr, &'static str> {
    parse_address(text).ok_or("it should be an IP address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(line: &str) -> Flags {
        let line = CommandLine::try_parse_from(line.split(' ')).expect("the line is right");
        match line.into_command() {
            Command::Serve(flags) => flags,
            _ => panic!("not asked for"),
        }
    }

    #[test]
    fn no_command_is_serve() {
        assert_eq!(serve("fanfare").port, None);
        assert_eq!(serve("fanfare serve --port 9000").port, Some(9000));
        assert_eq!(serve("fanfare -p 9000 -c a.toml").config, Some("a.toml".into()));
        let line = CommandLine::try_parse_from(["fanfare", "version"]).expect("the line is right");
        assert!(matches!(line.into_command(), Command::Tool(Tool::Version(_))));
    }

    #[test]
    fn flags_have_centrifugos_names() {
        assert_eq!(serve("fanfare --internal_port 9001").internal_port, Some(9001));
        assert_eq!(serve("fanfare --internal-port 9001").internal_port, Some(9001));
        assert_eq!(serve("fanfare --address localhost").address, Some([127, 0, 0, 1].into()));
        assert_eq!(serve("fanfare --address ::1").address.map(|address| address.is_loopback()), Some(true));
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in ["fanfare --port 65536", "fanfare --shards 0", "fanfare --address here", "fanfare --prot 1"] {
            assert!(CommandLine::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
