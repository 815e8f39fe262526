use super::decode_all;
use crate::model::{Command, CommandKind, Format, Request};
use crate::protocol::{DecodeLimits, Incoming, decode};

/// Decodes `message` and prints what it says, one line each; `!` is the error that ended it.
fn check(message: &str, expected: &[&str]) {
    let (incoming, malformed) = decode_all(Format::CentrifugoJson, message.as_bytes());
    let mut lines: Vec<String> = incoming.iter().map(print).collect();
    lines.extend(malformed.map(|malformed| format!("! {}", malformed.what)));
    assert_eq!(lines, expected, "{message:.200}");
}

fn check_malformed(message: &str) {
    check(message, &["! a line that is not one command"]);
}

/// The facts of one command, without its zero values.
fn print(incoming: &Incoming) -> String {
    let Incoming::Command(Command { id, request }) = incoming else {
        return "pong".to_owned();
    };
    let facts = match request {
        Request::Connect(connect) => {
            let subs: Vec<String> =
                connect.subs.iter().map(|(channel, sub)| format!("{channel}@{}{}", sub.epoch, sub.offset)).collect();
            format!(
                "connect token={} data={} name={} version={} flag={} subs={subs:?} headers={:?}",
                connect.token,
                text(&connect.data),
                connect.name,
                connect.version,
                connect.flag,
                connect.headers
            )
        }
        Request::Subscribe(subscribe) => format!("{subscribe:?}"),
        Request::Unsubscribe { channel } => format!("unsubscribe {channel}"),
        Request::Publish { channel, data, .. } => format!("publish {channel} {}", text(data)),
        Request::Presence { channel } => format!("presence {channel}"),
        Request::PresenceStats { channel } => format!("presence_stats {channel}"),
        Request::History(history) => format!("{history:?}"),
        Request::Rpc { method, data } => format!("rpc {method} {}", text(data)),
        Request::Send { data } => format!("send {}", text(data)),
        Request::Refresh { token } => format!("refresh {token}"),
        Request::SubRefresh { channel, token } => format!("sub_refresh {channel} {token}"),
        Request::Ping => "ping".to_owned(),
        Request::NotOffered { kind } => format!("not offered: {kind:?}"),
    };
    format!("{id} {facts}")
}

fn text(data: &[u8]) -> &str {
    str::from_utf8(data).expect("data from JSON is text")
}

