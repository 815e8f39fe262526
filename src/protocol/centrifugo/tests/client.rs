//! What a client makes of the hub's messages, in either format, as the schema's types: the common
//! ground on which the two are compared.

use bytes::Bytes;
use prost::Message;
use serde_json::{Map, Value};

use crate::protocol::centrifugo::schema;

/// Reads the replies of one binary message.
pub fn read_protobuf(mut message: &[u8]) -> Vec<schema::Reply> {
    let mut replies = Vec::new();
    while !message.is_empty() {
        replies.push(schema::Reply::decode_length_delimited(&mut message).expect("the hub's messages are whole"));
    }
    replies
}

/// Reads the replies of one text message. Panics at a field that the schema does not have.
pub fn read_json(message: &[u8]) -> Vec<schema::Reply> {
    let text = str::from_utf8(message).expect("a text message is UTF-8");
    text.split('\n').map(|line| reply(serde_json::from_str(line).expect("each line is one JSON value"))).collect()
}

/// The JSON that `data` stands for, written in one way only.
pub fn canonical(data: &[u8]) -> Bytes {
    if data.is_empty() {
        return Bytes::new();
    }
    Bytes::from(serde_json::from_slice::<Value>(data).expect("data is JSON").to_string())
}

fn reply(value: Value) -> schema::Reply {
    let mut reply = schema::Reply::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "id" => reply.id = number32(value),
            "error" => reply.error = Some(error(value)),
            "push" => reply.push = Some(push(value)),
            "connect" => reply.connect = Some(connect(value)),
            "subscribe" => reply.subscribe = Some(subscribe(value)),
            "unsubscribe" => reply.unsubscribe = empty(value).then_some(schema::UnsubscribeResult {}),
            "publish" => reply.publish = empty(value).then_some(schema::PublishResult {}),
            "presence" => reply.presence = Some(presence(value)),
            "presence_stats" => reply.presence_stats = Some(presence_stats(value)),
            "history" => reply.history = Some(history(value)),
            "rpc" => reply.rpc = Some(schema::RpcResult { data: only_data(value) }),
            "refresh" => reply.refresh = Some(refresh(value)),
            "sub_refresh" => reply.sub_refresh = Some(sub_refresh(value)),
            other => panic!("a reply has no field {other}"),
        }
    }
    reply
}

fn error(value: Value) -> schema::Error {
    let mut error = schema::Error::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "code" => error.code = number32(value),
            "message" => error.message = text(value),
            "temporary" => error.temporary = truth(value),
            other => panic!("an error has no field {other}"),
        }
    }
    error
}

fn push(value: Value) -> schema::Push {
    let mut push = schema::Push::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "channel" => push.channel = text(value),
            "pub" => push.r#pub = Some(publication(value)),
            "join" => push.join = Some(schema::Join { info: Some(only_info(value)) }),
            "leave" => push.leave = Some(schema::Leave { info: Some(only_info(value)) }),
            "subscribe" => push.subscribe = Some(subscribed(value)),
            "unsubscribe" => {
                let (code, reason) = code_and_reason(value);
                push.unsubscribe = Some(schema::Unsubscribe { code, reason });
            }
            "refresh" => {
                let schema::SubRefreshResult { expires, ttl, .. } = sub_refresh(value);
                push.refresh = Some(schema::Refresh { expires, ttl });
            }
            "disconnect" => {
                let (code, reason) = code_and_reason(value);
                push.disconnect = Some(schema::Disconnect { code, reason, reconnect: false });
            }
            other => panic!("a push has no field {other}"),
        }
    }
    push
}

fn connect(value: Value) -> schema::ConnectResult {
    let mut connect = schema::ConnectResult::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "client" => connect.client = text(value),
            "version" => connect.version = text(value),
            "expires" => connect.expires = truth(value),
            "ttl" => connect.ttl = number32(value),
            "data" => connect.data = data(value),
            "subs" => connect.subs = object(value).into_iter().map(server_subscription).collect(),
            "ping" => connect.ping = number32(value),
            "pong" => connect.pong = truth(value),
            "time" => connect.time = value.as_i64().expect("milliseconds"),
            other => panic!("a connect result has no field {other}"),
        }
    }
    connect
}

fn server_subscription((channel, value): (String, Value)) -> schema::ServerSubscription {
    schema::ServerSubscription { channel, result: Some(subscribe(value)) }
}

