//! Method `channels`: who is subscribed to how many.
//!
//! Centrifugo's answer is one survey without pages. `limit` and `cursor` are fields of ours: where there are more
//! names than fit an answer, `cursor` stands in it, and asks for those that follow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Api;
use super::failure::Failure;
use super::missing::{MissingJson, missing_nodes};
use super::request::{null_as_default, parse};
use crate::handle::ChannelsAsked;
use crate::limits::{CHANNEL_GLOB_BYTES_MAX, CHANNELS_PAGE_MAX};
use crate::nodes::ChannelsOfAll;

#[derive(Deserialize)]
struct ChannelsRequest {
    /// A glob over whole names; empty: all.
    #[serde(default, deserialize_with = "null_as_default")]
    pattern: String,
    /// Names of one answer; 0: as many as there may be.
    #[serde(default, deserialize_with = "null_as_default")]
    limit: usize,
    /// As an answer gave it.
    #[serde(default, deserialize_with = "null_as_default")]
    cursor: String,
}

#[derive(Serialize)]
pub struct ChannelsResult {
    channels: BTreeMap<String, ChannelJson>,
    /// Only where more follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// Nodes whose subscribers are not counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_nodes: Vec<MissingJson>,
}

#[derive(Serialize)]
struct ChannelJson {
    num_clients: u64,
}

/// An empty body will do: it asks for all.
pub async fn channels(api: &Api, body: &[u8]) -> Result<ChannelsResult, Failure> {
    let request: ChannelsRequest = parse(if body.trim_ascii().is_empty() { b"{}" } else { body })?;
    if request.pattern.len() > CHANNEL_GLOB_BYTES_MAX {
        let problem = format!("has {} bytes, at most {CHANNEL_GLOB_BYTES_MAX} are allowed", request.pattern.len());
        return Err(Failure::field("pattern", problem));
    }
    let count_max = if request.limit == 0 { CHANNELS_PAGE_MAX } else { request.limit.min(CHANNELS_PAGE_MAX) };
    let asked = ChannelsAsked { pattern: request.pattern.into(), after: request.cursor.into(), count_max };
    Ok(api.cluster.channels(asked).await?.into())
}

impl From<ChannelsOfAll> for ChannelsResult {
    fn from(ChannelsOfAll { page, missing }: ChannelsOfAll) -> ChannelsResult {
        let last = page.channels.last().filter(|_| page.has_more);
        ChannelsResult {
            cursor: last.map(|(name, _)| name.to_string()),
            channels: page
                .channels
                .iter()
                .map(|(name, subscribers)| (name.to_string(), ChannelJson { num_clients: *subscribers }))
                .collect(),
            missing_nodes: missing_nodes(missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, channel, check};
    use crate::handle::{Answered, ChannelsAsked, ChannelsFound, Question};
    use crate::limits::CHANNELS_PAGE_MAX;
    use crate::model::ErrorCode;

    /// Two shards with the same two channels.
    fn fixture() -> Fixture {
        let channels = vec![(channel("b"), 2), (channel("a"), 1)];
        Fixture::answering(move |_| {
            Ok(Answered::Channels(ChannelsFound { channels: channels.clone(), has_more: false }))
        })
    }

    #[tokio::test]
    async fn subscribers_of_all_shards_are_counted() {
        let fixture = fixture();
        let expected = r#"{"result":{"channels":{"a":{"num_clients":2},"b":{"num_clients":4}}}}"#;
        for body in ["", "{}", r#"{"pattern": "", "limit": null}"#] {
            check(&fixture, "channels", body, expected).await;
        }
        let asked = ChannelsAsked { pattern: "".into(), after: "".into(), count_max: CHANNELS_PAGE_MAX };
        assert_eq!(fixture.asked()[..2], [Question::Channels(asked.clone()), Question::Channels(asked)]);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_asked_for_by_the_cursor() {
        let fixture = fixture();
        let expected = r#"{"result":{"channels":{"a":{"num_clients":2}},"cursor":"a"}}"#;
        check(&fixture, "channels", r#"{"pattern": "*", "limit": 1}"#, expected).await;
        check(&fixture, "channels", r#"{"pattern": "*", "limit": 1, "cursor": "Z"}"#, expected).await;
        let asked = ChannelsAsked { pattern: "*".into(), after: "Z".into(), count_max: 1 };
        assert_eq!(fixture.asked().last(), Some(&Question::Channels(asked)));
    }

    #[tokio::test]
    async fn errors_are_answers() {
        const BAD: &str = r#"{"error":{"code":107,"message":"bad request"}}"#;
        let fixture = Fixture::answering(|_| Err(ErrorCode::BadRequest));
        check(&fixture, "channels", r#"{"pattern": "["}"#, BAD).await;
        let long = format!(r#"{{"pattern": "{}"}}"#, "a".repeat(2000));
        let expected = r#"{"error":{"code":107,"message":"bad request","detail":"pattern: has 2000 bytes, at most 1024 are allowed"}}"#;
        check(&Fixture::new(), "channels", &long, expected).await;
    }
}
