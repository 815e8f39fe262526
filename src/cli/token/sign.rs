//! `fanfare token conn` and `fanfare token sub`.

use std::fs;

use serde_json::{Map, Value, json};

use super::{Failure, Keys, print_json, unix_seconds};
use crate::access::{Expected, Rules, TokenKeys, TokenSigner};
use crate::config::{ConnectionTokenArguments, Output, SubscriptionTokenArguments, TokenArguments};

pub fn connection(arguments: &ConnectionTokenArguments) -> Result<(), Failure> {
    let common = &arguments.common;
    let keys = load(common, |keys| &keys.connection)?;
    let mut claims = claims(common, keys.rules(), unix_seconds());
    if !arguments.channels.is_empty() {
        claims.insert("channels".into(), json!(arguments.channels));
    }
    insert(&mut claims, "subs", &arguments.subs);
    insert(&mut claims, "meta", &arguments.meta);
    sign(common, &keys, claims)
}

pub fn subscription(arguments: &SubscriptionTokenArguments) -> Result<(), Failure> {
    let common = &arguments.common;
    let keys = load(common, |keys| &keys.subscription)?;
    let mut claims = claims(common, keys.rules(), unix_seconds());
    claims.insert("channel".into(), json!(arguments.channel));
    insert(&mut claims, "client", &arguments.client.as_ref().map(|client| json!(client)));
    insert(&mut claims, "data", &arguments.data);
    insert(&mut claims, "override", &arguments.overrides);
    sign(common, &keys, claims)
}

/// The keys of the configuration, of which a private key of one's own takes only the rules, if any.
fn load(common: &TokenArguments, choose: fn(&Keys) -> &std::sync::Arc<TokenKeys>) -> Result<TokenKeys, Failure> {
    if common.config.is_none() && common.private_key.is_some() {
        return Ok(TokenKeys::default());
    }
    let from_file = common.config.as_deref().filter(|_| common.secret.is_some());
    let keys = TokenKeys::clone(choose(&Keys::load(common.config.as_deref(), common.secret.as_deref())?));
    match from_file {
        // The rules of the file, the secret of the flag.
        Some(file) => Ok(keys.with_rules(choose(&Keys::load(Some(file), None)?).rules().clone())),
        None => Ok(keys),
    }
}

fn claims(common: &TokenArguments, rules: &Rules, now: i64) -> Map<String, Value> {
    let mut claims = Map::new();
    let user = json!(common.user);
    match &rules.user_claim {
        None => drop(claims.insert("sub".into(), user)),
        Some(claim) => insert_at(&mut claims, claim.path(), user),
    }
    claims.insert("iat".into(), json!(now));
    if !common.ttl.is_zero() {
        claims.insert("exp".into(), json!(now.saturating_add(common.ttl.as_secs() as i64)));
    }
    insert(&mut claims, "expire_at", &common.expire_at.map(|second| json!(second)));
    insert(&mut claims, "info", &common.info);
    insert(&mut claims, "iss", &said_or_expected(&common.issuer, &rules.issuer));
    insert(&mut claims, "aud", &said_or_expected(&common.audience, &rules.audience));
    claims
}

/// A pattern expects many texts, and none of them is a better guess than the others.
fn said_or_expected(said: &Option<String>, expected: &Option<Expected>) -> Option<Value> {
    match (said, expected) {
        (Some(text), _) => Some(json!(text)),
        (None, Some(Expected::Exactly(text))) => Some(json!(text)),
        (None, _) => None,
    }
}

fn insert(claims: &mut Map<String, Value>, name: &str, value: &Option<Value>) {
    if let Some(value) = value {
        claims.insert(name.into(), value.clone());
    }
}

/// `a.b` is the claim `b` inside of `a`; a name with a slash is one of a URL's, dots and all.
fn insert_at(claims: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.').filter(|_| !path.contains('/')) {
        None => drop(claims.insert(path.into(), value)),
        Some((name, rest)) => {
            let mut below = Map::new();
            insert_at(&mut below, rest, value);
            claims.insert(name.into(), Value::Object(below));
        }
    }
}

fn sign(common: &TokenArguments, keys: &TokenKeys, mut claims: Map<String, Value>) -> Result<(), Failure> {
    if let Some(Value::Object(further)) = &common.claims {
        claims.extend(further.clone());
    }
    let signer = signer(common, keys)?;
    let claims = Value::Object(claims);
    let token = signer.sign(&claims.to_string(), common.algorithm, common.kid.as_deref()).map_err(Failure::usage)?;
    match common.output.output {
        Output::Text => println!("{token}"),
        Output::Json => print_json(&json!({"token": token, "claims": claims})),
    }
    Ok(())
}

fn signer(common: &TokenArguments, keys: &TokenKeys) -> Result<TokenSigner, Failure> {
    if let Some(file) = &common.private_key {
        let name = file.display();
        let pem = fs::read_to_string(file).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        return TokenSigner::from_private_pem(&pem).map_err(|problem| Failure::usage(format!("{name}: {problem}")));
    }
    keys.signer().ok_or_else(|| {
        Failure::usage(
            "the configuration has no hmac_secret_key to sign with; whoever has the private key signs with \
             --private-key FILE",
        )
    })
}
