//! Connection tokens (JWT).

use bytes::Bytes;

/// What a valid token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `sub`; empty for anonymous users.
    pub user: Box<str>,
    /// When the connection expires, seconds since 1970; `None`: never.
    pub expires_at: Option<i64>,
    /// `info`, a JSON value.
    pub info: Option<Bytes>,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Right in all but time (error 109).
    Expired,
    /// The reason, for the log; never the token itself (disconnect 3500).
    Invalid(&'static str),
}

/// What verifying a token costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Microseconds: done on the shard.
    Light,
    /// Asymmetric: a job for the workers.
    Heavy,
}

/// The keys that tokens are verified with.
#[derive(Default)]
pub struct TokenKeys {}

impl TokenKeys {
    /// What verifying `token` will cost, by its header alone.
    pub fn weigh(&self, _token: &str) -> Weight {
        Weight::Light
    }

    pub fn verify(&self, _token: &str, _unix_seconds: i64) -> Result<Claims, TokenProblem> {
        Err(TokenProblem::Invalid("no key is configured"))
    }
}
