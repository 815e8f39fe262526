//! Thousands of handshakes at once, from a process of its own.
//!
//! It runs when the clients that measure do not want the core, so that they are not late for its sake.
//! Every hello is made before the first is sent.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustls::ClientConnection;

/// The argument that makes this program the storm.
pub const COMMAND: &str = "run-the-storm";

/// The process, ready to begin.
pub struct Storm(Child);

impl Storm {
    pub fn prepare(address: &str, count: usize) -> Storm {
        let own = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new("chrt")
            .args(["--other", "0", "nice", "-n", "19"])
            .arg(own)
            .args([COMMAND, address, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chrt, nice and this program");
        let output = child.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut String::new()).expect("it says that it is ready");
        Storm(child)
    }

    pub fn begin(&mut self) -> Instant {
        self.0.stdin.take().expect("it has not begun").write_all(b"go\n").expect("it waits");
        Instant::now()
    }

    pub fn is_over(&mut self) -> bool {
        let ended = self.0.try_wait().expect("a child");
        assert!(ended.is_none_or(|status| status.success()), "a handshake failed");
        ended.is_some()
    }
}

/// What the process does.
pub fn run(address: &str, count: usize) {
    let hellos: Vec<(ClientConnection, Vec<u8>)> = (0..count).map(|_| hello()).collect();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("the word to begin");
    let connect = |(session, hello): (ClientConnection, Vec<u8>)| {
        let mut tcp = TcpStream::connect(address).expect("the hub listens");
        tcp.write_all(&hello).expect("the socket is empty");
        (session, tcp)
    };
    let mut shaking: Vec<(ClientConnection, TcpStream)> = hellos.into_iter().map(connect).collect();
    for (session, tcp) in &mut shaking {
        while session.is_handshaking() {
            session.complete_io(tcp).unwrap_or_else(|error| panic!("a handshake failed: {error}"));
        }
    }
}

/// A session whose first words are taken from it.
fn hello() -> (ClientConnection, Vec<u8>) {
    let mut session = super::client::session();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a vector takes every byte");
    (session, hello)
}
