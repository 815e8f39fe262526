//! One request of the server API, from its head to its answer.

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method as HttpMethod, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::timeout;

use super::reply::{Refusal, Reply};
use super::{Api, history, history_remove, info, presence, publish};
use crate::limits::{API_BODY_BYTES_MAX, API_BODY_TIMEOUT};
use crate::model::{ChannelName, ErrorCode};

/// What a method comes to when it does not succeed.
pub enum Failure {
    /// The body is not the JSON that the method reads: status 400.
    Unreadable(serde_json::Error),
    /// An answer with status 200.
    Code(ErrorCode),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure::Code(code)
    }
}

/// Answers `<method> <prefix>/<name>`.
///
/// Refused in this order, each with a JSON text: an unknown method 404, another verb than POST 405,
/// a wrong key 401, a body too large 413 or too slow 408, one that is not JSON 400.
pub async fn answer(State(api): State<Arc<Api>>, Path(name): Path<String>, request: Request) -> Response {
    let response = match read(&api, &name, request).await {
        Ok(body) => run(&api, &name, &body).await,
        Err(refusal) => Err(refusal),
    };
    response.unwrap_or_else(|refusal| {
        api.metrics.api.count_error(refusal.status.as_u16());
        let is_wrong_verb = refusal.status == StatusCode::METHOD_NOT_ALLOWED;
        let mut response = refusal.into_response();
        if is_wrong_verb {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    })
}

const METHODS: &[&str] = &["publish", "broadcast", "presence", "presence_stats", "history", "history_remove", "info"];

/// The body of a request that is let in.
async fn read(api: &Api, name: &str, request: Request) -> Result<Bytes, Refusal> {
    if !METHODS.contains(&name) {
        let known = METHODS.join(", ");
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("unknown method; there are {known}")));
    }
    if request.method() != HttpMethod::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the API is called with POST"));
    }
    if !api.options.admission.admits(request.headers(), request.uri()) {
        let message = "send the API key in the header X-API-Key, or in Authorization: apikey <key>";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
    }
    read_body(request.into_body()).await
}

async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, API_BODY_BYTES_MAX);
    match timeout(API_BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("a body has at most {API_BODY_BYTES_MAX} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(_)) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_elapsed) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

async fn run(api: &Api, name: &str, body: &[u8]) -> Result<Response, Refusal> {
    api.metrics.api.count_request(name);
    match name {
        "publish" => respond(api, publish::publish(api, body).await),
        "broadcast" => respond(api, publish::broadcast(api, body).await),
        "presence" => respond(api, presence::presence(api, body).await),
        "presence_stats" => respond(api, presence::presence_stats(api, body).await),
        "history" => respond(api, history::history(api, body).await),
        "history_remove" => respond(api, history_remove::history_remove(api, body).await),
        "info" => respond(api, info::info(api, body)),
        other => unreachable!("{other} is in METHODS and has no arm here"),
    }
}

fn respond<T: Serialize>(api: &Api, outcome: Result<T, Failure>) -> Result<Response, Refusal> {
    let outcome = match outcome {
        Ok(result) => Ok(result),
        Err(Failure::Code(code)) => {
            api.metrics.api.count_error(code.code());
            Err(code)
        }
        Err(Failure::Unreadable(error)) => return Err(refuse_json(&error)),
    };
    Ok(Json(Reply::from(outcome)).into_response())
}

fn refuse_json(error: &impl Display) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not a request of this method: {error}"))
}

/// Reads a method's request. Unknown fields are ignored, as Centrifugo does.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(Failure::Unreadable)
}

/// A field whose `null` means the same as its absence, as some clients write it.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Checks a channel's name; a missing one is empty.
pub fn parse_channel(api: &Api, name: &str) -> Result<ChannelName, ErrorCode> {
    ChannelName::parse(name, api.options.channel_bytes_max).map_err(|_| ErrorCode::BadRequest)
}

#[cfg(test)]
mod tests {
    use axum::http::header::ALLOW;

    use crate::api::fixture::{Fixture, KEY};

    #[tokio::test]
    async fn refusals_come_in_order_and_as_json() {
        let fixture = Fixture::new();
        let check = async |verb: &str, path: &str, key: &str, body: &str, status: u16| {
            let (got, text) = fixture.send(verb, path, key, body.to_owned()).await;
            assert_eq!(got, status, "{verb} {path} {body}: {text}");
            let json: serde_json::Value = serde_json::from_str(&text).expect("a refusal is JSON");
            assert_eq!(json["error"]["code"], status, "{text}");
        };
        check("GET", "/api/nothing", "", "", 404).await;
        check("POST", "/api/nothing", KEY, "{}", 404).await;
        check("GET", "/api/info", "", "", 405).await;
        check("POST", "/api/info", "wrong", "{}", 401).await;
        check("POST", "/api/publish", "", "not json", 401).await;
        check("POST", "/api/publish", KEY, "not json", 400).await;
        check("POST", "/api/publish", KEY, r#"{"channel": 7}"#, 400).await;
        check("POST", "/api/publish", KEY, r#"{"channel": "a", "data": {}} x"#, 400).await;
        check("POST", "/api/publish", KEY, &"x".repeat(5 * 1024 * 1024), 413).await;
    }

    #[tokio::test]
    async fn another_verb_is_told_the_right_one() {
        let response = Fixture::new().respond("DELETE", "/api/info", KEY, String::new()).await;
        assert_eq!(response.headers()[ALLOW], "POST");
    }
}
