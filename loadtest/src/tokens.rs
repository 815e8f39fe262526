//! Connection tokens of users u0, u1, ….

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::failure::Failure;

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Signs with HS256.
pub struct Tokens {
    key: EncodingKey,
    expires_at: u64,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

impl Tokens {
    pub fn new(hmac_secret: &str) -> Tokens {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        Tokens { key: EncodingKey::from_secret(hmac_secret.as_bytes()), expires_at: (now + LIFETIME).as_secs() }
    }

    /// The token of user `u<number>`.
    pub fn sign(&self, number: usize) -> Result<String, Failure> {
        let claims = Claims { sub: &format!("u{number}"), exp: self.expires_at };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .map_err(|error| Failure::new(format!("signing a token: {error}")))
    }
}
