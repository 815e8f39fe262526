//! Signing tokens: for trying a hub out, as an application's backend would.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding};
use aws_lc_rs::{error, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::signature::{Algorithm, hmac_key, hmac_keys, read_pem};

/// What signs tokens.
pub struct TokenSigner {
    key: SigningKey,
    /// What it signs with if nothing else is asked for.
    default: Algorithm,
}

enum SigningKey {
    /// For HS256, HS384, HS512.
    Hmac(Box<[hmac::Key; 3]>),
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Why a token can't be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignProblem {
    /// No PEM of one, or of a kind that signs no tokens.
    NotPrivateKey,
    /// The algorithm is of another family than the key.
    Unfit(Algorithm),
    /// The library refuses, for want of memory or randomness.
    Failed,
}

impl TokenSigner {
    /// Signs with HS256, or HS384 and HS512.
    pub fn from_secret(secret: &str) -> TokenSigner {
        TokenSigner::from_hmac(hmac_keys(secret.as_bytes()))
    }

    pub fn from_hmac(keys: Box<[hmac::Key; 3]>) -> TokenSigner {
        TokenSigner { key: SigningKey::Hmac(keys), default: Algorithm::HS256 }
    }

    /// Signs with RS256 (or RS384 to PS512), with what belongs to the key's curve, or with EdDSA.
    pub fn from_private_pem(pem: &str) -> Result<TokenSigner, SignProblem> {
        let der = read_pem(pem, &["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"]);
        let der = der.ok_or(SignProblem::NotPrivateKey)?;
        for (algorithm, curve) in CURVES {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, &der) {
                return Ok(TokenSigner { key: SigningKey::Ec(pair.into()), default: algorithm });
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(TokenSigner { key: SigningKey::Ed25519(pair.into()), default: Algorithm::EdDSA });
        }
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        let pair = pair.map_err(|_| SignProblem::NotPrivateKey)?;
        Ok(TokenSigner { key: SigningKey::Rsa(pair.into()), default: Algorithm::RS256 })
    }

    /// The token of these claims, a JSON text. Without an algorithm it is the key's own.
    pub fn sign(&self, claims: &str, algorithm: Option<Algorithm>, kid: Option<&str>) -> Result<String, SignProblem> {
        let algorithm = algorithm.unwrap_or(self.default);
        // Other keys than HMAC's and RSA's have one algorithm.
        let has_one = matches!(self.key, SigningKey::Ec(_) | SigningKey::Ed25519(_));
        if has_one && algorithm != self.default {
            return Err(SignProblem::Unfit(algorithm));
        }
        let mut header = json!({"alg": algorithm.name(), "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl SigningKey {
    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, SignProblem> {
        let unfit = SignProblem::Unfit(algorithm);
        let failed = |_: error::Unspecified| SignProblem::Failed;
        match self {
            SigningKey::Hmac(keys) => {
                let key = hmac_key(keys, algorithm).ok_or(unfit)?;
                Ok(hmac::sign(key, message).as_ref().to_vec())
            }
            SigningKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = padding_of(algorithm).ok_or(unfit)?;
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            SigningKey::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            SigningKey::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Display for SignProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignProblem::NotPrivateKey => f.write_str(
                "it is no private key that signs tokens: RSA, EC on P-256, P-384 or P-521, or Ed25519, as PEM without \
                 a password (-----BEGIN PRIVATE KEY-----)",
            ),
            SignProblem::Unfit(algorithm) => write!(f, "the key is not for {}", algorithm.name()),
            SignProblem::Failed => f.write_str("the crypto library could not sign"),
        }
    }
}

fn padding_of(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_SHA512),
        _ => None,
    }
}

static CURVES: [(Algorithm, &EcdsaSigningAlgorithm); 3] = [
    (Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
    (Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
    (Algorithm::ES512, &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
];
