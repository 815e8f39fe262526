//! The form of a token: three parts, each base64url (RFC 7515 §7.1), of which the first says how the
//! third signs the other two.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Algorithm, TokenProblem};
use crate::limits;

/// A token taken apart; nothing of it is known to be true.
pub struct Parts<'a> {
    pub algorithm: Algorithm,
    /// Names one of several keys; empty: the token names none.
    pub kid: Box<str>,
    /// Header and claims with the dot between them: what the signature signs.
    pub signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl Parts<'_> {
    pub fn split(token: &str) -> Result<Parts<'_>, TokenProblem> {
        let (header, signed, claims, signature) = cut(token)?;
        let header = decode(header, "the header is no base64")?;
        let header: Header<'_> =
            serde_json::from_slice(&header).map_err(|_| TokenProblem::Invalid("the header can't be read"))?;
        if header.crit.is_some() {
            // RFC 7515 §4.1.11: extensions that must be understood, and none is here.
            return Err(TokenProblem::Invalid("the header has critical extensions"));
        }
        let algorithm =
            Algorithm::from_name(&header.alg).ok_or(TokenProblem::Invalid("its algorithm is not supported"))?;
        let kid = header.kid.unwrap_or_default().into();
        Ok(Parts { algorithm, kid, signed, claims, signature })
    }

    pub fn signature(&self) -> Result<Vec<u8>, TokenProblem> {
        decode(self.signature, "the signature can't be read")
    }

    /// The claims as JSON text.
    pub fn claims(&self) -> Result<Vec<u8>, TokenProblem> {
        decode(self.claims, "the claims are no base64")
    }
}

/// The claims of a token of which nothing else is looked at.
pub fn claims_unchecked(token: &str) -> Result<Vec<u8>, TokenProblem> {
    let (_, _, claims, _) = cut(token)?;
    decode(claims, "the claims are no base64")
}

/// Header, header with claims, claims, signature.
fn cut(token: &str) -> Result<(&str, &str, &str, &str), TokenProblem> {
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(TokenProblem::Invalid("it is longer than tokens may be"));
    }
    let cut = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        (!claims.contains('.')).then_some((header, signed, claims, signature))
    };
    cut().ok_or(TokenProblem::Invalid("it does not have three parts"))
}

fn decode(part: &str, problem: &'static str) -> Result<Vec<u8>, TokenProblem> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenProblem::Invalid(problem))
}

/// Where else a key might be (`jku`, `x5u`, `jwk`) is not for a token to say.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crit: Option<&'a RawValue>,
}