fn subscribe(value: Value) -> schema::SubscribeResult {
    let mut subscribe = schema::SubscribeResult::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "expires" => subscribe.expires = truth(value),
            "ttl" => subscribe.ttl = number32(value),
            "recoverable" => subscribe.recoverable = truth(value),
            "epoch" => subscribe.epoch = text(value),
            "publications" => subscribe.publications = publications(value),
            "recovered" => subscribe.recovered = truth(value),
            "offset" => subscribe.offset = number(value),
            "positioned" => subscribe.positioned = truth(value),
            "data" => subscribe.data = data(value),
            "was_recovering" => subscribe.was_recovering = truth(value),
            other => panic!("a subscribe result has no field {other}"),
        }
    }
    subscribe
}

fn subscribed(value: Value) -> schema::Subscribe {
    let schema::SubscribeResult { recoverable, epoch, offset, positioned, data, .. } = subscribe(value);
    schema::Subscribe { recoverable, epoch, offset, positioned, data }
}

fn presence(value: Value) -> schema::PresenceResult {
    let clients = object(only("presence", value));
    schema::PresenceResult { presence: clients.into_iter().map(|(id, value)| (id, info(value))).collect() }
}

fn presence_stats(value: Value) -> schema::PresenceStatsResult {
    let mut fields = object(value);
    let mut take = |field| number32(fields.remove(field).expect("presence stats have both numbers"));
    schema::PresenceStatsResult { num_clients: take("num_clients"), num_users: take("num_users") }
}

fn history(value: Value) -> schema::HistoryResult {
    let mut fields = object(value);
    let mut take = |field| fields.remove(field).expect("a history has all three fields");
    schema::HistoryResult {
        publications: publications(take("publications")),
        epoch: text(take("epoch")),
        offset: number(take("offset")),
    }
}

fn refresh(value: Value) -> schema::RefreshResult {
    let mut fields = object(value);
    let client = text(fields.remove("client").expect("a refresh names the client"));
    let schema::SubRefreshResult { expires, ttl, .. } = sub_refresh(Value::Object(fields));
    schema::RefreshResult { client, expires, ttl, ..Default::default() }
}

fn sub_refresh(value: Value) -> schema::SubRefreshResult {
    let mut result = schema::SubRefreshResult::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "expires" => result.expires = truth(value),
            "ttl" => result.ttl = number32(value),
            other => panic!("a refresh result has no field {other}"),
        }
    }
    result
}

fn publications(value: Value) -> Vec<schema::Publication> {
    let Value::Array(publications) = value else { panic!("not a list: {value}") };
    publications.into_iter().map(publication).collect()
}

fn publication(value: Value) -> schema::Publication {
    let mut publication = schema::Publication::default();
    for (field, value) in object(value) {
        match field.as_str() {
            "data" => publication.data = data(value),
            "info" => publication.info = Some(info(value)),
            "offset" => publication.offset = number(value),
            "tags" => publication.tags = object(value).into_iter().map(|(tag, value)| (tag, text(value))).collect(),
            "epoch" => publication.epoch = text(value),
            "version" => publication.version = number(value),
            other => panic!("a publication has no field {other}"),
        }
    }
    publication
}

fn info(value: Value) -> schema::ClientInfo {
    let mut fields = object(value);
    let mut take = |field| fields.remove(field);
    let info = schema::ClientInfo {
        user: text(take("user").expect("a client info has a user")),
        client: text(take("client").expect("a client info has a client")),
        conn_info: take("conn_info").map(data).unwrap_or_default(),
        chan_info: take("chan_info").map(data).unwrap_or_default(),
    };
    assert!(fields.is_empty(), "a client info has no fields {fields:?}");
    info
}

fn only_info(value: Value) -> schema::ClientInfo {
    info(only("info", value))
}

fn only_data(value: Value) -> Bytes {
    if value == Value::Object(Map::new()) { Bytes::new() } else { data(only("data", value)) }
}

fn code_and_reason(value: Value) -> (u32, String) {
    let mut fields = object(value);
    let mut take = |field| fields.remove(field).expect("code and reason are both there");
    (number32(take("code")), text(take("reason")))
}

fn only(field: &str, value: Value) -> Value {
    let mut fields = object(value);
    assert_eq!(fields.len(), 1, "only {field}: {fields:?}");
    fields.remove(field).expect("the only field")
}

fn empty(value: Value) -> bool {
    object(value).is_empty()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("not an object: {value}") };
    fields
}

fn data(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn text(value: Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: Value) -> u64 {
    value.as_u64().expect("a number of 64 bits")
}

fn number32(value: Value) -> u32 {
    u32::try_from(number(value)).expect("a number of 32 bits")
}

fn truth(value: Value) -> bool {
    value.as_bool().expect("true or false")
}
