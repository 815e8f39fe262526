//! Issuers, audiences, ids of users, and whose keys are asked for.

use jsonwebtoken::Algorithm as Jwt;
use regex::Regex;
use serde_json::{Value, json};

use super::super::*;
use super::fixtures::{NOW, PUBLIC_PEM, SECRET, Signer};

fn exactly(text: &str) -> Option<Expected> {
    Some(Expected::Exactly(text.into()))
}

fn matching(pattern: &str) -> Option<Expected> {
    Some(Expected::Matching(Regex::new(pattern).expect("a pattern")))
}

fn verify(rules: Rules, claims: &Value) -> Result<Claims, TokenProblem> {
    let token = Signer::hmac(Jwt::HS256, "HS256", SECRET).sign(claims);
    TokenKeys::default().with_hmac_secret(SECRET).with_rules(rules).verify(&token, NOW)
}

fn invalid<T>(reason: &'static str) -> Result<T, TokenProblem> {
    Err(TokenProblem::Invalid(reason))
}

#[test]
fn issuer_and_audience_are_exact_or_match() {
    let rules = Rules { issuer: exactly("https://id"), audience: matching("^hub-[0-9]$"), ..Rules::default() };
    let good = json!({"iss": "https://id", "aud": ["other", "hub-1"]});
    assert!(verify(rules.clone(), &good).is_ok());
    assert!(verify(rules.clone(), &json!({"iss": "https://id", "aud": "hub-2"})).is_ok());
    for issuer in [json!("https://id/"), json!("HTTPS://ID"), json!(""), Value::Null] {
        let refused = verify(rules.clone(), &json!({"iss": issuer, "aud": "hub-1"}));
        assert_eq!(refused, invalid("its issuer is not the one expected"));
    }
    for audience in [json!("hub-11"), json!([]), json!(["a", "b"]), json!("x\nhub-1"), Value::Null] {
        let refused = verify(rules.clone(), &json!({"iss": "https://id", "aud": audience}));
        assert_eq!(refused, invalid("its audience is not the one expected"));
    }
}

#[test]
fn the_signature_is_looked_at_first_and_time_last() {
    let rules = Rules { issuer: exactly("us"), ..Rules::default() };
    let keys = TokenKeys::default().with_hmac_secret(SECRET).with_rules(rules);
    let by_other = Signer::hmac(Jwt::HS256, "HS256", "other").sign(&json!({"iss": "them", "exp": NOW}));
    assert_eq!(keys.verify(&by_other, NOW), invalid("the signature does not match"));
    let by_us = Signer::hmac(Jwt::HS256, "HS256", SECRET).sign(&json!({"iss": "them", "exp": NOW}));
    assert_eq!(keys.verify(&by_us, NOW), invalid("its issuer is not the one expected"));
}

#[test]
fn subscription_tokens_are_held_to_the_rules_too() {
    let rules = Rules { audience: exactly("us"), user_claim: UserClaim::parse("uid"), ..Rules::default() };
    let keys = TokenKeys::default().with_hmac_secret(SECRET).with_rules(rules);
    let sign = |claims| Signer::hmac(Jwt::HS256, "HS256", SECRET).sign(&claims);
    let user = |claims| keys.verify_subscription(&sign(claims), NOW).map(|claims| claims.user);
    assert_eq!(user(json!({"aud": "us", "uid": "42", "channel": "a"})), Ok("42".into()));
    assert_eq!(user(json!({"uid": "42", "channel": "a"})), invalid("its audience is not the one expected"));
}

#[test]
fn the_users_id_may_be_another_claim() {
    let user = |path: &str, claims: Value| {
        let rules = Rules { user_claim: UserClaim::parse(path), ..Rules::default() };
        verify(rules, &claims).map(|claims| claims.user)
    };
    assert_eq!(user("uid", json!({"sub": "1", "uid": "2"})), Ok("2".into()));
    assert_eq!(user("uid", json!({"uid": 271828})), Ok("271828".into()));
    assert_eq!(user("uid", json!({"sub": "1"})), Ok("".into()), "anonymous, as without `sub`");
    assert_eq!(user("uid", json!({"uid": null})), Ok("".into()));
    assert_eq!(user("a.b.c", json!({"a": {"b": {"c": "3"}}})), Ok("3".into()));
    assert_eq!(user("a.b.c", json!({"a": {"b": "x"}})), Ok("".into()));
    assert_eq!(user("https://x.example/id", json!({"https://x.example/id": "4"})), Ok("4".into()));
    for wrong in [json!(1.5), json!(true), json!(["a"]), json!({"a": 1})] {
        assert_eq!(user("uid", json!({"uid": wrong})), invalid("the claim of the user's id is no text"));
    }
    assert_eq!(UserClaim::parse("a..b"), None);
    assert_eq!(UserClaim::parse(""), None);
}

