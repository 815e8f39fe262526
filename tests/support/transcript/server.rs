//! The world of a real server: sockets, and time that passes by itself.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::model::Format;
use serde_json::Value;

use super::{Arrival, Dialect, Event, World};

/// How long an answer may take before the transcript fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// The hub's own binary, started for one transcript and killed after it.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `binary` with the transcript's configuration on a free port of loopback.
    pub fn start(binary: &Path, config: &Value, folder: &Path) -> Server {
        let file = folder.join("transcript.json");
        let mut config = config.clone();
        // Its output is the test's.
        config["log"]["level"] = Value::from("error");
        std::fs::write(&file, config.to_string()).expect("the configuration is written");
        // Free a moment ago: nobody else on this machine is likely to take it at once.
        let probe = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = probe.local_addr().expect("a bound socket has an address");
        drop(probe);
        let process = Command::new(binary)
            .arg("--config")
            .arg(&file)
            .args(["--address", "127.0.0.1", "--shards", "2", "--echo", "--port", &address.port().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("the hub starts");
        let mut server = Server { process, address };
        server.wait_until_it_listens();
        server
    }

    fn wait_until_it_listens(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let exit = self.process.try_wait().expect("the process can be asked");
            assert!(exit.is_none(), "the hub ended at once: {exit:?}");
            assert!(begin.elapsed() < START, "the hub does not listen");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Clients of a server at `address`.
pub struct ServerWorld {
    address: SocketAddr,
    sockets: BTreeMap<String, TcpStream>,
}

impl ServerWorld {
    pub fn new(address: SocketAddr) -> ServerWorld {
        ServerWorld { address, sockets: BTreeMap::new() }
    }
}

impl World for ServerWorld {
    fn open(&mut self, client: &str, dialect: Dialect) {
        let (path, subprotocol) = match dialect {
            Dialect::Centrifugo(Format::CentrifugoJson) => ("/connection/websocket", "centrifuge-json"),
            Dialect::Centrifugo(Format::CentrifugoProtobuf) => ("/connection/websocket", "centrifuge-protobuf"),
            Dialect::Echo => ("/echo", ""),
        };
        let mut socket = TcpStream::connect(self.address).expect("the hub accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        socket.set_nodelay(true).expect("sent at once");
        upgrade(&mut socket, self.address, path, subprotocol);
        self.sockets.insert(client.into(), socket);
    }

    fn send(&mut self, client: &str, bytes: Vec<u8>) {
        let socket = self.sockets.get_mut(client).expect("the client is open");
        // The hub may have dropped the socket: whether it should is for the next line to say.
        let _ = socket.write_all(&bytes);
    }

    fn receive(&mut self, client: &str) -> Arrival {
        let socket = self.sockets.get_mut(client).expect("the client is open");
        let mut bytes = vec![0; 64 * 1024];
        match socket.read(&mut bytes) {
            Ok(0) => Arrival::Gone,
            Ok(count) => {
                bytes.truncate(count);
                Arrival::Bytes(bytes)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Arrival::Nothing,
            Err(_) => Arrival::Gone,
        }
    }

    fn happen(&mut self, event: &Event) -> bool {
        let Event::Cut { client } = event else { return false };
        let mut socket = self.sockets.remove(client).expect("the client is open");
        // The hub closes its side when it has seen that ours is: what comes next finds it done.
        let is_shut = socket.shutdown(Shutdown::Write).is_ok();
        let _ = socket.read_to_end(&mut Vec::new());
        is_shut
    }

    fn unix_seconds(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        since_1970.as_secs() as i64
    }

    fn is_settled(&self) -> bool {
        false
    }
}

/// The client's part of the opening handshake. Source: RFC 6455, section 4.1.
fn upgrade(socket: &mut TcpStream, address: SocketAddr, path: &str, subprotocol: &str) {
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    );
    if !subprotocol.is_empty() {
        head += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    head += "\r\n";
    socket.write_all(head.as_bytes()).expect("the hub takes a head");
    let mut answer = Vec::new();
    // Byte by byte: what follows the head is the first frame's.
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("the hub answers");
        answer.extend(byte);
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101 "), "the hub answered {answer}");
}
