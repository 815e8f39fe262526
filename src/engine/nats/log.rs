//! Channels' history as JetStream keeps it: one stream of the server for each kind of retention, in it one subject
//! for each channel. Why this holds what the contract promises stands in `mod.rs`.

use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::super::Retention;
use super::super::record::NoRecord;
use super::entry::Entry;
use super::jetstream::{self, Refusal, Stored};
use super::link::Session;
use super::reader::{Reader, Which};
use super::subjects::Subjects;
use crate::limits::IDEMPOTENT_RESULT_TTL;

/// Namespaces of the same kind share a stream of the server, which has one bound for all of its subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogKind {
    size: usize,
    lifetime_s: u64,
}

impl LogKind {
    /// Of publications that are kept nowhere, but published once: the server knows their keys.
    pub const ONCE: LogKind = LogKind { size: 0, lifetime_s: IDEMPOTENT_RESULT_TTL.as_secs() + 1 };

    /// The newest message tells where its stream stands, so it lives as long as that has to be known, and as long
    /// as the server must tell a repeated publish.
    pub fn of(retention: Retention) -> LogKind {
        let lifetime = retention.ttl.max(retention.meta_ttl).max(IDEMPOTENT_RESULT_TTL);
        LogKind { size: retention.size.max(1), lifetime_s: lifetime.as_secs() + 1 }
    }

    /// Part of names and subjects.
    fn name(self) -> String {
        match self {
            LogKind::ONCE => "once".to_owned(),
            LogKind { size, lifetime_s } => format!("{size}_{lifetime_s}"),
        }
    }
}

/// One stream of the server.
///
/// Its subjects have a random token in them, drawn by whoever created it: one that was deleted and created again is
/// another, and what was meant for the former is heard by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    name: String,
    subject: String,
    /// There is one copy, which answers for single messages by a shorter way. Of several, only the leader's is whole.
    is_direct: bool,
}

/// A message of a log.
#[derive(Clone, Debug)]
pub struct Logged {
    pub sequence: u64,
    pub entry: Result<Entry, NoRecord>,
}

impl Log {
    /// Finds the log, or creates it.
    pub async fn open(session: &Session, subjects: &Subjects, kind: LogKind, replicas: usize) -> Result<Log, Refusal> {
        let name = subjects.stream_name(&format!("log_{}", kind.name()));
        match Log::find(session, &name).await {
            Err(Refusal::NotFound) => {}
            found => return found,
        }
        let config = config_of(&name, subjects, kind, replicas);
        match jetstream::ask(&session.client, &format!("STREAM.CREATE.{name}"), &config).await {
            // Another node was first: its token counts.
            Ok(_) | Err(Refusal::NameTaken) => Log::find(session, &name).await,
            Err(refusal) => Err(refusal),
        }
    }