/// Rules with these patterns, and what an endpoint of that URL is.
fn endpoint(url: &str, issuer: &str, audience: &str) -> (Rules, Result<Endpoint, EndpointProblem>) {
    let pattern = |text: &str| if text.is_empty() { None } else { matching(text) };
    let rules = Rules { issuer: pattern(issuer), audience: pattern(audience), ..Rules::default() };
    let endpoint = Endpoint::parse(url, &rules, Safety::Checked);
    (rules, endpoint)
}

#[test]
fn an_endpoint_may_be_filled_by_names_only() {
    let permissive = |name: &str| Err(EndpointProblem::TooPermissive(name.into()));
    let host = |name: &str| Err(EndpointProblem::ChoosesHost(name.into()));
    let cases: &[(&str, &str, Result<(), EndpointProblem>)] = &[
        ("https://id.example.com/jwks", "", Ok(())),
        ("http://127.0.0.1:8080/jwks?a=b", "", Ok(())),
        ("https://id/{{realm}}/jwks", "^https://id/(?P<realm>[a-z0-9-]+)$", Ok(())),
        ("https://id/{{ realm }}/jwks", "^https://id/(?<realm>[A-Za-z._~-]{1,9})$", Ok(())),
        ("https://{{t}}.example.com/jwks", "^https://(?P<t>[a-z]+)$", Ok(())),
        ("https://{{t}}/jwks", r"^(?P<t>a\.example\.com|b\.example\.com)$", Ok(())),
        ("https://id/{{t}}", r"^(?P<t>\w+)$", permissive("t")),
        ("https://id/{{t}}", "^(?P<t>.+)$", permissive("t")),
        ("https://id/{{t}}", "^(?P<t>[a-z/]+)$", permissive("t")),
        ("https://id/{{t}}", "^(?P<t>[^/]+)$", permissive("t")),
        ("https://id/{{t}}", "^(?P<t>(a|b%2f)+)$", permissive("t")),
        ("https://id/{{t}}", "^(?P<t>a@b|c)$", permissive("t")),
        ("https://id/{{t}}", "(?P<t>[a-z]+)$", Err(EndpointProblem::NotAnchored("issuer_regex"))),
        ("https://id/{{t}}", "^(?P<t>[a-z]+)", Err(EndpointProblem::NotAnchored("issuer_regex"))),
        ("https://id/{{t}}", "(?m)^(?P<t>[a-z]+)$", Err(EndpointProblem::NotAnchored("issuer_regex"))),
        ("https://id/{{t}}", "^(?P<t>[a-z]+)$|^b$|c", Err(EndpointProblem::NotAnchored("issuer_regex"))),
        ("https://{{t}}/jwks", "^(?P<t>[a-z]+)$", host("t")),
        ("https://id.{{t}}/jwks", "^(?P<t>[a-z]+)$", host("t")),
        ("https://{{t}}.example.com/jwks", "^(?P<t>[a-z.]+)$", host("t")),
        ("https://{{ t }}/jwks", "^(?P<t>[a-z]+)$", host("t")),
        ("https://{{t}}./jwks", "^(?P<t>[a-z]+)$", host("t")),
        ("https://{{t}}.com/jwks", "^(?P<t>[a-z]+)$", host("t")),
        ("https://{{t}}.:80/jwks", "^(?P<t>[a-z]+)$", host("t")),
        ("https://{{t}}.{{u}}.com/jwks", "^(?P<t>[a-z]+),(?P<u>[a-z]+)$", host("t")),
        ("https://id:{{t}}/jwks", "^(?P<t>[0-9]+)$", host("t")),
        ("https://id/{{x}}", "^(?P<t>[a-z]+)$", Err(EndpointProblem::UnknownGroup("x".into()))),
        ("https://id/{{t", "^(?P<t>[a-z]+)$", Err(EndpointProblem::Braces)),
        ("https://id/t}}", "^(?P<t>[a-z]+)$", Err(EndpointProblem::Braces)),
        ("{{t}}://id/", "^(?P<t>https)$", Err(EndpointProblem::NotHttp)),
        ("{{t}}", "^(?P<t>[a-z]+)$", Err(EndpointProblem::NotHttp)),
        ("file:///etc/passwd", "", Err(EndpointProblem::NotHttp)),
        ("https:///jwks", "", Err(EndpointProblem::NotHttp)),
        ("https://user:password@id/", "", Err(EndpointProblem::NotPlain)),
        ("https://id/a b", "", Err(EndpointProblem::NotPlain)),
    ];
    for (url, issuer, expected) in cases {
        assert_eq!(endpoint(url, issuer, "").1.map(|_| ()), *expected, "{url} {issuer}");
    }
    let (_, both) = endpoint("https://id/{{t}}", "^(?P<t>[a-z]+)$", "^(?P<t>[a-z]+)$");
    assert_eq!(both.map(|_| ()), Err(EndpointProblem::TwoGroups("t".into())));
}

