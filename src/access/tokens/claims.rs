//! What the claims of a token say, once its signature is known to be right.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::rules::{Parties, Rules};
use super::{Claims, SubscriptionClaims, TokenProblem};
use crate::access::{Grant, Overrides};

/// Reads the claims of a connection token. Time is looked at last: only a token that is right
/// otherwise is expired.
pub fn read_connection(json: &[u8], rules: &Rules, unix_seconds: i64) -> Result<Claims, TokenProblem> {
    let claims: ConnectionWire<'_> = read(json)?;
    rules.check(&Parties::read(json)?)?;
    if claims.channel.is_some_and(|channel| !channel.is_empty()) {
        return Err(TokenProblem::Invalid("it is a subscription token, not a connection token"));
    }
    let times = Times { exp: claims.exp, nbf: claims.nbf, expire_at: claims.expire_at };
    let subs = match claims.subs.filter(|subs| !subs.is_empty()) {
        Some(subs) => read_subs(subs)?,
        None => name_only(claims.channels.unwrap_or_default()),
    };
    let info = bytes_of(claims.b64info, claims.info, "the claim b64info is no base64")?;
    Ok(Claims {
        expires_at: times.check(unix_seconds)?,
        user: read_user(claims.sub, json, rules)?,
        info,
        subs,
        meta: claims.meta.map(copy),
    })
}

/// Reads the claims of a subscription token, by the same rules.
pub fn read_subscription(json: &[u8], rules: &Rules, unix_seconds: i64) -> Result<SubscriptionClaims, TokenProblem> {
    let claims: SubscriptionWire<'_> = read(json)?;
    rules.check(&Parties::read(json)?)?;
    let Some(channel) = claims.channel.filter(|channel| !channel.is_empty()) else {
        return Err(TokenProblem::Invalid("it is a connection token, not a subscription token"));
    };
    let times = Times { exp: claims.exp, nbf: claims.nbf, expire_at: claims.expire_at };
    let options = OptionsWire {
        info: claims.info,
        b64info: claims.b64info,
        data: claims.data,
        b64data: claims.b64data,
        overrides: claims.overrides,
    };
    let grant = options.into_grant()?;
    Ok(SubscriptionClaims {
        grant: Grant { expires_at: times.check(unix_seconds)?, ..grant },
        user: read_user(claims.sub, json, rules)?,
        channel: channel.into(),
        client: claims.client.filter(|client| !client.is_empty()).map(Into::into),
    })
}

fn read_user(sub: Option<Cow<'_, str>>, json: &[u8], rules: &Rules) -> Result<Box<str>, TokenProblem> {
    match &rules.user_claim {
        Some(claim) => claim.find(json),
        None => Ok(sub.unwrap_or_default().into()),
    }
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, TokenProblem> {
    serde_json::from_slice(json).map_err(|_| TokenProblem::Invalid("the claims can't be read"))
}

/// The claims of a connection token that are understood; others are ignored (RFC 7519 §4).
#[derive(Deserialize)]
struct ConnectionWire<'a> {
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    expire_at: Option<i64>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64info: Option<Cow<'a, str>>,
    /// Never in a connection token.
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    channels: Option<Vec<Cow<'a, str>>>,
    /// Sorted, so that a token says the same each time.
    #[serde(borrow, default)]
    subs: Option<BTreeMap<Cow<'a, str>, OptionsWire<'a>>>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SubscriptionWire<'a> {
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    expire_at: Option<i64>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    client: Option<Cow<'a, str>>,
    // As in `OptionsWire`, which serde can't borrow through `flatten`.
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64info: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64data: Option<Cow<'a, str>>,
    #[serde(rename = "override", default)]
    overrides: Option<OverridesWire>,
}

/// What is granted in one channel.
#[derive(Deserialize)]
struct OptionsWire<'a> {
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64info: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64data: Option<Cow<'a, str>>,
    #[serde(rename = "override", default)]
    overrides: Option<OverridesWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OverridesWire {
    presence: Option<FlagWire>,
    join_leave: Option<FlagWire>,
    force_push_join_leave: Option<FlagWire>,
    force_recovery: Option<FlagWire>,
    force_positioning: Option<FlagWire>,
}

/// A flag in an object, so that "not said" differs from "no".
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct FlagWire {
    value: bool,
}

impl OptionsWire<'_> {
    fn into_grant(self) -> Result<Grant, TokenProblem> {
        let overrides = self.overrides.unwrap_or_default();
        let value = |flag: Option<FlagWire>| flag.map(|flag| flag.value);
        Ok(Grant {
            info: bytes_of(self.b64info, self.info, "the claim b64info is no base64")?,
            data: bytes_of(self.b64data, self.data, "the claim b64data is no base64")?.unwrap_or_default(),
            expires_at: None,
            overrides: Overrides {
                presence: value(overrides.presence),
                join_leave: value(overrides.join_leave),
                force_push_join_leave: value(overrides.force_push_join_leave),
                force_recovery: value(overrides.force_recovery),
                force_positioning: value(overrides.force_positioning),
            },
        })
    }
}

/// The claims that say when. Dates are seconds since 1970, perhaps with a fraction (RFC 7519 §2).
struct Times {
    exp: Option<serde_json::Number>,
    nbf: Option<serde_json::Number>,
    expire_at: Option<i64>,
}

impl Times {
    /// When what the token grants expires, `None` for never. `expire_at` overrides `exp` in that, and 0
    /// there means never; the token itself is good until `exp`.
    fn check(&self, unix_seconds: i64) -> Result<Option<i64>, TokenProblem> {
        let exp = self.exp.as_ref().map(whole_seconds);
        let nbf = self.nbf.as_ref().map(whole_seconds);
        if exp.is_some_and(|exp| exp <= unix_seconds) || nbf.is_some_and(|nbf| nbf > unix_seconds) {
            return Err(TokenProblem::Expired);
        }
        Ok(self.expire_at.or(exp).filter(|&seconds| seconds > 0))
    }
}

fn read_subs(subs: BTreeMap<Cow<'_, str>, OptionsWire<'_>>) -> Result<Vec<(Box<str>, Grant)>, TokenProblem> {
    subs.into_iter().map(|(channel, options)| Ok((channel.into(), options.into_grant()?))).collect()
}

/// Each channel once, with nothing but its own options.
fn name_only(channels: Vec<Cow<'_, str>>) -> Vec<(Box<str>, Grant)> {
    let mut seen = HashSet::new();
    let channels = channels.into_iter().filter(|channel| seen.insert(channel.clone()));
    channels.map(|channel| (channel.into(), Grant::default())).collect()
}

/// The bytes of a claim that is said as JSON or, which wins, in base64.
fn bytes_of(
    encoded: Option<Cow<'_, str>>,
    json: Option<&RawValue>,
    problem: &'static str,
) -> Result<Option<Bytes>, TokenProblem> {
    match encoded.filter(|encoded| !encoded.is_empty()) {
        Some(encoded) => {
            STANDARD.decode(&*encoded).map(|bytes| Some(bytes.into())).map_err(|_| TokenProblem::Invalid(problem))
        }
        None => Ok(json.map(copy)),
    }
}

fn copy(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}

/// Cuts a fraction off.
fn whole_seconds(date: &serde_json::Number) -> i64 {
    // A float beyond the range of i64 saturates: a date that far is as good as any.
    date.as_i64().or_else(|| date.as_f64().map(|seconds| seconds.floor() as i64)).unwrap_or(i64::MAX)
}
