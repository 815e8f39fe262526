//! The generator against a real server: what the server does wrong on purpose must be counted, and
//! nothing else. Needs Node and npm.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

const MEMBERS: u64 = 50;
const PUBLICATIONS: u64 = 200;
/// The run, as the peer counts deliveries: warm-up too.
const DELIVERIES: u64 = MEMBERS * (PUBLICATIONS + 20);
/// One delivery of so many is faulty. No divisor of the members, so that faults wander over them;
/// and none of the last publication, which has no next one to be swapped with.
const EVERY: u64 = 991;

#[test]
fn an_exact_server_has_no_faults() {
    for in_flight in [1, 16] {
        let (output, report) = fanout(&Peer::start(None), &["--in-flight", &in_flight.to_string()]);
        assert!(output.status.success(), "{output:?}");
        check_faults(&report, [0, 0, 0]);
        assert_eq!(report["stalls"], 0);
        assert_eq!(report["publications"], PUBLICATIONS);
        assert_eq!(report["deliveries"], MEMBERS * PUBLICATIONS);
        assert!(report["server_cpu_us_per_delivery"].as_f64().expect("a number") > 0.1, "{report}");
        assert!(report["latency_us"]["p50"].as_u64().expect("a number") > 0, "{report}");
    }
}

#[test]
fn dropped_deliveries_are_lost() {
    for in_flight in ["1", "16"] {
        check_fault("drop", in_flight, [DELIVERIES / EVERY, 0, 0]);
    }
}

#[test]
fn repeated_deliveries_are_duplicated() {
    for in_flight in ["1", "16"] {
        check_fault("duplicate", in_flight, [0, DELIVERIES / EVERY, 0]);
    }
}

#[test]
fn swapped_deliveries_are_reordered_and_not_lost() {
    for in_flight in ["1", "16"] {
        check_fault("reorder", in_flight, [0, 0, DELIVERIES / EVERY]);
    }
}

#[test]
fn a_refused_token_ends_the_run_with_its_reason() {
    let output = loadtest(&Peer::start(None), &["fanout", "--members", "1", "--hmac-secret", "another"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("3500 (invalid token)"), "{said}");
}

#[test]
fn idle_connections_cost_memory() {
    let peer = Peer::start(None);
    let flags = ["--connections", "300", "--hold-seconds", "0.2", "--hmac-secret", SECRET, "--sources", "3"];
    let output = loadtest(&peer, &[&["idle", "--json", "--channel-per-connection"], &flags[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["connections"], 300);
    let bytes = report["bytes_per_connection"].as_f64().expect("a number");
    assert!(bytes > 100.0, "{report}");
}

/// Runs against a server with this fault, which must be counted exactly and set the exit code.
fn check_fault(kind: &str, in_flight: &str, faults: [u64; 3]) {
    let peer = Peer::start(Some(&format!("{kind}:{EVERY}")));
    let (output, report) = fanout(&peer, &["--in-flight", in_flight, "--stall-ms", "150"]);
    check_faults(&report, faults);
    assert_eq!(output.status.code(), Some(1), "{kind}: {output:?}");
}

fn check_faults(report: &Value, [lost, duplicated, reordered]: [u64; 3]) {
    let found = [&report["lost"], &report["duplicated"], &report["reordered"]];
    assert_eq!(found, [lost, duplicated, reordered], "lost, duplicated, reordered in {report}");
}

fn fanout(peer: &Peer, flags: &[&str]) -> (Output, Value) {
    let (members, publications) = (MEMBERS.to_string(), PUBLICATIONS.to_string());
    let small = ["fanout", "--json", "--members", &members, "--publications", &publications, "--warm-up", "20"];
    let pid = peer.child.id().to_string();
    let output = loadtest(peer, &[&small[..], &["--hmac-secret", SECRET, "--server-pid", &pid], flags].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, report)
}

fn loadtest(peer: &Peer, arguments: &[&str]) -> Output {
    let url = format!("ws://127.0.0.1:{}/connection/websocket", peer.port);
    let pid = peer.child.id().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).args(["--url", &url]);
    if !arguments.contains(&"--server-pid") {
        command.args(["--server-pid", &pid]);
    }
    command.output().expect("the generator starts")
}

const SECRET: &str = "a secret of the tests";

/// The Node room server on a port of its own; ends with the test.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start(fault: Option<&str>) -> Peer {
        let mut command = Command::new("node");
        command.arg(peer_directory().join("server.js")).env("PORT", "0").env("SECRET", SECRET).stdout(Stdio::piped());
        if let Some(fault) = fault {
            command.env("FAULT", fault);
        }
        let mut child = command.spawn().expect("`node` is needed for this test: install Debian's nodejs");
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut line).expect("the peer says where it listens");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Peer { port: port.unwrap_or_else(|| panic!("the peer said {line:?}")), child }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the peer is, with its one package installed.
fn peer_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/node-ws");
        if !directory.join("node_modules/ws/package.json").exists() {
            let status = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory).status();
            assert!(status.expect("`npm` is needed for this test").success(), "npm ci failed");
        }
        directory
    })
}