#[test]
fn the_check_can_be_skipped() {
    let rules = Rules { issuer: matching("(?P<iss>https://.+)"), ..Rules::default() };
    assert!(Endpoint::parse("{{iss}}/jwks", &rules, Safety::Checked).is_err());
    let endpoint = Endpoint::parse("{{iss}}/jwks", &rules, Safety::Skipped).expect("skipped");
    let keys = TokenKeys::default().with_rules(rules).with_endpoint(endpoint);
    let token = Signer::generate("ES256").sign_as(&json!({"alg": "ES256", "kid": "1"}), &json!({"iss": "https://a/b"}));
    assert_eq!(keys.find_question(&token).map(|it| it.url), Ok("https://a/b/jwks".into()));
}

#[test]
fn a_question_is_asked_for_known_issuers_only() {
    let (rules, endpoint) = endpoint(
        "https://{{tenant}}.example.com/{{app}}/jwks",
        "^https://(?P<tenant>[a-z]+)\\.example\\.com$",
        "^(?P<app>[a-z.]+)$",
    );
    let keys = TokenKeys::default().with_rules(rules).with_endpoint(endpoint.expect("it is safe"));
    let signer = Signer::generate("EdDSA");
    let ask = |header: Value, claims: Value| keys.find_question(&signer.sign_as(&header, &claims));
    let header = json!({"alg": "EdDSA", "kid": "k1"});
    let good = json!({"iss": "https://acme.example.com", "aud": ["1", "app", "other"]});
    let question = KeyQuestion { url: "https://acme.example.com/app/jwks".into(), kid: "k1".into() };
    assert_eq!(ask(header.clone(), good.clone()), Ok(question));
    assert_eq!(keys.weigh(&signer.sign_as(&header, &good)), Weight::Heavy);
    for issuer in ["https://acme.example.com.evil", "https://evil/#.example.com", "http://acme.example.com", ""] {
        let claims = json!({"iss": issuer, "aud": "app"});
        assert_eq!(ask(header.clone(), claims.clone()), invalid("its issuer is not the one expected"));
        assert_eq!(keys.weigh(&signer.sign_as(&header, &claims)), Weight::Light, "{issuer}");
    }
    let upwards = json!({"iss": "https://acme.example.com", "aud": ".."});
    assert_eq!(ask(header, upwards), invalid("its issuer or audience does not say where its keys are"));
    for (header, reason) in [
        (json!({"alg": "EdDSA"}), "the header names no key (kid)"),
        (json!({"alg": "EdDSA", "kid": ""}), "the header names no key (kid)"),
        (json!({"alg": "EdDSA", "kid": "k".repeat(513)}), "the header names no key that could be (kid)"),
        (json!({"alg": "EdDSA", "kid": ["k1"]}), "the header can't be read"),
        (json!({"alg": "HS256", "kid": "k1"}), "no key is configured for its algorithm"),
        (json!({"alg": "none", "kid": "k1"}), "its algorithm is not supported"),
    ] {
        assert_eq!(ask(header, good.clone()), invalid(reason));
    }
}

#[test]
fn an_endpoint_replaces_the_other_keys() {
    let rules = Rules::default();
    let endpoint = Endpoint::parse("https://id/jwks", &rules, Safety::Checked).expect("it is safe");
    let keys = TokenKeys::default().with_hmac_secret(SECRET).with_rsa_public_key(PUBLIC_PEM).expect("a key");
    let keys = keys.with_endpoint(endpoint);
    for signer in [Signer::hmac(Jwt::HS256, "HS256", SECRET), Signer::rsa(Jwt::RS256, "RS256")] {
        assert_eq!(keys.verify(&signer.sign(&json!({})), NOW), invalid("the keys of its issuer are not here"));
        assert_eq!(keys.weigh(&signer.sign(&json!({}))), Weight::Light);
    }
    assert!(keys.are_fetched() && !keys.clone().without_signatures().are_fetched());
}

