//! Scenarios run in a process of their own, against a server that was started for them.
//!
//! A fresh process for each run keeps its memory, sockets and core apart from the next one's.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::{Doing, Failure};
use crate::running::Server;
use crate::servers::{API_KEY, HMAC_SECRET, Peer};

/// Where and how the generator runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generator {
    pub core: Option<usize>,
}

impl Generator {
    /// A fan-out that is published through the server API.
    pub fn fanout_by_api(self, server: &Server, flags: &[&str]) -> Result<Value, Failure> {
        let api_url = server.api_url();
        self.run("fanout", server, &[&["--api-url", &api_url, "--api-key", API_KEY], flags].concat())
    }

    /// Runs `scenario` with `flags` against `server`, and returns its report.
    pub fn run(self, scenario: &str, server: &Server, flags: &[&str]) -> Result<Value, Failure> {
        let own = std::env::current_exe().doing("finding this program")?;
        let mut command = Command::new(own);
        let pids: Vec<String> = server.pids().iter().map(u32::to_string).collect();
        command.args([scenario, "--json", "--url", &server.urls(), "--server-pid", &pids.join(",")]);
        command.args(["--dialect", dialect_flag(server.peer()), "--hmac-secret", HMAC_SECRET]).args(flags);
        if let Some(core) = self.core {
            command.args(["--core", &core.to_string()]);
        }
        let output = command.stderr(Stdio::inherit()).output().doing("starting the generator")?;
        // 1 says that deliveries were not exact; the report says it too.
        match output.status.code() {
            Some(0 | 1) => serde_json::from_slice(&output.stdout).doing("reading the generator's report"),
            _ => Err(Failure::new(format!("{scenario} {} ended without a result", flags.join(" ")))),
        }
    }
}

fn dialect_flag(peer: Peer) -> &'static str {
    match peer {
        Peer::Hub | Peer::NodeWs | Peer::Uws | Peer::Floor => "centrifugo",
        Peer::SocketIo => "socket-io",
        Peer::Nats => "nats",
        Peer::Nchan => "nchan",
    }
}

/// Whether a report counts nothing lost, duplicated or reordered, and no stall.
pub fn is_exact(report: &Value) -> bool {
    ["lost", "duplicated", "reordered", "stalls"].iter().all(|fault| report[*fault].as_u64().unwrap_or(0) == 0)
}
