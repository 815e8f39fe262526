//! What a file says of tokens.

use fanfare::access::{KeyUsed, TokenKeys, TokenProblem};
use fanfare::config::{self, Flags};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{error, options};

const NOW: i64 = 1_800_000_000;

fn sign(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

fn opened(keys: &TokenKeys, secret: &str, claims: &Value) -> Result<KeyUsed, TokenProblem> {
    keys.open(&sign(secret, claims), NOW).map(|opened| opened.by)
}

fn check(text: &str, expected: &str) {
    let error = error("a.toml", text, &Flags::default());
    assert!(error.contains(expected), "{text}\n{error}");
}

#[test]
fn a_secret_is_rotated() {
    let text = "[client.token]\nhmac_secret_key = \"new\"\nhmac_previous_secret_key = \"old\"\n";
    let keys = options("a.toml", text).shard.token_keys;
    assert_eq!(opened(&keys, "new", &json!({})), Ok(KeyUsed::Fixed("hmac_secret_key")));
    assert_eq!(opened(&keys, "old", &json!({})), Ok(KeyUsed::Fixed("hmac_previous_secret_key")));
    let until = |second: i64| format!("{text}hmac_previous_secret_key_valid_until = {second}\n");
    for (second, is_valid) in [(0, true), (NOW, false), (NOW + 1, true)] {
        let keys = options("a.toml", &until(second)).shard.token_keys;
        assert_eq!(opened(&keys, "old", &json!({})).is_ok(), is_valid, "{second}");
    }
}

#[test]
fn subscription_tokens_share_keys_or_have_their_own() {
    let shared = options("a.toml", "client.token.hmac_secret_key = \"a\"").shard;
    assert!(opened(&shared.subscription_token_keys, "a", &json!({})).is_ok());
    let text = "client.token.hmac_secret_key = \"a\"\n\
                client.subscription_token.enabled = true\nclient.subscription_token.hmac_secret_key = \"b\"";
    let apart = options("a.toml", text).shard;
    let is_good = |keys: &TokenKeys, secret: &str| opened(keys, secret, &json!({})).is_ok();
    assert!(is_good(&apart.token_keys, "a") && !is_good(&apart.token_keys, "b"));
    assert!(is_good(&apart.subscription_token_keys, "b") && !is_good(&apart.subscription_token_keys, "a"));
    let text = "[client.subscription_token]\nhmac_secret_key = \"b\"";
    let (_, warnings) = config::read("a.toml", text, &Flags::default()).expect("a warning is no error");
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["a.toml:2: client.subscription_token is not used: it needs enabled = true"]);
}

#[test]
fn issuer_audience_and_user_are_read() {
    let text =
        "[client.token]\nhmac_secret_key = \"a\"\nissuer = \"us\"\naudience_regex = \"^hub\"\nuser_id_claim = \"uid\"";
    let keys = options("a.toml", text).shard.token_keys;
    let user = |claims: Value| keys.verify(&sign("a", &claims), NOW).map(|claims| claims.user);
    assert_eq!(user(json!({"iss": "us", "aud": "hub-1", "uid": 7, "sub": "x"})), Ok("7".into()));
    assert!(user(json!({"iss": "us", "aud": "a-hub"})).is_err());
    assert!(user(json!({"aud": "hub"})).is_err());
}

#[test]
fn rules_that_contradict_are_refused() {
    check("client.token = { issuer = \"a\", issuer_regex = \"b\" }", "client.token.issuer_regex stands beside issuer");
    check(
        "client.subscription_token = { enabled = true, audience = \"a\", audience_regex = \"b\" }",
        "client.subscription_token.audience_regex stands beside audience",
    );
    check("client.token.issuer_regex = \"(a\"", "client.token.issuer_regex is no regular expression: unclosed group");
    check("client.token.user_id_claim = \"a..b\"", "client.token.user_id_claim should be the name of a claim");
    check("client.token.ecdsa_public_key = \"a\"", "client.token.ecdsa_public_key is no PEM text");
    let ec = include_str!("../data/ec_test_public.pem");
    check(&format!("client.token.ed25519_public_key = '''{ec}'''"), "ed25519_public_key is no Ed25519 public key");
    check(&format!("client.token.rsa_public_key = '''{ec}'''"), "rsa_public_key is no RSA public key");
    assert!(
        format!("{:?}", options("a.toml", &format!("client.token.ecdsa_public_key = '''{ec}'''"))).contains("ec: true")
    );
}

