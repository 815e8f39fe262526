//! The requests as JSON has them, and what they are in our words.
//!
//! Fields are those of `proto/client.proto`. Reads as Centrifugo does: unknown fields are skipped,
//! `null` counts as absent, and a payload is kept as the text that the client wrote.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reader::{Object, null_is_default, raw_json};
use crate::model::{
    CommandKind, ConnectRequest, DataShape, HistoryRequest, Request, Since, SubscribeRequest, SubscriptionType,
};
use crate::protocol::centrifugo::envelope::Requests;

/// One command.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Envelope {
    #[serde(deserialize_with = "null_is_default")]
    pub id: u32,
    connect: Option<Object<Connect>>,
    subscribe: Option<Object<Subscribe>>,
    unsubscribe: Option<Object<OfChannel>>,
    publish: Option<Object<Publish>>,
    presence: Option<Object<OfChannel>>,
    presence_stats: Option<Object<OfChannel>>,
    history: Option<Object<History>>,
    ping: Option<Object<IgnoredAny>>,
    send: Option<Object<Send>>,
    rpc: Option<Object<Rpc>>,
    refresh: Option<Object<Refresh>>,
    sub_refresh: Option<Object<SubRefresh>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Connect {
    #[serde(deserialize_with = "null_is_default")]
    token: Box<str>,
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[serde(deserialize_with = "null_is_default")]
    subs: BTreeMap<String, Option<Object<Subscribe>>>,
    #[serde(deserialize_with = "null_is_default")]
    name: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    version: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    headers: BTreeMap<String, Option<String>>,
    #[serde(deserialize_with = "null_is_default")]
    flag: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subscribe {
    #[serde(deserialize_with = "null_is_default")]
    channel: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    token: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    recover: bool,
    #[serde(deserialize_with = "null_is_default")]
    epoch: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    offset: u64,
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[serde(deserialize_with = "null_is_default")]
    positioned: bool,
    #[serde(deserialize_with = "null_is_default")]
    recoverable: bool,
    #[serde(deserialize_with = "null_is_default")]
    join_leave: bool,
    #[serde(deserialize_with = "null_is_default")]
    delta: Box<str>,
    tf: Option<Object<IgnoredAny>>,
    #[serde(deserialize_with = "null_is_default")]
    flag: i64,
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    subscription_type: i32,
}

/// The requests that only name a channel.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OfChannel {
    #[serde(deserialize_with = "null_is_default")]
    channel: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Publish {
    #[serde(deserialize_with = "null_is_default")]
    channel: Box<str>,
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    publish_type: i32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct History {
    #[serde(deserialize_with = "null_is_default")]
    channel: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    limit: i32,
    since: Option<Object<StreamPosition>>,
    #[serde(deserialize_with = "null_is_default")]
    reverse: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamPosition {
    #[serde(deserialize_with = "null_is_default")]
    offset: u64,
    #[serde(deserialize_with = "null_is_default")]
    epoch: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Send {
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rpc {
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[serde(deserialize_with = "null_is_default")]
    method: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refresh {
    #[serde(deserialize_with = "null_is_default")]
    token: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubRefresh {
    #[serde(deserialize_with = "null_is_default")]
    channel: Box<str>,
    #[serde(deserialize_with = "null_is_default")]
    token: Box<str>,
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    refresh_type: i32,
}

impl From<Envelope> for Requests {
    fn from(envelope: Envelope) -> Requests {
        Requests {
            connect: envelope.connect.map(|Object(connect)| Request::Connect(Box::new(connect.into()))),
            subscribe: envelope.subscribe.map(|Object(subscribe)| Request::Subscribe(Box::new(subscribe.into()))),
            unsubscribe: envelope.unsubscribe.map(|Object(of)| Request::Unsubscribe { channel: of.channel }),
            publish: envelope.publish.map(|Object(publish)| match publish.publish_type {
                0 => {
                    let shape = DataShape::of_json(&publish.data);
                    Request::Publish { channel: publish.channel, data: publish.data, shape }
                }
                _ => Request::NotOffered { kind: CommandKind::Publish },
            }),
            presence: envelope.presence.map(|Object(of)| Request::Presence { channel: of.channel }),
            presence_stats: envelope.presence_stats.map(|Object(of)| Request::PresenceStats { channel: of.channel }),
            history: envelope.history.map(|Object(history)| Request::History(Box::new(history.into()))),
            ping: envelope.ping.map(|_| Request::Ping),
            send: envelope.send.map(|Object(send)| Request::Send { data: send.data }),
            rpc: envelope.rpc.map(|Object(rpc)| Request::Rpc { method: rpc.method, data: rpc.data }),
            refresh: envelope.refresh.map(|Object(refresh)| Request::Refresh { token: refresh.token }),
            sub_refresh: envelope.sub_refresh.map(|Object(refresh)| match refresh.refresh_type {
                0 => Request::SubRefresh { channel: refresh.channel, token: refresh.token },
                _ => Request::NotOffered { kind: CommandKind::SubRefresh },
            }),
        }
    }
}

impl From<Connect> for ConnectRequest {
    fn from(connect: Connect) -> ConnectRequest {
        let subs = connect.subs.into_iter().map(|(channel, subscribe)| {
            (channel, subscribe.map_or_else(SubscribeRequest::default, |Object(subscribe)| subscribe.into()))
        });
        ConnectRequest {
            token: connect.token,
            data: connect.data,
            subs: subs.collect(),
            name: connect.name,
            version: connect.version,
            headers: connect.headers.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect(),
            flag: connect.flag,
        }
    }
}

impl From<Subscribe> for SubscribeRequest {
    fn from(subscribe: Subscribe) -> SubscribeRequest {
        SubscribeRequest {
            channel: subscribe.channel,
            token: subscribe.token,
            data: subscribe.data,
            recover: subscribe.recover,
            epoch: subscribe.epoch,
            offset: subscribe.offset,
            positioned: subscribe.positioned,
            recoverable: subscribe.recoverable,
            join_leave: subscribe.join_leave,
            delta: subscribe.delta,
            has_filter: subscribe.tf.is_some(),
            flag: subscribe.flag,
            subscription_type: match subscribe.subscription_type {
                0 => SubscriptionType::Stream,
                other => SubscriptionType::Other(other),
            },
        }
    }
}

impl From<History> for HistoryRequest {
    fn from(history: History) -> HistoryRequest {
        HistoryRequest {
            channel: history.channel,
            limit: history.limit,
            since: history.since.map(|Object(since)| Since { offset: since.offset, epoch: since.epoch }),
            reverse: history.reverse,
        }
    }
}
