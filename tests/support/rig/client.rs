//! One connection that speaks Centrifugo's protocol in JSON.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::within;

pub const HMAC_SECRET: &str = "a secret that only tests know";

/// What SDKs give a command.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An error reply.
    Code(u64),
    /// The connection ended, with the code of the close frame or without one (0).
    Closed(u16),
    /// Nobody listens, or nobody answers.
    Unreachable(String),
}

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u32,
    /// Pushes that came before the reply that was waited for.
    pushes: VecDeque<Value>,
    /// What the hub calls this connection.
    pub id: String,
    /// Time between two pings of the hub.
    pub ping: Duration,
}

impl Client {
    pub async fn connect(hub: SocketAddr, user: &str) -> Result<Client, Refusal> {
        Client::connect_as(hub, json!({"sub": user})).await
    }

    /// With a token of these claims.
    pub async fn connect_as(hub: SocketAddr, claims: Value) -> Result<Client, Refusal> {
        let url = format!("ws://{hub}/connection/websocket");
        let opened = tokio::time::timeout(COMMAND_PATIENCE, connect_async(url)).await;
        let opened = opened.map_err(|_| Refusal::Unreachable("no handshake in time".into()))?;
        let (socket, _) = opened.map_err(|error| Refusal::Unreachable(error.to_string()))?;
        let pushes = VecDeque::new();
        let mut client = Client { socket, last_id: 0, pushes, id: String::new(), ping: Duration::from_secs(25) };
        let reply = client.ask("connect", json!({"token": token(&claims)})).await?;
        client.id = reply["client"].as_str().unwrap_or_default().into();
        client.ping = Duration::from_secs(reply["ping"].as_u64().unwrap_or(25));
        Ok(client)
    }

    /// The result of a command.
    pub async fn ask(&mut self, command: &str, params: Value) -> Result<Value, Refusal> {
        let answer = tokio::time::timeout(COMMAND_PATIENCE, self.exchange(command, params)).await;
        answer.unwrap_or_else(|_| Err(Refusal::Unreachable(format!("no answer to {command}"))))
    }

    async fn exchange(&mut self, command: &str, params: Value) -> Result<Value, Refusal> {
        self.last_id += 1;
        let id = self.last_id;
        let line = json!({"id": id, command: params}).to_string();
        self.socket.send(Message::text(line)).await.map_err(closed)?;
        loop {
            for line in self.lines().await? {
                self.pushes.push_back(line);
            }
            let Some(at) = self.pushes.iter().position(|line| line["id"].as_u64() == Some(u64::from(id))) else {
                continue;
            };
            let reply = self.pushes.remove(at).expect("it was found");
            return match reply["error"]["code"].as_u64() {
                Some(code) => Err(Refusal::Code(code)),
                None => Ok(reply[command].clone()),
            };
        }
    }

    /// The next push, however long it takes.
    pub async fn push(&mut self) -> Result<Value, Refusal> {
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push["push"].clone());
            }
            let lines = self.lines().await?;
            self.pushes.extend(lines);
        }
    }

    /// The next push, which should come at once.
    pub async fn next(&mut self) -> Value {
        within("a push", super::PATIENCE, self.push()).await.expect("it is connected")
    }

    /// The next publication, which should come at once.
    pub async fn publication(&mut self) -> Value {
        let push = self.next().await;
        assert!(push["pub"].is_object(), "no publication: {push}");
        push["pub"].clone()
    }

    /// The code with which the hub closes it.
    pub async fn end(&mut self) -> u16 {
        loop {
            match within("the close", super::PATIENCE, self.push()).await {
                Ok(_) => {}
                Err(Refusal::Closed(code)) => return code,
                Err(refusal) => panic!("no close: {refusal:?}"),
            }
        }
    }

    pub async fn subscribe(&mut self, channel: &str) -> Value {
        self.subscribe_with(channel, json!({})).await.unwrap_or_else(|refusal| panic!("{channel}: {refusal:?}"))
    }

    pub async fn subscribe_with(&mut self, channel: &str, mut params: Value) -> Result<Value, Refusal> {
        params["channel"] = json!(channel);
        self.ask("subscribe", params).await
    }

    /// The lines of the next message. Pings are answered here.
    async fn lines(&mut self) -> Result<Vec<Value>, Refusal> {
        loop {
            let message = self.socket.next().await.unwrap_or(Err(Error::ConnectionClosed)).map_err(closed)?;
            match message {
                Message::Text(text) if text.as_str() == "{}" => {
                    self.socket.send(Message::text("{}")).await.map_err(closed)?;
                    // For whoever watches that the hub lives.
                    return Ok(Vec::new());
                }
                Message::Text(text) => return Ok(text.lines().map(parse).collect()),
                Message::Close(frame) => return Err(Refusal::Closed(frame.map_or(0, |frame| frame.code.into()))),
                _ => {}
            }
        }
    }

    /// As `push`, and comes back with nothing when only a ping came.
    pub async fn push_or_ping(&mut self) -> Result<Option<Value>, Refusal> {
        if self.pushes.is_empty() {
            let lines = self.lines().await?;
            self.pushes.extend(lines);
        }
        Ok(self.pushes.pop_front().map(|push| push["push"].clone()))
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
}

fn closed(error: Error) -> Refusal {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) | Error::Io(_) => Refusal::Closed(0),
        error => Refusal::Unreachable(error.to_string()),
    }
}

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(HMAC_SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).expect("it can be signed")
}