#[test]
fn every_request_is_read() {
    check(
        r#"{"id":1,"connect":{"token":"t","data":{"a": 1},"name":"js","version":"5","flag":3,
           "subs":{"a":{"epoch":"e","offset":7},"b":null},"headers":{"x":"y"}}}"#
            .replace('\n', " ")
            .as_str(),
        &[r#"1 connect token=t data={"a": 1} name=js version=5 flag=3 subs=["a@e7", "b@0"] headers={"x": "y"}"#],
    );
    check(r#"{"id":2,"unsubscribe":{"channel":"c"}}"#, &["2 unsubscribe c"]);
    check(r#"{"id":3,"publish":{"channel":"c","data":[1,  2]}}"#, &["3 publish c [1,  2]"]);
    check(r#"{"id":4,"presence":{"channel":"c"}}"#, &["4 presence c"]);
    check(r#"{"id":5,"presence_stats":{"channel":"c"}}"#, &["5 presence_stats c"]);
    check(
        r#"{"id":6,"history":{"channel":"c","limit":-1,"since":{"offset":18446744073709551615,"epoch":"e"},"reverse":true}}"#,
        &[
            r#"6 HistoryRequest { channel: "c", limit: -1, since: Some(Since { offset: 18446744073709551615, epoch: "e" }), reverse: true }"#,
        ],
    );
    check(r#"{"id":7,"rpc":{"method":"m","data":"x"}}"#, &[r#"7 rpc m "x""#]);
    check(r#"{"send":{"data":1.50}}"#, &["0 send 1.50"]);
    check(r#"{"id":8,"refresh":{"token":"t"}}"#, &["8 refresh t"]);
    check(r#"{"id":9,"sub_refresh":{"channel":"c","token":"t"}}"#, &["9 sub_refresh c t"]);
    check(r#"{"id":10,"ping":{}}"#, &["10 ping"]);
    check(r#"{"id":4294967295,"rpc":{}}"#, &["4294967295 rpc  "]);
}

#[test]
fn a_subscribe_is_read_whole() {
    check(
        r#"{"id":1,"subscribe":{"channel":"c","token":"t","recover":true,"epoch":"e","offset":5,"data":{},"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"op":"and","nodes":[{}]},"flag":3,"type":4}}"#,
        &["1 SubscribeRequest { channel: \"c\", token: \"t\", data: b\"{}\", recover: true, epoch: \"e\", offset: 5, \
           positioned: true, recoverable: true, join_leave: true, delta: \"fossil\", has_filter: true, flag: 3, \
           subscription_type: Other(4) }"],
    );
    check(
        r#"{"id":1,"subscribe":{"channel":"c"}}"#,
        &["1 SubscribeRequest { channel: \"c\", token: \"\", data: b\"\", recover: false, epoch: \"\", offset: 0, \
           positioned: false, recoverable: false, join_leave: false, delta: \"\", has_filter: false, flag: 0, \
           subscription_type: Stream }"],
    );
}

/// Recorded from `centrifuge` 5.8.0 (npm).
#[test]
fn the_first_message_of_the_official_sdk_is_read() {
    check(
        r#"{"connect":{"token":"t","data":{"a":1},"name":"n","version":"1"},"id":1}
{"subscribe":{"channel":"ch","positioned":true,"recoverable":true,"join_leave":true,"flag":1,"recover":true,"offset":7,"epoch":"abc"},"id":2}"#,
        &[
            r#"1 connect token=t data={"a":1} name=n version=1 flag=0 subs=[] headers={}"#,
            "2 SubscribeRequest { channel: \"ch\", token: \"\", data: b\"\", recover: true, epoch: \"abc\", offset: 7, \
             positioned: true, recoverable: true, join_leave: true, delta: \"\", has_filter: false, flag: 1, \
             subscription_type: Stream }",
        ],
    );
}

#[test]
fn a_message_holds_several_commands() {
    let two = "{\"id\":1,\"rpc\":{}}\n{\"id\":2,\"rpc\":{}}";
    check(two, &["1 rpc  ", "2 rpc  "]);
    check(&format!("{two}\n"), &["1 rpc  ", "2 rpc  "]);
    check("{\"id\":1,\"rpc\":{}}\r\n \t{}", &["1 rpc  ", "pong"]);
    check("{}\n{}", &["pong", "pong"]);
}

#[test]
fn lines_without_a_command_are_malformed() {
    let blank = "! a line without a command";
    check("", &[blank]);
    check("\n", &[blank]);
    check("{}\n\n", &["pong", blank]);
    check("{}\n\n{}", &["pong", blank]);
    check("\n{}", &[blank]);
    check_malformed(" ");
}

#[test]
fn what_is_not_one_command_is_malformed() {
    for message in [
        "{}{}",
        "{} x",
        "{",
        "null",
        "[]",
        "[1]",
        "1",
        "\u{feff}{}",
        r#"{"id":"1","rpc":{}}"#,
        r#"{"id":-1,"rpc":{}}"#,
        r#"{"id":1.0,"rpc":{}}"#,
        r#"{"id":4294967296,"rpc":{}}"#,
        r#"{"id":1,"rpc":[]}"#,
        r#"{"id":1,"rpc":"x"}"#,
        r#"{"id":1,"rpc":{"method":1}}"#,
        r#"{"id":1,"rpc":{"data":}}"#,
        r#"{"id":1,"rpc":{"data":nul}}"#,
        r#"{"id":1,"ping":1}"#,
        r#"{"id":1,"subscribe":{"recover":1}}"#,
        r#"{"id":1,"subscribe":{"offset":18446744073709551616}}"#,
        r#"{"id":1,"subscribe":{"offset":-1}}"#,
        r#"{"id":1,"subscribe":{"tf":[]}}"#,
        r#"{"id":1,"history":{"limit":2147483648}}"#,
        r#"{"id":1,"history":{"since":[1,"e"]}}"#,
        r#"{"id":1,"connect":{"subs":[]}}"#,
        r#"{"id":1,"connect":{"subs":{"a":[]}}}"#,
        r#"{"id":1,"connect":{"token":"\ud800"}}"#,
        r#"{"id":1,"id":2,"rpc":{}}"#,
    ] {
        check_malformed(message);
    }
    assert!(decode_all(Format::CentrifugoJson, b"{\"x\":\"\xff\"}").1.is_some());
}

#[test]
fn an_error_leaves_the_commands_before_it() {
    check("{}\n{\"id\":1,\"rpc\":{}}\n{\n{}", &["pong", "1 rpc  ", "! a line that is not one command"]);
}

#[test]
fn null_and_unknown_fields_count_as_absent() {
    check(r#"{"id":null,"connect":null,"x":{"y":[1]}}"#, &["pong"]);
    check(
        r#"{"id":1,"connect":{"token":null,"subs":null,"headers":{"a":null},"name":null,"flag":null,"dict":"d"}}"#,
        &[r#"1 connect token= data= name= version= flag=0 subs=[] headers={"a": ""}"#],
    );
}

#[test]
fn a_null_payload_is_a_payload() {
    check(r#"{"id":1,"publish":{"channel":"c","data":null}}"#, &["1 publish c null"]);
    check(r#"{"id":1,"publish":{"channel":"c"}}"#, &["1 publish c "]);
}

#[test]
fn only_send_and_pong_go_without_an_id() {
    check(r#"{"rpc":{}}"#, &["! a request without an id"]);
    check(r#"{"id":0,"connect":{}}"#, &["! a request without an id"]);
    check(r#"{"send":{}}"#, &["0 send "]);
    check(r#"{"id":7}"#, &["! a command without a known request"]);
    check(r#"{"id":7,"flush":{}}"#, &["! a command without a known request"]);
}

#[test]
fn of_several_requests_the_first_in_centrifugos_order_counts() {
    let order = [
        "connect",
        "ping",
        "subscribe",
        "unsubscribe",
        "publish",
        "presence",
        "presence_stats",
        "history",
        "rpc",
        "send",
        "refresh",
        "sub_refresh",
    ];
    let kinds = [
        CommandKind::Connect,
        CommandKind::Ping,
        CommandKind::Subscribe,
        CommandKind::Unsubscribe,
        CommandKind::Publish,
        CommandKind::Presence,
        CommandKind::PresenceStats,
        CommandKind::History,
        CommandKind::Rpc,
        CommandKind::Send,
        CommandKind::Refresh,
        CommandKind::SubRefresh,
    ];
    for (first, kind) in kinds.into_iter().enumerate() {
        let fields: String = order[first..].iter().rev().map(|name| format!(",\"{name}\":{{}}")).collect();
        let (incoming, _) = decode_all(Format::CentrifugoJson, format!("{{\"id\":1{fields}}}").as_bytes());
        let [Incoming::Command(command)] = incoming.as_slice() else { panic!("{incoming:?}") };
        assert_eq!(command.request.kind(), kind);
    }
}

#[test]
fn map_and_shared_poll_variants_are_not_taken_for_something_else() {
    check(r#"{"id":1,"publish":{"channel":"c","type":1,"key":"k","removed":true}}"#, &["1 not offered: Publish"]);
    check(r#"{"id":1,"sub_refresh":{"channel":"c","type":1,"track":[{}]}}"#, &["1 not offered: SubRefresh"]);
    check(r#"{"id":1,"sub_refresh":{"channel":"c","type":0,"token":"t"}}"#, &["1 sub_refresh c t"]);
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = "[".repeat(60_000);
    check_malformed(&deep);
    check_malformed(&format!(r#"{{"id":1,"publish":{{"data":{deep}"#));
    let closed = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    check(&format!(r#"{{"x":{closed}}}"#), &["pong"]);
    check(&format!(r#"{{"id":1,"rpc":{{"data":{closed}}}}}"#), &[&format!("1 rpc  {closed}")]);
    let filter = format!("{}{}", r#"{"nodes":["#.repeat(5_000), "]}".repeat(5_000));
    let (incoming, _) =
        decode_all(Format::CentrifugoJson, format!(r#"{{"id":1,"subscribe":{{"tf":{filter}}}}}"#).as_bytes());
    assert_eq!(incoming.len(), 1);
}

#[test]
fn a_command_may_be_as_long_as_the_limit() {
    let command = format!(r#"{{"id":1,"rpc":{{"data":"{}"}}}}"#, "x".repeat(100));
    let limits = |command_bytes_max| DecodeLimits { command_bytes_max };
    let fits = format!("{command}\n{command}");
    assert_eq!(decode(Format::CentrifugoJson, fits.as_bytes(), limits(command.len())).flatten().count(), 2);
    assert_eq!(decode(Format::CentrifugoJson, fits.as_bytes(), limits(command.len() - 1)).flatten().count(), 0);
}
