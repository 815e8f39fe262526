//! Method `history_remove`.

use serde::{Deserialize, Serialize};

use super::Api;
use super::failure::Failure;
use super::request::{null_as_default, parse, parse_channel};

#[derive(Deserialize)]
struct HistoryRemoveRequest {
    #[serde(default, deserialize_with = "null_as_default")]
    channel: String,
}

#[derive(Serialize)]
pub struct HistoryRemoveResult {}

/// Whoever holds a position of the history is unsubscribed (2500) and comes back.
pub async fn history_remove(api: &Api, body: &[u8]) -> Result<HistoryRemoveResult, Failure> {
    let request: HistoryRemoveRequest = parse(body)?;
    api.handle.history_remove(parse_channel(api, &request.channel)?).await?;
    Ok(HistoryRemoveResult {})
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, channel, check};
    use crate::handle::{Answered, Question};
    use crate::model::ErrorCode;

    #[tokio::test]
    async fn the_home_is_asked() {
        let fixture = Fixture::answering(|_| Ok(Answered::HistoryRemoved));
        check(&fixture, "history_remove", r#"{"channel": "a"}"#, r#"{"result":{}}"#).await;
        assert_eq!(fixture.asked(), [Question::HistoryRemove { channel: channel("a") }]);
    }

    #[tokio::test]
    async fn errors_are_answers() {
        let fixture = Fixture::answering(|_| Err(ErrorCode::NotAvailable));
        let not_available = r#"{"error":{"code":108,"message":"not available"}}"#;
        check(&fixture, "history_remove", r#"{"channel": "a"}"#, not_available).await;
        let bad_request = r#"{"error":{"code":107,"message":"bad request","detail":"channel: must not be empty"}}"#;
        check(&fixture, "history_remove", "{}", bad_request).await;
    }
}
