//! Replies and pushes for tests: fixed ones, and arbitrary ones that shrink.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::model::{
    ChannelName, ClientId, ClientInfo, ConnectResult, DisconnectCode, Epoch, ErrorCode, HistoryResult, Outcome,
    Position, PresenceStats, Publication, Push, Reply, SubscribeResult, UnsubscribeCode,
};

/// The client of golden texts.
pub const CLIENT: &str = "00000000-0000-4000-8000-000000000000";

pub fn client_id() -> ClientId {
    ClientId::from_random([0; 16])
}

/// The epoch of golden texts: "aaaaaaaa".
pub fn epoch() -> Epoch {
    Epoch::from_random(0)
}

pub fn info(user: &str) -> ClientInfo {
    ClientInfo { user: user.into(), client: client_id(), conn_info: None, chan_info: None }
}

pub fn publication(data: &'static str, offset: u64) -> Publication {
    Publication { data: Bytes::from_static(data.as_bytes()), offset, ..Publication::default() }
}

/// A push that owns what [`Push`] borrows.
#[derive(Clone, Debug)]
pub enum OwnedPush {
    Publication(String, Publication, Option<Epoch>),
    Join(String, ClientInfo),
    Leave(String, ClientInfo),
    Subscribe(String, SubscribeResult),
    Unsubscribe(String, UnsubscribeCode),
    Refresh(Option<u32>),
    Disconnect(DisconnectCode),
}

impl OwnedPush {
    pub fn as_push(&self) -> Push<'_> {
        match self {
            OwnedPush::Publication(channel, publication, epoch) => {
                Push::Publication { channel, publication, epoch: *epoch }
            }
            OwnedPush::Join(channel, info) => Push::Join { channel, info },
            OwnedPush::Leave(channel, info) => Push::Leave { channel, info },
            OwnedPush::Subscribe(channel, result) => Push::Subscribe { channel, result },
            OwnedPush::Unsubscribe(channel, code) => Push::Unsubscribe { channel, code: *code },
            OwnedPush::Refresh(ttl) => Push::Refresh { ttl: *ttl },
            OwnedPush::Disconnect(code) => Push::Disconnect { code: *code },
        }
    }
}

/// Any push with data that is JSON.
pub fn pushes() -> impl Strategy<Value = OwnedPush> {
    prop_oneof![
        (text(), publications(), option::of(epochs()))
            .prop_map(|(channel, p, e)| OwnedPush::Publication(channel, p, e)),
        (text(), infos()).prop_map(|(channel, info)| OwnedPush::Join(channel, info)),
        (text(), infos()).prop_map(|(channel, info)| OwnedPush::Leave(channel, info)),
        (text(), subscribes()).prop_map(|(channel, result)| OwnedPush::Subscribe(channel, result)),
        (text(), prop::sample::select(UnsubscribeCode::ALL))
            .prop_map(|(channel, c)| OwnedPush::Unsubscribe(channel, c)),
        any::<Option<u32>>().prop_map(OwnedPush::Refresh),
        prop::sample::select(DisconnectCode::ALL).prop_map(OwnedPush::Disconnect),
    ]
}

/// Any reply with data that is JSON.
pub fn replies() -> impl Strategy<Value = Reply> {
    let outcome = prop_oneof![9 => outcomes().prop_map(Ok), 1 => prop::sample::select(ErrorCode::ALL).prop_map(Err)];
    (1..=u32::MAX, outcome).prop_map(|(id, outcome)| Reply { id, outcome })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        connects().prop_map(|result| Outcome::Connect(Box::new(result))),
        subscribes().prop_map(|result| Outcome::Subscribe(Box::new(result))),
        Just(Outcome::Unsubscribe),
        Just(Outcome::Publish),
        vec(infos().prop_map(Arc::new), 0..4).prop_map(Outcome::Presence),
        any::<(u32, u32)>().prop_map(|(clients, users)| Outcome::PresenceStats(PresenceStats { clients, users })),
        (published(), epochs(), any::<u64>()).prop_map(|(publications, epoch, offset)| {
            Outcome::History(HistoryResult { publications, epoch, offset })
        }),
        maybe_json().prop_map(|data| Outcome::Rpc { data }),
        (client_ids(), any::<Option<u32>>()).prop_map(|(client, ttl)| Outcome::Refresh { client, ttl }),
        any::<Option<u32>>().prop_map(|ttl| Outcome::SubRefresh { ttl }),
    ]
}

fn connects() -> impl Strategy<Value = ConnectResult> {
    let names = "[a-z<\"\n]{1,12}".prop_map(|name| ChannelName::parse(&name, 255).expect("a short name"));
    let subs = btree_map(names, subscribes(), 0..3).prop_map(|subs| subs.into_iter().collect());
    (client_ids(), text(), any::<Option<u32>>(), maybe_json(), subs, any::<(u32, bool, i64)>()).prop_map(
        |(client, version, ttl, data, subs, (ping, pong, time))| ConnectResult {
            client,
            version: version.into(),
            ttl,
            data,
            subs,
            ping,
            pong,
            time: time.max(0),
        },
    )
}

fn subscribes() -> impl Strategy<Value = SubscribeResult> {
    let position = (epochs(), any::<u64>()).prop_map(|(epoch, offset)| Position { epoch, offset });
    (any::<Option<u32>>(), any::<[bool; 4]>(), option::of(position), published(), maybe_json()).prop_map(
        |(ttl, [recoverable, positioned, recovered, was_recovering], position, publications, data)| SubscribeResult {
            ttl,
            recoverable,
            positioned,
            position,
            publications,
            recovered,
            was_recovering,
            data,
            // The payloads of the two formats differ then.
            delta: false,
        },
    )
}

fn published() -> impl Strategy<Value = Vec<Arc<Publication>>> {
    vec(publications().prop_map(Arc::new), 0..3)
}

fn publications() -> impl Strategy<Value = Publication> {
    let tags = btree_map(text(), text(), 0..3).prop_map(Box::new);
    (json(), option::of(infos().prop_map(Arc::new)), any::<u64>(), option::of(tags), any::<u64>())
        .prop_map(|(data, info, offset, tags, version)| Publication { data, info, offset, tags, version })
}

fn infos() -> impl Strategy<Value = ClientInfo> {
    (text(), client_ids(), option::of(maybe_json()), option::of(maybe_json()))
        .prop_map(|(user, client, conn_info, chan_info)| ClientInfo { user: user.into(), client, conn_info, chan_info })
}

fn client_ids() -> impl Strategy<Value = ClientId> {
    any::<[u8; 16]>().prop_map(ClientId::from_random)
}

fn epochs() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch::from_random)
}

/// Any text, with more of the characters that need an escape than chance would give.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z<>&\"\\\\/\n\r\t\u{0}\u{1f}\u{2028}\u{2029}]{0,12}"]
}

fn maybe_json() -> impl Strategy<Value = Bytes> {
    prop_oneof![1 => Just(Bytes::new()), 4 => json()]
}

/// A JSON value, written as serde_json writes it or, with line breaks, as a person would.
pub fn json() -> impl Strategy<Value = Bytes> {
    use serde_json::Value;

    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, pretty)| {
        Bytes::from(if pretty {
            serde_json::to_string_pretty(&value).expect("a value is JSON").replace('\n', "\r\n")
        } else {
            value.to_string()
        })
    })
}
