//! A real shard thread whose port speaks TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use tokio::sync::watch;
use tungstenite::{Message, WebSocket};

use super::{Running, start_setup};
use crate::io::Options;
use crate::io::tls::Identity;
use crate::io::tls::fixtures::{self, VERSIONS};
use crate::lane::TraySender;
use crate::shard::{self, TrayMessage};
use crate::telemetry::Counter;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Short, for those who are to run into it.
const HEAD_TIMEOUT: Duration = Duration::from_millis(200);

fn start() -> (Running, watch::Sender<Identity>) {
    let (sender, newest) = watch::channel(fixtures::identity());
    let options = shard::Options { allow_anonymous_connect: true, ..shard::Options::default() };
    let io_options = Options { head_timeout: HEAD_TIMEOUT, ..Options::default() };
    (start_setup(None, options, Box::new(Err), Some(newest), io_options), sender)
}

fn open(address: SocketAddr) -> Stream {
    open_as(address, VERSIONS[1].0)
}

fn open_as(address: SocketAddr, version: &'static rustls::SupportedProtocolVersion) -> Stream {
    StreamOwned::new(fixtures::client(version), TcpStream::connect(address).unwrap())
}

fn stop(tray: &TraySender<TrayMessage>, thread: std::thread::JoinHandle<()>) {
    assert!(tray.try_push(TrayMessage::Stop).is_ok());
    thread.join().unwrap();
}

/// A connected client.
fn enter(stream: Stream) -> WebSocket<Stream> {
    let (mut client, _) = tungstenite::client("wss://localhost/connection/websocket", stream).unwrap();
    client.send(Message::text(r#"{"id":1,"connect":{}}"#)).unwrap();
    assert!(client.read().unwrap().to_text().unwrap().starts_with(r#"{"id":1,"connect":"#));
    client
}

#[test]
fn clients_are_served_over_both_versions() {
    let (shard, _newest) = start();
    for (version, _) in VERSIONS {
        let mut client = enter(open_as(shard.address, version));
        for id in 2..50 {
            client.send(Message::text(format!(r#"{{"id":{id},"rpc":{{"method":"a","data":{{}}}}}}"#))).unwrap();
            let expected = format!(r#"{{"id":{id},"error":{{"code":108,"message":"not available"}}}}"#);
            assert_eq!(client.read().unwrap().to_text().unwrap(), expected);
        }
        client.close(None).unwrap();
        while client.read().is_ok() {}
    }
    assert_eq!(shard.metrics.counter(Counter::Handshakes), 2);
    assert_eq!(shard.metrics.counter(Counter::HandshakesFailed), 0);
    assert_eq!(shard.metrics.counter(Counter::Bugs), 0);
    stop(&shard.tray, shard.thread);
}

/// What is no socket goes to the control plane, as from a plain port.
#[test]
fn other_requests_are_answered_and_ended_with_a_goodbye() {
    let (shard, _newest) = start();
    let mut stream = open(shard.address);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // Without the goodbye this is an unexpected end.
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/metrics"), "{answer}");
    assert_eq!(stream.conn.alpn_protocol(), None, "none was asked for");
    stop(&shard.tray, shard.thread);
}

#[test]
fn plain_http_is_told_to_speak_tls() {
    let (shard, _newest) = start();
    let answer = super::request(shard.address, "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    // Whoever is served after it finds it counted.
    enter(open(shard.address));
    assert_eq!(shard.metrics.counter(Counter::HandshakesFailed), 1);
    stop(&shard.tray, shard.thread);
}

/// Each of them is closed and counted, and a client is served beside them.
#[test]
fn who_speaks_no_tls_or_nothing_is_closed() {
    let (shard, _newest) = start();
    let mut bystander = enter(open(shard.address));
    let mut check = |bytes: &[u8], failed: u64| {
        let mut stream = TcpStream::connect(shard.address).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Content type 21: an alert, or nothing at all.
            Ok(_) => assert!(answer.is_empty() || answer[0] == 21, "{answer:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        // It is counted before it is closed or right after: the bystander's answer is behind both.
        say_through(&mut bystander);
        assert_eq!(shard.metrics.counter(Counter::HandshakesFailed), failed, "{bytes:?}");
    };
    check(&[0xff; 64], 1);
    check(b"\x16\x03\x01\x00\x05hello", 2);
    // A record longer than records may be.
    check(b"\x16\x03\x01\xff\xff", 3);
    // The beginning of a record, and nothing: it is cut when its time is up.
    check(b"\x16\x03\x01\x02\x00\x01", 4);
    check(b"", 5);
    assert_eq!(shard.metrics.counter(Counter::Bugs), 0);
    stop(&shard.tray, shard.thread);
}

fn say_through(client: &mut WebSocket<Stream>) {
    client.send(Message::text(r#"{"id":2,"rpc":{"method":"a","data":{}}}"#)).unwrap();
    assert!(client.read().unwrap().is_text());
}

/// New handshakes meet the new certificate; who is connected stays.
#[test]
fn a_new_certificate_is_for_new_handshakes() {
    let (shard, newest) = start();
    let mut client = enter(open(shard.address));
    let other = fixtures::other_identity();
    newest.send_replace(other);
    let mut stream = open(shard.address);
    let error = stream.write_all(b"GET").and_then(|()| stream.read(&mut [0]).map(drop)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "this client trusts the old one alone: {error}");
    say_through(&mut client);
    newest.send_replace(fixtures::identity());
    enter(open(shard.address));
    stop(&shard.tray, shard.thread);
}

/// A large answer goes through a socket whose peer reads it late, in order and once.
#[test]
fn what_a_slow_reader_left_behind_arrives() {
    let (shard, _newest) = start();
    let mut client = enter(open(shard.address));
    let commands: Vec<String> =
        (2..200).map(|id| format!(r#"{{"id":{id},"rpc":{{"method":"a","data":{{}}}}}}"#)).collect();
    for command in &commands {
        client.write(Message::text(command)).unwrap();
    }
    client.flush().unwrap();
    let mut next = 2;
    while next < 200 {
        for line in client.read().unwrap().to_text().unwrap().lines() {
            assert!(line.starts_with(&format!(r#"{{"id":{next},"error""#)), "{line}");
            next += 1;
        }
    }
    stop(&shard.tray, shard.thread);
}
