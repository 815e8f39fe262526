//! Signatures: the algorithms a token may name, and the keys that verify them.
//!
//! Source: RFC 7518 §3 (HS, RS, PS, ES), RFC 8037 (EdDSA).

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use aws_lc_rs::{hmac, signature::ED25519};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Named by the header of a token (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// What verifies signatures.
///
/// Invariant: a key verifies the algorithms of its own family only, so that a public key can't be
/// used as the secret of an HMAC. One of a curve has one algorithm (RFC 7518 §3.4).
#[derive(Clone)]
pub enum Key {
    /// For HS256, HS384, HS512.
    Hmac(Box<[hmac::Key; 3]>),
    /// For RS256, RS384, RS512, PS256, PS384, PS512: the library binds a parsed key to its algorithm.
    Rsa(Box<[ParsedPublicKey; 6]>),
    Ec(Algorithm, Box<ParsedPublicKey>),
    Ed25519(Box<ParsedPublicKey>),
}

/// Why a text is no key; never the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    NotPem,
    /// A private key where the public one belongs.
    Private,
    NotRsa,
    NotEc,
    NotEd25519,
    /// An RSA key that is too short to be safe, or too long to be quick.
    Size,
}

impl Algorithm {
    /// "none" names nothing.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        // RFC 9864 gives Ed25519 a name of its own.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::HS256 => "HS256",
            Algorithm::HS384 => "HS384",
            Algorithm::HS512 => "HS512",
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::PS384 => "PS384",
            Algorithm::PS512 => "PS512",
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::ES512 => "ES512",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    /// Takes a secret that signer and verifier share.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
    }

    const ALL: [Algorithm; 13] = [
        Algorithm::HS256,
        Algorithm::HS384,
        Algorithm::HS512,
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::ES512,
        Algorithm::EdDSA,
    ];
}

impl Key {
    pub fn from_secret(secret: &[u8]) -> Key {
        Key::Hmac(hmac_keys(secret))
    }

    /// An RSA key of 2,048 to 8,192 bits ("BEGIN PUBLIC KEY", "BEGIN RSA PUBLIC KEY").
    pub fn from_rsa_pem(pem: &str) -> Result<Key, KeyProblem> {
        Key::from_rsa_der(&read_public_pem(pem)?)
    }

    /// An EC key on P-256, P-384 or P-521.
    pub fn from_ec_pem(pem: &str) -> Result<Key, KeyProblem> {
        let der = read_public_pem(pem)?;
        CURVES.iter().find_map(|curve| Key::from_ec(curve, &der)).ok_or(KeyProblem::NotEc)
    }

    pub fn from_ed25519_pem(pem: &str) -> Result<Key, KeyProblem> {
        Key::from_ed25519(&read_public_pem(pem)?).ok_or(KeyProblem::NotEd25519)
    }

    /// Modulus and exponent as numbers, the most significant byte first.
    pub fn from_rsa_numbers(modulus: &[u8], exponent: &[u8]) -> Result<Key, KeyProblem> {
        let components = RsaPublicKeyComponents { n: without_zeros(modulus), e: without_zeros(exponent) };
        let key = components.to_parsed_public_key(RSA[0]).map_err(|_| KeyProblem::NotRsa)?;
        Key::from_rsa_der(key.as_der().map_err(|_| KeyProblem::NotRsa)?.as_ref())
    }

    /// A point of the curve that has this name in RFC 7518 §6.2.1.1.
    pub fn from_ec_point(curve: &str, x: &[u8], y: &[u8]) -> Option<Key> {
        let curve = CURVES.iter().find(|it| it.name == curve && x.len() == it.bytes && y.len() == it.bytes)?;
        // Uncompressed (SEC 1 §2.3.3).
        Key::from_ec(curve, &[&[4], x, y].concat())
    }

    /// The 32 bytes of the key, or its DER.
    pub fn from_ed25519(bytes: &[u8]) -> Option<Key> {
        let key = ParsedPublicKey::new(&ED25519, bytes).ok()?;
        Some(Key::Ed25519(key.into()))
    }

    fn from_rsa_der(der: &[u8]) -> Result<Key, KeyProblem> {
        let parsed = |algorithm: &'static RsaParameters| ParsedPublicKey::new(algorithm, der);
        let first = parsed(RSA[0]).map_err(|_| KeyProblem::NotRsa)?;
        let der_again = first.as_der().map_err(|_| KeyProblem::NotRsa)?;
        // A type of the library that says how long a key is; it takes none that is too short.
        let sized = PublicEncryptingKey::from_der(der_again.as_ref()).map_err(|_| KeyProblem::Size)?;
        if !RSA_BITS.contains(&sized.key_size_bits()) {
            return Err(KeyProblem::Size);
        }
        let all: Vec<_> = RSA.into_iter().map(parsed).collect::<Result<_, _>>().map_err(|_| KeyProblem::NotRsa)?;
        Ok(Key::Rsa(Box::new(all.try_into().expect("as many keys as algorithms"))))
    }

