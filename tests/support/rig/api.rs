//! The server API over HTTP, by a client that tells a refusal from silence.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::journal::{Message, Position};

pub const API_KEY: &str = "the key of the tests";

/// Longer than any answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(6);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The hub answered with an error.
    Refused(u64, String),
    /// It may have happened or not.
    NoAnswer(String),
}

/// One connection that stays, opened anew when it broke.
pub struct Api {
    address: SocketAddr,
    stream: Mutex<Option<TcpStream>>,
}

impl Api {
    pub fn new(address: SocketAddr) -> Api {
        Api { address, stream: Mutex::new(None) }
    }

    /// The result of a method.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let (status, body) = self.exchange("POST", &format!("/api/{method}"), &params.to_string()).await?;
        let reply: Value = serde_json::from_str(&body).map_err(|_| Failure::Refused(status, body.clone()))?;
        match reply.get("error") {
            None if status == 200 => Ok(reply["result"].clone()),
            None => Err(Failure::Refused(status, body)),
            Some(error) => Err(Failure::Refused(error["code"].as_u64().unwrap_or(0), error["message"].to_string())),
        }
    }

    /// What stands at a path, with its status.
    pub async fn page(&self, path: &str) -> Result<(u64, String), Failure> {
        self.exchange("GET", path, "").await
    }

    async fn exchange(&self, verb: &str, path: &str, body: &str) -> Result<(u64, String), Failure> {
        let mut kept = self.stream.lock().await;
        let request = format!(
            "{verb} {path} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {API_KEY}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        let attempt = async {
            // Taken out: a connection that broke, or on which an answer is still to come, is not used again.
            let mut stream = match kept.take() {
                Some(stream) if !is_closed(&stream) => stream,
                _ => TcpStream::connect(self.address).await?,
            };
            stream.set_nodelay(true)?;
            stream.write_all(request.as_bytes()).await?;
            let answer = read_answer(&mut stream).await?;
            *kept = Some(stream);
            Ok::<_, std::io::Error>(answer)
        };
        match tokio::time::timeout(ANSWER_PATIENCE, attempt).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::NoAnswer(error.to_string())),
            Err(_) => Err(Failure::NoAnswer(format!("nothing within {ANSWER_PATIENCE:?}"))),
        }
    }

    /// Publishes one message; where it stands, if it is kept.
    pub async fn publish(
        &self,
        channel: &str,
        message: Message,
        key: Option<&str>,
    ) -> Result<Option<Position>, Failure> {
        let mut params = json!({"channel": channel, "data": [message.publisher, message.number]});
        if let Some(key) = key {
            params["idempotency_key"] = json!(key);
        }
        self.call("publish", params).await.map(|result| position(&result))
    }

    /// The whole history, oldest first, with where the stream stands.
    pub async fn history(&self, channel: &str) -> Result<(Position, Vec<Value>), Failure> {
        let result = self.call("history", json!({"channel": channel, "limit": -1})).await?;
        let publications = result["publications"].as_array().cloned().unwrap_or_default();
        let top = Position { epoch: text(&result["epoch"]), offset: result["offset"].as_u64().unwrap_or(0) };
        Ok((top, publications))
    }

    /// The ids of the clients in a channel.
    pub async fn presence(&self, channel: &str) -> Result<Vec<String>, Failure> {
        let result = self.call("presence", json!({"channel": channel})).await?;
        Ok(result["presence"].as_object().map(|clients| clients.keys().cloned().collect()).unwrap_or_default())
    }

    pub async fn is_ready(&self) -> bool {
        self.page("/readyz").await.is_ok_and(|(status, _)| status == 200)
    }

    /// The value of a metric without labels, or the sum over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.page("/metrics").await.unwrap_or_else(|failure| panic!("no metrics: {failure:?}"));
        let values =
            page.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with([' ', '{']));
        values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Whether the hub has closed it while nothing was asked.
fn is_closed(stream: &TcpStream) -> bool {
    let would_block = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    !stream.try_read(&mut [0]).is_err_and(would_block)
}

/// The status and the body.
async fn read_answer(stream: &mut TcpStream) -> std::io::Result<(u64, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = parse_answer(&bytes) {
            return Ok(answer);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn parse_answer(bytes: &[u8]) -> Option<(u64, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) => (body.len() >= length).then(|| (status, body[..length].to_owned())),
        None => Some((status, unchunked(body)?)),
    }
}

/// A body in chunks, if it is whole.
fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Where a result says that something stands.
pub fn position(result: &Value) -> Option<Position> {
    let offset = result["offset"].as_u64()?;
    (offset > 0).then(|| Position { epoch: text(&result["epoch"]), offset })
}

/// The message in a publication.
pub fn message(publication: &Value) -> Message {
    let number = |at: usize| publication["data"][at].as_u64().unwrap_or_else(|| panic!("no message in {publication}"));
    Message { publisher: u32::try_from(number(0)).expect("publishers have small numbers"), number: number(1) }
}
