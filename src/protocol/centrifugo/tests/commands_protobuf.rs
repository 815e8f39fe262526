use bytes::Bytes;
use prost::Message;

use super::decode_all;
use crate::model::{
    Command, CommandKind, ConnectRequest, DataShape, Format, HistoryRequest, Request, Since, SubscribeRequest,
    SubscriptionType,
};
use crate::protocol::centrifugo::schema;
use crate::protocol::{DecodeLimits, Incoming, Malformed, decode};

/// Encodes `command` as a client would and checks what the hub reads.
fn check(command: schema::Command, expected: Request) {
    let (incoming, malformed) = decode_all(Format::CentrifugoProtobuf, &command.encode_length_delimited_to_vec());
    assert_eq!(malformed, None, "{command:?}");
    assert_eq!(incoming, [Incoming::Command(Command { id: command.id, request: expected })]);
}

/// Checks bytes that begin with `pongs` pongs and end in an error.
fn check_malformed(message: &[u8], pongs: usize, what: &str) {
    let (incoming, malformed) = decode_all(Format::CentrifugoProtobuf, message);
    assert_eq!(incoming, vec![Incoming::Pong; pongs], "{message:x?}");
    assert_eq!(malformed.map(|malformed| malformed.what), Some(what), "{message:x?}");
}

fn with_id(id: u32) -> schema::Command {
    schema::Command { id, ..Default::default() }
}

#[test]
fn a_connect_is_read_whole() {
    let connect = schema::ConnectRequest {
        token: "t".into(),
        data: Bytes::from_static(b"\0\xff"),
        subs: [("a".to_owned(), schema::SubscribeRequest { offset: 7, epoch: "e".into(), ..Default::default() })]
            .into(),
        name: "js".into(),
        version: "5".into(),
        headers: [("x".to_owned(), "y".to_owned())].into(),
        flag: -1,
        dict: "d".into(),
        profile: "p".into(),
    };
    let expected = ConnectRequest {
        token: "t".into(),
        data: Bytes::from_static(b"\0\xff"),
        subs: [("a".to_owned(), SubscribeRequest { offset: 7, epoch: "e".into(), ..Default::default() })].into(),
        name: "js".into(),
        version: "5".into(),
        headers: [("x".to_owned(), "y".to_owned())].into(),
        flag: -1,
    };
    check(schema::Command { connect: Some(connect), ..with_id(1) }, Request::Connect(Box::new(expected)));
}

#[test]
fn a_subscribe_is_read_whole() {
    let subscribe = schema::SubscribeRequest {
        channel: "c".into(),
        token: "t".into(),
        recover: true,
        epoch: "e".into(),
        offset: u64::MAX,
        data: Bytes::from_static(b"d"),
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil".into(),
        tf: Some(schema::FilterNode::default()),
        flag: 3,
        r#type: 1,
        phase: 2,
        cursor: "x".into(),
        limit: 5,
        asc: true,
    };
    let expected = SubscribeRequest {
        channel: "c".into(),
        token: "t".into(),
        data: Bytes::from_static(b"d"),
        recover: true,
        epoch: "e".into(),
        offset: u64::MAX,
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil".into(),
        has_filter: true,
        flag: 3,
        subscription_type: SubscriptionType::Other(1),
    };
    check(schema::Command { subscribe: Some(subscribe), ..with_id(2) }, Request::Subscribe(Box::new(expected)));
}

