//! Who is in a channel: a bucket of JetStream's key-value store, a key for each channel and client.
//!
//! A value says until when it counts; the bucket forgets what is older than the longest such time, so a node that
//! died leaves nothing behind. Who leaves is written over by an empty value.

use std::sync::Arc;
use std::time::Duration;

use ahash::{AHashSet, RandomState};
use async_nats::Message;
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};

use super::super::record::{self, NoRecord};
use super::entry::{now_ms, wire};
use super::jetstream::{self, Refusal};
use super::job::Job;
use super::log::nanos;
use super::reader::{Reader, Which};
use super::subjects::{Subjects, escape};
use crate::limits::NATS_PRESENCE_MAX;
use crate::model::{ClientId, ClientInfo, ErrorCode, PresenceStats};
use crate::telemetry::EngineCounter;

impl Job {
    /// These clients are there for `ttl`.
    pub async fn attend(&self, clients: &[Arc<ClientInfo>], ttl: Duration) -> Result<(), Refusal> {
        if !self.session.has_jetstream {
            return Err(Refusal::NoJetStream);
        }
        self.presence_bucket.get_or_try_init(|| open(self, ttl)).await?;
        let until_ms = now_ms().saturating_add(ttl.as_millis() as u64);
        for info in clients {
            let attendee = wire::Attendee { client: record::encode_client(info).into(), until_ms };
            self.put(info.client, attendee.encode_to_vec().into()).await?;
        }
        Ok(())
    }

    pub async fn leave(&self, client: ClientId) -> Result<(), Refusal> {
        match self.session.has_jetstream {
            true => self.put(client, Bytes::new()).await,
            false => Err(Refusal::NoJetStream),
        }
    }

    pub async fn presence(&self, clients_max: usize) -> Result<Result<Vec<Arc<ClientInfo>>, ErrorCode>, Refusal> {
        let mut found = Vec::new();
        let is_whole = self.read_attendees(|info| {
            found.push(Arc::new(info));
            found.len() <= clients_max
        });
        Ok(if is_whole.await? { Ok(found) } else { Err(ErrorCode::LimitExceeded) })
    }

    pub async fn presence_stats(&self) -> Result<Result<PresenceStats, ErrorCode>, Refusal> {
        let mut clients = 0;
        // Their hashes: names may be long, and nobody needs them.
        let mut users = AHashSet::new();
        let hasher = RandomState::new();
        let is_whole = self.read_attendees(|info| {
            clients += 1;
            users.insert(hasher.hash_one(&*info.user));
            clients <= NATS_PRESENCE_MAX
        });
        let stats = match is_whole.await? {
            true => Ok(PresenceStats { clients: clients as u32, users: users.len() as u32 }),
            false => Err(ErrorCode::LimitExceeded),
        };
        Ok(stats)
    }

    /// Nobody waits for the server's word: what is lost is said again soon, or ends by itself.
    async fn put(&self, client: ClientId, value: Bytes) -> Result<(), Refusal> {
        let subject = format!("{}.{client}", self.presence_subject());
        self.session.publish(subject, value).await
    }

    fn presence_subject(&self) -> String {
        format!("$KV.{}.{}", bucket_of(&self.subjects), escape(self.channel.as_str()))
    }

    /// Gives who is there to `take`, one after the other, until that has enough: `false` then.
    async fn read_attendees(&self, mut take: impl FnMut(ClientInfo) -> bool) -> Result<bool, Refusal> {
        if !self.session.has_jetstream {
            return Err(Refusal::NoJetStream);
        }
        let stream = format!("KV_{}", bucket_of(&self.subjects));
        let keys = format!("{}.*", self.presence_subject());
        let mut reader = match Reader::open(&self.session, &stream, &keys, Which::Newest).await {
            Ok(reader) => reader,
            // Nobody was ever in any channel.
            Err(Refusal::NotFound) => return Ok(true),
            Err(refusal) => return Err(refusal),
        };
        let mut is_whole = true;
        while let Some((_, value)) = reader.next().await? {
            is_whole = self.attendee_in(&value).is_none_or(&mut take);
            if !is_whole {
                break;
            }
        }
        reader.close().await;
        Ok(is_whole)
    }

    fn attendee_in(&self, value: &Message) -> Option<ClientInfo> {
        // Who left, also by the tools of others.
        if value.payload.is_empty() {
            return None;
        }
        match attendee(value.payload.clone()) {
            Ok((info, until_ms)) => Some(info).filter(|_| until_ms > now_ms()),
            Err(NoRecord) => {
                self.metrics.add(EngineCounter::Foreign, 1);
                None
            }
        }
    }
}

fn attendee(value: Bytes) -> Result<(ClientInfo, u64), NoRecord> {
    let attendee = wire::Attendee::decode(value).map_err(|_| NoRecord)?;
    Ok((record::decode_client(attendee.client)?, attendee.until_ms))
}

fn bucket_of(subjects: &Subjects) -> String {
    subjects.stream_name("presence")
}

/// Creates the bucket, or lets it keep values for longer: namespaces may differ.
async fn open(job: &Job, ttl: Duration) -> Result<(), Refusal> {
    let (client, bucket) = (&job.session.client, bucket_of(&job.subjects));
    // None at all would be for ever.
    let age = nanos(ttl.max(Duration::from_secs(1)));
    let stream = format!("KV_{bucket}");
    let config = json!({
        "name": stream,
        "subjects": [format!("$KV.{bucket}.>")],
        "storage": "memory",
        "discard": "new",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msgs_per_subject": 1,
        "max_age": age,
        "num_replicas": job.replicas,
        "allow_rollup_hdrs": true,
        "deny_delete": true,
    });
    let what = match jetstream::ask(client, &format!("STREAM.INFO.{stream}"), &Value::Null).await {
        Ok(info) if info["config"]["max_age"].as_u64().is_some_and(|known| known >= age) => return Ok(()),
        Ok(_) => format!("STREAM.UPDATE.{stream}"),
        Err(Refusal::NotFound) => format!("STREAM.CREATE.{stream}"),
        Err(refusal) => return Err(refusal),
    };
    match jetstream::ask(client, &what, &config).await {
        // Another node did it meanwhile; with another time, the longer one comes next.
        Ok(_) | Err(Refusal::NameTaken) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}
