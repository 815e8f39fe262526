//! How the API answers: `{"result": …}` or `{"error": {"code", "message"}}`, both with status 200.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::ErrorCode;

/// The answer to one request, or to one channel of a broadcast.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    Result(T),
    Error(ErrorBody),
}

#[derive(Serialize)]
pub struct ErrorBody {
    pub code: u16,
    pub message: String,
}

impl<T> From<Result<T, ErrorCode>> for Reply<T> {
    fn from(outcome: Result<T, ErrorCode>) -> Reply<T> {
        match outcome {
            Ok(result) => Reply::Result(result),
            Err(error) => Reply::Error(ErrorBody { code: error.code(), message: error.text().to_owned() }),
        }
    }
}

/// A request that HTTP itself refuses: the status, and what would help the caller.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorBody { code: self.status.as_u16(), message: self.message };
        (self.status, Json(Reply::<()>::Error(body))).into_response()
    }
}
