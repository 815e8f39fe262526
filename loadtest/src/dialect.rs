//! The languages of the servers under test, as far as the scenarios speak them.
//!
//! Every dialect can do the same: join a channel, publish to it, get an acknowledgement (nchan's
//! subscriber connections get none) and answer pings. What is delivered carries a [`crate::stamp`].

use std::collections::VecDeque;

use clap::ValueEnum;
use serde_json::json;

use crate::commands::{self, Reply};
use crate::failure::Failure;
use crate::websocket;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// Centrifugo's JSON protocol: the hub, and the peers on `ws` and uWebSockets.js
    #[default]
    Centrifugo,
    /// socket.io's protocol over its WebSocket transport
    SocketIo,
    /// The NATS client protocol inside WebSocket messages
    Nats,
    /// Bare messages; the channel stands in the path
    Nchan,
}

/// What a line that is no publication was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to a command.
    Reply,
    Other,
}

/// How a connection introduces itself.
#[derive(Debug, Default)]
pub struct Introduction {
    /// Where it connects to, when that is not the target's path.
    pub path: Option<String>,
    pub steps: VecDeque<Step>,
}

/// Frames that go out together, and how many replies must come before the next step.
#[derive(Debug)]
pub struct Step {
    pub frames: Vec<u8>,
    pub replies: u32,
}

/// What a connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Member,
    Publisher,
    /// Publishes to the channel that it is a member of.
    Both,
}

/// Where a subscription that comes back goes on.
#[derive(Clone, Debug)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

const NATS_PING: &[u8] = b"PING\r";
const SOCKET_IO_PING: &[u8] = b"2";

impl Dialect {
    /// `token` is ignored where the server knows no tokens.
    pub fn introduce(self, role: Role, token: Option<&str>, channel: &str) -> Introduction {
        let subscribes = role != Role::Publisher;
        match self {
            Dialect::Centrifugo => commands::introduce(token, subscribes.then_some((channel, None))),
            Dialect::SocketIo => {
                let mut steps = VecDeque::from([Step::text(&format!("40{}", json!({ "token": token })))]);
                if subscribes {
                    steps.push_back(Step::text(&format!("421{}", json!(["subscribe", channel]))));
                }
                Introduction { path: None, steps }
            }
            Dialect::Nats => {
                let connect = r#"{"verbose":true,"pedantic":false,"lang":"loadtest","version":"0"}"#;
                let subscribe = if subscribes { format!("SUB {channel} 1\r\n") } else { String::new() };
                let mut step = Step::text(&format!("CONNECT {connect}\r\n{subscribe}"));
                step.replies = 1 + u32::from(subscribes);
                Introduction { path: None, steps: VecDeque::from([step]) }
            }
            Dialect::Nchan => {
                let place = match role {
                    Role::Member => "sub",
                    Role::Publisher => "pub",
                    Role::Both => "pubsub",
                };
                Introduction { path: Some(format!("/{place}/{channel}")), steps: VecDeque::new() }
            }
        }
    }

    /// As a member that comes back; recovers where the dialect can, subscribes anew where not.
    pub fn introduce_again(self, token: Option<&str>, channel: &str, from: &Position) -> Introduction {
        match self {
            Dialect::Centrifugo => commands::introduce(token, Some((channel, Some(from)))),
            _ => self.introduce(Role::Member, token, channel),
        }
    }

