//! One HTTP request to a server, and its answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::server::{Endpoint, Server};
use super::{Failure, link};

/// Status and body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Asks for what is at `path`.
pub async fn fetch(endpoint: &Endpoint, path: &str, time: Duration) -> Result<Answer, Failure> {
    let request = Request::builder().method(Method::GET).uri(path).header(HOST, endpoint.authority());
    send(endpoint, request.body(Full::default()).map_err(Failure::usage)?, time).await
}

/// Posts JSON with the API key, if there is one.
pub async fn post(server: &Server, path: &str, body: &serde_json::Value, time: Duration) -> Result<Answer, Failure> {
    let endpoint = &server.operators;
    let mut request = Request::builder().method(Method::POST).uri(path).header(HOST, endpoint.authority());
    request = request.header(CONTENT_TYPE, "application/json");
    if let Some(key) = &server.api_key {
        request = request.header("x-api-key", key.as_str());
    }
    let request = request.body(Full::new(Bytes::from(body.to_string())));
    let request = request.map_err(|_| Failure::usage("the API key has characters that no header may have"))?;
    send(endpoint, request, time).await
}

/// Calls a method of the server API and returns its result.
pub async fn call(
    server: &Server,
    method: &str,
    body: &serde_json::Value,
    time: Duration,
) -> Result<serde_json::Value, Failure> {
    let off = || Failure::usage("the server API is switched off: http_api.disabled");
    let path = server.method_path(method).ok_or_else(off)?;
    let endpoint = &server.operators;
    let Answer { status, body } = post(server, &path, body, time).await?;
    if status == StatusCode::UNAUTHORIZED {
        return Err(Failure::failed(format!(
            "{endpoint} refused the API key: give the one of http_api.key by -c FILE or by FANFARE_HTTP_API_KEY; \
             dev mode prints its own at start"
        )));
    }
    let answer: serde_json::Value = serde_json::from_slice(&body)
        .map_err(|_| Failure::failed(format!("{endpoint}{path} answered {status}, and not as this API does")))?;
    match answer.get("error") {
        Some(error) => {
            let (code, message) = (&error["code"], error["message"].as_str().unwrap_or_default());
            Err(Failure::failed(format!("{method} was refused: {code} {message}")))
        }
        None => Ok(answer["result"].clone()),
    }
}

async fn send(endpoint: &Endpoint, request: Request<Full<Bytes>>, time: Duration) -> Result<Answer, Failure> {
    let late = |_| Failure::unreachable(format!("{endpoint} did not answer within {time:?}"));
    timeout(time, exchange(endpoint, request)).await.map_err(late)?
}

async fn exchange(endpoint: &Endpoint, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::unreachable(format!("{endpoint} broke off: {error}"));
    let link = link::connect(endpoint).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(link)).await.map_err(|error| broken(&error))?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    driver.abort();
    Ok(Answer { status, body: body.map_err(|error| broken(&error))?.to_bytes() })
}

/// Chosen: the metrics of a hundred shards are far below.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
