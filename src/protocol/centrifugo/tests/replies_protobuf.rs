use std::sync::Arc;

use bytes::Bytes;

use super::client::read_protobuf;
use super::samples::{CLIENT, client_id, epoch, info, publication};
use crate::model::{
    ChannelName, ClientInfo, ConnectResult, DisconnectCode, ErrorCode, Format, HistoryResult, Outcome, Position,
    PresenceStats, Publication, Push, Reply, SubscribeResult, UnsubscribeCode,
};
use crate::protocol::centrifugo::schema;
use crate::protocol::{append_ping, append_push, append_reply};

const PROTOBUF: Format = Format::CentrifugoProtobuf;

/// Checks what a client reads of the reply.
fn check(outcome: Result<Outcome, ErrorCode>, expected: schema::Reply) {
    let mut payload = Vec::new();
    append_reply(PROTOBUF, &Reply { id: 5, outcome }, &mut payload, 0).expect("Protobuf carries all data");
    assert_eq!(read_protobuf(&payload), [schema::Reply { id: 5, ..expected }]);
}

fn check_push(push: Push<'_>, expected: schema::Push) {
    let mut payload = Vec::new();
    append_push(PROTOBUF, &push, &mut payload, 0).expect("Protobuf carries all data");
    assert_eq!(read_protobuf(&payload), [schema::Reply { push: Some(expected), ..Default::default() }]);
}

fn wire_info() -> schema::ClientInfo {
    schema::ClientInfo { user: "u".into(), client: CLIENT.into(), ..Default::default() }
}

#[test]
fn errors() {
    let error = |code, message: &str, temporary| schema::Error { code, message: message.into(), temporary };
    check(
        Err(ErrorCode::TokenExpired),
        schema::Reply { error: Some(error(109, "token expired", false)), ..Default::default() },
    );
    check(
        Err(ErrorCode::TooManyRequests),
        schema::Reply { error: Some(error(111, "too many requests", true)), ..Default::default() },
    );
}

#[test]
fn connect() {
    let result = ConnectResult {
        client: client_id(),
        version: "v".into(),
        ttl: Some(60),
        data: Bytes::from_static(b"\0"),
        subs: vec![(ChannelName::parse("#42", 255).expect("a short name"), SubscribeResult::default())],
        ping: 25,
        pong: true,
        time: 1_700_000_000_123,
    };
    let expected = schema::ConnectResult {
        client: CLIENT.into(),
        version: "v".into(),
        expires: true,
        ttl: 60,
        data: Bytes::from_static(b"\0"),
        subs: vec![schema::ServerSubscription { channel: "#42".into(), result: Some(Default::default()) }],
        ping: 25,
        pong: true,
        time: 1_700_000_000_123,
        ..Default::default()
    };
    check(Ok(Outcome::Connect(Box::new(result))), schema::Reply { connect: Some(expected), ..Default::default() });
}

/// protobuf.js takes a map's value that is not there for null, and fails.
#[test]
fn a_server_side_subscription_without_anything_to_say_is_an_empty_message() {
    let subs = vec![(ChannelName::parse("#42", 255).expect("a short name"), SubscribeResult::default())];
    let result = ConnectResult {
        client: client_id(),
        version: "v".into(),
        ttl: None,
        data: Bytes::new(),
        subs,
        ping: 0,
        pong: false,
        time: 0,
    };
    let mut payload = Vec::new();
    let reply = Reply { id: 5, outcome: Ok(Outcome::Connect(Box::new(result))) };
    append_reply(PROTOBUF, &reply, &mut payload, 0).expect("Protobuf carries all data");
    // Field 6 of 7 bytes: the channel of 3 bytes, and a result of none.
    assert!(payload.ends_with(b"\x32\x07\x0a\x03#42\x12\x00"), "{payload:?}");
}

#[test]
fn subscribe() {
    let result = SubscribeResult {
        ttl: Some(60),
        recoverable: true,
        positioned: true,
        position: Some(Position { epoch: epoch(), offset: 4 }),
        publications: vec![Arc::new(publication("5", 5))],
        recovered: true,
        was_recovering: true,
        data: Bytes::from_static(b"d"),
        delta: false,
    };
    let expected = schema::SubscribeResult {
        expires: true,
        ttl: 60,
        recoverable: true,
        epoch: "aaaaaaaa".into(),
        publications: vec![schema::Publication { data: Bytes::from_static(b"5"), offset: 5, ..Default::default() }],
        recovered: true,
        offset: 4,
        positioned: true,
        data: Bytes::from_static(b"d"),
        was_recovering: true,
        ..Default::default()
    };
    check(Ok(Outcome::Subscribe(Box::new(result))), schema::Reply { subscribe: Some(expected), ..Default::default() });
}

