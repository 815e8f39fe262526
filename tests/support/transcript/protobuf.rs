//! The lines of transcripts, which are JSON, as Protobuf and back.
//!
//! `data` is its JSON text as bytes; a text that begins with "hex:" stands for bytes that are no JSON.

use fanfare::protocol::centrifugo::schema::{self, Command, Reply};
use prost::Message;
use prost::bytes::Bytes;
use serde_json::{Map, Value, json};

/// The command that `line` says, behind its length.
pub fn command(line: &str) -> Vec<u8> {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the command {line}"));
    let mut command = Command::default();
    for (field, value) in object(&value) {
        match field.as_str() {
            "id" => command.id = number(value),
            "connect" => command.connect = Some(connect(value)),
            "subscribe" => command.subscribe = Some(subscribe(value)),
            "unsubscribe" => command.unsubscribe = Some(schema::UnsubscribeRequest { channel: channel(value) }),
            "publish" => command.publish = Some(publish(value)),
            "presence" => command.presence = Some(schema::PresenceRequest { channel: channel(value) }),
            "presence_stats" => {
                command.presence_stats = Some(schema::PresenceStatsRequest { channel: channel(value) });
            }
            "history" => command.history = Some(history(value)),
            "ping" => command.ping = Some(schema::PingRequest {}),
            "send" => command.send = Some(schema::SendRequest { data: data(value.get("data")) }),
            "rpc" => {
                let method = text(&value["method"]);
                command.rpc = Some(schema::RpcRequest { data: data(value.get("data")), method });
            }
            "refresh" => command.refresh = Some(schema::RefreshRequest { token: text(&value["token"]) }),
            "sub_refresh" => command.sub_refresh = Some(sub_refresh(value)),
            other => panic!("{other} is no command that transcripts know"),
        }
    }
    command.encode_length_delimited_to_vec()
}

/// The replies of one message, each as JSON would say it.
pub fn replies(mut payload: &[u8]) -> Vec<Value> {
    let mut replies = Vec::new();
    while !payload.is_empty() {
        let reply = Reply::decode_length_delimited(&mut payload).expect("the hub's messages are whole");
        replies.push(reply_value(reply));
    }
    replies
}

fn connect(value: &Value) -> schema::ConnectRequest {
    let mut connect = schema::ConnectRequest::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "token" => connect.token = text(value),
            "data" => connect.data = data(Some(value)),
            "subs" => {
                connect.subs = object(value).iter().map(|(name, value)| (name.clone(), subscribe(value))).collect();
            }
            "name" => connect.name = text(value),
            "version" => connect.version = text(value),
            other => panic!("{other} is no field of connect that transcripts know"),
        }
    }
    connect
}

fn subscribe(value: &Value) -> schema::SubscribeRequest {
    let mut subscribe = schema::SubscribeRequest::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "channel" => subscribe.channel = text(value),
            "token" => subscribe.token = text(value),
            "data" => subscribe.data = data(Some(value)),
            "recover" => subscribe.recover = truth(value),
            "epoch" => subscribe.epoch = text(value),
            "offset" => subscribe.offset = number(value),
            "positioned" => subscribe.positioned = truth(value),
            "recoverable" => subscribe.recoverable = truth(value),
            "join_leave" => subscribe.join_leave = truth(value),
            "delta" => subscribe.delta = text(value),
            "tf" => subscribe.tf = Some(schema::FilterNode { key: text(&value["key"]), ..Default::default() }),
            "flag" => subscribe.flag = number(value),
            "type" => subscribe.r#type = number(value),
            other => panic!("{other} is no field of subscribe that transcripts know"),
        }
    }
    subscribe
}

fn publish(value: &Value) -> schema::PublishRequest {
    schema::PublishRequest {
        channel: channel(value),
        data: data(value.get("data")),
        r#type: number(&value["type"]),
        key: text(&value["key"]),
        ..Default::default()
    }
}

