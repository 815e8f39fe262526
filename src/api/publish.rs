//! Methods `publish` and `broadcast`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::failure::Failure;
use super::method::{Method, Outcome, to_json};
use super::reply::Reply;
use super::request::{null_as_default, parse, parse_channel};
use crate::handle::ServerPublication;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, PUBLICATIONS_TOGETHER_MAX, VERSION_EPOCH_BYTES_MAX};
use crate::model::{ChannelName, DataShape, ErrorCode, Position, Tags, Version};

/// What both methods read: `publish` takes `channel`, `broadcast` takes `channels`.
#[derive(Deserialize)]
struct PublishRequest<'a> {
    #[serde(default, deserialize_with = "null_as_default")]
    channel: String,
    #[serde(default, deserialize_with = "null_as_default")]
    channels: Vec<String>,
    /// Any JSON value, passed on as it was written; `null` is one too.
    #[serde(default, borrow, deserialize_with = "some_raw")]
    data: Option<&'a RawValue>,
    /// Bytes instead of JSON.
    #[serde(default, deserialize_with = "null_as_default")]
    b64data: String,
    #[serde(default, deserialize_with = "null_as_default")]
    skip_history: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    tags: Tags,
    #[serde(default, deserialize_with = "null_as_default")]
    idempotency_key: String,
    #[serde(default, deserialize_with = "null_as_default")]
    version: u64,
    #[serde(default, deserialize_with = "null_as_default")]
    version_epoch: String,
    #[serde(default, deserialize_with = "null_as_default")]
    delta: bool,
}

/// Where a publication stands; empty for channels without history.
#[derive(Serialize)]
pub struct PublishResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

#[derive(Serialize)]
pub struct BroadcastResult {
    /// One for each channel, in the order of the request.
    responses: Vec<Reply<PublishResult>>,
}

pub async fn publish(api: &Api, body: &[u8]) -> Result<PublishResult, Failure> {
    let mut outbound = Outbound::default();
    let place = outbound.add_publish(api, body)?;
    Ok(outbound.send(api).await.result(place)?)
}

/// The channels are independent: one that fails says so in its place.
pub async fn broadcast(api: &Api, body: &[u8]) -> Result<BroadcastResult, Failure> {
    let mut outbound = Outbound::default();
    let places = outbound.add_broadcast(api, body)?;
    Ok(outbound.send(api).await.responses(places))
}

/// Runs calls that publish, and nothing else: all go out together, in the order given.
pub async fn publish_together(api: &Api, calls: &[(Method, &[u8])]) -> Vec<Outcome> {
    let mut outbound = Outbound::default();
    let added: Vec<_> = calls.iter().map(|(method, params)| outbound.add(api, *method, params)).collect();
    let sent = outbound.send(api).await;
    added
        .into_iter()
        .map(|added| match added? {
            Added::Publish(place) => to_json(sent.result(place).map_err(Failure::from)),
            Added::Broadcast(places) => to_json(Ok(sent.responses(places))),
        })
        .collect()
}

/// Publications of one HTTP request, in order: each home takes its own in one go, so that what one of
/// its rooms is given is joined.
#[derive(Default)]
struct Outbound(Vec<ServerPublication>);

/// Where they stand, in the same order.
struct Sent(Vec<Result<Option<Position>, ErrorCode>>);

enum Added {
    Publish(usize),
    /// For each channel its place, or what is wrong with it.
    Broadcast(Vec<Result<usize, Failure>>),
}

impl Outbound {
    fn add(&mut self, api: &Api, method: Method, params: &[u8]) -> Result<Added, Failure> {
        api.metrics.api.count_request(method.name());
        match method {
            Method::Broadcast => self.add_broadcast(api, params).map(Added::Broadcast),
            _ => self.add_publish(api, params).map(Added::Publish),
        }
    }

    /// Returns the publication's place.
    fn add_publish(&mut self, api: &Api, params: &[u8]) -> Result<usize, Failure> {
        let request: PublishRequest<'_> = parse(params)?;
        let content = Content::check(api, &request)?;
        self.add_to(api, &request.channel, &content)
    }

    fn add_broadcast(&mut self, api: &Api, params: &[u8]) -> Result<Vec<Result<usize, Failure>>, Failure> {
        let request: PublishRequest<'_> = parse(params)?;
        if request.channels.is_empty() {
            return Err(Failure::field("channels", "must not be empty"));
        }
        let content = Content::check(api, &request)?;
        Ok(request.channels.iter().map(|channel| self.add_to(api, channel, &content)).collect())
    }

    fn add_to(&mut self, api: &Api, channel: &str, content: &Content) -> Result<usize, Failure> {
        self.0.push(content.to(parse_channel(api, channel)?));
        Ok(self.0.len() - 1)
    }