    fn from_ec(curve: &Curve, bytes: &[u8]) -> Option<Key> {
        let key = ParsedPublicKey::new(curve.verification, bytes).ok()?;
        Some(Key::Ec(curve.algorithm, key.into()))
    }

    /// Whether the algorithm is of this key's family.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Key::Hmac(_) => algorithm.is_symmetric(),
            Key::Rsa(_) => rsa_index(algorithm).is_some(),
            Key::Ec(of_curve, _) => algorithm == *of_curve,
            Key::Ed25519(_) => algorithm == Algorithm::EdDSA,
        }
    }

    /// Whether `signature` is that of `message`; an algorithm that does not fit signs nothing.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match self {
            Key::Hmac(keys) => {
                hmac_key(keys, algorithm).is_some_and(|key| hmac::verify(key, message, signature).is_ok())
            }
            Key::Rsa(keys) => {
                rsa_index(algorithm).is_some_and(|index| keys[index].verify_sig(message, signature).is_ok())
            }
            Key::Ec(_, key) | Key::Ed25519(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    /// Says of which kind it is, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Hmac(_) => "HMAC",
            Key::Rsa(_) => "RSA",
            Key::Ec(..) => "EC",
            Key::Ed25519(_) => "Ed25519",
        })
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyProblem::NotPem => f.write_str("is no PEM text: it should begin with -----BEGIN PUBLIC KEY-----"),
            KeyProblem::Private => {
                f.write_str("is a private key: `openssl pkey -in private.pem -pubout` prints the public one")
            }
            KeyProblem::NotRsa => f.write_str("is no RSA public key"),
            KeyProblem::NotEc => f.write_str("is no EC public key on P-256, P-384 or P-521"),
            KeyProblem::NotEd25519 => f.write_str("is no Ed25519 public key"),
            KeyProblem::Size => {
                write!(f, "is an RSA key of another size than {} to {} bits", RSA_BITS.start(), RSA_BITS.end())
            }
        }
    }
}

/// One key for each of HS256, HS384, HS512.
pub fn hmac_keys(secret: &[u8]) -> Box<[hmac::Key; 3]> {
    let key = |algorithm| hmac::Key::new(algorithm, secret);
    Box::new([hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512].map(key))
}

/// The one of them that the algorithm takes.
pub fn hmac_key(keys: &[hmac::Key; 3], algorithm: Algorithm) -> Option<&hmac::Key> {
    keys.get(algorithm as usize - Algorithm::HS256 as usize)
}

fn read_public_pem(pem: &str) -> Result<Vec<u8>, KeyProblem> {
    if pem.contains("PRIVATE KEY-----") {
        return Err(KeyProblem::Private);
    }
    read_pem(pem, &["PUBLIC KEY", "RSA PUBLIC KEY"]).ok_or(KeyProblem::NotPem)
}

/// The bytes of the first block of a PEM text (RFC 7468), if it has one of the labels.
pub fn read_pem(pem: &str, labels: &[&str]) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let text: String = body.split_whitespace().collect();
    labels.contains(&label).then(|| STANDARD.decode(text).ok())?
}

/// JWKs may hold numbers with leading zeros (RFC 7518 §6.3.1.1 asks for none).
fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    &number[first..]
}

/// The algorithm's place in [`RSA`].
fn rsa_index(algorithm: Algorithm) -> Option<usize> {
    let index = (algorithm as usize).checked_sub(Algorithm::RS256 as usize)?;
    (index < RSA.len()).then_some(index)
}

/// In the order of [`Algorithm`]. The salt of PS is as long as its digest (RFC 7518 §3.5).
static RSA: [&RsaParameters; 6] = [
    &signature::RSA_PKCS1_2048_8192_SHA256,
    &signature::RSA_PKCS1_2048_8192_SHA384,
    &signature::RSA_PKCS1_2048_8192_SHA512,
    &signature::RSA_PSS_2048_8192_SHA256,
    &signature::RSA_PSS_2048_8192_SHA384,
    &signature::RSA_PSS_2048_8192_SHA512,
];

/// Sizes that the crypto library verifies signatures with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A curve with the algorithm that is its own.
struct Curve {
    name: &'static str,
    algorithm: Algorithm,
    verification: &'static EcdsaVerificationAlgorithm,
    /// Of one coordinate.
    bytes: usize,
}

/// Signatures are two numbers of fixed length, not DER (RFC 7518 §3.4).
static CURVES: [Curve; 3] = [
    Curve { name: "P-256", algorithm: Algorithm::ES256, verification: &signature::ECDSA_P256_SHA256_FIXED, bytes: 32 },
    Curve { name: "P-384", algorithm: Algorithm::ES384, verification: &signature::ECDSA_P384_SHA384_FIXED, bytes: 48 },
    Curve { name: "P-521", algorithm: Algorithm::ES512, verification: &signature::ECDSA_P521_SHA512_FIXED, bytes: 66 },
];
