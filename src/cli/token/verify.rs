//! `fanfare token verify`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Failure, Keys, block_on, print_json, read_argument, unix_seconds};
use crate::access::{KeyUsed, TokenKeys, TokenProblem};
use crate::config::{Output, VerifyTokenArguments};
use crate::jwks;

pub fn run(arguments: &VerifyTokenArguments) -> Result<(), Failure> {
    let token = read_argument(&arguments.token)?;
    let token = token.trim();
    let keys = Keys::load(arguments.config.as_deref(), arguments.secret.as_deref())?;
    let kind = Kind::of(token);
    let keys = match kind {
        Kind::Connection => keys.connection,
        Kind::Subscription => keys.subscription,
    };
    let keys = with_published(keys, token)?;
    let verdict = Verdict::of(token, kind, &keys, unix_seconds());
    match arguments.output.output {
        Output::Text => verdict.print_text(),
        Output::Json => print_json(&verdict.as_json()),
    }
    match &verdict.refused {
        None => Ok(()),
        Some(reason) => Err(Failure::failed(format!("the token is refused: {reason}"))),
    }
}

/// Which of the two a token says that it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connection,
    Subscription,
}

impl Kind {
    fn of(token: &str) -> Kind {
        let claims = TokenKeys::default().without_signatures().open(token, 0).map(|opened| opened.claims);
        let claims: Option<Value> = claims.ok().and_then(|claims| serde_json::from_slice(&claims).ok());
        match claims.as_ref().and_then(|claims| claims.get("channel")) {
            Some(Value::String(channel)) if !channel.is_empty() => Kind::Subscription,
            _ => Kind::Connection,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Connection => "connection",
            Kind::Subscription => "subscription",
        }
    }
}

/// Fetches the keys if the token's issuer publishes them, as the hub does.
fn with_published(keys: Arc<TokenKeys>, token: &str) -> Result<Arc<TokenKeys>, Failure> {
    if !keys.are_fetched() {
        return Ok(keys);
    }
    let question = match keys.find_question(token) {
        Ok(question) => question,
        Err(TokenProblem::Invalid(reason)) => return Err(Failure::failed(format!("the token is refused: {reason}"))),
        Err(TokenProblem::Expired) => return Err(Failure::failed("the token is refused: it has expired")),
    };
    let client = jwks::Client::default();
    let fetched = block_on(async {
        client
            .fetch(&question.url)
            .await
            .map_err(|problem| Failure::unreachable(format!("{}: {problem}", question.url)))
    })?;
    Ok(Arc::new(keys.with_fetched(fetched.into())))
}

/// What the hub would make of a token.
struct Verdict {
    kind: Kind,
    by: Option<KeyUsed>,
    /// Only of a token whose signature is right: nothing else is to be believed.
    claims: Option<Value>,
    user: Option<Box<str>>,
    /// When what it grants expires, and in how many seconds; `None`: never.
    expires: Option<(i64, i64)>,
    refused: Option<&'static str>,
}

impl Verdict {
    fn of(token: &str, kind: Kind, keys: &TokenKeys, now: i64) -> Verdict {
        let opened = keys.open(token, now);
        let verified = match kind {
            Kind::Connection => keys.verify(token, now).map(|claims| (claims.user, claims.expires_at)),
            Kind::Subscription => {
                keys.verify_subscription(token, now).map(|claims| (claims.user, claims.grant.expires_at))
            }
        };
        let refused = match &verified {
            Ok((_, Some(expires_at))) if *expires_at <= now => Some("what it grants has expired (expire_at)"),
            Ok(_) => None,
            Err(TokenProblem::Expired) => Some("it has expired (exp), or is not good yet (nbf)"),
            Err(TokenProblem::Invalid(reason)) => Some(*reason),
        };
        let (user, expires_at) = verified.ok().unzip();
        let (claims, by) = opened.ok().map(|opened| (opened.claims, opened.by)).unzip();
        Verdict {
            kind,
            by,
            claims: claims.and_then(|claims| serde_json::from_slice(&claims).ok()),
            user,
            expires: expires_at.flatten().map(|second| (second, second - now)),
            refused,
        }
    }

    fn key(&self) -> Option<String> {
        self.by.as_ref().map(|by| match by {
            KeyUsed::Fixed(name) => (*name).to_owned(),
            KeyUsed::Published(kid) => format!("the published key {kid}"),
            KeyUsed::Unchecked => "none: signatures are not looked at".to_owned(),
        })
    }

    fn as_json(&self) -> Value {
        json!({
            "valid": self.refused.is_none(),
            "kind": self.kind.name(),
            "reason": self.refused,
            "key": self.key(),
            "user": self.user,
            "expires_at": self.expires.map(|(second, _)| second),
            "expires_in_seconds": self.expires.map(|(_, left)| left),
            "claims": self.claims,
        })
    }

    fn print_text(&self) {
        let verdict = if self.refused.is_none() { "good" } else { "refused" };
        println!("{:<9} {} token", verdict, self.kind.name());
        let line = |name: &str, value: &str| println!("{name:<9} {value}");
        if let Some(key) = self.key() {
            line("key", &key);
        }
        if let Some(user) = &self.user {
            line("user", if user.is_empty() { "(anonymous)" } else { user });
        }
        if self.refused.is_none() {
            match self.expires {
                Some((second, left)) => line("expires", &format!("in {left} s, at {second}")),
                None => line("expires", "never"),
            }
        }
        if let Some(claims) = &self.claims {
            line("claims", &claims.to_string());
        }
    }
}
