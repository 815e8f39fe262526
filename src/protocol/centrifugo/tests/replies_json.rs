use std::sync::Arc;

use bytes::Bytes;

use super::samples::{CLIENT, client_id, epoch, info, publication};
use crate::model::{
    ChannelName, ClientInfo, ConnectResult, DisconnectCode, ErrorCode, Format, HistoryResult, Outcome, Position,
    PresenceStats, Publication, Push, Reply, SubscribeResult, UnsubscribeCode,
};
use crate::protocol::{Inappropriate, append_ping, append_push, append_reply};

const JSON: Format = Format::CentrifugoJson;

/// Checks the reply's text; `CLIENT` in `expected` stands for the client id.
fn check(id: u32, outcome: Result<Outcome, ErrorCode>, expected: &str) {
    let mut payload = Vec::new();
    append_reply(JSON, &Reply { id, outcome }, &mut payload, 0).expect("all data is JSON");
    assert_eq!(str::from_utf8(&payload), Ok(expected.replace("CLIENT", CLIENT).as_str()));
}

fn check_push(push: Push<'_>, expected: &str) {
    let mut payload = Vec::new();
    append_push(JSON, &push, &mut payload, 0).expect("all data is JSON");
    assert_eq!(str::from_utf8(&payload), Ok(expected.replace("CLIENT", CLIENT).as_str()));
}

