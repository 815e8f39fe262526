//! Questions to JetStream: requests in JSON. Few kinds are needed, so they are asked here.

use std::fmt;

use async_nats::client::{Client, RequestErrorKind};
use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use super::link::Session;

/// Why JetStream did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No answer in time, or no connection.
    Away,
    /// Nobody hears the subject: the stream is gone, or the server has no JetStream.
    NoResponders,
    NoJetStream,
    NotFound,
    /// Another configuration has the name.
    NameTaken,
    /// The subject's last message is another than was expected.
    WrongLast,
    /// Larger than the server takes.
    TooLarge,
    /// By the number of JetStream's own table; 0: what came is no answer.
    Other(u64),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Away => f.write_str("no answer in time"),
            Refusal::NoResponders => f.write_str("no stream hears the subject"),
            Refusal::NoJetStream => f.write_str("JetStream is not enabled"),
            Refusal::NotFound => f.write_str("not found"),
            Refusal::NameTaken => f.write_str("a stream of another configuration has this name"),
            Refusal::WrongLast => f.write_str("somebody else was first"),
            Refusal::TooLarge => f.write_str("larger than the server's max_payload"),
            Refusal::Other(code) => write!(f, "JetStream's error {code}"),
        }
    }
}

/// Asks JetStream's API: `what` is the subject behind `$JS.API.`.
pub async fn ask(client: &Client, what: &str, body: &Value) -> Result<Value, Refusal> {
    let body = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    let answer = client.request(format!("$JS.API.{what}"), body).await;
    answer_of(answer.map_err(|error| refusal_of(error.kind()))?)
}

/// The same, and nobody waits for the answer.
pub async fn tell(session: &Session, what: &str, body: &Value) {
    // What does not arrive is told again, or ends by itself.
    let _ = session.publish(format!("$JS.API.{what}"), body.to_string().into()).await;
}

/// Asks a stream of one copy for one message: its number, and what is in it.
pub async fn find_directly(client: &Client, stream: &str, which: &Value) -> Result<Option<(u64, Bytes)>, Refusal> {
    let answer = client.request(format!("$JS.API.DIRECT.GET.{stream}"), which.to_string().into()).await;
    let message = answer.map_err(|error| refusal_of(error.kind()))?;
    match message.status {
        Some(StatusCode::NOT_FOUND) => return Ok(None),
        Some(status) => return Err(Refusal::Other(u64::from(status.as_u16()))),
        None => {}
    }
    let sequence = message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
    let sequence = sequence.and_then(|sequence| sequence.as_str().parse().ok()).ok_or(Refusal::Other(0))?;
    Ok(Some((sequence, message.payload)))
}

/// Where a stream put a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sequence: u64,
    /// It is the message with the same id, which was stored before.
    pub is_duplicate: bool,
}

/// Puts a message into the stream that hears the subject.
pub async fn store(client: &Client, subject: String, headers: HeaderMap, payload: Bytes) -> Result<Stored, Refusal> {
    let answer = client.request_with_headers(subject, headers, payload).await;
    let answer = answer_of(answer.map_err(|error| refusal_of(error.kind()))?)?;
    let sequence = answer["seq"].as_u64().ok_or(Refusal::Other(0))?;
    Ok(Stored { sequence, is_duplicate: answer["duplicate"].as_bool().unwrap_or(false) })
}

fn answer_of(message: Message) -> Result<Value, Refusal> {
    let answer: Value = serde_json::from_slice(&message.payload).map_err(|_| Refusal::Other(0))?;
    match &answer["error"] {
        Value::Null => Ok(answer),
        error => Err(refusal_of_code(error["err_code"].as_u64().unwrap_or(0))),
    }
}

/// Source: the server's `errors.json`.
fn refusal_of_code(code: u64) -> Refusal {
    match code {
        10_037 | 10_059 => Refusal::NotFound,
        10_039 | 10_076 => Refusal::NoJetStream,
        10_054 => Refusal::TooLarge,
        10_058 => Refusal::NameTaken,
        10_071 | 10_164 => Refusal::WrongLast,
        code => Refusal::Other(code),
    }
}

fn refusal_of(kind: RequestErrorKind) -> Refusal {
    match kind {
        RequestErrorKind::NoResponders => Refusal::NoResponders,
        RequestErrorKind::MaxPayloadExceeded => Refusal::TooLarge,
        _ => Refusal::Away,
    }
}