    /// All logs that may hold something of a channel.
    pub async fn all(session: &Session, subjects: &Subjects) -> Result<Vec<Log>, Refusal> {
        let filter = json!({ "subject": subjects.of("log.>") });
        let once = subjects.stream_name(&format!("log_{}", LogKind::ONCE.name()));
        let answer = jetstream::ask(&session.client, "STREAM.NAMES", &filter).await?;
        let mut logs = Vec::new();
        let names = answer["streams"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in names.filter(|name| *name != once) {
            match Log::find(session, name).await {
                Ok(log) => logs.push(log),
                // It is somebody else's, or gone already.
                Err(Refusal::NotFound | Refusal::NameTaken) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(logs)
    }

    async fn find(session: &Session, name: &str) -> Result<Log, Refusal> {
        let info = jetstream::ask(&session.client, &format!("STREAM.INFO.{name}"), &Value::Null).await?;
        let subject = info["config"]["subjects"][0].as_str().and_then(|subject| subject.strip_suffix(".>"));
        let is_ours = info["config"]["republish"]["src"].is_string();
        let subject = subject.filter(|_| is_ours).ok_or(Refusal::NameTaken)?;
        let has_one_copy = info["config"]["num_replicas"].as_u64() == Some(1);
        let is_direct = has_one_copy && info["config"]["allow_direct"].as_bool() == Some(true);
        Ok(Log { name: name.to_owned(), subject: subject.to_owned(), is_direct })
    }

    fn subject_of(&self, tokens: &str) -> String {
        format!("{}.{tokens}", self.subject)
    }

    /// The newest message of a channel, as the stream's leader knows it.
    pub async fn last(&self, session: &Session, tokens: &str) -> Result<Option<Logged>, Refusal> {
        self.find_message(session, &json!({ "last_by_subj": self.subject_of(tokens) })).await
    }

    pub async fn at(&self, session: &Session, sequence: u64) -> Result<Option<Logged>, Refusal> {
        self.find_message(session, &json!({ "seq": sequence })).await
    }

    async fn find_message(&self, session: &Session, which: &Value) -> Result<Option<Logged>, Refusal> {
        if self.is_direct {
            let found = jetstream::find_directly(&session.client, &self.name, which).await?;
            return Ok(found.map(|(sequence, data)| Logged { sequence, entry: Entry::decode(data) }));
        }
        match jetstream::ask(&session.client, &format!("STREAM.MSG.GET.{}", self.name), which).await {
            Ok(answer) => logged(&answer["message"]).map(Some).ok_or(Refusal::Other(0)),
            Err(Refusal::NotFound) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Puts `entry` behind the channel's message number `last` (0: it has none), or refuses; `None`: behind any.
    pub async fn append(
        &self,
        session: &Session,
        tokens: &str,
        entry: &Entry,
        last: Option<u64>,
        id: Option<&str>,
    ) -> Result<Stored, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", self.name.as_str());
        if let Some(last) = last {
            headers.insert("Nats-Expected-Last-Subject-Sequence", last.to_string().as_str());
        }
        if let Some(id) = id {
            headers.insert("Nats-Msg-Id", format!("{tokens}/{id}").as_str());
        }
        jetstream::store(&session.client, self.subject_of(tokens), headers, entry.encode()).await
    }

    /// All messages of a channel up to number `last`, oldest first.
    pub async fn read(&self, session: &Session, tokens: &str, last: u64) -> Result<Vec<Logged>, Refusal> {
        let subject = self.subject_of(tokens);
        let mut reader = Reader::open(session, &self.name, &subject, Which::All).await?;
        let mut read = Vec::new();
        while let Some((sequence, message)) = reader.next().await? {
            if sequence <= last {
                read.push(Logged { sequence, entry: Entry::decode(message.payload) });
            }
            if sequence >= last {
                break;
            }
        }
        reader.close().await;
        Ok(read)
    }

    /// Lets the server forget what a channel had before message number `sequence`.
    pub async fn forget_before(&self, session: &Session, tokens: &str, sequence: u64) {
        let which = json!({ "filter": self.subject_of(tokens), "seq": sequence });
        jetstream::tell(session, &format!("STREAM.PURGE.{}", self.name), &which).await;
    }
}

fn config_of(name: &str, subjects: &Subjects, kind: LogKind, replicas: usize) -> Value {
    let token = fastrand::u64(..);
    let subject = subjects.of(&format!("log.{}.{token:016x}.>", kind.name()));
    let messages_max = if kind == LogKind::ONCE { -1 } else { i64::try_from(kind.size).unwrap_or(-1) };
    json!({
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msgs_per_subject": messages_max,
        "max_age": nanos(Duration::from_secs(kind.lifetime_s)),
        "duplicate_window": nanos(IDEMPOTENT_RESULT_TTL),
        "num_replicas": replicas,
        "allow_direct": replicas == 1,
        "republish": { "src": subject, "dest": subjects.of_all_channels() },
    })
}

/// Reads `{"seq": …, "data": "base64"}`.
fn logged(message: &Value) -> Option<Logged> {
    let sequence = message["seq"].as_u64()?;
    let data = BASE64_STANDARD.decode(message["data"].as_str().unwrap_or_default()).ok()?;
    Some(Logged { sequence, entry: Entry::decode(data.into()) })
}

pub fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_lives_as_long_as_its_position_and_its_keys() {
        let seconds = Duration::from_secs;
        let kind = |ttl, meta_ttl| LogKind::of(Retention { size: 10, ttl: seconds(ttl), meta_ttl: seconds(meta_ttl) });
        assert_eq!(kind(60, 3600).lifetime_s, 3601);
        assert_eq!(kind(7200, 3600).lifetime_s, 7201);
        assert_eq!(kind(1, 1).lifetime_s, 301);
    }
}
