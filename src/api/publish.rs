//! Methods `publish` and `broadcast`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::reply::Reply;
use super::request::{Failure, null_as_default, parse, parse_channel};
use crate::handle::ServerPublication;
use crate::limits::{BROADCAST_PARALLEL_MAX, IDEMPOTENCY_KEY_BYTES_MAX, VERSION_EPOCH_BYTES_MAX};
use crate::model::{DataShape, ErrorCode, Position, Tags, Version};

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
    let request: PublishRequest<'_> = parse(body)?;
    let content = Content::check(api, &request)?;
    Ok(publish_to(api, &request.channel, &content).await?.into())
}

/// The channels are independent: one that fails says so in its place.
pub async fn broadcast(api: &Api, body: &[u8]) -> Result<BroadcastResult, Failure> {
    let request: PublishRequest<'_> = parse(body)?;
    if request.channels.is_empty() {
        return Err(ErrorCode::BadRequest.into());
    }
    let content = Content::check(api, &request)?;
    let mut responses = Vec::with_capacity(request.channels.len());
    for channels in request.channels.chunks(BROADCAST_PARALLEL_MAX) {
        let waiting: Vec<_> = channels.iter().map(|channel| publish_to(api, channel, &content)).collect();
        for answer in waiting {
            responses.push(Reply::from(answer.await.map(PublishResult::from)));
        }
    }
    Ok(BroadcastResult { responses })
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
    fn check(api: &Api, request: &PublishRequest<'_>) -> Result<Content, ErrorCode> {
        let (key, epoch) = (&*request.idempotency_key, &*request.version_epoch);
        if key.len() > IDEMPOTENCY_KEY_BYTES_MAX || epoch.len() > VERSION_EPOCH_BYTES_MAX {
            return Err(ErrorCode::BadRequest);
        }
        let (data, shape) = match request.data {
            Some(data) => {
                let data = Bytes::copy_from_slice(data.get().as_bytes());
                let shape = DataShape::of_json(&data);
                (data, shape)
            }
            None => decode(&request.b64data)?,
        };
        if data.len() > api.options.publication_bytes_max {
            return Err(ErrorCode::BadRequest);
        }
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
}

/// Bytes in base64, and what they are: looked at here, so that no shard has to read them.
fn decode(b64data: &str) -> Result<(Bytes, DataShape), ErrorCode> {
    let data: Bytes = STANDARD.decode(b64data).map_err(|_| ErrorCode::BadRequest)?.into();
    let shape = match serde_json::from_slice::<&RawValue>(&data) {
        Ok(_) => DataShape::of_json(&data),
        Err(_) => DataShape::Bytes,
    };
    Ok((data, shape))
}

/// The publication leaves at the call; the future waits for the home's answer.
fn publish_to(
    api: &Api,
    channel: &str,
    content: &Content,
) -> impl Future<Output = Result<Option<Position>, ErrorCode>> + use<> {
    let answer = parse_channel(api, channel).map(|channel| {
        let Content { data, shape, tags, skip_history, delta, idempotency_key, version } = content.clone();
        api.handle.publish(ServerPublication {
            channel,
            data,
            shape,
            tags,
            skip_history,
            delta,
            idempotency_key,
            version,
        })
    });
    async { answer?.await }
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
    use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
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
        const BAD: &str = r#"{"error":{"code":107,"message":"bad request"}}"#;
        let fixture = Fixture::new();
        check(&fixture, "publish", r#"{"data": 1}"#, BAD).await;
        check(&fixture, "publish", r#"{"channel": "a", "b64data": "?"}"#, BAD).await;
        check(&fixture, "publish", &format!(r#"{{"channel": "{}", "data": 1}}"#, "a".repeat(256)), BAD).await;
        check(&fixture, "publish", &format!(r#"{{"channel": "a", "data": "{}"}}"#, "x".repeat(1000)), BAD).await;
        let long = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
        check(&fixture, "publish", &format!(r#"{{"channel":"a","data":1,"idempotency_key":"{long}"}}"#), BAD).await;
        check(&fixture, "publish", &format!(r#"{{"channel":"a","data":1,"version_epoch":"{long}"}}"#), BAD).await;
        check(&fixture, "broadcast", r#"{"data": 1}"#, BAD).await;
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
        let fixture = Fixture::answering(|question| match question {
            Question::Publish(publication) if publication.channel.as_str() == "no:b" => Err(ErrorCode::UnknownChannel),
            _ => Ok(Answered::Published(Some(position(1)))),
        });
        let body = r#"{"channels": ["a", "no:b", "", "c"], "data": {}}"#;
        let expected = concat!(
            r#"{"result":{"responses":[{"result":{"offset":1,"epoch":"aaaaaaaa"}},"#,
            r#"{"error":{"code":102,"message":"unknown channel"}},"#,
            r#"{"error":{"code":107,"message":"bad request"}},"#,
            r#"{"result":{"offset":1,"epoch":"aaaaaaaa"}}]}}"#,
        );
        check(&fixture, "broadcast", body, expected).await;
        let published = ["a", "no:b", "c"].map(|name| Question::Publish(publication(name, "{}")));
        assert_eq!(fixture.asked(), published);
    }
}
