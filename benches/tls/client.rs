//! Clients that block, over TLS or plain.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use jsonwebtoken::{EncodingKey, Header};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use super::hub::{Hub, Port};

pub const SECRET: &str = "a secret of no worth";

/// A connected client that is subscribed to one channel.
pub struct Client {
    socket: WebSocket<Box<dyn Stream>>,
    next_id: u32,
    /// The number of the publication that came last.
    last_seen: u64,
}

pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Client {
    pub fn enter(hub: &Hub, user: usize, channel: &str) -> Client {
        let tcp = TcpStream::connect(hub.address()).expect("the hub listens");
        tcp.set_nodelay(true).expect("an open socket");
        let stream: Box<dyn Stream> = match hub.speaks {
            Port::Plain => Box::new(tcp),
            Port::Tls => Box::new(StreamOwned::new(session(), tcp)),
        };
        // Thousands of clients, and tungstenite's buffers are large.
        let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
        let opened =
            tungstenite::client::client_with_config("ws://localhost/connection/websocket", stream, Some(config));
        let (socket, _) = opened.unwrap_or_else(|error| panic!("the hub opens a socket: {error}"));
        let mut client = Client { socket, next_id: 1, last_seen: 0 };
        client.ask(json!({ "connect": { "token": token(user) } }));
        client.ask(json!({ "subscribe": { "channel": channel } }));
        client
    }

    /// Publishes these numbers, each in a message of its own, and reads the replies.
    pub fn publish(&mut self, channel: &str, numbers: Range<u64>) {
        let first = self.next_id;
        for number in numbers {
            // 128 bytes, as in the figures of the other tables.
            let command =
                json!({ "id": self.next_id, "publish": { "channel": channel, "data": format!("{number:0126}") } });
            self.next_id += 1;
            self.socket.write(Message::text(command.to_string())).expect("the hub reads");
        }
        self.socket.flush().expect("the hub reads");
        let mut replies = self.next_id - first;
        while replies > 0 {
            replies -= self.read().lines().filter(|line| line.starts_with(r#"{"id""#)).count() as u32;
        }
    }

    /// Reads until the publication of this number has come.
    pub fn read_to(&mut self, number: u64) {
        while self.last_seen < number {
            let text = self.read();
            let mut numbers =
                text.lines().filter_map(|line| line.split_once(r#""data":""#)?.1.get(..126)?.parse().ok());
            self.last_seen = numbers.next_back().unwrap_or(self.last_seen);
        }
    }

    fn ask(&mut self, mut command: serde_json::Value) {
        command["id"] = self.next_id.into();
        self.next_id += 1;
        self.socket.send(Message::text(command.to_string())).expect("the hub reads");
        let reply = self.read();
        assert!(!reply.contains("error"), "{reply}");
    }

    /// The next message that says something; pings are answered.
    fn read(&mut self) -> String {
        loop {
            match self.socket.read().expect("the hub speaks") {
                Message::Text(text) if text.as_str() == "{}" => {
                    self.socket.send(Message::text("{}")).expect("the hub reads");
                }
                Message::Text(text) => return text.as_str().to_owned(),
                _ => {}
            }
        }
    }
}

/// A new session that trusts the hub's certificate alone, and begins with a full handshake.
pub fn session() -> ClientConnection {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        let pem = include_bytes!("../../src/io/tls/fixtures/certificate.pem");
        roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("a root");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions of the provider").with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    });
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(&CONFIG), name).expect("a client's session")
}

fn token(user: usize) -> String {
    let claims = json!({ "sub": format!("u{user}"), "exp": 4_000_000_000_u64 });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}
