//! Reads what a stream of the server has of some subjects, in portions that its queue here can hold.

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use serde_json::json;

use super::jetstream::{self, Refusal};
use super::link::Session;
use super::log::nanos;
use crate::limits::{NATS_CONSUMER_TTL, NATS_READ_PORTION};

/// A consumer of the server's that lives for one read. Its messages are never acknowledged: it is gone before the
/// server would send them again.
pub struct Reader<'a> {
    session: &'a Session,
    stream: &'a str,
    consumer: String,
    inbox: String,
    messages: Subscriber,
    /// Messages that were there when the read began, and are not read yet.
    left: u64,
    /// Of these, asked for.
    asked: u64,
}

/// Which messages of a subject.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    All,
    Newest,
}

impl<'a> Reader<'a> {
    pub async fn open(session: &'a Session, stream: &'a str, subject: &str, which: Which) -> Result<Self, Refusal> {
        let policy = match which {
            Which::All => "all",
            Which::Newest => "last_per_subject",
        };
        let config = json!({
            "deliver_policy": policy,
            "filter_subject": subject,
            "ack_policy": "explicit",
            "max_ack_pending": -1,
            "replay_policy": "instant",
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": nanos(NATS_CONSUMER_TTL),
        });
        let consumer = json!({ "stream_name": stream, "config": config });
        let created = jetstream::ask(&session.client, &format!("CONSUMER.CREATE.{stream}"), &consumer).await?;
        let consumer = created["name"].as_str().ok_or(Refusal::Other(0))?.to_owned();
        let left = created["num_pending"].as_u64().unwrap_or(0);
        let inbox = session.client.new_inbox();
        let messages = session.subscribe(inbox.clone()).await?;
        Ok(Reader { session, stream, consumer, inbox, messages, left, asked: 0 })
    }

    /// The next message, with its number in the stream; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<(u64, Message)>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.asked == 0 {
            self.ask_for_portion().await?;
        }
        let message = self.messages.next().await.ok_or(Refusal::Away)?;
        // Some were removed since, or the server has lost its way: there is nothing more to come.
        let Some(sequence) = message.reply.as_deref().and_then(sequence_of) else { return Ok(None) };
        self.asked -= 1;
        self.left -= 1;
        Ok(Some((sequence, message)))
    }

    async fn ask_for_portion(&mut self) -> Result<(), Refusal> {
        self.asked = self.left.min(NATS_READ_PORTION);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        let portion = json!({ "batch": self.asked, "no_wait": true }).to_string();
        self.session.publish_with_reply(subject, self.inbox.clone(), portion.into()).await
    }

    /// One that is not closed ends by itself.
    pub async fn close(self) {
        let what = format!("CONSUMER.DELETE.{}.{}", self.stream, self.consumer);
        jetstream::tell(self.session, &what, &json!({})).await;
    }
}

/// The stream's sequence in `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<…>`; newer servers may put
/// domain and account behind `$JS.ACK`, and a token at the end.
fn sequence_of(reply: &str) -> Option<u64> {
    let tokens: Vec<&str> = reply.split('.').collect();
    let place = if tokens.len() >= 11 { 7 } else { 5 };
    tokens.get(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_says_its_sequence() {
        assert_eq!(sequence_of("$JS.ACK.log.abc.1.42.1.1700000000000000000.3"), Some(42));
        assert_eq!(sequence_of("$JS.ACK.hub.acc.log.abc.1.42.1.1700000000000000000.3.token"), Some(42));
        assert_eq!(sequence_of("nonsense"), None);
    }
}