fn fetched(keys: Value) -> TokenKeys {
    let set = KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).expect("a set of keys");
    TokenKeys::default().with_fetched(set.into())
}

#[test]
fn published_keys_verify_by_kid() {
    let signers = ["ES256", "ES384", "ES512", "EdDSA"].map(Signer::generate);
    let rsa = [Signer::rsa(Jwt::RS256, "RS256"), Signer::rsa(Jwt::PS512, "PS512")];
    for signer in signers.iter().chain(&rsa) {
        let keys = fetched(json!([{"kty": "oct", "kid": "k", "k": "AAAA"}, {"kty": "new"}, 1, signer.jwk("k")]));
        let token = |kid: &str| signer.sign_as(&json!({"alg": signer.algorithm, "kid": kid}), &json!({"sub": "42"}));
        assert_eq!(keys.verify(&token("k"), NOW).map(|claims| claims.user), Ok("42".into()), "{}", signer.algorithm);
        assert_eq!(keys.weigh(&token("k")), Weight::Heavy);
        for kid in ["K", "", "../k", "k\u{0}"] {
            assert_eq!(keys.verify(&token(kid), NOW), invalid("its issuer publishes no key of its name (kid)"));
        }
    }
}

#[test]
fn a_published_key_is_used_for_what_it_says() {
    let signer = Signer::rsa(Jwt::RS256, "RS256");
    let token = signer.sign_as(&json!({"alg": "RS256", "kid": "k"}), &json!({"sub": "42"}));
    let with = |name: &str, value: Value| {
        let mut jwk = signer.jwk("k");
        jwk[name] = value;
        jwk
    };
    for good in [with("alg", json!("RS256")), with("use", json!("sig")), with("key_ops", json!(["verify"]))] {
        assert!(fetched(json!([good])).verify(&token, NOW).is_ok());
    }
    let other = fetched(json!([with("alg", json!("PS256"))])).verify(&token, NOW);
    assert_eq!(other, invalid("the key of its name (kid) is not for its algorithm"));
    let several = fetched(json!([Signer::generate("ES256").jwk("k"), signer.jwk("k")]));
    assert!(several.verify(&token, NOW).is_ok(), "keys of different kinds may share a name");
    // The published key as the secret of an HMAC.
    for secret in [PUBLIC_PEM.to_string(), signer.jwk("k")["n"].as_str().unwrap_or_default().to_string()] {
        let confused = Signer::hmac(Jwt::HS256, "HS256", &secret);
        let token = confused.sign_as(&json!({"alg": "HS256", "kid": "k"}), &json!({"sub": "admin"}));
        let refused = fetched(json!([signer.jwk("k")])).verify(&token, NOW);
        assert_eq!(refused, invalid("the key of its name (kid) is not for its algorithm"));
    }
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    let problem = |text: &str| KeySet::parse(text.as_bytes()).map(|set| set.len());
    for text in ["", "{}", "[]", "null", "<html>", r#"{"keys":{}}"#, r#"{"keys":[]"#] {
        assert_eq!(problem(text), Err(KeySetProblem::NotJson), "{text}");
    }
    let key = Signer::generate("ES256").jwk("k");
    let with = |name: &str, value: Value| {
        let mut jwk = key.clone();
        jwk[name] = value;
        json!({"keys": [jwk]}).to_string()
    };
    assert_eq!(problem(&with("other", json!(1))), Ok(1));
    for unusable in [
        with("use", json!("enc")),
        with("key_ops", json!(["encrypt"])),
        with("kid", json!("")),
        with("kid", Value::Null),
        with("crv", json!("P-384")),
        with("crv", json!("secp256k1")),
        with("x", json!("AAAA")),
        with("x", json!("?")),
        with("x", key["y"].clone()),
        with("alg", json!("ES256K")),
        with("kty", json!("oct")),
        with("kty", json!("OKP")),
        r#"{"keys":[]}"#.into(),
        r#"{"keys":[{"kty":"RSA","kid":"k","n":"AQAB","e":"AQAB"}]}"#.into(),
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AAAA"}]}"#.into(),
    ] {
        assert_eq!(problem(&unusable), Err(KeySetProblem::Empty), "{unusable}");
    }
    let many = json!({"keys": vec![key; crate::limits::JWKS_KEYS_MAX + 1]});
    assert_eq!(problem(&many.to_string()), Err(KeySetProblem::TooMany));
}
