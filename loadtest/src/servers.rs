//! The servers under test, and how each is started.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};
use serde_json::json;
use tempfile::TempDir;

use crate::brokers::{Broker, Engine};
use crate::failure::{Doing, Failure};
use crate::running::{Node, Server};
use crate::tokens::RSA_PUBLIC_KEY;
use crate::{machine, process};

/// Signs the tokens of all runs that start their own servers.
pub const HMAC_SECRET: &str = "loadtest-hmac-secret-of-no-worth";
pub const API_KEY: &str = "loadtest-api-key-of-no-worth";

/// A channel with nothing but delivery, and one with presence.
pub const PLAIN_CHANNEL: &str = "loadtest";
pub const PRESENCE_CHANNEL: &str = "present:loadtest";

/// Connections that a server must be able to hold.
const CONNECTIONS_MAX: usize = 20_000;

/// Who can stand at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Hub,
    NodeWs,
    SocketIo,
    Uws,
    Nats,
    Nchan,
    /// This program's own: see `floor`.
    Floor,
}

/// Where the programs are.
#[derive(Args, Clone, Debug)]
pub struct Programs {
    /// The hub's binary
    #[arg(long, default_value = "target/release/fanfare")]
    pub hub: PathBuf,
    /// The folder of the peers
    #[arg(long, default_value = "loadtest/peers")]
    pub peers_folder: PathBuf,
}

/// How to start a server.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub peer: Peer,
    /// Only the hub has more than one.
    pub shards: u16,
    pub deflate: bool,
    /// Bytes that may wait for a slow member of the hub; `None`: its default.
    pub outbox_bytes_max: Option<u32>,
    /// Of the hub.
    pub engine: Engine,
    /// Processes that are one server: hubs that share an engine.
    pub nodes: u16,
}

impl Recipe {
    pub const fn plain(peer: Peer) -> Recipe {
        Recipe { peer, shards: 1, deflate: false, outbox_bytes_max: None, engine: Engine::Memory, nodes: 1 }
    }

    /// Starts the server, on `core` alone if one is given, and waits until it is ready.
    pub fn start(&self, programs: &Programs, core: Option<usize>) -> Result<Server, Failure> {
        process::raise_descriptor_limit(CONNECTIONS_MAX - 100)?;
        let directory = TempDir::with_prefix("loadtest-").doing("making a directory")?;
        // Not on the server's core: what is measured is the hub.
        let broker = self.engine.start_broker(directory.path(), core.map(|core| usize::from(core == 0)))?;
        let mut nodes = Vec::new();
        for number in 0..self.nodes {
            let place = directory.path().join(number.to_string());
            fs::create_dir(&place).doing("making a directory")?;
            let port = free_port()?;
            let command = self.command(programs, core, &place, port, broker.as_ref())?;
            nodes.push(Node::start(command, port, place.join("output"))?);
        }
        if self.engine != Engine::Memory {
            nodes.iter_mut().try_for_each(Node::wait_until_ready)?;
        }
        Ok(Server::new(nodes, self.peer, broker, directory))
    }

    fn command(
        &self,
        programs: &Programs,
        core: Option<usize>,
        directory: &Path,
        port: u16,
        broker: Option<&Broker>,
    ) -> Result<Command, Failure> {
        let place = programs.peers_folder.join(self.peer.name());
        Ok(match self.peer {
            Peer::Hub => {
                let file = directory.join("config.json");
                let mut config = self.hub_config(port);
                config["engine"] = self.engine.config(directory, broker);
                fs::write(&file, config.to_string()).doing("writing the hub's configuration")?;
                let mut command = on_core(core, &programs.hub);
                command.arg("-c").arg(file).arg("--shards").arg(self.shards.to_string());
                command
            }
            Peer::Floor => {
                let own = std::env::current_exe().doing("finding this program")?;
                let mut command = on_core(core, &own);
                command.arg("floor").arg("--port").arg(port.to_string());
                command
            }
            Peer::NodeWs | Peer::SocketIo | Peer::Uws => {
                check_packages(&place)?;
                let mut command = on_core(core, Path::new("node"));
                command.arg(place.join("server.js")).env("PORT", port.to_string()).env("SECRET", HMAC_SECRET);
                if self.deflate {
                    command.env("DEFLATE", "1");
                }
                command
            }
            Peer::Nats => {
                let file = fill_in(&place.join("nats.conf"), directory, port)?;
                let mut command = on_core(core, Path::new("/usr/sbin/nats-server"));
                command.arg("-c").arg(file);
                command
            }
            Peer::Nchan => {
                let file = fill_in(&place.join("nginx.conf"), directory, port)?;
                let mut command = on_core(core, Path::new("/usr/sbin/nginx"));
                command.arg("-p").arg(directory).arg("-c").arg(file);
                command
            }
        })
    }

