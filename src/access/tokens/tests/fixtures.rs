//! Tokens of the tests: signed by another library than that which verifies them, but for ES512, which
//! that one does not know.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

pub const SECRET: &str = "a secret that only tests know";
pub const NOW: i64 = 1_800_000_000;
pub const PRIVATE_PEM: &str = include_str!("../../../../tests/data/rsa_test_private.pem");
pub const PUBLIC_PEM: &str = include_str!("../../../../tests/data/rsa_test_public.pem");

/// A key pair that was made for one test.
pub struct Signer {
    /// Of tokens' headers.
    pub algorithm: &'static str,
    pub public_pem: String,
    pub private_pem: String,
    /// Of an EC key: x and y; of an Ed25519 key: x.
    pub coordinates: Vec<Vec<u8>>,
    key: SigningKey,
}

enum SigningKey {
    Jwt(Algorithm, EncodingKey),
    P521(Box<EcdsaKeyPair>),
}

impl Signer {
    /// ES256, ES384, ES512 or EdDSA.
    pub fn generate(algorithm: &'static str) -> Signer {
        match algorithm {
            "ES256" => Signer::ec(algorithm, &signature::ECDSA_P256_SHA256_FIXED_SIGNING, Some(Algorithm::ES256)),
            "ES384" => Signer::ec(algorithm, &signature::ECDSA_P384_SHA384_FIXED_SIGNING, Some(Algorithm::ES384)),
            "ES512" => Signer::ec(algorithm, &signature::ECDSA_P521_SHA512_FIXED_SIGNING, None),
            _ => Signer::ed25519(),
        }
    }

    fn ec(name: &'static str, curve: &'static EcdsaSigningAlgorithm, jwt: Option<Algorithm>) -> Signer {
        let pair = EcdsaKeyPair::generate(curve).expect("a key pair");
        let public_pem = pem("PUBLIC KEY", pair.public_key().as_der().expect("it has a DER").as_ref());
        let point = pair.public_key().as_ref()[1..].to_vec();
        let coordinates = point.chunks(point.len() / 2).map(<[u8]>::to_vec).collect();
        let pkcs8 = pair.to_pkcs8v1().expect("it has a PKCS#8");
        let private_pem = pem("PRIVATE KEY", pkcs8.as_ref());
        let key = match jwt {
            Some(algorithm) => SigningKey::Jwt(algorithm, EncodingKey::from_ec_der(pkcs8.as_ref())),
            None => SigningKey::P521(pair.into()),
        };
        Signer { algorithm: name, public_pem, private_pem, coordinates, key }
    }

    fn ed25519() -> Signer {
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let public_pem = pem("PUBLIC KEY", pair.public_key().as_der().expect("it has a DER").as_ref());
        let pkcs8 = pair.to_pkcs8v1().expect("it has a PKCS#8");
        let private_pem = pem("PRIVATE KEY", pkcs8.as_ref());
        let key = SigningKey::Jwt(Algorithm::EdDSA, EncodingKey::from_ed_der(pkcs8.as_ref()));
        let coordinates = vec![pair.public_key().as_ref().to_vec()];
        Signer { algorithm: "EdDSA", public_pem, private_pem, coordinates, key }
    }

    /// RS or PS, of the key that stands in `tests/data`.
    pub fn rsa(algorithm: Algorithm, name: &'static str) -> Signer {
        let key = EncodingKey::from_rsa_pem(PRIVATE_PEM.as_bytes()).expect("the test key is read");
        let key = SigningKey::Jwt(algorithm, key);
        Signer {
            algorithm: name,
            public_pem: PUBLIC_PEM.into(),
            private_pem: PRIVATE_PEM.into(),
            coordinates: Vec::new(),
            key,
        }
    }

    pub fn hmac(algorithm: Algorithm, name: &'static str, secret: &str) -> Signer {
        let key = SigningKey::Jwt(algorithm, EncodingKey::from_secret(secret.as_bytes()));
        Signer { algorithm: name, public_pem: String::new(), private_pem: String::new(), coordinates: Vec::new(), key }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": self.algorithm}), claims)
    }

    /// With a header that may say anything.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), claims.to_string().as_bytes())
    }

    /// With claims that may be anything.
    pub fn sign_text(&self, header: &str, claims: &[u8]) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = match &self.key {
            SigningKey::Jwt(algorithm, key) => crypto::sign(signed.as_bytes(), key, *algorithm).expect("it fits"),
            SigningKey::P521(pair) => {
                URL_SAFE_NO_PAD.encode(pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("it fits"))
            }
        };
        format!("{signed}.{signature}")
    }

    /// As the issuer publishes it.
    pub fn jwk(&self, kid: &str) -> Value {
        let number = |index: usize| URL_SAFE_NO_PAD.encode(&self.coordinates[index]);
        match self.algorithm {
            "ES256" => json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": number(0), "y": number(1)}),
            "ES384" => json!({"kty": "EC", "crv": "P-384", "kid": kid, "x": number(0), "y": number(1)}),
            "ES512" => json!({"kty": "EC", "crv": "P-521", "kid": kid, "x": number(0), "y": number(1)}),
            "EdDSA" => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": number(0)}),
            _ => rsa_jwk(kid),
        }
    }
}

/// The public key of `tests/data` by its numbers.
fn rsa_jwk(kid: &str) -> Value {
    let key = jsonwebtoken::DecodingKey::from_rsa_pem(PUBLIC_PEM.as_bytes()).expect("the test key is read");
    let der = key.try_get_as_bytes().expect("it has bytes").to_vec();
    let numbers = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
    let (modulus, exponent) = numbers(&der).expect("it has numbers");
    json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)})
}

pub fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
