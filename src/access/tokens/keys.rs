//! The keys that tokens are verified with.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{self, aws_lc};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Claims, SubscriptionClaims, TokenProblem, Weight, claims};

/// The keys that tokens are verified with.
///
/// Invariant: a key verifies the algorithms of its own family only, so that a public key can't be
/// used as the secret of an HMAC.
#[derive(Clone, Default)]
pub struct TokenKeys {
    /// For HS256, HS384, HS512.
    hmac: Option<DecodingKey>,
    /// For RS256, RS384, RS512.
    rsa: Option<DecodingKey>,
}

/// Why a text is no key; never the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    NotPem,
    /// A private key where the public one belongs.
    Private,
    NotRsa,
    /// Bits of the key's modulus.
    Size(usize),
}

impl TokenKeys {
    /// Accepts tokens signed with `secret`. An empty secret is none.
    pub fn with_hmac_secret(mut self, secret: &str) -> TokenKeys {
        self.hmac = (!secret.is_empty()).then(|| DecodingKey::from_secret(secret.as_bytes()));
        self
    }

    /// Accepts tokens signed with the private key that belongs to `pem`, a public key ("BEGIN PUBLIC
    /// KEY", "BEGIN RSA PUBLIC KEY") of 2,048 to 8,192 bits.
    pub fn with_rsa_public_key(mut self, pem: &str) -> Result<TokenKeys, KeyProblem> {
        if !pem.contains("-----BEGIN ") {
            return Err(KeyProblem::NotPem);
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyProblem::Private);
        }
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyProblem::NotRsa)?;
        let bits = modulus_bits(&key).ok_or(KeyProblem::NotRsa)?;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyProblem::Size(bits));
        }
        self.rsa = Some(key);
        Ok(self)
    }

    /// What verifying `token` will cost, by its header alone. A token that no key can verify is
    /// refused at once, so it is light.
    pub fn weigh(&self, token: &str) -> Weight {
        match Parts::split(token).and_then(|parts| self.choose_key(&parts)) {
            Ok((Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512, _)) => Weight::Heavy,
            _ => Weight::Light,
        }
    }

    /// Verifies signature and claims of a connection token at the given second since 1970.
    ///
    /// There is no leeway: a token whose `exp` is this second is expired. One whose `nbf` is to
    /// come counts as expired too, as in Centrifugo: the client asks its backend for another.
    pub fn verify(&self, token: &str, unix_seconds: i64) -> Result<Claims, TokenProblem> {
        claims::read_connection(&self.open(token)?, unix_seconds)
    }

    /// Verifies signature and claims of a subscription token, by the same rules.
    ///
    /// It is for the caller to see that channel, user and client are those of the subscription.
    pub fn verify_subscription(&self, token: &str, unix_seconds: i64) -> Result<SubscriptionClaims, TokenProblem> {
        claims::read_subscription(&self.open(token)?, unix_seconds)
    }

    /// The claims of a token whose signature is right, as JSON text.
    fn open(&self, token: &str) -> Result<Vec<u8>, TokenProblem> {
        let parts = Parts::split(token)?;
        let (algorithm, key) = self.choose_key(&parts)?;
        match crypto::verify(parts.signature, parts.signed.as_bytes(), key, algorithm) {
            Ok(true) => {}
            Ok(false) => return Err(TokenProblem::Invalid("the signature does not match")),
            Err(_) => return Err(TokenProblem::Invalid("the signature can't be read")),
        }
        URL_SAFE_NO_PAD.decode(parts.claims).map_err(|_| TokenProblem::Invalid("the claims are no base64"))
    }

    /// The configured key for the algorithm that the header names; "none" names nothing.
    fn choose_key(&self, parts: &Parts<'_>) -> Result<(Algorithm, &DecodingKey), TokenProblem> {
        let bytes =
            URL_SAFE_NO_PAD.decode(parts.header).map_err(|_| TokenProblem::Invalid("the header is no base64"))?;
        let header: Header<'_> =
            serde_json::from_slice(&bytes).map_err(|_| TokenProblem::Invalid("the header can't be read"))?;
        if header.crit.is_some() {
            // RFC 7515 §4.1.11: extensions that must be understood, and none is here.
            return Err(TokenProblem::Invalid("the header has critical extensions"));
        }
        let (algorithm, key) = match &*header.alg {
            "HS256" => (Algorithm::HS256, &self.hmac),
            "HS384" => (Algorithm::HS384, &self.hmac),
            "HS512" => (Algorithm::HS512, &self.hmac),
            "RS256" => (Algorithm::RS256, &self.rsa),
            "RS384" => (Algorithm::RS384, &self.rsa),
            "RS512" => (Algorithm::RS512, &self.rsa),
            _ => return Err(TokenProblem::Invalid("its algorithm is not supported")),
        };
        let key = key.as_ref().ok_or(TokenProblem::Invalid("no key is configured for its algorithm"))?;
        Ok((algorithm, key))
    }
}

impl fmt::Debug for TokenKeys {
    /// Says which keys there are, never what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("hmac", &self.hmac.is_some()).field("rsa", &self.rsa.is_some()).finish()
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
            KeyProblem::Size(bits) => {
                write!(f, "has {bits} bits: RSA keys of {} to {} bits are accepted", RSA_BITS.start(), RSA_BITS.end())
            }
        }
    }
}

/// The three parts of a JWT, each base64url (RFC 7515 §7.1).
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims with the dot between them: what the signature signs.
    signed: &'a str,
}

impl Parts<'_> {
    fn split(token: &str) -> Result<Parts<'_>, TokenProblem> {
        let split = || {
            let (signed, signature) = token.rsplit_once('.')?;
            let (header, claims) = signed.split_once('.')?;
            (!claims.contains('.')).then_some(Parts { header, claims, signature, signed })
        };
        split().ok_or(TokenProblem::Invalid("it does not have three parts"))
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    crit: Option<&'a RawValue>,
}

fn modulus_bits(key: &DecodingKey) -> Option<usize> {
    let der = key.try_get_as_bytes().ok()?;
    let (modulus, _) = (aws_lc::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).ok()?;
    let first = modulus.iter().position(|&byte| byte != 0)?;
    let significant = modulus.get(first..)?;
    Some(significant.len() * 8 - significant.first()?.leading_zeros() as usize)
}

/// Sizes that the crypto library verifies signatures with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
