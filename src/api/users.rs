//! Methods `disconnect`, `unsubscribe` and `refresh`: something is done to a user's connections.

use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::failure::Failure;
use super::missing::{MissingJson, missing_nodes};
use super::request::{null_as_default, parse, parse_channel};
use crate::handle::{Act, Reach, ServerRefresh};
use crate::limits::CLOSE_REASON_BYTES_MAX;
use crate::model::{ClientId, DisconnectCode};

#[derive(Deserialize)]
struct DisconnectRequest {
    /// Client ids that are not disconnected.
    #[serde(default, deserialize_with = "null_as_default")]
    whitelist: Vec<String>,
    disconnect: Option<Disconnect>,
}

#[derive(Default, Deserialize)]
struct Disconnect {
    #[serde(default, deserialize_with = "null_as_default")]
    code: u32,
    #[serde(default, deserialize_with = "null_as_default")]
    reason: String,
}

#[derive(Deserialize)]
struct UnsubscribeRequest {
    /// Empty: all channels.
    #[serde(default, deserialize_with = "null_as_default")]
    channel: String,
}

#[derive(Deserialize)]
struct RefreshRequest<'a> {
    #[serde(default, deserialize_with = "null_as_default")]
    expired: bool,
    /// Seconds since 1970; 0: never.
    #[serde(default, deserialize_with = "null_as_default")]
    expire_at: i64,
    /// Any JSON value.
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

/// Whose connections are meant; read beside the rest of the same body.
#[derive(Deserialize)]
pub struct Aim {
    #[serde(default, deserialize_with = "null_as_default")]
    user: String,
    #[serde(default, deserialize_with = "null_as_default")]
    client: String,
    #[serde(default, deserialize_with = "null_as_default")]
    session: String,
    /// Only on the node of this uid. A field of ours: who knows where a client is spares the other nodes.
    #[serde(default, deserialize_with = "null_as_default")]
    node: String,
}

/// It is done, but for what these nodes may have.
#[derive(Default, Serialize)]
pub struct Done {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_nodes: Vec<MissingJson>,
}

pub async fn disconnect(api: &Api, body: &[u8]) -> Result<Done, Failure> {
    let (aim, request): (Aim, DisconnectRequest) = (parse(body)?, parse(body)?);
    let (code, reason) = request.disconnect.unwrap_or_default().check()?;
    let mut spared = request.whitelist.iter().map(|id| parse_client("whitelist", id)).collect::<Result<Vec<_>, _>>()?;
    spared.sort_unstable();
    aim.reach(api, Act::Disconnect { code, reason: reason.into(), spared }).await
}

pub async fn unsubscribe(api: &Api, body: &[u8]) -> Result<Done, Failure> {
    let (aim, request): (Aim, UnsubscribeRequest) = (parse(body)?, parse(body)?);
    let channel = match request.channel.is_empty() {
        true => None,
        false => Some(parse_channel(api, &request.channel)?),
    };
    aim.reach(api, Act::Unsubscribe { channel }).await
}

