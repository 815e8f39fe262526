//! The keys that an issuer publishes: a JWK Set (RFC 7517 §5).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::signature::{Algorithm, Key};
use crate::limits;

/// Public keys by their `kid`.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Named>,
}

#[derive(Clone)]
struct Named {
    kid: Box<str>,
    /// The only algorithm that the key is for, if it says so.
    algorithm: Option<Algorithm>,
    key: Key,
}

/// Why a document is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetProblem {
    NotJson,
    TooMany,
    /// None that could verify a token.
    Empty,
}

impl KeySet {
    /// Reads the set. Keys that can't verify tokens are left out, so that one that is new to us does
    /// not spoil the others: other kinds (above all secrets), other uses, weak ones, those without `kid`.
    pub fn parse(json: &[u8]) -> Result<KeySet, KeySetProblem> {
        let set: SetWire = serde_json::from_slice(json).map_err(|_| KeySetProblem::NotJson)?;
        if set.keys.len() > limits::JWKS_KEYS_MAX {
            return Err(KeySetProblem::TooMany);
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(read_key).collect();
        match keys.is_empty() {
            true => Err(KeySetProblem::Empty),
            false => Ok(KeySet { keys }),
        }
    }

    /// The key of that name that verifies that algorithm.
    pub fn find(&self, kid: &str, algorithm: Algorithm) -> Option<&Key> {
        let fits = |it: &&Named| it.algorithm.is_none_or(|only| only == algorithm) && it.key.fits(algorithm);
        self.keys.iter().filter(|it| &*it.kid == kid).find(fits).map(|it| &it.key)
    }

    /// Whether there is a key of that name.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|it| &*it.kid == kid)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|it| &it.kid)).finish()
    }
}

impl fmt::Display for KeySetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySetProblem::NotJson => f.write_str("it is no JWK Set ({\"keys\": [...]})"),
            KeySetProblem::TooMany => write!(f, "it has more than {} keys", limits::JWKS_KEYS_MAX),
            KeySetProblem::Empty => f.write_str("none of its keys can verify tokens (RSA, EC or Ed25519, with a kid)"),
        }
    }
}

#[derive(Deserialize)]
struct SetWire {
    /// Each read on its own.
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct KeyWire {
    kty: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn read_key(value: serde_json::Value) -> Option<Named> {
    let wire: KeyWire = serde_json::from_value(value).ok()?;
    let is_for_signatures = wire.usage.as_deref().is_none_or(|usage| usage == "sig")
        && wire.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|it| it == "verify"));
    if !is_for_signatures || wire.kid.is_empty() {
        return None;
    }
    let algorithm = match &wire.alg {
        Some(name) => Some(Algorithm::from_name(name)?),
        None => None,
    };
    let key = match &*wire.kty {
        "RSA" => Key::from_rsa_numbers(&decode(wire.n)?, &decode(wire.e)?).ok()?,
        "EC" => Key::from_ec_point(&wire.crv?, &decode(wire.x)?, &decode(wire.y)?)?,
        "OKP" if wire.crv.as_deref() == Some("Ed25519") => {
            Key::from_ed25519(&decode(wire.x).filter(|key| key.len() == 32)?)?
        }
        _ => return None,
    };
    Some(Named { kid: wire.kid.into(), algorithm, key })
}

/// Some providers pad what should not be padded (RFC 7515 §2).
fn decode(number: Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(number?.trim_end_matches('=')).ok()
}
