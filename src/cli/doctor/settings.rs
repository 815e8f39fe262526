//! The configuration: what is open that should not be, and what is closed that should not be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Options, Warning};
use crate::io::{Pair, Pem};

use super::Check;

pub fn configuration(file: Option<&Path>, warnings: &[Warning]) -> Check {
    const NAME: &str = "configuration";
    let Some(file) = file else {
        return Check::ok(NAME, "dev mode: this machine only, everything is allowed");
    };
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => Check::ok(NAME, file.display()),
        false => Check::warn(NAME, texts.join("\n"), "take out what does nothing, or live without it"),
    }
}

pub fn origins(options: &Options) -> Check {
    const NAME: &str = "origins";
    let origins = &options.http.allowed_origins;
    match origins.as_slice() {
        [] => {
            Check::warn(NAME, "none: no browser may connect", "client.allowed_origins = [\"https://app.example.com\"]")
        }
        all if all.iter().any(|origin| origin == "*") => Check::warn(
            NAME,
            "*: pages of every site may connect with their visitors' cookies",
            "name the sites in client.allowed_origins",
        ),
        some => Check::ok(NAME, some.join(", ")),
    }
}

pub fn api_key(options: &Options) -> Check {
    const NAME: &str = "API key";
    let key = options.api.key.as_ref().map_or("", |key| key.reveal());
    match key.len() {
        _ if options.api.disabled => Check::ok(NAME, "the API is switched off"),
        _ if options.api.insecure => {
            Check::warn(NAME, "none is asked for: whoever reaches the port may publish", "http_api.insecure = false")
        }
        _ if key.contains(PLACEHOLDER) => {
            Check::fail(NAME, format!("{PLACEHOLDER}, as in the examples: everybody knows it"), NEW_KEY)
        }
        0 => Check::warn(NAME, "none: every call is refused", NEW_KEY),
        length if length < KEY_BYTES_MIN => Check::warn(NAME, format!("{length} bytes can be guessed"), NEW_KEY),
        _ => Check::ok(NAME, "set"),
    }
}

/// Nobody is asked for a token: fine on a developer's machine.
pub fn insecure(options: &Options) -> Option<Check> {
    let is_reachable = !options.client_address.ip().is_loopback();
    (options.shard.insecure && is_reachable).then(|| {
        let value = "client.insecure: everybody may do everything";
        Check::fail("clients", value, "client.insecure = false, and tokens (client.token)")
    })
}

/// One check for each port that speaks TLS.
pub fn certificates(options: &Options) -> Vec<Check> {
    let internal = options.internal_address.and(options.internal_tls.as_ref());
    let ports = [("TLS", options.client_tls.as_ref()), ("internal TLS", internal)];
    ports.into_iter().filter_map(|(name, pair)| pair.map(|pair| certificate(name, pair, now()))).collect()
}

fn certificate(name: &'static str, pair: &Pair, now: i64) -> Check {
    let expires = match pair.load() {
        Ok(identity) => identity.expires,
        Err(bad) => return Check::fail(name, bad, "give a certificate and its key, readable for the hub's user"),
    };
    if let Some(file) = open_key(pair) {
        return Check::warn(
            name,
            format!("{file}: everybody on this machine can read the key"),
            format!("chmod o-r {file}"),
        );
    }
    let Some(expires) = expires else {
        return Check::warn(name, "the certificate does not say until when it is valid", "give another one");
    };
    match (expires - now).div_euclid(DAY_SECONDS) {
        days if days < 0 => Check::fail(name, format!("expired {} days ago", -days), RENEW),
        days if days < DAYS_LEFT_MIN => Check::warn(name, format!("valid for {days} more days"), RENEW),
        days => Check::ok(name, format!("valid for {days} more days")),
    }
}

/// The file of the key, if others than its user and group may read it.
fn open_key(pair: &Pair) -> Option<String> {
    let Pem::File(path) = &pair.key else { return None };
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| path.display().to_string())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed()
}

const NEW_KEY: &str = "set http_api.key to what `openssl rand -hex 32` prints";

/// What stands for a secret in deploy/.
const PLACEHOLDER: &str = "change-me";

const RENEW: &str = "renew it and replace the files: the hub takes them while it runs";

/// Chosen: renewals are due a month before the end, so two of them have failed by then.
const DAYS_LEFT_MIN: i64 = 14;

const DAY_SECONDS: i64 = 86_400;

/// Chosen: 128 bits in hexadecimal digits are twice as long, in base64 a half more.
const KEY_BYTES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::config::{self, Flags};

    fn options(text: &str) -> Options {
        let flags = Flags { allow_insecure: true, ..Flags::default() };
        config::read("a.toml", text, &flags).expect("a good file").0
    }

    #[test]
    fn origins_are_neither_none_nor_all() {
        let check = |text| origins(&options(text)).state;
        assert_eq!(check(""), State::Warn);
        assert_eq!(check("client.allowed_origins = [\"*\"]"), State::Warn);
        assert_eq!(check("client.allowed_origins = [\"https://*.example.com\"]"), State::Ok);
    }

    #[test]
    fn keys_are_long() {
        let check = |text| api_key(&options(text)).state;
        assert_eq!(check(""), State::Warn);
        assert_eq!(check("http_api.key = \"short\""), State::Warn);
        assert_eq!(check("http_api.key = \"change-me-too\""), State::Fail);
        assert_eq!(check("http_api = {insecure = true, key = \"0123456789abcdef\"}"), State::Warn);
        assert_eq!(check("http_api.key = \"0123456789abcdef\""), State::Ok);
        assert_eq!(check("http_api.disabled = true"), State::Ok);
    }

    #[test]
    fn insecure_clients_are_for_this_machine() {
        let check = |text| insecure(&options(text)).map(|check| check.state);
        assert_eq!(check("client.insecure = true"), Some(State::Fail));
        assert_eq!(check("client.insecure = true\nhttp_server.address = \"127.0.0.1\""), None);
        assert_eq!(check(""), None);
    }

    #[test]
    fn certificates_end() {
        let pair = Pair { certificate: pem(CERTIFICATE), key: pem(KEY), client_roots: None };
        let expires = pair.load().expect("a good pair").expires.expect("it ends");
        let check = |days: i64| certificate("TLS", &pair, expires - days * DAY_SECONDS).state;
        assert_eq!(check(30), State::Ok);
        assert_eq!(check(13), State::Warn);
        assert_eq!(check(-2), State::Fail);
        let missing = Pair { key: Pem::File("/no/such/key".into()), ..pair };
        let found = certificate("TLS", &missing, 0);
        assert!(found.state == State::Fail && found.value.contains("/no/such/key"), "{found:?}");
    }

    fn pem(text: &str) -> Pem {
        Pem::Text(text.into())
    }

    const CERTIFICATE: &str = include_str!("../../io/tls/fixtures/certificate.pem");
    const KEY: &str = include_str!("../../io/tls/fixtures/key.pem");
}
