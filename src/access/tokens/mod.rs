//! Tokens: JWTs that an application's backend signs for its users, one for a connection and, where a
//! channel asks for it, one for a subscription.
//!
//! `parts.rs` takes a token apart, `keys.rs` with `signature.rs` says whether it is genuine, `rules.rs`
//! whether it is meant for this hub, `claims.rs` what it grants. Keys that its issuer publishes are a
//! `key_set.rs`, whose place is an `endpoint.rs`; fetching them is not done here.
//!
//! Source: protocol page, section 1.2; RFC 7515 (form and signature), RFC 7519 (claims).

mod claims;
mod endpoint;
mod key_set;
mod keys;
mod parts;
mod rules;
mod sign;
mod signature;

use bytes::Bytes;

use super::Grant;
pub use endpoint::{Endpoint, EndpointProblem, Safety};
pub use key_set::{KeySet, KeySetProblem};
pub use keys::{KeyQuestion, KeyUsed, TokenKeys};
pub use rules::{Expected, Rules, UserClaim};
pub use sign::{SignProblem, TokenSigner};
#[cfg(test)]
use signature::Key;
pub use signature::{Algorithm, KeyProblem};

/// What a valid connection token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `sub`; empty for anonymous users.
    pub user: Box<str>,
    /// When the connection expires, seconds since 1970; `None`: never.
    pub expires_at: Option<i64>,
    /// `info` as the JSON text that it is, or the bytes that `b64info` decodes to, which may be
    /// anything.
    pub info: Option<Bytes>,
    /// Channels that the connection is subscribed to by the server, with what is granted in each:
    /// the claim `subs`, or the names in `channels`.
    pub subs: Vec<(Box<str>, Grant)>,
    /// `meta`, JSON text that is kept here and never sent to clients.
    pub meta: Option<Bytes>,
}

/// What a valid subscription token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// `sub`; must be the connection's user.
    pub user: Box<str>,
    pub channel: Box<str>,
    /// `client`: the only connection that may use it; `None` for any of the user's.
    pub client: Option<Box<str>>,
    pub grant: Grant,
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

#[cfg(test)]
mod tests;