fn history(value: &Value) -> schema::HistoryRequest {
    let since = value
        .get("since")
        .map(|since| schema::StreamPosition { offset: number(&since["offset"]), epoch: text(&since["epoch"]) });
    schema::HistoryRequest {
        channel: channel(value),
        limit: number(&value["limit"]),
        since,
        reverse: truth(&value["reverse"]),
    }
}

fn sub_refresh(value: &Value) -> schema::SubRefreshRequest {
    schema::SubRefreshRequest {
        channel: channel(value),
        token: text(&value["token"]),
        r#type: number(&value["type"]),
        ..Default::default()
    }
}

fn reply_value(reply: Reply) -> Value {
    let mut fields = Fields::default();
    fields.number("id", reply.id);
    if let Some(error) = reply.error {
        let mut inner = Fields::default();
        inner.number("code", error.code);
        inner.text("message", error.message);
        inner.truth("temporary", error.temporary);
        fields.put("error", inner);
    }
    let empty = |is_there: bool| is_there.then(Fields::default);
    fields.put_if("push", reply.push.map(push_value));
    fields.put_if("connect", reply.connect.map(connect_value));
    fields.put_if("subscribe", reply.subscribe.map(subscribe_value));
    fields.put_if("unsubscribe", empty(reply.unsubscribe.is_some()));
    fields.put_if("publish", empty(reply.publish.is_some()));
    fields.put_if("presence", reply.presence.map(presence_value));
    fields.put_if("history", reply.history.map(history_value));
    fields.put_if("refresh", reply.refresh.map(refresh_value));
    if let Some(refresh) = reply.sub_refresh {
        let mut inner = Fields::default();
        inner.truth("expires", refresh.expires);
        inner.number("ttl", refresh.ttl);
        fields.put("sub_refresh", inner);
    }
    if let Some(stats) = reply.presence_stats {
        let stats = json!({"num_clients": stats.num_clients, "num_users": stats.num_users});
        fields.0.insert("presence_stats".into(), stats);
    }
    Value::Object(fields.0)
}

