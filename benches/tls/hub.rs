//! The hub's process, with a port that speaks TLS or plain.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Plain,
    Tls,
}

/// A hub of one shard on core 0; dropping it kills the process.
pub struct Hub {
    child: Child,
    port: u16,
    pub speaks: Port,
    /// Open for the few lines that are still to come.
    _log: BufReader<ChildStderr>,
    _folder: tempfile::TempDir,
}

impl Hub {
    pub fn start(speaks: Port) -> Hub {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.json");
        fs::write(&file, config(speaks).to_string()).expect("a configuration");
        let mut child = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_fanfare"), "--shards", "1", "-c"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("taskset and the hub");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let started = log.by_ref().lines().map_while(Result::ok).find_map(|line| find_port(&line));
        Hub { child, port: started.expect("the hub starts"), speaks, _log: log, _folder: folder }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// CPU time of all its threads.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the hub runs");
        let run_ns = |task: fs::DirEntry| -> Option<u64> {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse().ok()
        };
        Duration::from_nanos(tasks.filter_map(|task| run_ns(task.ok()?)).sum())
    }

    pub fn pss_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).expect("the hub runs");
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
        pss.map(|kib: u64| kib * 1024).expect("a line for Pss")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From the log line of the start.
fn find_port(line: &str) -> Option<u16> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["clients"].as_str()?.rsplit(':').next()?.parse().ok()
}

/// No history, no presence, nothing but delivery.
fn config(speaks: Port) -> Value {
    let pem = |name: &str| format!("{}/src/io/tls/fixtures/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    json!({
        "http_server": {
            "address": "127.0.0.1",
            "port": 0,
            "tls": { "enabled": speaks == Port::Tls, "cert_pem": pem("certificate"), "key_pem": pem("key") },
        },
        "client": { "token": { "hmac_secret_key": super::client::SECRET } },
        "channel": {
            "without_namespace": { "allow_subscribe_for_client": true, "allow_publish_for_client": true },
        },
    })
}

/// Keeps this thread, and those that it starts, on one core.
pub fn use_core(id: usize) {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id }), "this process may not run on core {id}");
}