#[test]
fn the_other_requests_are_read() {
    let channel = || "c".to_owned();
    let data = Bytes::from_static(b"\x01not json");
    let history = schema::HistoryRequest {
        channel: channel(),
        limit: -1,
        since: Some(schema::StreamPosition { offset: 7, epoch: "e".into() }),
        reverse: true,
    };
    let expected = HistoryRequest {
        channel: "c".into(),
        limit: -1,
        since: Some(Since { offset: 7, epoch: "e".into() }),
        reverse: true,
    };
    check(schema::Command { history: Some(history), ..with_id(3) }, Request::History(Box::new(expected)));
    check(
        schema::Command {
            publish: Some(schema::PublishRequest { channel: channel(), data: data.clone(), ..Default::default() }),
            ..with_id(3)
        },
        Request::Publish { channel: "c".into(), data: data.clone(), shape: DataShape::Unknown },
    );
    check(
        schema::Command {
            publish: Some(schema::PublishRequest { channel: channel(), r#type: 1, ..Default::default() }),
            ..with_id(3)
        },
        Request::NotOffered { kind: CommandKind::Publish },
    );
    check(
        schema::Command { unsubscribe: Some(schema::UnsubscribeRequest { channel: channel() }), ..with_id(3) },
        Request::Unsubscribe { channel: "c".into() },
    );
    check(
        schema::Command { presence: Some(schema::PresenceRequest { channel: channel() }), ..with_id(3) },
        Request::Presence { channel: "c".into() },
    );
    check(
        schema::Command { presence_stats: Some(schema::PresenceStatsRequest { channel: channel() }), ..with_id(3) },
        Request::PresenceStats { channel: "c".into() },
    );
    check(
        schema::Command { rpc: Some(schema::RpcRequest { method: "m".into(), data: data.clone() }), ..with_id(3) },
        Request::Rpc { method: "m".into(), data: data.clone() },
    );
    check(
        schema::Command { send: Some(schema::SendRequest { data: data.clone() }), ..with_id(0) },
        Request::Send { data },
    );
    check(
        schema::Command { refresh: Some(schema::RefreshRequest { token: "t".into() }), ..with_id(3) },
        Request::Refresh { token: "t".into() },
    );
    let refresh = schema::SubRefreshRequest { channel: channel(), token: "t".into(), ..Default::default() };
    check(
        schema::Command { sub_refresh: Some(refresh), ..with_id(3) },
        Request::SubRefresh { channel: "c".into(), token: "t".into() },
    );
    let track = schema::SubRefreshRequest { channel: channel(), r#type: 2, ..Default::default() };
    check(
        schema::Command { sub_refresh: Some(track), ..with_id(3) },
        Request::NotOffered { kind: CommandKind::SubRefresh },
    );
    check(schema::Command { ping: Some(schema::PingRequest {}), ..with_id(3) }, Request::Ping);
}

#[test]
fn of_several_requests_the_first_in_centrifugos_order_counts() {
    let command = schema::Command {
        ping: Some(schema::PingRequest {}),
        subscribe: Some(schema::SubscribeRequest::default()),
        ..with_id(1)
    };
    check(command, Request::Ping);
}

/// Recorded from `centrifuge` 5.8.0 (npm): the schema's numbers are the SDK's.
#[test]
fn the_first_message_of_the_official_sdk_is_read() {
    let message = b"\x10\x08\x01\x22\x0c\x0a\x01t\x12\x01\x01\x22\x01n\x2a\x011\
        \x19\x08\x02\x2a\x15\x0a\x02ch\x18\x01\x32\x03abc\x38\x07\x48\x01\x50\x01\x58\x01\x70\x01";
    let connect = ConnectRequest {
        token: "t".into(),
        data: Bytes::from_static(b"\x01"),
        name: "n".into(),
        version: "1".into(),
        ..ConnectRequest::default()
    };
    let subscribe = SubscribeRequest {
        channel: "ch".into(),
        recover: true,
        epoch: "abc".into(),
        offset: 7,
        positioned: true,
        recoverable: true,
        join_leave: true,
        flag: 1,
        ..SubscribeRequest::default()
    };
    let requests = [Request::Connect(Box::new(connect)), Request::Subscribe(Box::new(subscribe))];
    let expected: Vec<_> =
        (1..).zip(requests).map(|(id, request)| Incoming::Command(Command { id, request })).collect();
    assert_eq!(decode_all(Format::CentrifugoProtobuf, message), (expected, None));
}

#[test]
fn a_message_holds_several_commands() {
    // Field 1 (id) = 5, field 13 (rpc) = an empty message.
    let message = b"\x00\x04\x08\x05\x6a\x00\x00";
    let rpc = Command { id: 5, request: Request::Rpc { method: "".into(), data: Bytes::new() } };
    let expected = vec![Incoming::Pong, Incoming::Command(rpc), Incoming::Pong];
    assert_eq!(decode_all(Format::CentrifugoProtobuf, message), (expected, None));
}

#[test]
fn lengths_are_checked_before_anything_else() {
    check_malformed(b"", 0, "a length without an end");
    check_malformed(b"\x80", 0, "a length without an end");
    check_malformed(b"\x00\x80", 1, "a length without an end");
    check_malformed(b"\x05\x08\x01", 0, "a command longer than its message");
    check_malformed(b"\x80\x80\x04", 0, "a command longer than its message");
    check_malformed(b"\x81\x80\x04", 0, "a command over the size limit");
    // The largest number of 64 bits, and one of 65.
    check_malformed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, "a command over the size limit");
    check_malformed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 0, "a length that is not a varint");
    check_malformed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", 0, "a length that is not a varint");
    // 0 and 1 written longer than they need be.
    check_malformed(b"\x80\x00", 0, "a length that is not a varint");
    check_malformed(b"\x81\x80\x00", 0, "a length that is not a varint");
}

#[test]
fn a_command_may_be_as_long_as_the_limit() {
    let command = schema::Command { rpc: Some(schema::RpcRequest::default()), ..with_id(1) };
    let message = command.encode_length_delimited_to_vec();
    let decode = |command_bytes_max| {
        decode(Format::CentrifugoProtobuf, &message, DecodeLimits { command_bytes_max }).collect::<Vec<_>>()
    };
    assert!(decode(command.encoded_len()).iter().all(Result::is_ok));
    assert_eq!(decode(command.encoded_len() - 1), [Err(Malformed::bad_request("a command over the size limit"))]);
}

#[test]
fn what_is_not_a_command_is_malformed() {
    check_malformed(b"\x01\x08", 0, "bytes that are not a command");
    check_malformed(b"\x02\x0a\x00", 0, "bytes that are not a command");
    // A token that is not UTF-8; a string longer than its command.
    check_malformed(b"\x07\x08\x01\x22\x03\x0a\x01\xff", 0, "bytes that are not a command");
    check_malformed(b"\x06\x08\x01\x22\x02\x0a\x7f", 0, "bytes that are not a command");
    check_malformed(b"\x02\x08\x01", 0, "a command without a known request");
    check_malformed(b"\x02\x6a\x00", 0, "a request without an id");
    // Field 99 is unknown.
    check_malformed(b"\x05\x08\x01\x9a\x06\x00", 0, "a command without a known request");
}

#[test]
fn deep_nesting_costs_no_stack() {
    // Groups of an unknown field, opened and never closed.
    let mut message = vec![0xe0, 0xd4, 0x03];
    message.extend(std::iter::repeat_n(0x9b, 30_000).flat_map(|byte| [byte, 0x06]));
    check_malformed(&message, 0, "bytes that are not a command");

    let mut filter = schema::FilterNode::default();
    for _ in 0..200 {
        filter = schema::FilterNode { nodes: vec![filter], ..Default::default() };
    }
    let subscribe = schema::SubscribeRequest { tf: Some(filter), ..Default::default() };
    let command = schema::Command { subscribe: Some(subscribe), ..with_id(1) };
    check_malformed(&command.encode_length_delimited_to_vec(), 0, "bytes that are not a command");
}
