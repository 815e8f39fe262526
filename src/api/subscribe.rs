//! Method `subscribe`: a user's connections are subscribed to a channel.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Api;
use super::failure::Failure;
use super::request::{null_as_default, parse, parse_channel};
use super::users::{Aim, Done};
use crate::handle::{Act, Grant, Overrides, ServerSubscription};
use crate::model::Since;

#[derive(Deserialize)]
struct SubscribeRequest<'a> {
    #[serde(default, deserialize_with = "null_as_default")]
    channel: String,
    /// Seconds since 1970; 0: never.
    #[serde(default, deserialize_with = "null_as_default")]
    expire_at: i64,
    /// Any JSON value.
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "null_as_default")]
    b64info: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "null_as_default")]
    b64data: String,
    recover_since: Option<StreamPosition>,
    #[serde(rename = "override", default, deserialize_with = "null_as_default")]
    overrides: Override,
}

#[derive(Default, Deserialize)]
struct StreamPosition {
    #[serde(default, deserialize_with = "null_as_default")]
    offset: u64,
    #[serde(default, deserialize_with = "null_as_default")]
    epoch: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Override {
    presence: Option<Flag>,
    join_leave: Option<Flag>,
    force_push_join_leave: Option<Flag>,
    force_recovery: Option<Flag>,
    force_positioning: Option<Flag>,
}

#[derive(Deserialize)]
struct Flag {
    #[serde(default, deserialize_with = "null_as_default")]
    value: bool,
}

/// Those that are subscribed already stay as they are.
pub async fn subscribe(api: &Api, body: &[u8]) -> Result<Done, Failure> {
    let (aim, request): (Aim, SubscribeRequest<'_>) = (parse(body)?, parse(body)?);
    if request.expire_at < 0 {
        return Err(Failure::field("expire_at", "must be seconds since 1970, or 0 for never"));
    }
    let since = request.recover_since.map(|since| Since { offset: since.offset, epoch: since.epoch.into() });
    let grant = Grant {
        info: payload("b64info", request.info, &request.b64info)?,
        data: payload("b64data", request.data, &request.b64data)?.unwrap_or_default(),
        expires_at: Some(request.expire_at).filter(|expire_at| *expire_at > 0),
        overrides: request.overrides.into(),
    };
    let channel = parse_channel(api, &request.channel)?;
    aim.reach(api, Act::Subscribe(Box::new(ServerSubscription { channel, grant, since }))).await
}

/// Bytes in base64 come before JSON.
fn payload(field: &'static str, json: Option<&RawValue>, base64: &str) -> Result<Option<Bytes>, Failure> {
    if base64.is_empty() {
        return Ok(json.map(|json| Bytes::copy_from_slice(json.get().as_bytes())));
    }
    let bytes = STANDARD.decode(base64).map_err(|_| Failure::field(field, "is no base64"))?;
    Ok(Some(bytes.into()))
}

impl From<Override> for Overrides {
    fn from(request: Override) -> Overrides {
        let value = |flag: Option<Flag>| flag.map(|flag| flag.value);
        Overrides {
            presence: value(request.presence),
            join_leave: value(request.join_leave),
            force_push_join_leave: value(request.force_push_join_leave),
            force_recovery: value(request.force_recovery),
            force_positioning: value(request.force_positioning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fixture, channel, check};
    use crate::handle::{Answered, Question, Reach};
    use crate::model::ErrorCode;

    fn subscription() -> ServerSubscription {
        ServerSubscription { channel: channel("a"), grant: Grant::default(), since: None }
    }

    /// Checks what both shards are asked for the user "u".
    async fn check_asked(fields: &str, expected: ServerSubscription) {
        let fixture = Fixture::answering(|_| Ok(Answered::Reached(1)));
        check(&fixture, "subscribe", &format!(r#"{{"user": "u", {fields}}}"#), r#"{"result":{}}"#).await;
        let act = Act::Subscribe(Box::new(expected));
        let reach = Question::Reach(Box::new(Reach { user: "u".into(), client: None, act }));
        assert_eq!(fixture.asked(), [reach.clone(), reach], "{fields}");
    }

    #[tokio::test]
    async fn a_subscription_is_what_the_backend_grants() {
        check_asked(r#""channel": "a""#, subscription()).await;
        let nulls = r#""channel": "a", "info": null, "data": null, "recover_since": null, "override": null"#;
        check_asked(nulls, subscription()).await;
        let grant = Grant {
            info: Some(r#"{ "n":1.50}"#.into()),
            data: vec![0, 255].into(),
            expires_at: Some(1_800_000_000),
            overrides: Overrides { presence: Some(true), force_recovery: Some(false), ..Overrides::default() },
        };
        let since = Some(Since { offset: 7, epoch: "aaaaaaaa".into() });
        let fields = r#""channel": "a", "info": { "n":1.50}, "data": "not this", "b64data": "AP8=", "expire_at": 1800000000,
            "recover_since": {"offset": 7, "epoch": "aaaaaaaa"},
            "override": {"presence": {"value": true}, "force_recovery": {}, "join_leave": null}"#;
        check_asked(fields, ServerSubscription { grant, since, ..subscription() }).await;
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_before_a_shard_is_asked() {
        let cases = [
            (r#"{"channel": "a"}"#, "user: must not be empty, unless client names one connection"),
            (r#"{"user": "u"}"#, "channel: must not be empty"),
            (r#"{"user": "u", "channel": "a", "b64info": "?"}"#, "b64info: is no base64"),
            (
                r#"{"user": "u", "channel": "a", "expire_at": -1}"#,
                "expire_at: must be seconds since 1970, or 0 for never",
            ),
        ];
        for (body, detail) in cases {
            let fixture = Fixture::answering(|_| Ok(Answered::Reached(1)));
            let error = format!(r#"{{"error":{{"code":107,"message":"bad request","detail":"{detail}"}}}}"#);
            check(&fixture, "subscribe", body, &error).await;
            assert_eq!(fixture.asked(), []);
        }
    }

    #[tokio::test]
    async fn a_channel_in_no_namespace_is_told() {
        let fixture = Fixture::answering(|_| Err(ErrorCode::UnknownChannel));
        let expected = r#"{"error":{"code":102,"message":"unknown channel"}}"#;
        check(&fixture, "subscribe", r#"{"user": "u", "channel": "no:a"}"#, expected).await;
    }
}