    /// Appends the message that publishes `data`, valid JSON, as it is. `id` is above those of the
    /// introduction.
    pub fn publish(self, to: &mut Vec<u8>, id: u64, channel: &str, data: &str) {
        match self {
            Dialect::Centrifugo => websocket::encode_text(to, commands::publish(id, channel, data).as_bytes()),
            Dialect::SocketIo => {
                let event = format!(r#"42{id}["publish",{},{data}]"#, json!(channel));
                websocket::encode_text(to, event.as_bytes());
            }
            Dialect::Nats => {
                let message = format!("PUB {channel} {}\r\n{data}\r\n", data.len());
                websocket::encode_text(to, message.as_bytes());
            }
            Dialect::Nchan => websocket::encode_text(to, data.as_bytes()),
        }
    }

    /// The answer to a ping, `None` for any other line.
    pub fn answer_ping(self, line: &[u8]) -> Option<&'static [u8]> {
        match (self, line) {
            (Dialect::Centrifugo, commands::EMPTY) => Some(commands::EMPTY),
            (Dialect::SocketIo, SOCKET_IO_PING) => Some(b"3"),
            (Dialect::Nats, NATS_PING) => Some(b"PONG\r\n"),
            _ => None,
        }
    }

    /// Reads a line that is no publication. Fails for what ends a run: a refusal, or a subscription
    /// that was taken away.
    pub fn hear(self, line: &[u8]) -> Result<Heard, Failure> {
        let is_reply = match self {
            Dialect::Centrifugo => Reply::accept(line)?.id > 0,
            Dialect::SocketIo => match line {
                [b'4', b'0' | b'3', ..] => true,
                [b'4', b'1' | b'4', ..] => return Err(refused(line)),
                _ => false,
            },
            Dialect::Nats => match line {
                b"+OK\r" => true,
                [b'-', b'E', b'R', b'R', ..] => return Err(refused(line)),
                _ => false,
            },
            Dialect::Nchan => line.starts_with(b"queued messages"),
        };
        Ok(if is_reply { Heard::Reply } else { Heard::Other })
    }

    /// Whether a member that publishes is told that it did.
    pub fn acknowledges_members(self) -> bool {
        self != Dialect::Nchan
    }

    /// Whether a line may go on in the next WebSocket message: the messages are a stream of bytes.
    pub fn is_stream(self) -> bool {
        self == Dialect::Nats
    }
}

impl Step {
    fn text(text: &str) -> Step {
        let mut frames = Vec::new();
        websocket::encode_text(&mut frames, text.as_bytes());
        Step { frames, replies: 1 }
    }
}

fn refused(line: &[u8]) -> Failure {
    Failure::new(format!("the server refused: {}", String::from_utf8_lossy(&line[..line.len().min(200)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_from_the_rest() {
        let hear = |dialect: Dialect, line: &[u8]| dialect.hear(line).expect("no refusal");
        assert_eq!(hear(Dialect::Centrifugo, br#"{"id":3,"publish":{}}"#), Heard::Reply);
        assert_eq!(hear(Dialect::SocketIo, b"431[]"), Heard::Reply);
        assert_eq!(hear(Dialect::SocketIo, br#"0{"sid":"a"}"#), Heard::Other);
        assert_eq!(hear(Dialect::Nats, b"+OK\r"), Heard::Reply);
        assert_eq!(hear(Dialect::Nats, b"MSG a 1 5\r"), Heard::Other);
        assert_eq!(hear(Dialect::Nchan, b"queued messages: 1\r"), Heard::Reply);
    }

    #[test]
    fn refusals_end_the_run() {
        let refusal = |dialect: Dialect, line: &[u8]| dialect.hear(line).expect_err("a refusal").to_string();
        assert!(refusal(Dialect::SocketIo, br#"44{"message":"invalid token"}"#).contains("invalid token"));
        assert!(refusal(Dialect::Nats, b"-ERR 'Unknown'\r").contains("Unknown"));
    }

    #[test]
    fn pings_are_answered_in_their_own_words() {
        assert_eq!(Dialect::Centrifugo.answer_ping(b"{}"), Some(&b"{}"[..]));
        assert_eq!(Dialect::SocketIo.answer_ping(b"2"), Some(&b"3"[..]));
        assert_eq!(Dialect::Nats.answer_ping(b"PING\r"), Some(&b"PONG\r\n"[..]));
        assert_eq!(Dialect::Nchan.answer_ping(b"{}"), None);
    }
}
