//! One request of the server API, from its head to its answer.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method as HttpMethod, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;

use super::failure::Failure;
use super::method::{Method, Outcome};
use super::reply::{ErrorMode, Refusal};
use super::{Api, batch};
use crate::limits::{API_BODY_BYTES_MAX, API_BODY_TIMEOUT};
use crate::model::ChannelName;

/// Answers `POST <prefix>/<name>`.
///
/// Refused in this order, each with a JSON text: an unknown method 404, another verb than POST 405,
/// a wrong key 401, a body too large 413 or too slow 408, one that is not JSON 400.
pub async fn answer(State(api): State<Arc<Api>>, Path(name): Path<String>, request: Request) -> Response {
    serve(&api, Called::find(&name), request).await
}

/// Answers `POST <prefix>`, the route of old: a command on each line.
pub async fn answer_lines(State(api): State<Arc<Api>>, request: Request) -> Response {
    serve(&api, Some(Called::Lines), request).await
}

async fn serve(api: &Arc<Api>, called: Option<Called>, request: Request) -> Response {
    let mode = api.options.error_mode.of(request.headers());
    let outcome = match read(api, called, request).await {
        Ok((Called::Method(method), body)) => run(api, mode, method, &body).await,
        Ok((Called::Batch, body)) => batch::batch(api, mode, &body).await,
        Ok((Called::Lines, body)) => batch::lines(api, &body).await,
        Err(refusal) => Err(refusal),
    };
    outcome.unwrap_or_else(|refusal| refuse(api, mode, refusal))
}

/// What a request is for.
enum Called {
    Method(Method),
    Batch,
    Lines,
}

impl Called {
    fn find(name: &str) -> Option<Called> {
        match name {
            BATCH => Some(Called::Batch),
            _ => Method::find(name).map(Called::Method),
        }
    }
}

const BATCH: &str = "batch";

fn refuse(api: &Api, mode: ErrorMode, refusal: Refusal) -> Response {
    api.metrics.api.count_error(refusal.status.as_u16());
    let is_wrong_verb = refusal.status == StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refusal.into_response(mode);
    if is_wrong_verb {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The body of a request that is let in, and what it is for.
async fn read(api: &Api, called: Option<Called>, request: Request) -> Result<(Called, Bytes), Refusal> {
    let Some(called) = called else {
        let known = Method::ALL.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ");
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("unknown method; there are {known}, {BATCH}")));
    };
    if request.method() != HttpMethod::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the API is called with POST"));
    }
    if !api.options.admission.admits(request.headers(), request.uri()) {
        let message = "send the API key in the header X-API-Key, or in Authorization: apikey <key>";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
    }
    Ok((called, read_body(request.into_body()).await?))
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

async fn run(api: &Api, mode: ErrorMode, method: Method, body: &[u8]) -> Result<Response, Refusal> {
    match method.call(api, body).await {
        Err(Failure::Unreadable(error)) => Err(refuse_json(&error)),
        outcome => Ok(respond(api, mode, outcome)),
    }
}

/// The answer of one method, with its error counted.
fn respond(api: &Api, mode: ErrorMode, outcome: Outcome) -> Response {
    if let Err(failure) = &outcome {
        api.metrics.api.count_error(failure.code().code());
    }
    mode.respond(outcome)
}

pub fn refuse_json(error: &impl Display) -> Refusal {
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
pub fn parse_channel(api: &Api, name: &str) -> Result<ChannelName, Failure> {
    let bytes_max = api.options.channel_bytes_max;
    ChannelName::parse(name, bytes_max).map_err(|_| match name.len() {
        0 => Failure::field("channel", "must not be empty"),
        bytes => Failure::field("channel", format!("has {bytes} bytes, at most {bytes_max} are allowed")),
    })
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
