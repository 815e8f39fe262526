//! How the API answers.
//!
//! By default `{"result": …}` or `{"error": …}`, both with status 200. In the mode "transport", which
//! the option `http_api.error_mode` or a header asks for, an error is the bare object, with a status.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::failure::Failure;
use crate::model::ErrorCode;

/// How errors of methods are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorMode {
    /// In the body, with status 200.
    #[default]
    Body,
    /// By the status too.
    Transport,
}

/// The header that asks for it in one request.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

impl ErrorMode {
    /// The names of `http_api.error_mode`.
    pub const NAMES: &[&str] = &["", "transport"];

    pub fn parse(name: &str) -> Option<ErrorMode> {
        match name {
            "" => Some(ErrorMode::Body),
            "transport" => Some(ErrorMode::Transport),
            _ => None,
        }
    }

    /// The mode of one request.
    pub fn of(self, headers: &HeaderMap) -> ErrorMode {
        let asked = headers.get(ERROR_MODE).and_then(|mode| ErrorMode::parse(mode.to_str().ok()?));
        asked.filter(|mode| *mode == ErrorMode::Transport).unwrap_or(self)
    }

    pub fn respond<T: Serialize>(self, outcome: Result<T, Failure>) -> Response {
        match (self, outcome) {
            (ErrorMode::Transport, Err(failure)) => (status_of(failure.code()), Json(failure.body())).into_response(),
            (_, outcome) => Json(Reply::from(outcome)).into_response(),
        }
    }
}

/// Source: protocol page, section 1.12. 111 is ours: the request may be tried again.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::NotAvailable => StatusCode::BAD_REQUEST,
        ErrorCode::UnknownChannel | ErrorCode::MethodNotFound => StatusCode::NOT_FOUND,
        ErrorCode::ConcurrentPagination => StatusCode::CONFLICT,
        ErrorCode::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

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
    /// Centrifugo's text for the code.
    pub message: String,
    /// What of the request it is about, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl<T> From<Result<T, Failure>> for Reply<T> {
    fn from(outcome: Result<T, Failure>) -> Reply<T> {
        match outcome {
            Ok(result) => Reply::Result(result),
            Err(failure) => Reply::Error(failure.body()),
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

    pub fn into_response(self, mode: ErrorMode) -> Response {
        let body = ErrorBody { code: self.status.as_u16(), message: self.message, detail: None };
        match mode {
            ErrorMode::Body => (self.status, Json(Reply::<()>::Error(body))).into_response(),
            ErrorMode::Transport => (self.status, Json(body)).into_response(),
        }
    }
}