    async fn send(self, api: &Api) -> Sent {
        let mut positions = Vec::with_capacity(self.0.len());
        let mut left = self.0;
        while !left.is_empty() {
            let later = left.split_off(left.len().min(PUBLICATIONS_TOGETHER_MAX));
            positions.extend(api.handle.publish_all(left).await);
            left = later;
        }
        Sent(positions)
    }
}

impl Sent {
    fn result(&self, place: usize) -> Result<PublishResult, ErrorCode> {
        self.0[place].map(PublishResult::from)
    }

    fn responses(&self, places: Vec<Result<usize, Failure>>) -> BroadcastResult {
        let result = |place: Result<usize, Failure>| place.and_then(|place| Ok(self.result(place)?));
        BroadcastResult { responses: places.into_iter().map(|place| Reply::from(result(place))).collect() }
    }
}

/// What is published, checked once for all channels.
#[derive(Clone)]
struct Content {
    data: Bytes,
    shape: DataShape,
    tags: Option<Box<Tags>>,
    skip_history: bool,
    delta: bool,
    idempotency_key: Option<Box<str>>,
    version: Option<Version>,
}

impl Content {
    /// Errors: too much data, or too long a key or epoch, is a bad request; whether there may be no data is for
    /// the namespace to say.
    fn check(api: &Api, request: &PublishRequest<'_>) -> Result<Content, Failure> {
        let (key, epoch) = (&*request.idempotency_key, &*request.version_epoch);
        check_length("idempotency_key", key.len(), IDEMPOTENCY_KEY_BYTES_MAX)?;
        check_length("version_epoch", epoch.len(), VERSION_EPOCH_BYTES_MAX)?;
        let (field, data, shape) = match request.data {
            Some(data) => {
                let data = Bytes::copy_from_slice(data.get().as_bytes());
                let shape = DataShape::of_json(&data);
                ("data", data, shape)
            }
            None => {
                let (data, shape) = decode(&request.b64data)?;
                ("b64data", data, shape)
            }
        };
        check_length(field, data.len(), api.options.publication_bytes_max)?;
        let tags = (!request.tags.is_empty()).then(|| Box::new(request.tags.clone()));
        Ok(Content {
            data,
            shape,
            tags,
            skip_history: request.skip_history,
            delta: request.delta,
            idempotency_key: (!key.is_empty()).then(|| key.into()),
            version: (request.version > 0).then(|| Version { number: request.version, epoch: epoch.into() }),
        })
    }

    fn to(&self, channel: ChannelName) -> ServerPublication {
        let Content { data, shape, tags, skip_history, delta, idempotency_key, version } = self.clone();
        ServerPublication { channel, data, shape, tags, skip_history, delta, idempotency_key, version }
    }
}

