//! Servers that run: for one measurement, ended with it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::brokers::Broker;
use crate::failure::{Doing, Failure};
use crate::servers::Peer;

const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running server of one node or several; dropping it kills the processes.
#[derive(Debug)]
pub struct Server {
    nodes: Vec<Node>,
    peer: Peer,
    _broker: Option<Broker>,
    /// Configurations and outputs.
    _directory: TempDir,
}

impl Server {
    pub fn new(nodes: Vec<Node>, peer: Peer, broker: Option<Broker>, directory: TempDir) -> Server {
        Server { nodes, peer, _broker: broker, _directory: directory }
    }

    /// The processes of the nodes themselves: taskset has become them.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.child.id()).collect()
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Of all nodes, with commas between.
    pub fn urls(&self) -> String {
        let urls = self.nodes.iter().map(|node| format!("ws://127.0.0.1:{}{}", node.port, self.peer.path()));
        urls.collect::<Vec<_>>().join(",")
    }

    /// Of the first node.
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.nodes[0].port)
    }
}

/// A process of a server; dropping it kills the process.
#[derive(Debug)]
pub struct Node {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Node {
    /// Starts it and waits until it listens on `port`; what it says goes to `log`.
    pub fn start(mut command: Command, port: u16, log: PathBuf) -> Result<Node, Failure> {
        let output = File::create(&log).doing("making a log file")?;
        let errors = output.try_clone().doing("making a log file")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.doing(format_args!("starting {command:?}"))?;
        let mut node = Node { child, port, log };
        node.wait_for("it does not listen", |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        Ok(node)
    }

    /// Waits until a hub says that it and its engines are ready.
    pub fn wait_until_ready(&mut self) -> Result<(), Failure> {
        self.wait_for("its engine is not ready", is_ready)
    }

    fn wait_for(&mut self, otherwise: &str, is_so: impl Fn(u16) -> bool) -> Result<(), Failure> {
        let begin = Instant::now();
        let problem = loop {
            if is_so(self.port) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().doing("waiting for a server")? {
                break format!("the server ended at its start ({status})");
            }
            if begin.elapsed() > START_PATIENCE {
                break format!("the server on port {}: {otherwise}", self.port);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Err(Failure::new(format!("{problem}; it said:\n{}", fs::read_to_string(&self.log).unwrap_or_default())))
    }
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
