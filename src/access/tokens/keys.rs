//! The keys that tokens are verified with, and what is asked of tokens besides.

use std::fmt;
use std::sync::Arc;

use super::endpoint::Endpoint;
use super::key_set::KeySet;
use super::parts::{self, Parts};
use super::rules::{Parties, Rules};
use super::sign::TokenSigner;
use super::signature::{Algorithm, Key, KeyProblem};
use super::{Claims, SubscriptionClaims, TokenProblem, Weight, claims};

/// Everything that says which tokens are good.
#[derive(Clone, Debug, Default)]
pub struct TokenKeys {
    source: Source,
    rules: Rules,
    signatures: Signatures,
}

/// Where the keys are.
#[derive(Clone, Debug)]
enum Source {
    Fixed(Box<FixedKeys>),
    /// With their issuer: to be fetched.
    Endpoint(Endpoint),
    /// They were fetched.
    Set(Arc<KeySet>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Signatures {
    #[default]
    Checked,
    /// `client.insecure_skip_token_signature_verify`.
    Skipped,
}

/// One key of each family.
#[derive(Clone, Default)]
struct FixedKeys {
    hmac: Option<Key>,
    hmac_previous: Option<Previous>,
    rsa: Option<Key>,
    ec: Option<Key>,
    ed25519: Option<Key>,
}

/// The key before the current one, while tokens signed with it are still about.
#[derive(Clone)]
struct Previous {
    key: Key,
    /// Seconds since 1970; from then on it verifies nothing.
    valid_until: Option<i64>,
}

/// Which keys a token needs that are not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuestion {
    /// Where its issuer publishes them.
    pub url: Box<str>,
    pub kid: Box<str>,
}

/// A token whose signature is right, or is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The claims as JSON text.
    pub claims: Vec<u8>,
    /// What verified it.
    pub by: KeyUsed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyUsed {
    /// The one at this key of the configuration.
    Fixed(&'static str),
    /// The one of that `kid` that the issuer publishes.
    Published(Box<str>),
    /// None.
    Unchecked,
}

impl TokenKeys {
    /// Accepts tokens signed with `secret`. An empty secret is none.
    pub fn with_hmac_secret(self, secret: &str) -> TokenKeys {
        let key = (!secret.is_empty()).then(|| Key::from_secret(secret.as_bytes()));
        self.with_fixed(|keys| keys.hmac = key)
    }

    /// Accepts tokens signed with `secret` too, until that second since 1970, `None` for always.
    pub fn with_previous_hmac_secret(self, secret: &str, valid_until: Option<i64>) -> TokenKeys {
        let key = (!secret.is_empty()).then(|| Previous { key: Key::from_secret(secret.as_bytes()), valid_until });
        self.with_fixed(|keys| keys.hmac_previous = key)
    }

    /// Accepts tokens signed (RS, PS) with the private key that belongs to `pem`, a public key of
    /// 2,048 to 8,192 bits.
    pub fn with_rsa_public_key(self, pem: &str) -> Result<TokenKeys, KeyProblem> {
        let key = Key::from_rsa_pem(pem)?;
        Ok(self.with_fixed(|keys| keys.rsa = Some(key)))
    }

    /// Accepts tokens signed with the private key that belongs to `pem`, a public key on P-256 (ES256),
    /// P-384 (ES384) or P-521 (ES512).
    pub fn with_ecdsa_public_key(self, pem: &str) -> Result<TokenKeys, KeyProblem> {
        let key = Key::from_ec_pem(pem)?;
        Ok(self.with_fixed(|keys| keys.ec = Some(key)))
    }

    /// Accepts tokens signed (EdDSA) with the private key that belongs to `pem`.
    pub fn with_ed25519_public_key(self, pem: &str) -> Result<TokenKeys, KeyProblem> {
        let key = Key::from_ed25519_pem(pem)?;
        Ok(self.with_fixed(|keys| keys.ed25519 = Some(key)))
    }

    /// Accepts tokens signed with a key that is published there, and no others.
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> TokenKeys {
        self.source = Source::Endpoint(endpoint);
        self
    }

    pub fn with_rules(mut self, rules: Rules) -> TokenKeys {
        self.rules = rules;
        self
    }

    /// Accepts tokens whatever their signatures, even without one.
    pub fn without_signatures(mut self) -> TokenKeys {
        self.signatures = Signatures::Skipped;
        self
    }

    /// The same rules with the keys that were fetched for a question.
    pub fn with_fetched(&self, keys: Arc<KeySet>) -> TokenKeys {
        TokenKeys { source: Source::Set(keys), rules: self.rules.clone(), signatures: self.signatures }
    }

    /// What signs tokens that these keys verify, if a secret is among them: a public key signs nothing.
    pub fn signer(&self) -> Option<TokenSigner> {
        match &self.source {
            Source::Fixed(keys) => match &keys.hmac {
                Some(Key::Hmac(keys)) => Some(TokenSigner::from_hmac(keys.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    fn with_fixed(mut self, set: impl FnOnce(&mut FixedKeys)) -> TokenKeys {
        if let Source::Fixed(keys) = &mut self.source {
            set(keys);
        }
        self
    }

    /// What verifying `token` will cost, by its header alone; for keys that are fetched, by what it says
    /// of itself. A token that no key can verify is refused at once, so it is light.
    pub fn weigh(&self, token: &str) -> Weight {
        match &self.source {
            _ if self.signatures == Signatures::Skipped => Weight::Light,
            Source::Endpoint(_) => self.find_question(token).map_or(Weight::Light, |_| Weight::Heavy),
            Source::Fixed(_) | Source::Set(_) => match Parts::split(token) {
                Ok(parts) if !parts.algorithm.is_symmetric() && self.has_key(&parts) => Weight::Heavy,
                _ => Weight::Light,
            },
        }
    }

    /// Whether a token is believed whoever made it.
    pub fn skip_signatures(&self) -> bool {
        self.signatures == Signatures::Skipped
    }

    /// Whether the keys have to be fetched before a token can be verified.
    pub fn are_fetched(&self) -> bool {
        matches!(self.source, Source::Endpoint(_)) && self.signatures == Signatures::Checked
    }

    /// Which keys have to be fetched for `token`. Nothing of it is verified: it says only whose it claims
    /// to be, which the rules must know.
    pub fn find_question(&self, token: &str) -> Result<KeyQuestion, TokenProblem> {
        let Source::Endpoint(endpoint) = &self.source else {
            return Err(TokenProblem::Invalid("its keys are here"));
        };
        let parts = Parts::split(token)?;
        if parts.algorithm.is_symmetric() {
            return Err(TokenProblem::Invalid("no key is configured for its algorithm"));
        }
        if parts.kid.is_empty() {
            return Err(TokenProblem::Invalid("the header names no key (kid)"));
        }
        if parts.kid.len() > KID_BYTES_MAX {
            return Err(TokenProblem::Invalid("the header names no key that could be (kid)"));
        }
        let claims = parts.claims()?;
        let parties = Parties::read(&claims)?;
        self.rules.check(&parties)?;
        Ok(KeyQuestion { url: endpoint.fill(&self.rules, &parties)?, kid: parts.kid })
    }

    /// Verifies signature and claims of a connection token at the given second since 1970.
    ///
    /// There is no leeway: a token whose `exp` is this second is expired. One whose `nbf` is to
    /// come counts as expired too, as in Centrifugo: the client asks its backend for another.
    pub fn verify(&self, token: &str, unix_seconds: i64) -> Result<Claims, TokenProblem> {
        claims::read_connection(&self.open(token, unix_seconds)?.claims, &self.rules, unix_seconds)
    }

    /// Verifies signature and claims of a subscription token, by the same rules.
    ///
    /// It is for the caller to see that channel, user and client are those of the subscription.
    pub fn verify_subscription(&self, token: &str, unix_seconds: i64) -> Result<SubscriptionClaims, TokenProblem> {
        claims::read_subscription(&self.open(token, unix_seconds)?.claims, &self.rules, unix_seconds)
    }

    /// The claims of a token whose signature is right.
    pub fn open(&self, token: &str, unix_seconds: i64) -> Result<Opened, TokenProblem> {
        if self.signatures == Signatures::Skipped {
            return Ok(Opened { claims: parts::claims_unchecked(token)?, by: KeyUsed::Unchecked });
        }
        let parts = Parts::split(token)?;
        let by = match &self.source {
            Source::Fixed(keys) => KeyUsed::Fixed(keys.verify(&parts, unix_seconds)?),
            Source::Set(keys) => verify_published(keys, &parts)?,
            Source::Endpoint(_) => return Err(TokenProblem::Invalid("the keys of its issuer are not here")),
        };
        Ok(Opened { claims: parts.claims()?, by })
    }

    fn has_key(&self, parts: &Parts<'_>) -> bool {
        match &self.source {
            Source::Fixed(keys) => keys.find(parts.algorithm).is_some(),
            Source::Set(keys) => keys.find(&parts.kid, parts.algorithm).is_some(),
            Source::Endpoint(_) => false,
        }
    }
}

impl FixedKeys {
    /// The key of the algorithm's family, with its name in the configuration.
    fn find(&self, algorithm: Algorithm) -> Option<(&Key, &'static str)> {
        let keys = [
            (&self.hmac, "hmac_secret_key"),
            (&self.rsa, "rsa_public_key"),
            (&self.ec, "ecdsa_public_key"),
            (&self.ed25519, "ed25519_public_key"),
        ];
        let keys = keys.into_iter().filter_map(|(key, name)| Some((key.as_ref()?, name)));
        keys.into_iter().find(|(key, _)| key.fits(algorithm))
    }

    fn verify(&self, parts: &Parts<'_>, unix_seconds: i64) -> Result<&'static str, TokenProblem> {
        let current = self.find(parts.algorithm);
        let is_valid = |previous: &&Previous| previous.valid_until.is_none_or(|until| unix_seconds < until);
        let previous = self.hmac_previous.as_ref().filter(is_valid).map(|it| (&it.key, "hmac_previous_secret_key"));
        let previous = previous.filter(|(key, _)| key.fits(parts.algorithm));
        if current.is_none() && previous.is_none() {
            return Err(TokenProblem::Invalid("no key is configured for its algorithm"));
        }
        let signature = parts.signature()?;
        let verifies = |(key, _): &(&Key, _)| key.verifies(parts.algorithm, parts.signed.as_bytes(), &signature);
        let (_, name) = current.into_iter().chain(previous).find(verifies).ok_or(MISMATCH)?;
        Ok(name)
    }
}

fn verify_published(keys: &KeySet, parts: &Parts<'_>) -> Result<KeyUsed, TokenProblem> {
    if !keys.has(&parts.kid) {
        return Err(TokenProblem::Invalid("its issuer publishes no key of its name (kid)"));
    }
    let key = keys
        .find(&parts.kid, parts.algorithm)
        .ok_or(TokenProblem::Invalid("the key of its name (kid) is not for its algorithm"))?;
    match key.verifies(parts.algorithm, parts.signed.as_bytes(), &parts.signature()?) {
        true => Ok(KeyUsed::Published(parts.kid.clone())),
        false => Err(MISMATCH),
    }
}

const MISMATCH: TokenProblem = TokenProblem::Invalid("the signature does not match");

/// Chosen: thumbprints have 43 characters, and cloud providers' names of keys some hundred.
const KID_BYTES_MAX: usize = 512;

impl Default for Source {
    fn default() -> Source {
        Source::Fixed(Box::default())
    }
}

impl fmt::Debug for FixedKeys {
    /// Says which keys there are, never what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedKeys")
            .field("hmac", &self.hmac.is_some())
            .field("hmac_previous", &self.hmac_previous.is_some())
            .field("rsa", &self.rsa.is_some())
            .field("ec", &self.ec.is_some())
            .field("ed25519", &self.ed25519.is_some())
            .finish()
    }
}