fn check_length(field: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Failure> {
    if bytes > bytes_max {
        return Err(Failure::field(field, format!("has {bytes} bytes, at most {bytes_max} are allowed")));
    }
    Ok(())
}

/// Bytes in base64, and what they are: looked at here, so that no shard has to read them.
fn decode(base64: &str) -> Result<(Bytes, DataShape), Failure> {
    let bytes = STANDARD.decode(base64).map_err(|error| Failure::field("b64data", format!("is no base64: {error}")))?;
    let data: Bytes = bytes.into();
    let shape = match serde_json::from_slice::<&RawValue>(&data) {
        Ok(_) => DataShape::of_json(&data),
        Err(_) => DataShape::Bytes,
    };
    Ok((data, shape))
}

impl From<Option<Position>> for PublishResult {
    fn from(position: Option<Position>) -> PublishResult {
        PublishResult {
            offset: position.map(|position| position.offset),
            epoch: position.map(|position| position.epoch.as_str().to_owned()),
        }
    }
}

/// Unlike an `Option`, this takes `null` for a value.
fn some_raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, channel, check, position};
    use crate::handle::{Answered, Question, ServerPublication};
    use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, VERSION_EPOCH_BYTES_MAX};
    use crate::model::{DataShape, ErrorCode, Tags, Version};

    fn publication(name: &str, data: &'static str) -> ServerPublication {
        ServerPublication { shape: DataShape::of_json(data.as_bytes()), ..ServerPublication::new(channel(name), data) }
    }

    #[tokio::test]
    async fn data_is_published_as_it_was_written() {
        let cases = [
            (r#"{"channel": "a", "data": { "b" :1.50}}"#, publication("a", r#"{ "b" :1.50}"#)),
            ("{\"channel\": \"a\",\n \"data\": {\n  \"b\": 1\n }\n}", publication("a", "{\n  \"b\": 1\n }")),
            (r#"{"channel": "\u00e4", "data": null, "tags": null}"#, publication("ä", "null")),
            (r#"{"channel": "a", "b64data": "AP8="}"#, {
                let mut bytes = publication("a", "");
                bytes.data = vec![0, 255].into();
                bytes
            }),
            (r#"{"channel": "a", "b64data": "e30="}"#, publication("a", "{}")),
            (r#"{"channel": "a"}"#, publication("a", "")),
            (r#"{"channel": "a", "data": "x", "skip_history": true, "tags": {"k": "v"}, "delta": true}"#, {
                let mut all = publication("a", "\"x\"");
                (all.skip_history, all.delta) = (true, true);
                all.tags = Some(Box::new(Tags::from([("k".to_owned(), "v".to_owned())])));
                all
            }),
            (r#"{"channel": "a", "data": 1, "idempotency_key": "k", "version": 2, "version_epoch": "e"}"#, {
                let mut all = publication("a", "1");
                all.idempotency_key = Some("k".into());
                all.version = Some(Version { number: 2, epoch: "e".into() });
                all
            }),
        ];
        for (body, expected) in cases {
            let fixture = Fixture::answering(|_| Ok(Answered::Published(Some(position(7)))));
            check(&fixture, "publish", body, r#"{"result":{"offset":7,"epoch":"aaaaaaaa"}}"#).await;
            assert_eq!(fixture.asked(), [Question::Publish(expected)]);
        }
    }

    #[tokio::test]
    async fn a_channel_without_history_gives_no_position() {
        let fixture = Fixture::answering(|_| Ok(Answered::Published(None)));
        check(&fixture, "publish", r#"{"channel": "a", "data": 1}"#, r#"{"result":{}}"#).await;
    }

    #[tokio::test]
    async fn what_lacks_or_is_not_there_is_refused_before_the_home_is_asked() {
        let bad = |detail: &str| format!(r#"{{"error":{{"code":107,"message":"bad request","detail":"{detail}"}}}}"#);
        let fixture = Fixture::new();
        check(&fixture, "publish", r#"{"data": 1}"#, &bad("channel: must not be empty")).await;
        let no_base64 = bad("b64data: is no base64: Invalid symbol 63, offset 0.");
        check(&fixture, "publish", r#"{"channel": "a", "b64data": "?"}"#, &no_base64).await;
        let long = format!(r#"{{"channel": "{}", "data": 1}}"#, "a".repeat(256));
        check(&fixture, "publish", &long, &bad("channel: has 256 bytes, at most 255 are allowed")).await;
        let large = format!(r#"{{"channel": "a", "data": "{}"}}"#, "x".repeat(1000));
        check(&fixture, "publish", &large, &bad("data: has 1002 bytes, at most 1000 are allowed")).await;
        for (field, max) in [("idempotency_key", IDEMPOTENCY_KEY_BYTES_MAX), ("version_epoch", VERSION_EPOCH_BYTES_MAX)]
        {
            let long = "k".repeat(max + 1);
            let body = format!(r#"{{"channel": "a", "data": 1, "{field}": "{long}"}}"#);
            let problem = format!("{field}: has {} bytes, at most {max} are allowed", max + 1);
            check(&fixture, "publish", &body, &bad(&problem)).await;
        }
        check(&fixture, "broadcast", r#"{"data": 1}"#, &bad("channels: must not be empty")).await;
        assert_eq!(fixture.asked(), []);
    }

    #[tokio::test]
    async fn a_home_without_the_namespace_says_so() {
        let fixture = Fixture::answering(|_| Err(ErrorCode::UnknownChannel));
        let expected = r#"{"error":{"code":102,"message":"unknown channel"}}"#;
        check(&fixture, "publish", r#"{"channel": "no:a", "data": 1}"#, expected).await;
    }

    #[tokio::test]
    async fn a_broadcast_answers_for_each_channel_in_order() {
        let fixture = Fixture::publishing();
        let body = r#"{"channels": ["a", "no:b", "", "c"], "data": {}}"#;
        let expected = concat!(
            r#"{"result":{"responses":[{"result":{"offset":1,"epoch":"aaaaaaaa"}},"#,
            r#"{"error":{"code":102,"message":"unknown channel"}},"#,
            r#"{"error":{"code":107,"message":"bad request","detail":"channel: must not be empty"}},"#,
            r#"{"result":{"offset":1,"epoch":"aaaaaaaa"}}]}}"#,
        );
        check(&fixture, "broadcast", body, expected).await;
        assert_eq!(fixture.published(), ["a", "c", "no:b"].map(|name| publication(name, "{}")));
        assert!(fixture.asked().len() <= 2, "each home is asked once");
    }
}
