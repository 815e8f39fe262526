//! The hub's own binary and what runs around it: an issuer of tokens that is asked by HTTPS, and `fanfare sub` on a
//! network that breaks.

#[path = "support/hub.rs"]
mod hub;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use hub::{Hub, PATIENCE};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{connect_async, tungstenite::Message};

// --- an issuer ---

/// A certificate for 127.0.0.1, signed by itself.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/io/tls/fixtures").join(name)
}

/// The key pair of RFC 8037, appendix A.
const PRIVATE_KEY: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// Answers every request over TLS with a set of one key. Returns its URL.
async fn start_issuer() -> String {
    let certificate = CertificateDer::from_pem_file(fixture("certificate.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(fixture("key.pem")).expect("a key");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let config = config.expect("the provider has them").with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key).expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}/jwks", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Who does not trust the certificate goes away.
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let body = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": PUBLIC_KEY}]}).to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let mut head = [0; 4096];
            if stream.read(&mut head).await.is_ok() {
                stream.write_all(answer.as_bytes()).await.expect("the hub reads");
            }
        }
    });
    url
}

fn token() -> String {
    // RFC 8410: what stands before the 32 bytes of a private key.
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(URL_SAFE_NO_PAD.decode(PRIVATE_KEY).expect("it is base64"));
    let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, &json!({"sub": "42"}), &EncodingKey::from_ed_der(&der)).expect("a token")
}

/// What a client is told that connects with the issuer's token.
async fn connect_with_token(hub: &Hub) -> String {
    let url = format!("ws://{}/connection/websocket", hub.address);
    let (mut socket, _) = connect_async(url).await.expect("the hub takes clients");
    let connect = json!({"id": 1, "connect": {"token": token()}}).to_string();
    socket.send(Message::text(connect)).await.expect("the hub reads");
    timeout(PATIENCE, socket.next())
        .await
        .expect("it answers")
        .expect("it is connected")
        .expect("a message")
        .to_string()
}

#[tokio::test]
async fn keys_come_by_https_from_an_issuer_that_this_machine_trusts() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let config = folder.path().join("hub.toml");
    let url = start_issuer().await;
    fs::write(&config, format!("client.token.jwks_public_endpoint = \"{url}\"\n")).expect("it can be written");

    let mut hub = Hub::start_with(&config, &[("SSL_CERT_FILE", &fixture("certificate.pem"))]).await;
    let told = connect_with_token(&hub).await;
    assert!(told.contains("\"connect\":{\"client\""), "{told}");
    assert_eq!(hub.wait_for("fetched the keys of an issuer").await["keys"], 1);
    hub.process.kill().await.expect("it is ours");

    let mut hub = Hub::start_with(&config, &[("SSL_CERT_FILE", &fixture("other_certificate.pem"))]).await;
    let told = connect_with_token(&hub).await;
    assert!(!told.contains("\"client\""), "nobody is let in by keys of a stranger: {told}");
    let problem = hub.wait_for("the keys of an issuer can't be fetched").await["problem"].to_string();
    assert!(problem.contains("certificate"), "{problem}");
}

// --- a hub that nobody reads ---

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Whoever started it has gone: what it says goes nowhere, and it serves.
#[tokio::test]
async fn a_hub_whose_outputs_are_closed_goes_on() {
    let closed = || std::io::pipe().expect("a pipe").1;
    let port = free_port();
    let mut hub = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(["--address", "127.0.0.1", "--port", &port.to_string(), "--shards", "1"])
        .stdout(closed())
        .stderr(closed())
        .kill_on_drop(true)
        .spawn()
        .expect("the hub starts");
    let url = format!("ws://127.0.0.1:{port}/connection/websocket");
    let connected = async {
        loop {
            match connect_async(&url).await {
                Ok((socket, _)) => return socket,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let mut socket = timeout(PATIENCE, connected).await.expect("it takes clients");
    socket.send(Message::text(r#"{"id": 1, "connect": {}}"#)).await.expect("the hub reads");
    let answer = timeout(PATIENCE, socket.next()).await.expect("it answers").expect("it is there").expect("a message");
    assert!(answer.to_string().contains("\"client\""), "{answer}");
    assert!(hub.try_wait().expect("it is ours").is_none(), "it goes on");
}

// --- fanfare sub ---

/// A way to the hub that can be shut: then all that go it are cut off, and whoever comes waits.
struct Way {
    address: String,
    is_open: watch::Sender<bool>,
}

impl Way {
    async fn to(hub: &Hub) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (is_open, mut state) = watch::channel(true);
        let hub = hub.address.clone();
        tokio::spawn(async move {
            loop {
                until(&mut state, true).await;
                let mut under_way = JoinSet::new();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (mut near, _) = accepted.expect("a connection");
                            let mut far = TcpStream::connect(&hub).await.expect("the hub listens");
                            under_way.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
                        }
                        // Dropping the set cuts off all.
                        () = until(&mut state, false) => break,
                    }
                }
            }
        });
        Way { address, is_open }
    }
}

async fn until(state: &mut watch::Receiver<bool>, wanted: bool) {
    state.wait_for(|is_open| *is_open == wanted).await.expect("the test goes on");
}

async fn publish(hub: &Hub, number: u32) {
    let body = format!(r#"{{"channel":"news","data":{number}}}"#);
    let mut socket = TcpStream::connect(&hub.address).await.expect("it listens");
    let head =
        format!("POST /api/publish HTTP/1.1\r\nHost: {}\r\nX-API-Key: key\r\nConnection: close\r\n", hub.address);
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.expect("it listens");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("\"offset\""), "{answer}");
}

const KEPT: &str = "client.allow_anonymous_connect_without_token = true
http_api.key = \"key\"
[channel.without_namespace]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
history_size = 10
history_ttl = \"1m\"
allow_recovery = true
";

#[tokio::test]
async fn sub_comes_back_and_misses_nothing() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let config = folder.path().join("hub.toml");
    fs::write(&config, KEPT).expect("it can be written");
    let hub = Hub::start(&config).await;
    let way = Way::to(&hub).await;
    let mut sub = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(["sub", "news", "--count", "3", "--url", &format!("http://{}", way.address)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut said = BufReader::new(sub.stderr.take().expect("it is piped")).lines();
    let mut printed = BufReader::new(sub.stdout.take().expect("it is piped")).lines();
    let mut wait_for = async |what: &str| loop {
        let line = timeout(PATIENCE, said.next_line()).await.unwrap_or_else(|_| panic!("no word of {what}"));
        if line.expect("it can be read").expect("it runs").contains(what) {
            return;
        }
    };
    let mut next =
        async || timeout(PATIENCE, printed.next_line()).await.expect("a line comes").expect("it can be read");

    wait_for("subscribed to news").await;
    publish(&hub, 1).await;
    assert_eq!(next().await.as_deref(), Some("news 1"));
    way.is_open.send_replace(false);
    wait_for("connecting again in").await;
    publish(&hub, 2).await;
    way.is_open.send_replace(true);
    wait_for("subscribed to news").await;
    assert_eq!(next().await.as_deref(), Some("news 2"), "published while it was away");
    publish(&hub, 3).await;
    assert_eq!(next().await.as_deref(), Some("news 3"));
    let status = timeout(PATIENCE, sub.wait()).await.expect("it has read enough").expect("it ends");
    assert!(status.success(), "{status}");
}
