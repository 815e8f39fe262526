//! A rolling restart on one machine: the next hub starts on the port of the one that runs, which is then told to end.
//! Clients that stay come back by the advice that they are given, newcomers come all the while, and nobody is refused.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Clients that stay as long as they may.
const CLIENTS: usize = 200;

/// Clients that come and go, each again and again.
const NEWCOMERS: usize = 8;

/// For what should come soon; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"
shutdown.grace = "300ms"
shutdown.timeout = "20s"
log.level = "info"

[client]
insecure = true

[http_server]
reuse_port = true

[prometheus]
enabled = true
"#;

/// A hub with the lines of its log.
struct Hub {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// Where clients connect, and where it is asked how it is.
    address: String,
    internal: String,
}

impl Hub {
    async fn start(config: &Path, port: &str) -> Hub {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .arg("-c")
            .arg(config)
            .args(["--address", "127.0.0.1", "--port", port, "--internal_port", "0", "--shards", "2"])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the hub starts");
        let log = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let mut hub = Hub { process, log, address: String::new(), internal: String::new() };
        let started = hub.wait_for("started").await;
        let address = |name: &str, scheme: &str| {
            let url = started[name].as_str().expect("where it listens");
            url.strip_prefix(scheme).expect("it is plain").trim_end_matches('/').to_owned()
        };
        (hub.address, hub.internal) = (address("clients", "ws://"), address("internal", "http://"));
        hub
    }

    /// The next line of the log that says `message`.
    async fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let line = timeout(PATIENCE, self.log.next_line()).await.unwrap_or_else(|_| panic!("no word of {message}"));
            let line = line.expect("the log can be read").expect("the hub lives");
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            if line["message"] == message {
                return line;
            }
        }
    }

    fn terminate(&self) {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("the hub lives");
        kill_process(id, Signal::TERM).expect("it is ours");
    }

    /// What the internal port answers.
    async fn fetch(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(&self.internal).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.internal);
        socket.write_all(request.as_bytes()).await.expect("it listens");
        let mut page = String::new();
        socket.read_to_string(&mut page).await.expect("a page of text");
        page
    }

    /// Open connections on all shards.
    async fn connections(&self) -> usize {
        let page = self.fetch("/metrics").await;
        let shards = page.lines().filter(|line| line.starts_with("fanfare_connections{"));
        shards.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    }
}

/// What all clients together went through.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    connects: AtomicUsize,
    sent_away: AtomicUsize,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket and connects. `None`: it was told to come back before it was answered.
async fn connect(url: &str, seen: &Seen) -> Option<Socket> {
    let (mut socket, _) = connect_async(url).await.expect("nobody is refused");
    seen.connects.fetch_add(1, Ordering::Relaxed);
    let sent = socket.send(Message::text(r#"{"id":1,"connect":{}}"#)).await;
    match socket.next().await {
        Some(Ok(Message::Text(reply))) => {
            sent.expect("it was answered");
            assert!(reply.contains(r#""connect""#), "{reply}");
            Some(socket)
        }
        Some(Ok(Message::Close(frame))) => {
            check_advice(frame.map(|frame| frame.code.into()), seen);
            None
        }
        other => panic!("{other:?} in place of an answer"),
    }
}

/// A client is sent away with the code that has it come back.
fn check_advice(code: Option<u16>, seen: &Seen) {
    assert_eq!(code, Some(3001), "shutdown");
    seen.sent_away.fetch_add(1, Ordering::Relaxed);
}

/// Stays connected until all is over, and comes back whenever it is sent away, after some time as SDKs do.
async fn stay(url: String, seen: Arc<Seen>) {
    while !seen.is_over.load(Ordering::Relaxed) {
        if let Some(mut socket) = connect(&url, &seen).await {
            loop {
                tokio::select! {
                    message = socket.next() => match message {
                        Some(Ok(Message::Close(frame))) => {
                            check_advice(frame.map(|frame| frame.code.into()), &seen);
                            break;
                        }
                        Some(Ok(_)) => {}
                        other => panic!("{other:?} in place of an end"),
                    },
                    () = sleep(Duration::from_millis(100)), if seen.is_over.load(Ordering::Relaxed) => return,
                    () = sleep(Duration::from_secs(1)) => {}
                }
            }
        }
        sleep(Duration::from_millis(fastrand::u64(20..300))).await;
    }
}

/// Comes, connects and goes, again and again.
async fn come_and_go(url: String, seen: Arc<Seen>) {
    while !seen.is_over.load(Ordering::Relaxed) {
        if let Some(mut socket) = connect(&url, &seen).await {
            let _ = socket.close(None).await;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until this many clients are connected to the hub.
async fn wait_for_connections(hub: &Hub, at_least: usize) {
    let arrived = async {
        while hub.connections().await < at_least {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, arrived).await.expect("clients connect");
}

#[tokio::test]
async fn the_next_hub_takes_over_and_nobody_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, CONFIG).expect("the folder is there");
    let mut old = Hub::start(&config, "0").await;
    let url = format!("ws://{}/connection/websocket", old.address);
    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    (0..CLIENTS).for_each(|_| drop(clients.spawn(stay(url.clone(), Arc::clone(&seen)))));
    wait_for_connections(&old, CLIENTS).await;
    (0..NEWCOMERS).for_each(|_| drop(clients.spawn(come_and_go(url.clone(), Arc::clone(&seen)))));

    let port = old.address.rsplit_once(':').expect("an address has a port").1.to_owned();
    let new = Hub::start(&config, &port).await;
    old.terminate();
    old.wait_for("not ready any more").await;
    let readiness = old.fetch("/readyz").await;
    assert!(readiness.contains(" 503 ") && readiness.contains("draining"), "{readiness}");
    assert!(old.fetch("/livez").await.contains(" 200 "), "it serves as before");
    let draining = old.wait_for("draining").await;
    assert!(draining["clients"].as_u64() >= Some(CLIENTS as u64), "{draining}");
    let ended = timeout(PATIENCE, old.process.wait()).await.expect("it ends").expect("it can be waited for");
    assert!(ended.success(), "{ended}");

    wait_for_connections(&new, CLIENTS).await;
    assert!(new.fetch("/readyz").await.contains(" 200 "));
    seen.is_over.store(true, Ordering::Relaxed);
    // A client that was refused has panicked.
    let all_left = async {
        while let Some(client) = clients.join_next().await {
            client.expect("no client failed");
        }
    };
    timeout(PATIENCE, all_left).await.expect("clients end");
    let (connects, sent_away) = (seen.connects.load(Ordering::Relaxed), seen.sent_away.load(Ordering::Relaxed));
    assert!(sent_away >= CLIENTS && connects > 2 * CLIENTS, "{connects} connects, {sent_away} sent away");
    println!("{connects} connects, {sent_away} sent away with 3001, none refused");
}