pub async fn refresh(api: &Api, body: &[u8]) -> Result<Done, Failure> {
    let (aim, request): (Aim, RefreshRequest<'_>) = (parse(body)?, parse(body)?);
    if request.expire_at < 0 {
        return Err(Failure::field("expire_at", "must be seconds since 1970, or 0 for never"));
    }
    let refresh = ServerRefresh {
        is_expired: request.expired,
        expire_at: Some(request.expire_at).filter(|expire_at| *expire_at > 0),
        info: request.info.map(|info| Bytes::copy_from_slice(info.get().as_bytes())),
    };
    aim.reach(api, Act::Refresh(refresh)).await
}

impl Aim {
    pub async fn reach(self, api: &Api, act: Act) -> Result<Done, Failure> {
        if self.user.is_empty() && self.client.is_empty() && self.session.is_empty() {
            return Err(Failure::field("user", "must not be empty, unless client names one connection"));
        }
        let client = match self.client.is_empty() {
            true => None,
            false => Some(parse_client("client", &self.client)?),
        };
        // A session belongs to an HTTP transport; a WebSocket has none that anybody could name.
        if !self.session.is_empty() {
            return Ok(Done::default());
        }
        let only = Some(self.node.as_str()).filter(|uid| !uid.is_empty());
        if only.is_some_and(|uid| !api.cluster.knows(uid)) {
            return Err(Failure::field("node", format!("{:?} is the uid of no node here", self.node)));
        }
        let reached = api.cluster.reach(Reach { user: self.user.into(), client, act }, only).await?;
        Ok(Done { missing_nodes: missing_nodes(reached.missing) })
    }
}

impl Disconnect {
    /// The code and the reason that clients are told. Without a code "force disconnect"; a code of the
    /// protocol brings its text, if no other reason is given.
    fn check(self) -> Result<(u16, String), Failure> {
        let known = match self.code {
            0 => Some(DisconnectCode::ForceDisconnect),
            code => DisconnectCode::ALL.iter().copied().find(|known| u32::from(known.code()) == code),
        };
        let code = known.map_or(self.code, |known| known.code().into());
        if known.is_none() && !APPLICATION_CODES.contains(&code) {
            let problem = format!("{code} is neither from 4000 to 4999 nor a code of the protocol");
            return Err(Failure::field("disconnect.code", problem));
        }
        if self.reason.len() > CLOSE_REASON_BYTES_MAX {
            let problem = format!("has {} bytes, at most {CLOSE_REASON_BYTES_MAX} fit", self.reason.len());
            return Err(Failure::field("disconnect.reason", problem));
        }
        let reason = match known {
            Some(known) if self.reason.is_empty() => known.text().to_owned(),
            _ => self.reason,
        };
        Ok((code as u16, reason))
    }
}

/// Codes that applications give. Source: protocol page, section 2.5.
const APPLICATION_CODES: RangeInclusive<u32> = 4000..=4999;

fn parse_client(field: &'static str, id: &str) -> Result<ClientId, Failure> {
    ClientId::parse(id).ok_or_else(|| Failure::field(field, format!("{id:?} is no client id: those are UUIDs")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fixture, channel, check};
    use crate::handle::{Answered, Question};
    use crate::model::ErrorCode;

    const CLIENT: &str = "6d8f9a1e-0d9b-4c1c-8a53-0a3b2c1d4e5f";

    fn fixture() -> Fixture {
        Fixture::answering(|_| Ok(Answered::Reached(1)))
    }

    fn client() -> ClientId {
        ClientId::parse(CLIENT).expect("a UUID")
    }

    /// Checks what both homes are asked.
    async fn check_asked(method: &str, body: &str, user: &str, client: Option<ClientId>, act: Act) {
        let fixture = fixture();
        check(&fixture, method, body, r#"{"result":{}}"#).await;
        let reach = Question::Reach(Box::new(Reach { user: user.into(), client, act }));
        assert_eq!(fixture.asked(), [reach.clone(), reach], "{method} {body}");
    }

    async fn check_refused(method: &str, body: &str, detail: &str) {
        let fixture = fixture();
        let expected =
            format!(r#"{{"error":{{"code":107,"message":"bad request","detail":{}}}}}"#, serde_json::json!(detail));
        check(&fixture, method, body, &expected).await;
        assert_eq!(fixture.asked(), []);
    }

    fn disconnect(code: u16, reason: &str) -> Act {
        Act::Disconnect { code, reason: reason.into(), spared: vec![] }
    }

    #[tokio::test]
    async fn a_user_is_disconnected_on_all_shards() {
        let forced = disconnect(3503, "force disconnect");
        check_asked("disconnect", r#"{"user": "u"}"#, "u", None, forced.clone()).await;
        check_asked("disconnect", r#"{"user": "u", "disconnect": {"code": 0}}"#, "u", None, forced.clone()).await;
        let nulls = r#"{"user": "u", "client": null, "session": null, "whitelist": null, "disconnect": null}"#;
        check_asked("disconnect", nulls, "u", None, forced.clone()).await;
        let body = format!(r#"{{"user": "u", "client": "{CLIENT}"}}"#);
        check_asked("disconnect", &body, "u", Some(client()), forced.clone()).await;
        let body = format!(r#"{{"client": "{CLIENT}"}}"#);
        check_asked("disconnect", &body, "", Some(client()), forced).await;
    }

    #[tokio::test]
    async fn codes_and_reasons_are_bounded() {
        let with = |object: &str| format!(r#"{{"user": "u", "disconnect": {object}}}"#);
        let body = with(r#"{"code": 4321, "reason": "why"}"#);
        check_asked("disconnect", &body, "u", None, disconnect(4321, "why")).await;
        check_asked("disconnect", &with(r#"{"code": 4000}"#), "u", None, disconnect(4000, "")).await;
        check_asked("disconnect", &with(r#"{"code": 3001}"#), "u", None, disconnect(3001, "shutdown")).await;
        let own = with(r#"{"code": 3001, "reason": "soon back"}"#);
        check_asked("disconnect", &own, "u", None, disconnect(3001, "soon back")).await;
        let long = "x".repeat(CLOSE_REASON_BYTES_MAX);
        let body = with(&format!(r#"{{"code": 4999, "reason": "{long}"}}"#));
        check_asked("disconnect", &body, "u", None, disconnect(4999, &long)).await;
        for code in [1, 1000, 2999, 3002, 3999, 5000, 69_539] {
            let detail = format!("disconnect.code: {code} is neither from 4000 to 4999 nor a code of the protocol");
            check_refused("disconnect", &with(&format!(r#"{{"code": {code}}}"#)), &detail).await;
        }
        let detail = "disconnect.reason: has 124 bytes, at most 123 fit";
        check_refused("disconnect", &with(&format!(r#"{{"code": 4000, "reason": "{long}x"}}"#)), detail).await;
    }

    #[tokio::test]
    async fn those_on_the_whitelist_are_spared() {
        let first = "00000000-0000-4000-8000-000000000001";
        let body = format!(r#"{{"user": "u", "whitelist": ["{CLIENT}", "{first}"]}}"#);
        let spared = vec![ClientId::parse(first).expect("a UUID"), client()];
        let act = Act::Disconnect { code: 3503, reason: "force disconnect".into(), spared };
        check_asked("disconnect", &body, "u", None, act).await;
        let detail = r#"whitelist: "me" is no client id: those are UUIDs"#;
        check_refused("disconnect", r#"{"user": "u", "whitelist": ["me"]}"#, detail).await;
    }

    #[tokio::test]
    async fn an_unsubscribe_is_of_one_channel_or_of_all() {
        let act = |channel| Act::Unsubscribe { channel };
        check_asked("unsubscribe", r#"{"user": "u", "channel": "a"}"#, "u", None, act(Some(channel("a")))).await;
        check_asked("unsubscribe", r#"{"user": "u", "channel": ""}"#, "u", None, act(None)).await;
        check_asked("unsubscribe", r#"{"user": "u"}"#, "u", None, act(None)).await;
        let long = format!(r#"{{"user": "u", "channel": "{}"}}"#, "a".repeat(256));
        check_refused("unsubscribe", &long, "channel: has 256 bytes, at most 255 are allowed").await;
    }

    #[tokio::test]
    async fn a_refresh_says_until_when_and_who() {
        let refresh = |expire_at, info: Option<&'static str>| {
            Act::Refresh(ServerRefresh { is_expired: false, expire_at, info: info.map(Bytes::from) })
        };
        let body = r#"{"user": "u", "expire_at": 1800000000, "info": { "n":1.50}}"#;
        check_asked("refresh", body, "u", None, refresh(Some(1_800_000_000), Some(r#"{ "n":1.50}"#))).await;
        check_asked("refresh", r#"{"user": "u", "info": null}"#, "u", None, refresh(None, None)).await;
        let expired = Act::Refresh(ServerRefresh { is_expired: true, ..ServerRefresh::default() });
        check_asked("refresh", r#"{"user": "u", "expired": true}"#, "u", None, expired).await;
        let detail = "expire_at: must be seconds since 1970, or 0 for never";
        check_refused("refresh", r#"{"user": "u", "expire_at": -1}"#, detail).await;
    }

    #[tokio::test]
    async fn somebody_must_be_meant() {
        for method in ["disconnect", "unsubscribe", "refresh"] {
            check_refused(method, "{}", "user: must not be empty, unless client names one connection").await;
            let detail = r#"client: "7" is no client id: those are UUIDs"#;
            check_refused(method, r#"{"user": "u", "client": "7"}"#, detail).await;
            // No WebSocket has a session that could be named.
            let fixture = fixture();
            check(&fixture, method, r#"{"user": "u", "session": "s"}"#, r#"{"result":{}}"#).await;
            assert_eq!(fixture.asked(), []);
        }
    }

    #[tokio::test]
    async fn a_shard_that_could_not_says_so() {
        let fixture = Fixture::answering(|_| Err(ErrorCode::TooManyRequests));
        let expected = r#"{"error":{"code":111,"message":"too many requests"}}"#;
        check(&fixture, "disconnect", r#"{"user": "u"}"#, expected).await;
    }
}
