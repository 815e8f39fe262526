//! Scenarios run in a process of their own, against a server that was started for them.
//!
//! A fresh process for each run keeps its memory, sockets and core apart from the next one's.

use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use crate::failure::{Doing, Failure};
use crate::report::{FanoutReport, IdleReport};
use crate::servers::{API_KEY, HMAC_SECRET, Server};

/// Where and how the generator runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generator {
    pub core: Option<usize>,
}

impl Generator {
    pub fn fanout(self, server: &Server, flags: &[&str]) -> Result<FanoutReport, Failure> {
        self.run("fanout", server, flags)
    }

    /// As `fanout`, published through the server API.
    pub fn fanout_by_api(self, server: &Server, flags: &[&str]) -> Result<FanoutReport, Failure> {
        let api_url = server.api_url();
        self.run("fanout", server, &[&["--api-url", &api_url, "--api-key", API_KEY], flags].concat())
    }

    pub fn idle(self, server: &Server, flags: &[&str]) -> Result<IdleReport, Failure> {
        self.run("idle", server, flags)
    }

    fn run<Report: DeserializeOwned>(self, scenario: &str, server: &Server, flags: &[&str]) -> Result<Report, Failure> {
        let own = std::env::current_exe().doing("finding this program")?;
        let mut command = Command::new(own);
        command.args([scenario, "--json", "--url", &server.url(), "--server-pid", &server.pid().to_string()]);
        command.args(["--hmac-secret", HMAC_SECRET]).args(flags);
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
