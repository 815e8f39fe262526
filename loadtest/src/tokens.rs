//! Connection tokens of users u0, u1, ….

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::failure::Failure;

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The pair of the tests, of no worth.
const RSA_PRIVATE_KEY: &str = include_str!("../../tests/data/rsa_test_private.pem");
pub const RSA_PUBLIC_KEY: &str = include_str!("../../tests/data/rsa_test_public.pem");

/// Signing with RSA takes thirty times as long as verifying: so many users share their tokens, and
/// the generator signs none while it measures.
const RSA_USERS: usize = 64;

pub enum Tokens {
    Hmac(Box<Signer>),
    Rsa(Vec<String>),
}

/// Signs with one key.
pub struct Signer {
    header: Header,
    key: EncodingKey,
    expires_at: u64,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

impl Tokens {
    /// HS256.
    pub fn hmac(secret: &str) -> Tokens {
        Tokens::Hmac(Box::new(Signer::new(Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()))))
    }

    /// RS256, with the key of the tests.
    pub fn rsa() -> Result<Tokens, Failure> {
        let key = EncodingKey::from_rsa_pem(RSA_PRIVATE_KEY.as_bytes());
        let key = key.map_err(|error| Failure::new(format!("reading the RSA key: {error}")))?;
        let signer = Signer::new(Algorithm::RS256, key);
        Ok(Tokens::Rsa((0..RSA_USERS).map(|user| signer.sign(user)).collect::<Result<_, _>>()?))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Tokens::Hmac(_) => "HS256",
            Tokens::Rsa(_) => "RS256",
        }
    }

    /// The token of user `u<number>`.
    pub fn sign(&self, number: usize) -> Result<String, Failure> {
        match self {
            Tokens::Hmac(signer) => signer.sign(number),
            Tokens::Rsa(tokens) => Ok(tokens[number % tokens.len()].clone()),
        }
    }
}

impl Signer {
    fn new(algorithm: Algorithm, key: EncodingKey) -> Signer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        Signer { header: Header::new(algorithm), key, expires_at: (now + LIFETIME).as_secs() }
    }

    fn sign(&self, number: usize) -> Result<String, Failure> {
        let claims = Claims { sub: &format!("u{number}"), exp: self.expires_at };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
            .map_err(|error| Failure::new(format!("signing a token: {error}")))
    }
}
