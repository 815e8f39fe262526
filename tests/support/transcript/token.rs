//! Tokens as an application's backend would make them.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;

use super::script::Signer;

const PRIVATE_PEM: &[u8] = include_bytes!("../../data/rsa_test_private.pem");

/// Signs `claims`; a time such as "+60" becomes seconds from `unix_seconds`.
pub fn make_token(claims: &str, signed_by: &Signer, configured_secret: &str, unix_seconds: i64) -> String {
    let mut claims: Value = serde_json::from_str(claims).expect("claims are JSON");
    for time in ["exp", "nbf", "iat", "expire_at"] {
        if let Some(text) = claims[time].as_str() {
            let offset: i64 = text.parse().expect("a time is an offset like +60");
            claims[time] = Value::from(unix_seconds + offset);
        }
    }
    if let Value::Object(claims) = &mut claims {
        // Looking for the times above put nulls in their places.
        claims.retain(|_, value| !value.is_null());
    }
    let (algorithm, key) = match signed_by {
        Signer::Configured => (Algorithm::HS256, EncodingKey::from_secret(configured_secret.as_bytes())),
        Signer::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
        Signer::Rsa => {
            (Algorithm::RS256, EncodingKey::from_rsa_pem(PRIVATE_PEM).expect("the key of the tests is a key"))
        }
    };
    encode(&Header::new(algorithm), &claims, &key).expect("claims can be signed")
}