#[test]
fn readers_of_deltas_are_given_bytes() {
    const SAME: &str = "this much of it stays the same";
    let publications = vec![Arc::new(publication(SAME, 5)), Arc::new(publication(SAME, 6))];
    let result = SubscribeResult { publications, delta: true, ..SubscribeResult::default() };
    let patch = crate::delta::create(SAME.as_bytes(), SAME.as_bytes()).expect("it is shorter");
    let publications = vec![
        schema::Publication { data: SAME.into(), offset: 5, ..Default::default() },
        schema::Publication { data: patch.clone().into(), offset: 6, delta: true, ..Default::default() },
    ];
    let expected = schema::SubscribeResult { publications, delta: true, ..Default::default() };
    check(Ok(Outcome::Subscribe(Box::new(result))), schema::Reply { subscribe: Some(expected), ..Default::default() });

    let published = publication(SAME, 6);
    for (patch, data, delta) in [(None, SAME.as_bytes(), false), (Some(&*patch), &*patch, true)] {
        let publication = schema::Publication { data: data.to_vec().into(), offset: 6, delta, ..Default::default() };
        check_push(
            Push::DeltaPublication { channel: "x", publication: &published, epoch: None, patch },
            schema::Push { channel: "x".into(), r#pub: Some(publication), ..Default::default() },
        );
    }
}

#[test]
fn the_other_answers() {
    check(
        Ok(Outcome::Unsubscribe),
        schema::Reply { unsubscribe: Some(schema::UnsubscribeResult {}), ..Default::default() },
    );
    check(Ok(Outcome::Publish), schema::Reply { publish: Some(schema::PublishResult {}), ..Default::default() });
    let presence = schema::PresenceResult { presence: [(CLIENT.to_owned(), wire_info())].into() };
    check(
        Ok(Outcome::Presence(vec![Arc::new(info("u"))])),
        schema::Reply { presence: Some(presence), ..Default::default() },
    );
    let stats = schema::PresenceStatsResult { num_clients: 2, num_users: 1 };
    check(
        Ok(Outcome::PresenceStats(PresenceStats { clients: 2, users: 1 })),
        schema::Reply { presence_stats: Some(stats), ..Default::default() },
    );
    let history = schema::HistoryResult { publications: Vec::new(), epoch: "aaaaaaaa".into(), offset: 9 };
    check(
        Ok(Outcome::History(HistoryResult { publications: Vec::new(), epoch: epoch(), offset: 9 })),
        schema::Reply { history: Some(history), ..Default::default() },
    );
    let data = Bytes::from_static(b"\xff");
    check(
        Ok(Outcome::Rpc { data: data.clone() }),
        schema::Reply { rpc: Some(schema::RpcResult { data }), ..Default::default() },
    );
    let refresh = schema::RefreshResult { client: CLIENT.into(), expires: true, ttl: 30, ..Default::default() };
    check(
        Ok(Outcome::Refresh { client: client_id(), ttl: Some(30) }),
        schema::Reply { refresh: Some(refresh), ..Default::default() },
    );
    check(
        Ok(Outcome::SubRefresh { ttl: None }),
        schema::Reply { sub_refresh: Some(schema::SubRefreshResult::default()), ..Default::default() },
    );
}

#[test]
fn a_publication() {
    let binary = Publication {
        data: Bytes::from_static(b"\0\xff"),
        info: Some(Arc::new(ClientInfo {
            conn_info: Some(Bytes::from_static(b"1")),
            chan_info: Some(Bytes::from_static(b"2")),
            ..info("u")
        })),
        offset: 1,
        tags: Some(Box::new([("a".to_owned(), "b".to_owned())].into())),
        version: 9,
    };
    let expected = schema::Publication {
        data: Bytes::from_static(b"\0\xff"),
        info: Some(schema::ClientInfo {
            conn_info: Bytes::from_static(b"1"),
            chan_info: Bytes::from_static(b"2"),
            ..wire_info()
        }),
        offset: 1,
        tags: [("a".to_owned(), "b".to_owned())].into(),
        epoch: "aaaaaaaa".into(),
        version: 9,
        ..Default::default()
    };
    check_push(
        Push::Publication { channel: "x", publication: &binary, epoch: Some(epoch()) },
        schema::Push { channel: "x".into(), r#pub: Some(expected), ..Default::default() },
    );
}

#[test]
fn the_other_pushes() {
    let in_channel = schema::Push { channel: "x".into(), ..Default::default() };
    check_push(
        Push::Join { channel: "x", info: &info("u") },
        schema::Push { join: Some(schema::Join { info: Some(wire_info()) }), ..in_channel.clone() },
    );
    check_push(
        Push::Leave { channel: "x", info: &info("u") },
        schema::Push { leave: Some(schema::Leave { info: Some(wire_info()) }), ..in_channel.clone() },
    );
    let result = SubscribeResult {
        recoverable: true,
        positioned: true,
        position: Some(Position { epoch: epoch(), offset: 4 }),
        data: Bytes::from_static(b"d"),
        ..SubscribeResult::default()
    };
    let subscribe = schema::Subscribe {
        recoverable: true,
        epoch: "aaaaaaaa".into(),
        offset: 4,
        positioned: true,
        data: Bytes::from_static(b"d"),
    };
    check_push(
        Push::Subscribe { channel: "x", result: &result },
        schema::Push { subscribe: Some(subscribe), ..in_channel.clone() },
    );
    let unsubscribe = schema::Unsubscribe { code: 2501, reason: "subscription expired".into() };
    check_push(
        Push::Unsubscribe { channel: "x", code: UnsubscribeCode::Expired },
        schema::Push { unsubscribe: Some(unsubscribe), ..in_channel },
    );
    let refresh = schema::Refresh { expires: true, ttl: 60 };
    check_push(Push::Refresh { ttl: Some(60) }, schema::Push { refresh: Some(refresh), ..Default::default() });
    let disconnect = schema::Disconnect { code: 3008, reason: "slow".into(), reconnect: false };
    check_push(
        Push::Disconnect { code: DisconnectCode::Slow },
        schema::Push { disconnect: Some(disconnect), ..Default::default() },
    );
}

#[test]
fn replies_of_one_message_stand_behind_their_lengths() {
    let mut payload = b"before".to_vec();
    append_ping(PROTOBUF, &mut payload, 6);
    let reply = Reply { id: 5, outcome: Ok(Outcome::Publish) };
    append_reply(PROTOBUF, &reply, &mut payload, 6).expect("a reply without data");
    append_ping(PROTOBUF, &mut payload, 6);
    // Field 1 (id) = 5, field 8 (publish) = an empty message.
    assert_eq!(payload, b"before\x00\x04\x08\x05\x42\x00\x00");
}