#[test]
fn errors() {
    check(2, Err(ErrorCode::PermissionDenied), r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#);
    check(
        3,
        Err(ErrorCode::Internal),
        r#"{"id":3,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
    );
}

#[test]
fn connect() {
    let result = ConnectResult {
        client: client_id(),
        version: "0.1.0 OSS".into(),
        ttl: None,
        data: Bytes::new(),
        subs: Vec::new(),
        ping: 25,
        pong: true,
        time: 0,
    };
    let expiring = ConnectResult {
        ttl: Some(60),
        data: Bytes::from_static(b"{\"a\":\n1}"),
        ping: 0,
        pong: false,
        time: 1_700_000_000_123,
        ..result.clone()
    };
    let recovered = SubscribeResult {
        recoverable: true,
        position: Some(Position { epoch: epoch(), offset: 4 }),
        publications: vec![Arc::new(publication("5", 5))],
        recovered: true,
        was_recovering: true,
        ..SubscribeResult::default()
    };
    let name = |name| ChannelName::parse(name, 255).expect("a short name");
    let subscribed = ConnectResult {
        subs: vec![(name("#42"), SubscribeResult::default()), (name("a\"b"), recovered)],
        ..result.clone()
    };
    check(
        1,
        Ok(Outcome::Connect(Box::new(result))),
        r#"{"id":1,"connect":{"client":"CLIENT","version":"0.1.0 OSS","ping":25,"pong":true}}"#,
    );
    check(
        1,
        Ok(Outcome::Connect(Box::new(expiring))),
        r#"{"id":1,"connect":{"client":"CLIENT","version":"0.1.0 OSS","expires":true,"ttl":60,"data":{"a":1},"time":1700000000123}}"#,
    );
    check(
        1,
        Ok(Outcome::Connect(Box::new(subscribed))),
        r##"{"id":1,"connect":{"client":"CLIENT","version":"0.1.0 OSS","subs":{"#42":{},"a\"b":{"recoverable":true,"epoch":"aaaaaaaa","publications":[{"data":5,"offset":5}],"recovered":true,"offset":4,"was_recovering":true}},"ping":25,"pong":true}}"##,
    );
}

#[test]
fn subscribe() {
    let check = |result, expected| check(7, Ok(Outcome::Subscribe(Box::new(result))), expected);
    let position = |offset| Some(Position { epoch: epoch(), offset });
    check(SubscribeResult::default(), r#"{"id":7,"subscribe":{}}"#);
    check(
        SubscribeResult { positioned: true, position: position(0), ..SubscribeResult::default() },
        r#"{"id":7,"subscribe":{"epoch":"aaaaaaaa","positioned":true}}"#,
    );
    check(
        SubscribeResult {
            ttl: Some(60),
            recoverable: true,
            positioned: true,
            position: position(4),
            publications: vec![Arc::new(publication("5", 5)), Arc::new(publication(r#"{"n":6}"#, 6))],
            recovered: true,
            was_recovering: true,
            data: Bytes::from_static(b"[]"),
            delta: false,
        },
        r#"{"id":7,"subscribe":{"expires":true,"ttl":60,"recoverable":true,"epoch":"aaaaaaaa","publications":[{"data":5,"offset":5},{"data":{"n":6},"offset":6}],"recovered":true,"offset":4,"positioned":true,"data":[],"was_recovering":true}}"#,
    );
}

#[test]
fn readers_of_deltas_are_given_texts() {
    let data = |bid: u32| format!("{{\"symbol\":\"EURUSD\",\"bid\":{bid},\"ask\":108347,\n\"volume\":120000}}");
    let publications =
        [108_342, 108_351].map(|bid| Arc::new(Publication { data: data(bid).into(), ..publication("", 0) }));
    let result = SubscribeResult { publications: publications.to_vec(), delta: true, ..SubscribeResult::default() };
    check(
        7,
        Ok(Outcome::Subscribe(Box::new(result))),
        r#"{"id":7,"subscribe":{"publications":[{"data":"{\"symbol\":\"EURUSD\",\"bid\":108342,\"ask\":108347,\n\"volume\":120000}"},{"data":"z\nT@0,2:51V@V,1K62Sw;","delta":true}],"delta":true}}"#,
    );
    let push = |patch, expected| {
        let publication = &publication("{\"a\":\"\\u00e9\"}", 2);
        check_push(Push::DeltaPublication { channel: "x", publication, epoch: Some(epoch()), patch }, expected);
    };
    push(None, r#"{"push":{"channel":"x","pub":{"data":"{\"a\":\"\\u00e9\"}","offset":2,"epoch":"aaaaaaaa"}}}"#);
    push(
        Some(b"A\n3@0,"),
        r#"{"push":{"channel":"x","pub":{"data":"A\n3@0,","offset":2,"delta":true,"epoch":"aaaaaaaa"}}}"#,
    );
}

#[test]
fn answers_without_content() {
    check(8, Ok(Outcome::Unsubscribe), r#"{"id":8,"unsubscribe":{}}"#);
    check(9, Ok(Outcome::Publish), r#"{"id":9,"publish":{}}"#);
    check(9, Ok(Outcome::Rpc { data: Bytes::new() }), r#"{"id":9,"rpc":{}}"#);
    check(9, Ok(Outcome::Rpc { data: Bytes::from_static(b"null") }), r#"{"id":9,"rpc":{"data":null}}"#);
}

#[test]
fn presence_shows_its_zero_values() {
    check(1, Ok(Outcome::Presence(Vec::new())), r#"{"id":1,"presence":{"presence":{}}}"#);
    check(
        1,
        Ok(Outcome::Presence(vec![Arc::new(info(""))])),
        r#"{"id":1,"presence":{"presence":{"CLIENT":{"user":"","client":"CLIENT"}}}}"#,
    );
    check(
        2,
        Ok(Outcome::PresenceStats(PresenceStats::default())),
        r#"{"id":2,"presence_stats":{"num_clients":0,"num_users":0}}"#,
    );
}

#[test]
fn history_shows_its_zero_values() {
    let history = |publications, offset| Ok(Outcome::History(HistoryResult { publications, epoch: epoch(), offset }));
    check(3, history(Vec::new(), 0), r#"{"id":3,"history":{"publications":[],"epoch":"aaaaaaaa","offset":0}}"#);
    check(
        3,
        history(vec![Arc::new(publication("1", u64::MAX))], u64::MAX),
        r#"{"id":3,"history":{"publications":[{"data":1,"offset":18446744073709551615}],"epoch":"aaaaaaaa","offset":18446744073709551615}}"#,
    );
}

#[test]
fn refreshes() {
    let client = client_id();
    check(4, Ok(Outcome::Refresh { client, ttl: None }), r#"{"id":4,"refresh":{"client":"CLIENT"}}"#);
    check(
        4,
        Ok(Outcome::Refresh { client, ttl: Some(30) }),
        r#"{"id":4,"refresh":{"client":"CLIENT","expires":true,"ttl":30}}"#,
    );
    check(5, Ok(Outcome::SubRefresh { ttl: None }), r#"{"id":5,"sub_refresh":{}}"#);
    check(5, Ok(Outcome::SubRefresh { ttl: Some(30) }), r#"{"id":5,"sub_refresh":{"expires":true,"ttl":30}}"#);
}

#[test]
fn publications() {
    let push = |publication: &Publication, epoch, expected| {
        check_push(Push::Publication { channel: "x", publication, epoch }, expected);
    };
    push(&publication("1", 0), None, r#"{"push":{"channel":"x","pub":{"data":1}}}"#);
    push(&publication("", 0), None, r#"{"push":{"channel":"x","pub":{"data":null}}}"#);
    push(
        &publication("1", 1),
        Some(epoch()),
        r#"{"push":{"channel":"x","pub":{"data":1,"offset":1,"epoch":"aaaaaaaa"}}}"#,
    );
    push(
        &Publication { version: 9, ..publication("1", 2) },
        None,
        r#"{"push":{"channel":"x","pub":{"data":1,"offset":2,"version":9}}}"#,
    );
    let from_client = Publication {
        info: Some(Arc::new(ClientInfo {
            conn_info: Some(Bytes::from_static(b"{\n}")),
            chan_info: Some(Bytes::from_static(b"2")),
            ..info("<u>")
        })),
        tags: Some(Box::new([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "\"".to_owned())].into())),
        ..publication("{\r\n\"a\": 1\n}", 7)
    };
    push(
        &from_client,
        None,
        r#"{"push":{"channel":"x","pub":{"data":{"a": 1},"info":{"user":"\u003cu\u003e","client":"CLIENT","conn_info":{},"chan_info":2},"offset":7,"tags":{"a":"\"","b":"2"}}}}"#,
    );
}

#[test]
fn other_pushes() {
    check_push(
        Push::Join { channel: "x\n", info: &info("u") },
        r#"{"push":{"channel":"x\n","join":{"info":{"user":"u","client":"CLIENT"}}}}"#,
    );
    check_push(
        Push::Leave { channel: "x", info: &info("u") },
        r#"{"push":{"channel":"x","leave":{"info":{"user":"u","client":"CLIENT"}}}}"#,
    );
    check_push(
        Push::Subscribe { channel: "x", result: &SubscribeResult::default() },
        r#"{"push":{"channel":"x","subscribe":{}}}"#,
    );
    let result = SubscribeResult {
        recoverable: true,
        positioned: true,
        position: Some(Position { epoch: epoch(), offset: 4 }),
        publications: vec![Arc::new(publication("5", 5))],
        recovered: true,
        data: Bytes::from_static(b"{}"),
        ..SubscribeResult::default()
    };
    check_push(
        Push::Subscribe { channel: "x", result: &result },
        r#"{"push":{"channel":"x","subscribe":{"recoverable":true,"epoch":"aaaaaaaa","offset":4,"positioned":true,"data":{}}}}"#,
    );
    check_push(
        Push::Unsubscribe { channel: "c", code: UnsubscribeCode::InsufficientState },
        r#"{"push":{"channel":"c","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
    );
    check_push(Push::Refresh { ttl: None }, r#"{"push":{"refresh":{}}}"#);
    check_push(Push::Refresh { ttl: Some(60) }, r#"{"push":{"refresh":{"expires":true,"ttl":60}}}"#);
    check_push(
        Push::Disconnect { code: DisconnectCode::Shutdown },
        r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#,
    );
}

#[test]
fn replies_of_one_message_are_joined_by_newlines() {
    let mut payload = b"what stands before".to_vec();
    let starts_at = payload.len();
    append_ping(JSON, &mut payload, starts_at);
    let reply = Reply { id: 1, outcome: Ok(Outcome::Publish) };
    append_reply(JSON, &reply, &mut payload, starts_at).expect("a reply without data");
    append_ping(JSON, &mut payload, starts_at);
    assert_eq!(str::from_utf8(&payload), Ok("what stands before{}\n{\"id\":1,\"publish\":{}}\n{}"));
}

#[test]
fn data_that_is_not_json_leaves_the_payload_as_it_was() {
    let mut payload = b"before{}".to_vec();
    let good = publication("1", 1);
    let bad = publication("{", 2);
    let push = Push::Publication { channel: "x", publication: &bad, epoch: None };
    assert_eq!(append_push(JSON, &push, &mut payload, 6), Err(Inappropriate));
    let push = Push::DeltaPublication { channel: "x", publication: &bad, epoch: None, patch: None };
    assert_eq!(append_push(JSON, &push, &mut payload, 6), Err(Inappropriate), "no JSON is in the text");
    let publications = vec![Arc::new(good.clone()), Arc::new(bad.clone())];
    let result = SubscribeResult { publications, delta: true, ..SubscribeResult::default() };
    let reply = Reply { id: 1, outcome: Ok(Outcome::Subscribe(Box::new(result))) };
    assert_eq!(append_reply(JSON, &reply, &mut payload, 6), Err(Inappropriate));
    let result = HistoryResult { publications: vec![Arc::new(good), Arc::new(bad)], epoch: epoch(), offset: 2 };
    let reply = Reply { id: 1, outcome: Ok(Outcome::History(result)) };
    assert_eq!(append_reply(JSON, &reply, &mut payload, 6), Err(Inappropriate));
    assert_eq!(payload, b"before{}");
}
