//! Methods `presence` and `presence_stats`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::failure::Failure;
use super::request::{null_as_default, parse, parse_channel};
use crate::model::ClientInfo;

#[derive(Deserialize)]
struct ChannelRequest {
    #[serde(default, deserialize_with = "null_as_default")]
    channel: String,
}

#[derive(Serialize)]
pub struct PresenceResult {
    /// By client id.
    presence: BTreeMap<String, ClientInfoJson>,
}

#[derive(Serialize)]
pub struct PresenceStatsResult {
    num_clients: u32,
    num_users: u32,
}

/// A client as the API shows it.
#[derive(Serialize)]
pub struct ClientInfoJson {
    user: String,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<Box<RawValue>>,
}

pub async fn presence(api: &Api, body: &[u8]) -> Result<PresenceResult, Failure> {
    let request: ChannelRequest = parse(body)?;
    let clients = api.handle.presence(parse_channel(api, &request.channel)?).await?;
    let presence = clients.iter().map(|info| (info.client.to_string(), ClientInfoJson::from(&**info))).collect();
    Ok(PresenceResult { presence })
}

pub async fn presence_stats(api: &Api, body: &[u8]) -> Result<PresenceStatsResult, Failure> {
    let request: ChannelRequest = parse(body)?;
    let stats = api.handle.presence_stats(parse_channel(api, &request.channel)?).await?;
    Ok(PresenceStatsResult { num_clients: stats.clients, num_users: stats.users })
}

impl From<&ClientInfo> for ClientInfoJson {
    fn from(info: &ClientInfo) -> ClientInfoJson {
        ClientInfoJson {
            user: info.user.to_string(),
            client: info.client.to_string(),
            conn_info: info.conn_info.as_deref().and_then(parse_raw),
            chan_info: info.chan_info.as_deref().and_then(parse_raw),
        }
    }
}

/// A payload as JSON, `None` when it is other bytes: those can't stand in a JSON answer.
pub fn parse_raw(payload: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(payload).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::api::fixture::{Fixture, channel, check};
    use crate::handle::{Answered, Question};
    use crate::model::{ClientId, ClientInfo, ErrorCode, PresenceStats};

    #[tokio::test]
    async fn presence_is_shown_by_client() {
        let client = ClientId::parse("6d8f9a1e-0d9b-4c1c-8a53-0a3b2c1d4e5f").expect("a UUID");
        let info = ClientInfo {
            user: "u1".into(),
            client,
            conn_info: Some(r#"{"name": "Ann"}"#.into()),
            chan_info: Some(vec![0xff].into()),
        };
        let fixture = Fixture::answering(move |_| Ok(Answered::Presence(vec![Arc::new(info.clone())])));
        let expected = concat!(
            r#"{"result":{"presence":{"6d8f9a1e-0d9b-4c1c-8a53-0a3b2c1d4e5f":{"user":"u1","#,
            r#""client":"6d8f9a1e-0d9b-4c1c-8a53-0a3b2c1d4e5f","conn_info":{"name": "Ann"}}}}}"#,
        );
        check(&fixture, "presence", r#"{"channel": "a"}"#, expected).await;
        assert_eq!(fixture.asked(), [Question::Presence { channel: channel("a") }]);
    }

    #[tokio::test]
    async fn stats_are_counts() {
        let fixture = Fixture::answering(|_| Ok(Answered::PresenceStats(PresenceStats { clients: 3, users: 2 })));
        let expected = r#"{"result":{"num_clients":3,"num_users":2}}"#;
        check(&fixture, "presence_stats", r#"{"channel": "a"}"#, expected).await;
        assert_eq!(fixture.asked(), [Question::PresenceStats { channel: channel("a") }]);
    }

    #[tokio::test]
    async fn errors_are_answers() {
        let fixture = Fixture::answering(|_| Err(ErrorCode::NotAvailable));
        let not_available = r#"{"error":{"code":108,"message":"not available"}}"#;
        check(&fixture, "presence", r#"{"channel": "a"}"#, not_available).await;
        check(&fixture, "presence_stats", r#"{"channel": "a"}"#, not_available).await;
        let bad_request = r#"{"error":{"code":107,"message":"bad request","detail":"channel: must not be empty"}}"#;
        check(&fixture, "presence", "{}", bad_request).await;
    }
}
