//! What the claims of a token must say beside its signature: who made it, and for whom.

use std::borrow::Cow;
use std::collections::HashMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::TokenProblem;

/// Whatever the operator asks of every token.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// One of the audiences in `aud`.
    pub audience: Option<Expected>,
    /// `iss`.
    pub issuer: Option<Expected>,
    /// The claim that holds the user's id; `sub` otherwise.
    pub user_claim: Option<UserClaim>,
}

/// A text that is known, or the pattern that it must fit.
#[derive(Clone, Debug)]
pub enum Expected {
    Exactly(Box<str>),
    /// Anywhere in the text, as in Centrifugo: `^` and `$` stand for its ends.
    Matching(Regex),
}

impl Expected {
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Expected::Exactly(expected) => text == &**expected,
            Expected::Matching(pattern) => pattern.is_match(text),
        }
    }
}

impl Rules {
    /// Errors: the token is another's, or for another.
    pub fn check(&self, parties: &Parties<'_>) -> Result<(), TokenProblem> {
        if self.issuer.as_ref().is_some_and(|issuer| !issuer.fits(&parties.issuer)) {
            return Err(TokenProblem::Invalid("its issuer is not the one expected"));
        }
        let is_for_us = |expected: &Expected| parties.audience.iter().any(|audience| expected.fits(audience));
        if self.audience.as_ref().is_some_and(|expected| !is_for_us(expected)) {
            return Err(TokenProblem::Invalid("its audience is not the one expected"));
        }
        Ok(())
    }
}

/// Who made a token, and for whom.
#[derive(Debug, Default)]
pub struct Parties<'a> {
    pub issuer: Cow<'a, str>,
    pub audience: Vec<Cow<'a, str>>,
}

impl<'a> Parties<'a> {
    pub fn read(json: &'a [u8]) -> Result<Parties<'a>, TokenProblem> {
        let claims: PartiesWire<'_> =
            serde_json::from_slice(json).map_err(|_| TokenProblem::Invalid("the claims can't be read"))?;
        let audience = match claims.aud {
            Some(AudienceWire::One(audience)) => vec![audience],
            Some(AudienceWire::Several(audience)) => audience,
            None => Vec::new(),
        };
        Ok(Parties { issuer: claims.iss.unwrap_or_default(), audience })
    }
}

#[derive(Deserialize)]
struct PartiesWire<'a> {
    #[serde(borrow, default)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    aud: Option<AudienceWire<'a>>,
}

/// RFC 7519 §4.1.3: a list, or one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum AudienceWire<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Several(#[serde(borrow)] Vec<Cow<'a, str>>),
}

/// Where a user's id stands: the name of a claim, or names joined by dots for one inside of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserClaim(Box<str>);

impl UserClaim {
    /// As it was given.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// `None` for a path with an empty name.
    pub fn parse(path: &str) -> Option<UserClaim> {
        (!path.split('.').any(str::is_empty)).then(|| UserClaim(path.into()))
    }

    /// The id, a text or a whole number; empty if the claim is not there.
    pub fn find(&self, json: &[u8]) -> Result<Box<str>, TokenProblem> {
        let claims: Object<'_> =
            serde_json::from_slice(json).map_err(|_| TokenProblem::Invalid("the claims can't be read"))?;
        // Claims of some providers have dots in their names ("https://example.com/user").
        match claims.get(&*self.0) {
            Some(value) => read_id(value),
            None => find_below(claims, &self.0),
        }
    }
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn find_below(mut object: Object<'_>, path: &str) -> Result<Box<str>, TokenProblem> {
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let Some(value) = object.get(name) else { return Ok(Box::default()) };
        if names.peek().is_none() {
            return read_id(value);
        }
        let Ok(below) = serde_json::from_str(value.get()) else { return Ok(Box::default()) };
        object = below;
    }
    Ok(Box::default())
}

fn read_id(value: &RawValue) -> Result<Box<str>, TokenProblem> {
    let text = value.get();
    if let Ok(id) = serde_json::from_str::<Option<Box<str>>>(text) {
        return Ok(id.unwrap_or_default());
    }
    let is_whole = serde_json::from_str::<i64>(text).is_ok() || serde_json::from_str::<u64>(text).is_ok();
    match is_whole {
        true => Ok(text.into()),
        false => Err(TokenProblem::Invalid("the claim of the user's id is no text")),
    }
}
