//! Reloads under load: the hub's own binary, clients that publish and read all the while, and a
//! configuration that is read again a hundred times, every third one broken; and the command that asks for one.

#[path = "support/hub.rs"]
mod hub;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{SinkExt, StreamExt};
use hub::{Hub, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const RELOADS: usize = 100;
const READERS: usize = 20;

/// What the log says when a reload is over.
const RELOADED: &str = "took the configuration|refused the configuration; the running one stays";

async fn reload(hub: &mut Hub) -> Value {
    let id = hub.process.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("the hub lives");
    kill_process(id, Signal::HUP).expect("it is ours");
    hub.wait_for(RELOADED).await
}

async fn metric(hub: &Hub, name: &str) -> String {
    let mut socket = TcpStream::connect(&hub.address).await.expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", hub.address);
    socket.write_all(request.as_bytes()).await.expect("it listens");
    let mut page = String::new();
    socket.read_to_string(&mut page).await.expect("a page of text");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).into()
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(hub: &Hub) -> Client {
        let url = format!("ws://{}/connection/websocket", hub.address);
        let (socket, _) = connect_async(url).await.expect("the hub takes clients");
        let mut client = Client(socket);
        client.ask(r#"{"id":1,"connect":{}}"#).await;
        client
    }

    async fn ask(&mut self, command: &str) {
        self.0.send(Message::text(command)).await.expect("the hub reads");
        let reply = self.line().await;
        assert!(!reply.contains("\"error\""), "{command}: {reply}");
    }

    /// The next message that is no ping.
    async fn line(&mut self) -> String {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("something comes").expect("it is connected");
            let text = message.expect("it is connected").into_text().expect("JSON is text").to_string();
            match text.as_str() {
                "{}" => self.0.send(Message::text("{}")).await.expect("the hub reads"),
                _ => return text,
            }
        }
    }

    /// Reads the numbers from 1 on until `last` has come: none twice, none missing.
    async fn read_all(mut self, last: Arc<AtomicBool>, mut progress: tokio::sync::watch::Receiver<u64>) {
        let mut next = 1;
        loop {
            let is_last = last.load(Ordering::SeqCst);
            if is_last && next > *progress.borrow_and_update() {
                return;
            }
            for line in self.line().await.lines() {
                let data = line.split_once("\"data\":").expect("a publication").1;
                let number: u64 = data.split([',', '}']).next().and_then(|text| text.parse().ok()).expect("a number");
                assert_eq!(number, next, "{line}");
                next += 1;
            }
        }
    }
}

/// The `number`th configuration: options of how publications are kept and given come and go.
fn configuration(number: usize) -> String {
    let window = ["off", "1ms", "adaptive"][number % 3];
    let history = if number.is_multiple_of(2) { "history_size = 10\nhistory_ttl = \"1m\"" } else { "presence = true" };
    let namespace = format!("[[channel.namespaces]]\nname = \"n{}\"\n", number % 7);
    format!(
        "client.allow_anonymous_connect_without_token = true\nclient.channel_limit = {}\nprometheus.enabled = true\n\
         [channel.without_namespace]\nallow_subscribe_for_client = true\nallow_subscribe_for_anonymous = true\n\
         allow_publish_for_client = true\nallow_publish_for_anonymous = true\nflush_window = \"{window}\"\n{history}\n\
         {namespace}",
        10 + number,
    )
}

fn broken(number: usize) -> String {
    let right = configuration(number);
    match number % 4 {
        0 => right.replace("allow_subscribe_for_client", "allow_subscribe_for_clients"),
        1 => format!("{right}history_size = 1\n"),
        2 => right[..right.len() / 2].to_string() + "\n[[",
        _ => right.replace("channel_limit = ", "channel_limit = -"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_lose_nothing() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("hub.toml");
    fs::write(&file, configuration(0)).expect("it can be written");
    let mut hub = Hub::start(&file).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let (published, progress) = tokio::sync::watch::channel(0);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = Client::connect(&hub).await;
        reader.ask(r#"{"id":2,"subscribe":{"channel":"load"}}"#).await;
        readers.push(tokio::spawn(reader.read_all(Arc::clone(&is_over), progress.clone())));
    }
    let mut publisher = Client::connect(&hub).await;
    let ended = Arc::clone(&is_over);
    let publishing = tokio::spawn(async move {
        let mut number = 0;
        // One more after the end has been called, so that whoever waits sees it.
        let mut is_last = false;
        while !is_last {
            is_last = ended.load(Ordering::SeqCst);
            number += 1;
            published.send_replace(number);
            publisher.ask(&format!(r#"{{"id":2,"publish":{{"channel":"load","data":{number}}}}}"#)).await;
        }
        number
    });

    for number in 1..=RELOADS {
        let is_broken = number.is_multiple_of(3);
        let text = if is_broken { broken(number) } else { configuration(number) };
        fs::write(&file, text).expect("it can be written");
        let outcome = reload(&mut hub).await;
        let fields = &outcome;
        assert_eq!(fields["reason"].is_string(), is_broken, "{fields}");
        if !is_broken {
            assert!(fields["changed"].as_str().is_some_and(|changed| changed.contains("client.channel_limit")));
            assert_eq!(fields["needs_restart"], "nothing");
        }
    }
    let was_taken = metric(&hub, "fanfare_config_last_reload_success").await;
    assert_eq!(was_taken, if RELOADS.is_multiple_of(3) { "0" } else { "1" });

    is_over.store(true, Ordering::SeqCst);
    let count = timeout(PATIENCE, publishing).await.expect("it ends").expect("no publication was refused");
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("it ends").expect("each publication came once, in order");
    }
    assert!(count > RELOADS as u64, "there was load: {count}");
    println!("{RELOADS} reloads while {count} publications went to {READERS} readers");
}

/// The code that `fanfare reload -c FILE` ends with, and what it says.
async fn ask_to_reload(file: &Path) -> (i32, String) {
    let asked = Command::new(env!("CARGO_BIN_EXE_fanfare")).arg("reload").arg("-c").arg(file).output();
    let output = timeout(PATIENCE, asked).await.expect("it ends").expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8(said).expect("a text"))
}

#[tokio::test]
async fn the_command_ends_with_the_documented_codes() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (file, pid_file) = (folder.path().join("hub.toml"), folder.path().join("pid"));
    let named = |number| format!("pid_file = \"{}\"\n{}", pid_file.display(), configuration(number));
    fs::write(&file, named(0)).expect("it can be written");
    let mut hub = Hub::start(&file).await;

    fs::write(&file, named(1)).expect("it can be written");
    let (code, said) = ask_to_reload(&file).await;
    assert_eq!(code, 0, "{said}");
    let outcome = hub.wait_for(RELOADED).await;
    assert!(outcome["changed"].as_str().is_some_and(|changed| changed.contains("client.channel_limit")), "{outcome}");

    fs::write(&file, broken(4)).expect("it can be written");
    let (code, said) = ask_to_reload(&file).await;
    assert!(code == 1 && said.contains("allow_subscribe_for_clients"), "{code}: {said}");

    fs::write(&file, named(2)).expect("it can be written");
    hub.process.kill().await.expect("it is ours");
    let (code, said) = ask_to_reload(&file).await;
    assert!(code == 3 && said.contains("the server is not running"), "{code}: {said}");

    fs::write(&file, configuration(2)).expect("it can be written");
    let (code, said) = ask_to_reload(&file).await;
    assert!(code == 2 && said.contains("pid_file"), "nobody to tell is known: {code}: {said}");
}