#[test]
fn an_endpoint_of_keys_is_held_to_what_is_safe() {
    let with = |pattern: &str| {
        format!("[client.token]\njwks_public_endpoint = \"https://id/{{{{realm}}}}/jwks\"\nissuer_regex = '{pattern}'")
    };
    assert!(options("a.toml", &with("^https://id/(?P<realm>[a-z]+)$")).shard.token_keys.are_fetched());
    check(
        &with("^https://id/(?P<realm>.+)$"),
        "a.toml:2:24: client.token.jwks_public_endpoint has {{realm}}, whose group",
    );
    check(
        &with("https://id/(?P<realm>[a-z]+)"),
        "is filled from issuer_regex, which should begin with ^ and end with $",
    );
    check(&with("^https://id/(?P<tenant>[a-z]+)$"), "has {{realm}}, which is no group (?P<realm>...)");
    let skipped = format!("{}\ninsecure_skip_jwks_endpoint_safety_check = true", with("^https://id/(?P<realm>.+)$"));
    assert!(options("a.toml", &skipped).shard.token_keys.are_fetched());
    check("client.token.jwks_public_endpoint = \"id/jwks\"", "should begin with https:// or http://");
    let text = "[client.token]\njwks_public_endpoint = \"https://id/jwks\"\nhmac_secret_key = \"a\"";
    let (_, warnings) = config::read("a.toml", text, &Flags::default()).expect("a warning is no error");
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let expected = "a.toml:3: client.token.hmac_secret_key is not used: jwks_public_endpoint replaces it";
    assert_eq!(warnings, [expected]);
}

#[test]
fn tokens_that_are_not_checked_stay_on_this_machine() {
    let text =
        "client.insecure_skip_token_signature_verify = true\nhttp_server.address = \"0.0.0.0\"\nhttp_api.key = \"k\"";
    check(text, "client.insecure_skip_token_signature_verify lets everyone be whoever he says");
    let loopback = "client.insecure_skip_token_signature_verify = true\nhttp_server.address = \"127.0.0.1\"";
    assert!(opened(&options("a.toml", loopback).shard.token_keys, "any", &json!({})) == Ok(KeyUsed::Unchecked));
}

#[test]
fn keys_that_travel_in_the_open_are_warned_of() {
    let warnings = |url: &str| {
        let text = format!("client.token.jwks_public_endpoint = \"{url}\"");
        let (_, warnings) = config::read("a.toml", &text, &Flags::default()).expect("a warning is no error");
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for quiet in ["https://id/jwks", "http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://[::1]:80"] {
        assert_eq!(warnings(quiet), [""; 0], "{quiet}");
    }
    let expected = "a.toml:1: client.token.jwks_public_endpoint is not https: \
                    whoever is on the way can put keys of his own there";
    for plain in ["http://id/jwks", "http://10.0.0.1", "http://127.0.0.1.example.com/jwks", "http://[2001:db8::1]/"] {
        assert_eq!(warnings(plain), [expected], "{plain}");
    }
}

#[test]
fn a_proxy_may_say_who_users_are() {
    let http = options("a.toml", "client.user_id_http_header = \"X-User-Id\"").http;
    assert_eq!(http.user_header.as_deref(), Some("X-User-Id"));
    check("client.user_id_http_header = \"X User\"", "client.user_id_http_header is no name of a header");
}
