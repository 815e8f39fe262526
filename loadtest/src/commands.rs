//! The part of Centrifugo's JSON client protocol that the scenarios speak.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::dialect::{Introduction, Position, Step};
use crate::failure::{Doing, Failure};
use crate::websocket;

/// Server ping and client pong: a reply or command without content.
pub const EMPTY: &[u8] = b"{}";

/// Connects as the user of `token` (anonymously without one) and subscribes to a channel, from a
/// position on if there is one.
///
/// One message for each command, as most SDKs send them.
pub fn introduce(token: Option<&str>, subscription: Option<(&str, Option<&Position>)>) -> Introduction {
    let mut frames = Vec::new();
    let connect = match token {
        Some(token) => json!({"id": 1, "connect": {"token": token, "name": "loadtest"}}),
        None => json!({"id": 1, "connect": {"name": "loadtest"}}),
    };
    websocket::encode_text(&mut frames, connect.to_string().as_bytes());
    if let Some((channel, from)) = subscription {
        let subscribe = match from {
            None => json!({"channel": channel}),
            Some(Position { epoch, offset }) => {
                json!({"channel": channel, "recover": true, "epoch": epoch, "offset": offset})
            }
        };
        websocket::encode_text(&mut frames, json!({"id": 2, "subscribe": subscribe}).to_string().as_bytes());
    }
    let replies = 1 + u32::from(subscription.is_some());
    Introduction { path: None, steps: [Step { frames, replies }].into() }
}

/// The publish command `id`. `data` is valid JSON; it stands in the command as it is.
pub fn publish(id: u64, channel: &str, data: &str) -> String {
    format!(r#"{{"id":{id},"publish":{{"channel":{},"data":{data}}}}}"#, json!(channel))
}

/// What the server said, as far as the scenarios ask.
#[derive(Debug, Deserialize)]
pub struct Reply<'a> {
    /// 0: a push.
    #[serde(default)]
    pub id: u64,
    pub error: Option<ReplyError>,
    #[serde(borrow)]
    pub push: Option<Push<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct ReplyError {
    pub code: u32,
    pub message: String,
}

/// `pub` never gets here: publications are recognised by their stamp.
#[derive(Debug, Deserialize)]
pub struct Push<'a> {
    #[serde(borrow)]
    pub unsubscribe: Option<&'a RawValue>,
    #[serde(borrow)]
    pub disconnect: Option<&'a RawValue>,
}

impl<'a> Reply<'a> {
    /// Parses one line. Fails for what ends a run: an error reply, or a push that takes the
    /// subscription or the connection away.
    pub fn accept(line: &'a [u8]) -> Result<Reply<'a>, Failure> {
        let reply: Reply = serde_json::from_slice(line)
            .doing(format_args!("the server sent {:?}", String::from_utf8_lossy(&line[..line.len().min(200)])))?;
        if let Some(ReplyError { code, message }) = &reply.error {
            return Err(Failure::new(format!("command {} was answered with error {code} ({message})", reply.id)));
        }
        if let Some(Push { unsubscribe, disconnect }) = &reply.push
            && let Some(taken) = unsubscribe.or(*disconnect)
        {
            return Err(Failure::new(format!("the server took the subscription away: {taken}")));
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_replies_and_pushes_are_accepted() {
        assert_eq!(Reply::accept(br#"{"id":2,"subscribe":{}}"#).expect("a reply").id, 2);
        assert_eq!(Reply::accept(br#"{"push":{"channel":"a","join":{}}}"#).expect("a push").id, 0);
    }

    #[test]
    fn what_ends_a_run_is_named() {
        let error = |line: &[u8]| Reply::accept(line).expect_err("ends the run").to_string();
        let denied = error(br#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#);
        assert_eq!(denied, "command 2 was answered with error 103 (permission denied)");
        assert!(error(br#"{"push":{"channel":"a","unsubscribe":{"code":2500}}}"#).contains("2500"));
        assert!(error(b"nonsense").contains("nonsense"));
    }

    #[test]
    fn channel_names_are_escaped() {
        assert_eq!(publish(3, "a\"b", "{}"), r#"{"id":3,"publish":{"channel":"a\"b","data":{}}}"#);
    }
}
