//! The hub's engines, and the brokers of those that have one: started for one run, ended with it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::failure::{Doing, Failure};
use crate::machine;
use crate::servers::{free_port, on_core};

/// What keeps and carries the hub's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Memory,
    /// Its log, answered when the kernel has it.
    Disk,
    /// The same, answered when the disk has it.
    DiskFsync,
    Redis,
    Nats,
}

const START_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Starts the engine's broker on `core`, if it has one. `directory` is the run's.
    pub fn start_broker(self, directory: &Path, core: Option<usize>) -> Result<Option<Broker>, Failure> {
        let port = free_port()?;
        let mut command = match self {
            Engine::Memory | Engine::Disk | Engine::DiskFsync => return Ok(None),
            Engine::Redis => {
                let mut command = on_core(core, Path::new("redis-server"));
                command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
                command.arg("--port").arg(port.to_string()).arg("--dir").arg(directory);
                command
            }
            Engine::Nats => {
                let mut command = on_core(core, Path::new("/usr/sbin/nats-server"));
                command.args(["--addr", "127.0.0.1", "--jetstream"]);
                command.arg("--port").arg(port.to_string()).arg("--store_dir").arg(directory.join("nats"));
                command
            }
        };
        let output = File::create(directory.join("broker")).doing("making a log file")?;
        let errors = output.try_clone().doing("making a log file")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let mut broker = Broker { child: child.doing(format_args!("starting {command:?}"))?, port };
        broker.wait_until_it_listens()?;
        Ok(Some(broker))
    }

    /// The `engine` table of the hub's configuration.
    pub fn config(self, directory: &Path, broker: Option<&Broker>) -> serde_json::Value {
        let port = broker.map_or(0, |broker| broker.port);
        let disk = |ack: &str| json!({ "type": "disk", "disk": { "path": directory.join("log"), "ack": ack } });
        match self {
            Engine::Memory => json!({ "type": "memory" }),
            Engine::Disk => disk("memory"),
            Engine::DiskFsync => disk("fsync"),
            Engine::Redis => json!({ "type": "redis", "redis": { "address": format!("redis://127.0.0.1:{port}") } }),
            Engine::Nats => json!({ "type": "nats", "nats": { "url": format!("nats://127.0.0.1:{port}") } }),
        }
    }

    /// The broker's name and version.
    pub fn version(self) -> Result<Option<String>, Failure> {
        let (program, flag) = match self {
            Engine::Memory | Engine::Disk | Engine::DiskFsync => return Ok(None),
            Engine::Redis => ("redis-server", "--version"),
            Engine::Nats => ("/usr/sbin/nats-server", "--version"),
        };
        machine::first_line_of(Path::new(program), &[flag]).map(Some)
    }
}

/// A running broker; dropping it kills the process.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    fn wait_until_it_listens(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait().doing("waiting for a broker")? {
                return Err(Failure::new(format!("the broker ended at its start ({status})")));
            }
            if begin.elapsed() > START_PATIENCE {
                return Err(Failure::new(format!("the broker does not listen on port {}", self.port)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