    /// Centrifugo's keys: tokens needed, everything allowed to users; what a scenario measures beyond
    /// plain delivery has a namespace of its own.
    fn hub_config(&self, port: u16) -> serde_json::Value {
        let namespace = |name: &str, options: serde_json::Value| {
            let mut all = json!({ "name": name, "allow_subscribe_for_client": true, "allow_publish_for_client": true });
            all.as_object_mut().expect("an object").extend(options.as_object().expect("an object").clone());
            all
        };
        // A shard's read buffer is as large: room for a mebibyte only where such messages come.
        let message_bytes_max = if self.outbox_bytes_max.is_some() { 4 << 20 } else { 128 << 10 };
        let mut config = json!({
            "http_server": { "address": "127.0.0.1", "port": port },
            "client": {
                "allowed_origins": [],
                "token": { "hmac_secret_key": HMAC_SECRET, "rsa_public_key": RSA_PUBLIC_KEY },
            },
            "websocket": { "message_size_limit": message_bytes_max, "compression": self.deflate },
            "channel": {
                "without_namespace": { "allow_subscribe_for_client": true, "allow_publish_for_client": true },
                "namespaces": [
                    namespace("present", json!({ "presence": true })),
                    namespace("window1", json!({ "flush_window": "1ms" })),
                    namespace("window5", json!({ "flush_window": "5ms" })),
                    namespace("adaptive", json!({ "flush_window": "adaptive" })),
                    namespace("drop", json!({ "slow_consumer_policy": "drop_oldest" })),
                    namespace("conflate", json!({ "slow_consumer_policy": "conflate" })),
                    namespace("recover", json!({
                        "history_size": 100, "history_ttl": "60s", "force_recovery": true
                    })),
                ],
            },
            "http_api": { "key": API_KEY },
        });
        if let Some(bytes) = self.outbox_bytes_max {
            config["client"]["queue_max_size"] = bytes.into();
        }
        config
    }
}

impl Peer {
    /// Its directory too.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Hub => "hub",
            Peer::NodeWs => "node-ws",
            Peer::SocketIo => "socket-io",
            Peer::Uws => "uws",
            Peer::Nats => "nats",
            Peer::Nchan => "nchan",
            Peer::Floor => "floor",
        }
    }

    /// The versions of what it is made of.
    pub fn version(self, programs: &Programs) -> Result<String, Failure> {
        let package = |name: &str| {
            let file = programs.peers_folder.join(self.name()).join("node_modules").join(name).join("package.json");
            let text = fs::read_to_string(&file).doing(format_args!("reading {}", file.display()))?;
            let package: serde_json::Value = serde_json::from_str(&text).doing("reading a package's version")?;
            Ok(format!("{name} {}", package["version"].as_str().unwrap_or("unknown")))
        };
        let node = || machine::first_line_of(Path::new("node"), &["--version"]);
        Ok(match self {
            Peer::Hub => format!("hub: {}", machine::first_line_of(&programs.hub, &["version"])?),
            Peer::NodeWs => format!(
                "node-ws: node {}, {}, {}, {}",
                node()?,
                package("ws")?,
                package("bufferutil")?,
                package("utf-8-validate")?
            ),
            Peer::SocketIo => {
                format!("socket-io: {}, {}, {}", package("socket.io")?, package("ws")?, package("bufferutil")?)
            }
            Peer::Floor => format!("floor: loadtest {}", env!("CARGO_PKG_VERSION")),
            Peer::Uws => format!("uws: {}", package("@trufflesuite/uws-js-unofficial")?),
            Peer::Nats => machine::first_line_of(Path::new("/usr/sbin/nats-server"), &["--version"])?,
            Peer::Nchan => {
                let versions = ["nginx-light", "libnginx-mod-nchan"];
                let query = [&["--show", "--showformat", "${Package} ${Version}, "], &versions[..]].concat();
                let line = machine::first_line_of(Path::new("dpkg-query"), &query)?;
                format!("nchan: {}", line.trim_end_matches(", "))
            }
        })
    }

    /// Where it takes connections; nchan's path depends on the channel.
    pub fn path(self) -> &'static str {
        match self {
            Peer::Hub | Peer::NodeWs | Peer::Uws | Peer::Floor => "/connection/websocket",
            Peer::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Peer::Nats | Peer::Nchan => "/",
        }
    }
}

/// A copy of a peer's configuration with port, directory and connections filled in.
fn fill_in(template: &Path, directory: &Path, port: u16) -> Result<PathBuf, Failure> {
    let text = fs::read_to_string(template).doing(format_args!("reading {}", template.display()))?;
    let text = text
        .replace("DIRECTORY", &directory.to_string_lossy())
        .replace("CONNECTIONS", &CONNECTIONS_MAX.to_string())
        .replace("PORT", &port.to_string());
    let file = directory.join("server.conf");
    fs::write(&file, text).doing("writing a peer's configuration")?;
    Ok(file)
}

pub fn on_core(core: Option<usize>, program: &Path) -> Command {
    match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
    }
}

fn check_packages(directory: &Path) -> Result<(), Failure> {
    match directory.join("node_modules").is_dir() {
        true => Ok(()),
        false => Err(Failure::new(format!("{0}: packages are missing; run `npm ci` in {0}", directory.display()))),
    }
}

/// A port that nobody listens on, below those that the kernel gives to clients (32,768 and up): a
/// client's port would collide with the listener.
pub fn free_port() -> Result<u16, Failure> {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let free = (0..1000).map(|n| first + n).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.ok_or_else(|| Failure::new(format!("no free port in the thousand from {first} on")))
}