fn push_value(push: schema::Push) -> Fields {
    let mut fields = Fields::default();
    fields.text("channel", push.channel);
    fields.put_if("pub", push.r#pub.map(publication_value));
    for (name, info) in [("join", push.join.map(|join| join.info)), ("leave", push.leave.map(|leave| leave.info))] {
        if let Some(info) = info {
            let mut inner = Fields::default();
            inner.put("info", info_value(info.expect("joins and leaves say who")));
            fields.put(name, inner);
        }
    }
    if let Some(subscribe) = push.subscribe {
        let mut inner = Fields::default();
        inner.truth("recoverable", subscribe.recoverable);
        inner.text("epoch", subscribe.epoch);
        inner.number("offset", subscribe.offset);
        inner.truth("positioned", subscribe.positioned);
        inner.data("data", &subscribe.data);
        fields.put("subscribe", inner);
    }
    if let Some(unsubscribe) = push.unsubscribe {
        let mut inner = Fields::default();
        inner.number("code", unsubscribe.code);
        inner.text("reason", unsubscribe.reason);
        fields.put("unsubscribe", inner);
    }
    if let Some(refresh) = push.refresh {
        let mut inner = Fields::default();
        inner.truth("expires", refresh.expires);
        inner.number("ttl", refresh.ttl);
        fields.put("refresh", inner);
    }
    fields
}

fn connect_value(connect: schema::ConnectResult) -> Fields {
    let mut fields = Fields::default();
    fields.text("client", connect.client);
    fields.text("version", connect.version);
    fields.truth("expires", connect.expires);
    fields.number("ttl", connect.ttl);
    fields.data("data", &connect.data);
    if !connect.subs.is_empty() {
        let value = |result: Option<_>| Value::Object(subscribe_value(result.expect("each has a result")).0);
        let subs = connect.subs.into_iter().map(|entry| (entry.channel, value(entry.result)));
        fields.0.insert("subs".into(), Value::Object(subs.collect()));
    }
    fields.number("ping", connect.ping);
    fields.truth("pong", connect.pong);
    fields.number("time", connect.time.cast_unsigned());
    fields
}

fn subscribe_value(subscribe: schema::SubscribeResult) -> Fields {
    let mut fields = Fields::default();
    fields.truth("expires", subscribe.expires);
    fields.number("ttl", subscribe.ttl);
    fields.truth("recoverable", subscribe.recoverable);
    fields.text("epoch", subscribe.epoch);
    if !subscribe.publications.is_empty() {
        fields.0.insert("publications".into(), publications(subscribe.publications));
    }
    fields.truth("recovered", subscribe.recovered);
    fields.number("offset", subscribe.offset);
    fields.truth("positioned", subscribe.positioned);
    fields.data("data", &subscribe.data);
    fields.truth("was_recovering", subscribe.was_recovering);
    fields.truth("delta", subscribe.delta);
    fields
}

fn presence_value(presence: schema::PresenceResult) -> Fields {
    let clients = presence.presence.into_iter().map(|(client, info)| (client, Value::Object(info_value(info).0)));
    let mut fields = Fields::default();
    fields.0.insert("presence".into(), Value::Object(clients.collect()));
    fields
}

fn history_value(history: schema::HistoryResult) -> Fields {
    let mut fields = Fields::default();
    fields.0.insert("publications".into(), publications(history.publications));
    fields.0.insert("epoch".into(), history.epoch.into());
    fields.0.insert("offset".into(), history.offset.into());
    fields
}

fn refresh_value(refresh: schema::RefreshResult) -> Fields {
    let mut fields = Fields::default();
    fields.text("client", refresh.client);
    fields.text("version", refresh.version);
    fields.truth("expires", refresh.expires);
    fields.number("ttl", refresh.ttl);
    fields
}

fn publications(publications: Vec<schema::Publication>) -> Value {
    publications.into_iter().map(|publication| Value::Object(publication_value(publication).0)).collect()
}

fn publication_value(publication: schema::Publication) -> Fields {
    let mut fields = Fields::default();
    fields.data("data", &publication.data);
    fields.put_if("info", publication.info.map(info_value));
    fields.number("offset", publication.offset);
    fields.text("epoch", publication.epoch);
    fields.number("version", publication.version);
    fields
}

fn info_value(info: schema::ClientInfo) -> Fields {
    let mut fields = Fields::default();
    fields.0.insert("user".into(), info.user.into());
    fields.0.insert("client".into(), info.client.into());
    fields.data("conn_info", &info.conn_info);
    fields.data("chan_info", &info.chan_info);
    fields
}

/// An object that leaves out what is zero or empty, as the JSON of the protocol does.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, fields: Fields) {
        self.0.insert(name.into(), Value::Object(fields.0));
    }

    fn put_if(&mut self, name: &str, fields: Option<Fields>) {
        if let Some(fields) = fields {
            self.put(name, fields);
        }
    }

    fn number(&mut self, name: &str, number: impl Into<u64>) {
        let number = number.into();
        if number != 0 {
            self.0.insert(name.into(), number.into());
        }
    }

    fn text(&mut self, name: &str, text: String) {
        if !text.is_empty() {
            self.0.insert(name.into(), text.into());
        }
    }

    fn truth(&mut self, name: &str, truth: bool) {
        if truth {
            self.0.insert(name.into(), true.into());
        }
    }

    fn data(&mut self, name: &str, data: &[u8]) {
        if !data.is_empty() {
            let hex = || data.iter().fold("hex:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
            let value = serde_json::from_slice(data).unwrap_or_else(|_| Value::String(hex()));
            self.0.insert(name.into(), value);
        }
    }
}

fn data(value: Option<&Value>) -> Bytes {
    let Some(value) = value else { return Bytes::new() };
    match value.as_str().and_then(|text| text.strip_prefix("hex:")) {
        Some(hex) => {
            let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
            pairs.collect::<Result<Vec<u8>, _>>().expect("pairs of hexadecimal digits").into()
        }
        None => value.to_string().into(),
    }
}

fn channel(value: &Value) -> String {
    text(&value["channel"])
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn number<N: TryFrom<i64>>(value: &Value) -> N {
    N::try_from(value.as_i64().unwrap_or_default()).ok().expect("a number in the field's range")
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}
