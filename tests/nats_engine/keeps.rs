//! The hub's own binary on a server that can't keep what a namespace has: everybody who asks is told, before a client is.

use std::fs;
use std::process::Command;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hub::{Hub, PATIENCE};
use crate::nats_server::{NatsServer, Release};

/// What the command says, and how it ends.
fn fanfare(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare")).args(arguments).output().expect("the binary runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text")).concat();
    (output.status.code(), text)
}

async fn ready_page(hub: &Hub) -> String {
    let mut socket = TcpStream::connect(&hub.address).await.expect("the hub takes connections");
    let request = "GET /readyz?verbose HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.expect("the hub reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("the hub answers");
    answer
}

#[tokio::test]
async fn a_server_that_cannot_keep_it_is_told_of_at_once() {
    let server = NatsServer::with(Release::Current, "");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.toml");
    let engine = format!("[engine]\ntype = \"nats\"\nnats.url = {:?}\n", server.url());
    let history = "[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 9\nhistory_ttl = \"60s\"\n";
    let config = path.to_str().expect("text");

    fs::write(&path, &engine).expect("the folder is ours");
    let (code, said) = fanfare(&["config", "check", "-c", config, "--connect"]);
    assert_eq!(code, Some(0), "nobody has anything to keep: {said}");

    fs::write(&path, [&engine, history].concat()).expect("the folder is ours");
    let missing = "has no JetStream, and namespaces have history or presence there";
    let (code, said) = fanfare(&["config", "check", "-c", config, "--connect"]);
    assert!(code == Some(1) && said.contains(missing), "{said}");
    assert!(said.contains("has no JetStream, and namespace \\\"chat\\\" has history: that is refused (108)"), "{said}");
    let (code, said) = fanfare(&["doctor", "-c", config, "--offline", "--connections", "1"]);
    assert!(code == Some(1) && said.contains("FAIL  engine") && said.contains(missing), "{said}");

    let mut hub = Hub::start(&path).await;
    let begun = Instant::now();
    let mut page = ready_page(&hub).await;
    while !page.contains(missing) {
        assert!(begun.elapsed() < PATIENCE, "{page}");
        page = ready_page(&hub).await;
    }
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    assert!(hub.process.try_wait().expect("it is ours").is_none(), "it serves what need not be kept");
}
