//! The servers under test: started for one run, ended with it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::failure::{Doing, Failure};

/// Signs the tokens of all runs that start their own servers.
pub const HMAC_SECRET: &str = "loadtest-hmac-secret-of-no-worth";
pub const API_KEY: &str = "loadtest-api-key-of-no-worth";

/// A channel with nothing but delivery, and one with presence.
pub const PLAIN_CHANNEL: &str = "loadtest";
pub const PRESENCE_CHANNEL: &str = "present:loadtest";

const START_PATIENCE: Duration = Duration::from_secs(10);

/// How to start a server.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// The hub's binary, with so many shards.
    Hub { binary: PathBuf, shards: u16 },
    /// The directory of the Node room server, with its packages installed.
    NodeWs { directory: PathBuf },
}

/// A running server; dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    /// Its configuration and its output.
    _directory: TempDir,
}

impl Recipe {
    /// Starts the server, on `core` alone if one is given, and waits until it listens.
    pub fn start(&self, core: Option<usize>) -> Result<Server, Failure> {
        let directory = TempDir::with_prefix("loadtest-").doing("making a directory")?;
        let port = free_port()?;
        let mut command = match self {
            Recipe::Hub { binary, shards } => {
                let file = directory.path().join("config.json");
                fs::write(&file, hub_config(port).to_string()).doing("writing the hub's configuration")?;
                let mut command = on_core(core, binary);
                command.arg("-c").arg(file).arg("--shards").arg(shards.to_string());
                command
            }
            Recipe::NodeWs { directory } => {
                check_packages(directory)?;
                let mut command = on_core(core, Path::new("node"));
                command.arg(directory.join("server.js")).env("PORT", port.to_string()).env("SECRET", HMAC_SECRET);
                command
            }
        };
        let log = directory.path().join("output");
        let output = File::create(&log).doing("making a log file")?;
        let errors = output.try_clone().doing("making a log file")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.doing(format_args!("starting {command:?}"))?;
        let mut server = Server { child, port, _directory: directory };
        server.wait_until_it_listens(&log)?;
        Ok(server)
    }
}

impl Server {
    /// The process of the server itself: taskset has become it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/connection/websocket", self.port)
    }

    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.port)
    }

    fn wait_until_it_listens(&mut self, log: &Path) -> Result<(), Failure> {
        let begin = Instant::now();
        let problem = loop {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().doing("waiting for a server")? {
                break format!("the server ended at its start ({status})");
            }
            if begin.elapsed() > START_PATIENCE {
                break format!("the server does not listen on port {}", self.port);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Err(Failure::new(format!("{problem}; it said:\n{}", fs::read_to_string(log).unwrap_or_default())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Centrifugo's keys: tokens needed, everything allowed to users, no history; presence only in the
/// namespace that is measured with it.
fn hub_config(port: u16) -> serde_json::Value {
    json!({
        "http_server": { "address": "127.0.0.1", "port": port },
        "client": {
            "allowed_origins": [],
            "token": { "hmac_secret_key": HMAC_SECRET },
        },
        "channel": {
            "without_namespace": { "allow_subscribe_for_client": true, "allow_publish_for_client": true },
            "namespaces": [{
                "name": "present",
                "presence": true,
                "allow_subscribe_for_client": true,
                "allow_publish_for_client": true,
            }],
        },
        "http_api": { "key": API_KEY },
    })
}

fn on_core(core: Option<usize>, program: &Path) -> Command {
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
    match directory.join("node_modules/ws/package.json").exists() {
        true => Ok(()),
        false => Err(Failure::new(format!("{0}: `ws` is missing; run `npm ci` in {0}", directory.display()))),
    }
}

/// A port that nobody listens on, below those that the kernel gives to clients (32,768 and up): a
/// client's port would collide with the listener.
fn free_port() -> Result<u16, Failure> {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let free = (0..1000).map(|n| first + n).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.ok_or_else(|| Failure::new(format!("no free port in the thousand from {first} on")))
}
