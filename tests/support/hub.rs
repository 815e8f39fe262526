//! The hub's own binary, with the lines of its log.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// For what should come at once; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Hub {
    pub process: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// Where clients connect, and everybody else.
    pub address: String,
}

impl Hub {
    pub async fn start(config: &Path) -> Hub {
        Hub::start_with(config, &[]).await
    }

    /// The same with variables of the environment.
    pub async fn start_with(config: &Path, variables: &[(&str, &Path)]) -> Hub {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .arg("-c")
            .arg(config)
            .args(["--address", "127.0.0.1", "--port", "0", "--shards", "2"])
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the hub starts");
        let log = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let mut hub = Hub { process, log, address: String::new() };
        let started = hub.wait_for("started").await;
        let url = started["clients"].as_str().expect("where clients connect");
        hub.address = url.strip_prefix("ws://").expect("it is plain").trim_end_matches('/').into();
        hub
    }

    /// The next line of the log that says `message` or, of several with "|" between them, one.
    pub async fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let line = timeout(PATIENCE, self.log.next_line()).await.unwrap_or_else(|_| panic!("no word of {message}"));
            let line = line.expect("the log can be read").expect("the hub lives");
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            let said = line["message"].as_str().unwrap_or_default();
            if message.split('|').any(|message| said == message) {
                return line;
            }
        }
    }
}
