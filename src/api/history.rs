//! Method `history`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::failure::Failure;
use super::presence::{ClientInfoJson, parse_raw};
use super::request::{null_as_default, parse, parse_channel};
use crate::model::{self, Publication, Tags};

#[derive(Deserialize)]
struct HistoryRequest {
    #[serde(default, deserialize_with = "null_as_default")]
    channel: String,
    /// 0: only the top position; below 0: all that is kept.
    #[serde(default, deserialize_with = "null_as_default")]
    limit: i32,
    since: Option<Since>,
    #[serde(default, deserialize_with = "null_as_default")]
    reverse: bool,
}

#[derive(Deserialize)]
struct Since {
    #[serde(default, deserialize_with = "null_as_default")]
    offset: u64,
    #[serde(default, deserialize_with = "null_as_default")]
    epoch: String,
}

#[derive(Serialize)]
pub struct HistoryResult {
    publications: Vec<PublicationJson>,
    epoch: String,
    /// Top of the stream.
    offset: u64,
}

#[derive(Serialize)]
struct PublicationJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// Instead of `data` when that is not JSON; the name that `publish` gives such bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<ClientInfoJson>,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
}

pub async fn history(api: &Api, body: &[u8]) -> Result<HistoryResult, Failure> {
    let request: HistoryRequest = parse(body)?;
    let channel = parse_channel(api, &request.channel)?;
    let since = request.since.map(|since| model::Since { offset: since.offset, epoch: since.epoch.into() });
    let question = model::HistoryRequest {
        channel: channel.as_str().into(),
        limit: request.limit,
        since,
        reverse: request.reverse,
    };
    let history = api.handle.history(channel, question).await?;
    Ok(HistoryResult {
        publications: history.publications.iter().map(|publication| PublicationJson::from(&**publication)).collect(),
        epoch: history.epoch.as_str().to_owned(),
        offset: history.offset,
    })
}

impl From<&Publication> for PublicationJson {
    fn from(publication: &Publication) -> PublicationJson {
        let data = parse_raw(&publication.data);
        PublicationJson {
            b64data: data.is_none().then(|| STANDARD.encode(&publication.data)),
            data,
            info: publication.info.as_deref().map(ClientInfoJson::from),
            offset: publication.offset,
            tags: publication.tags.as_deref().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::api::fixture::{Fixture, channel, check, position};
    use crate::handle::{Answered, Question};
    use crate::model::{ErrorCode, HistoryRequest, HistoryResult, Publication, Since, Tags};

    fn publication(offset: u64, data: &[u8]) -> Arc<Publication> {
        Arc::new(Publication { data: data.to_vec().into(), offset, ..Publication::default() })
    }

    #[tokio::test]
    async fn publications_are_shown_with_their_place() {
        let fixture = Fixture::answering(|_| {
            let mut tagged = Publication::clone(&publication(3, b"[1, 2]"));
            tagged.tags = Some(Box::new(Tags::from([("k".to_owned(), "v".to_owned())])));
            let publications = vec![publication(2, b"\xff"), Arc::new(tagged)];
            Ok(Answered::History(HistoryResult { publications, epoch: position(0).epoch, offset: 3 }))
        });
        let body = r#"{"channel": "a", "limit": -1, "since": {"offset": 1, "epoch": "xyz"}, "reverse": true}"#;
        let expected = concat!(
            r#"{"result":{"publications":[{"b64data":"/w==","offset":2},"#,
            r#"{"data":[1, 2],"offset":3,"tags":{"k":"v"}}],"epoch":"aaaaaaaa","offset":3}}"#,
        );
        check(&fixture, "history", body, expected).await;
        let since = Some(Since { offset: 1, epoch: "xyz".into() });
        let request = HistoryRequest { channel: "a".into(), limit: -1, since, reverse: true };
        assert_eq!(fixture.asked(), [Question::History { channel: channel("a"), request }]);
    }

    #[tokio::test]
    async fn without_a_limit_only_the_top_is_asked_for() {
        let fixture = Fixture::answering(|_| {
            Ok(Answered::History(HistoryResult { publications: vec![], epoch: position(0).epoch, offset: 9 }))
        });
        let expected = r#"{"result":{"publications":[],"epoch":"aaaaaaaa","offset":9}}"#;
        check(&fixture, "history", r#"{"channel": "a", "since": null}"#, expected).await;
        let request = HistoryRequest { channel: "a".into(), limit: 0, since: None, reverse: false };
        assert_eq!(fixture.asked(), [Question::History { channel: channel("a"), request }]);
    }

    #[tokio::test]
    async fn a_channel_without_history_is_not_available() {
        let fixture = Fixture::answering(|_| Err(ErrorCode::NotAvailable));
        let expected = r#"{"error":{"code":108,"message":"not available"}}"#;
        check(&fixture, "history", r#"{"channel": "a"}"#, expected).await;
    }
}
