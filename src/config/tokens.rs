//! What tokens must be, from `client.token` and `client.subscription_token`.

use std::sync::Arc;

use regex::Regex;

use super::settings::Scope;
use super::source::Problems;
use super::values::parse_address;
use crate::access::{Endpoint, Expected, KeyProblem, Rules, Safety, TokenKeys, UserClaim};

/// The keys of connection tokens, and those of subscription tokens.
pub fn keys(root: &Scope<'_>, problems: &mut Problems<'_>) -> (Arc<TokenKeys>, Arc<TokenKeys>) {
    let is_unchecked = root.flag("client.insecure_skip_token_signature_verify");
    let mut read = |section: &str| {
        let keys = Section { root, section }.keys(problems);
        Arc::new(if is_unchecked { keys.without_signatures() } else { keys })
    };
    let connection = read("client.token");
    let subscription = match root.flag("client.subscription_token.enabled") {
        true => read("client.subscription_token"),
        false => Arc::clone(&connection),
    };
    unused_section(root, problems);
    (connection, subscription)
}

/// Whether it is asked for over plain HTTP, and not on this machine.
fn is_plain_abroad(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    !host.and_then(parse_address).is_some_and(|address| address.is_loopback())
}

/// What stands before the hub may say who users are: by a header's name (RFC 9110 §5.1).
pub fn user_header(root: &Scope<'_>, problems: &mut Problems<'_>) {
    let key = "client.user_id_http_header";
    let is_token =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if root.text(key).is_some_and(|name| !is_token(&name)) {
        problems.add(root.span(key), format!("{key} is no name of a header"));
    }
}

/// One of the two tables, whose keys have the same names.
struct Section<'a> {
    root: &'a Scope<'a>,
    section: &'a str,
}

impl Section<'_> {
    fn keys(&self, problems: &mut Problems<'_>) -> TokenKeys {
        let rules = self.rules(problems);
        if let Some(url) = self.text("jwks_public_endpoint") {
            return self.with_endpoint(&url, rules, problems);
        }
        let valid_until = self.root.count(&self.path("hmac_previous_secret_key_valid_until")) as i64;
        let mut keys = TokenKeys::default()
            .with_hmac_secret(&self.text("hmac_secret_key").unwrap_or_default())
            .with_previous_hmac_secret(
                &self.text("hmac_previous_secret_key").unwrap_or_default(),
                Some(valid_until).filter(|&second| second > 0),
            )
            .with_rules(rules);
        for (name, add) in PUBLIC_KEYS {
            let Some(pem) = self.text(name) else { continue };
            match add(keys.clone(), &pem) {
                Ok(with_key) => keys = with_key,
                Err(problem) => self.refuse(name, problem, problems),
            }
        }
        keys
    }

    fn with_endpoint(&self, url: &str, rules: Rules, problems: &mut Problems<'_>) -> TokenKeys {
        let replaced = ["hmac_secret_key", "hmac_previous_secret_key"].into_iter();
        for name in replaced.chain(PUBLIC_KEYS.iter().map(|(name, _)| *name)) {
            if self.text(name).is_some() {
                let path = self.path(name);
                problems.warn(self.root.span(&path), format!("{path} is not used: jwks_public_endpoint replaces it"));
            }
        }
        if is_plain_abroad(url) {
            let path = self.path("jwks_public_endpoint");
            let message = format!("{path} is not https: whoever is on the way can put keys of his own there");
            problems.warn(self.root.span(&path), message);
        }
        let safety = match self.root.flag(&self.path("insecure_skip_jwks_endpoint_safety_check")) {
            true => Safety::Skipped,
            false => Safety::Checked,
        };
        match Endpoint::parse(url, &rules, safety) {
            Ok(endpoint) => TokenKeys::default().with_rules(rules).with_endpoint(endpoint),
            Err(problem) => {
                self.refuse("jwks_public_endpoint", problem, problems);
                TokenKeys::default()
            }
        }
    }

    fn rules(&self, problems: &mut Problems<'_>) -> Rules {
        let user_claim = self.text("user_id_claim").and_then(|path| {
            let claim = UserClaim::parse(&path);
            if claim.is_none() {
                self.refuse("user_id_claim", "should be the name of a claim, or names joined by dots", problems);
            }
            claim
        });
        Rules {
            audience: self.expected("audience", "audience_regex", problems),
            issuer: self.expected("issuer", "issuer_regex", problems),
            user_claim,
        }
    }

    fn expected(&self, exact: &str, pattern: &str, problems: &mut Problems<'_>) -> Option<Expected> {
        match (self.text(exact), self.text(pattern)) {
            (Some(_), Some(_)) => {
                self.refuse(pattern, format!("stands beside {exact}: one of them says what is expected"), problems);
                None
            }
            (Some(text), None) => Some(Expected::Exactly(text.into())),
            (None, Some(text)) => match Regex::new(&text) {
                Ok(pattern) => Some(Expected::Matching(pattern)),
                Err(error) => {
                    let error = error.to_string();
                    let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    self.refuse(pattern, format!("is no regular expression: {reason}"), problems);
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn refuse(&self, name: &str, problem: impl std::fmt::Display, problems: &mut Problems<'_>) {
        let path = self.path(name);
        problems.add(self.root.span(&path), format!("{path} {problem}"));
    }

    fn text(&self, name: &str) -> Option<String> {
        self.root.text(&self.path(name))
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.section)
    }
}

type AddKey = fn(TokenKeys, &str) -> Result<TokenKeys, KeyProblem>;

/// Their names, and what reads them.
const PUBLIC_KEYS: [(&str, AddKey); 3] = [
    ("rsa_public_key", TokenKeys::with_rsa_public_key),
    ("ecdsa_public_key", TokenKeys::with_ecdsa_public_key),
    ("ed25519_public_key", TokenKeys::with_ed25519_public_key),
];

/// Keys of subscription tokens that nothing asks for.
fn unused_section(root: &Scope<'_>, problems: &mut Problems<'_>) {
    let section = root.table("client.subscription_token");
    if let Some(start) = section.start().filter(|_| root.span("client.subscription_token.enabled").is_none()) {
        let message = "client.subscription_token is not used: it needs enabled = true";
        problems.warn(Some(start), message);
    }
}
