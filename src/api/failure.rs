//! What a method comes to when it does not succeed.

use super::reply::ErrorBody;
use crate::model::ErrorCode;

#[derive(Debug)]
pub enum Failure {
    /// The request is not the JSON that the method reads.
    Unreadable(serde_json::Error),
    /// A field says what it must not (107).
    Field { name: &'static str, problem: String },
    /// What the home of a channel, or a shard, said.
    Code(ErrorCode),
}

impl Failure {
    /// `field("user", "must not be empty")`.
    pub fn field(name: &'static str, problem: impl Into<String>) -> Failure {
        Failure::Field { name, problem: problem.into() }
    }

    pub fn code(&self) -> ErrorCode {
        match self {
            Failure::Unreadable(_) | Failure::Field { .. } => ErrorCode::BadRequest,
            Failure::Code(code) => *code,
        }
    }

    /// What of the request it is about.
    pub fn detail(&self) -> Option<String> {
        match self {
            Failure::Unreadable(error) => Some(format!("not a request of this method: {error}")),
            Failure::Field { name, problem } => Some(format!("{name}: {problem}")),
            Failure::Code(_) => None,
        }
    }

    pub fn body(&self) -> ErrorBody {
        let code = self.code();
        ErrorBody { code: code.code(), message: code.text().to_owned(), detail: self.detail() }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure::Code(code)
    }
}
