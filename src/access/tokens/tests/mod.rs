mod claims;
mod fixtures;
mod rules;
mod signature;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm as Jwt;
use serde_json::{Value, json};

use super::*;
use fixtures::{NOW, PRIVATE_PEM, PUBLIC_PEM, SECRET, Signer};

fn hmac_keys() -> TokenKeys {
    TokenKeys::default().with_hmac_secret(SECRET)
}

fn rsa_keys() -> TokenKeys {
    TokenKeys::default().with_rsa_public_key(PUBLIC_PEM).expect("the test key is accepted")
}

fn base64url(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signer() -> Signer {
    Signer::hmac(Jwt::HS256, "HS256", SECRET)
}

fn hs256(claims: Value) -> String {
    signer().sign_as(&json!({"alg": "HS256", "typ": "JWT"}), &claims)
}

fn check_claims(claims: Value, expected: Result<Claims, TokenProblem>) {
    assert_eq!(hmac_keys().verify(&hs256(claims.clone()), NOW), expected, "{claims}");
}

fn check_invalid(keys: &TokenKeys, token: &str, reason: &'static str) {
    assert_eq!(keys.verify(token, NOW), Err(TokenProblem::Invalid(reason)), "{token}");
}

fn user(name: &str) -> Claims {
    Claims { user: name.into(), ..Claims::default() }
}

#[test]
fn claims_are_read() {
    check_claims(json!({}), Ok(Claims::default()));
    check_claims(json!({"sub": "42"}), Ok(user("42")));
    check_claims(json!({"sub": "å\n\"", "jti": [1], "caps": {}}), Ok(user("å\n\"")));
    check_claims(
        json!({"sub": "42", "exp": NOW + 1, "info": {"name": "Ann"}}),
        Ok(Claims { expires_at: Some(NOW + 1), info: Some(Bytes::from_static(br#"{"name":"Ann"}"#)), ..user("42") }),
    );
    check_claims(
        json!({"b64info": "AP8=", "info": 1}),
        Ok(Claims { info: Some(Bytes::from_static(&[0, 255])), ..Claims::default() }),
    );
    check_claims(json!({"b64info": "", "info": null}), Ok(Claims::default()));
    check_claims(json!({"b64info": "?"}), Err(TokenProblem::Invalid("the claim b64info is no base64")));
    for wrong in [json!({"sub": 42}), json!({"exp": "soon"}), json!({"expire_at": 1.5}), json!([])] {
        check_claims(wrong, Err(TokenProblem::Invalid("the claims can't be read")));
    }
}

#[test]
fn time_has_no_leeway() {
    check_claims(json!({"exp": NOW}), Err(TokenProblem::Expired));
    check_claims(json!({"exp": NOW as f64 + 0.5}), Err(TokenProblem::Expired));
    check_claims(json!({"exp": 0}), Err(TokenProblem::Expired));
    check_claims(json!({"exp": NOW + 1}), Ok(Claims { expires_at: Some(NOW + 1), ..Claims::default() }));
    check_claims(json!({"nbf": NOW, "iat": NOW + 9}), Ok(Claims::default()));
    check_claims(json!({"nbf": NOW + 1}), Err(TokenProblem::Expired));
}

#[test]
fn expire_at_overrides_exp() {
    let expires = |expires_at| Ok(Claims { expires_at, ..Claims::default() });
    check_claims(json!({"exp": NOW + 1, "expire_at": NOW + 9}), expires(Some(NOW + 9)));
    check_claims(json!({"exp": NOW + 1, "expire_at": 0}), expires(None));
    check_claims(json!({"expire_at": NOW + 9}), expires(Some(NOW + 9)));
    check_claims(json!({"exp": NOW, "expire_at": 0}), Err(TokenProblem::Expired));
}

#[test]
fn a_subscription_token_is_no_connection_token() {
    let invalid = Err(TokenProblem::Invalid("it is a subscription token, not a connection token"));
    check_claims(json!({"sub": "42", "channel": "news"}), invalid.clone());
    check_claims(json!({"sub": "42", "channel": "news", "exp": NOW}), invalid);
    check_claims(json!({"sub": "42", "channel": ""}), Ok(user("42")));
}

#[test]
fn a_changed_token_is_refused() {
    let mismatch = "the signature does not match";
    let token = hs256(json!({"sub": "42", "exp": NOW - 1}));
    let parts: Vec<&str> = token.split('.').collect();
    let other = base64url(&json!({"sub": "43", "exp": NOW - 1}));
    // Expired besides, which must not show.
    check_invalid(&hmac_keys(), &[parts[0], &other, parts[2]].join("."), mismatch);
    check_invalid(&hmac_keys(), &[parts[0], parts[1], ""].join("."), mismatch);
    check_invalid(&TokenKeys::default().with_hmac_secret("another"), &token, mismatch);
    let rsa = Signer::rsa(Jwt::RS256, "RS256").sign(&json!({"sub": "42"}));
    let claims = rsa.split('.').nth(1).expect("a token has claims");
    check_invalid(&rsa_keys(), &rsa.replace(claims, &other), mismatch);
}

#[test]
fn a_header_does_not_choose_what_it_likes() {
    let claims = json!({"sub": "42"});
    for none in ["none", "None", "NONE", "", "HS1", "hs256", "HS256 ", "ES256K", "RSA-OAEP"] {
        let unsigned = format!("{}.{}.", base64url(&json!({"alg": none})), base64url(&claims));
        check_invalid(&hmac_keys(), &unsigned, "its algorithm is not supported");
    }
    let renamed = signer().sign_as(&json!({"alg": "HS512"}), &claims);
    check_invalid(&hmac_keys(), &renamed, "the signature does not match");
    for extension in [json!(["b64"]), json!([]), json!("exp"), json!(1)] {
        let critical = signer().sign_as(&json!({"alg": "HS256", "crit": extension}), &claims);
        check_invalid(&hmac_keys(), &critical, "the header has critical extensions");
    }
    // Where a key might be is not for a token to say: it is verified with the one that is configured.
    let elsewhere = json!({"alg": "HS256", "kid": "../../../../dev/null", "jku": "http://127.0.0.1/", "jwk": {"kty":
        "oct", "k": "AA"}, "x5u": "http://127.0.0.1/", "x5c": ["AA=="]});
    assert_eq!(hmac_keys().verify(&signer().sign_as(&elsewhere, &claims), NOW), Ok(user("42")));
    let empty_secret = Signer::hmac(Jwt::HS256, "HS256", "").sign_as(&elsewhere, &claims);
    check_invalid(&hmac_keys(), &empty_secret, "the signature does not match");
}

#[test]
fn headers_of_the_wrong_shape_are_refused() {
    let claims = br#"{"sub":"42"}"#;
    for header in [
        "{}",
        "[]",
        "null",
        r#"{"alg":1}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256"} "#.trim_end_matches(' ').trim_end_matches('}'),
        r#"{"alg":"HS256"}{}"#,
    ] {
        check_invalid(&hmac_keys(), &signer().sign_text(header, claims), "the header can't be read");
    }
}

#[test]
fn claims_of_the_wrong_shape_are_refused() {
    for claims in [
        &br#"{"sub":"42","sub":"admin"}"#[..],
        br#"{"sub":"42","exp":1,"exp":9e9}"#,
        b"{\"sub\":\"\xff\"}",
        br#"{"sub":"\ud800"}"#,
        b"\xef\xbb\xbf{}",
        b"",
        b"null",
        b"42",
        br#"{"sub":{"a":1}}"#,
        br#"{"exp":"1"}"#,
        br#"{"exp":true}"#,
        br#"{"nbf":{}}"#,
        br#"{"iss":1}"#,
        br#"{"aud":{}}"#,
        br#"{"aud":[1]}"#,
        br#"{"sub":"42"}{"sub":"admin"}"#,
    ] {
        let token = signer().sign_text(r#"{"alg":"HS256"}"#, claims);
        check_invalid(&hmac_keys(), &token, "the claims can't be read");
    }
    // What is passed on is not looked into, however deep it is.
    let deep = format!("{{\"info\":{}1{}}}", "[".repeat(9000), "]".repeat(9000));
    let token = signer().sign_text(r#"{"alg":"HS256"}"#, deep.as_bytes());
    assert!(hmac_keys().verify(&token, NOW).is_ok_and(|claims| claims.info.is_some()));
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let token = hs256(json!({"sub": "42", "info": "x".repeat(crate::limits::TOKEN_BYTES_MAX)}));
    check_invalid(&hmac_keys(), &token, "it is longer than tokens may be");
    assert_eq!(hmac_keys().weigh(&token), Weight::Light);
    let large = hs256(json!({"sub": "42", "jti": "x".repeat(40_000)}));
    assert_eq!(hmac_keys().verify(&large, NOW), Ok(user("42")));
}

#[test]
fn signatures_need_not_be_looked_at() {
    let keys = hmac_keys().without_signatures();
    let unsigned = format!("{}.{}.", base64url(&json!({"alg": "none"})), base64url(&json!({"sub": "42"})));
    assert_eq!(keys.verify(&unsigned, NOW), Ok(user("42")));
    assert_eq!(keys.verify(&hs256(json!({"exp": NOW})), NOW), Err(TokenProblem::Expired), "the claims count");
    check_invalid(&keys, "a.b", "it does not have three parts");
}

#[test]
fn garbage_is_refused() {
    let keys = hmac_keys();
    for garbage in ["", "a", "a.b", "a.b.c.d", "...."] {
        check_invalid(&keys, garbage, "it does not have three parts");
        assert_eq!(keys.weigh(garbage), Weight::Light);
    }
    check_invalid(&keys, "?.b.c", "the header is no base64");
    check_invalid(&keys, "bm8.b.c", "the header can't be read");
    let header = base64url(&json!({"alg": "HS256"}));
    check_invalid(&keys, &format!("{header}.e30.?"), "the signature can't be read");
    check_invalid(&TokenKeys::default(), &hs256(json!({})), "no key is configured for its algorithm");
    check_invalid(
        &TokenKeys::default().with_hmac_secret(""),
        &hs256(json!({})),
        "no key is configured for its algorithm",
    );
}

#[test]
fn keys_are_checked_before_they_are_used() {
    let problem =
        |pem| TokenKeys::default().with_rsa_public_key(pem).map(|_| ()).map_err(|problem| problem.to_string());
    assert_eq!(problem(PUBLIC_PEM), Ok(()));
    let cases = [
        ("MIIBIjANBgkqhkiG9w0BAQEF", "is no PEM text: it should begin with -----BEGIN PUBLIC KEY-----"),
        (PRIVATE_PEM, "is a private key: `openssl pkey -in private.pem -pubout` prints the public one"),
        (include_str!("../../../../tests/data/ec_test_public.pem"), "is no RSA public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no RSA public key"),
        (
            include_str!("../../../../tests/data/rsa_test_short_public.pem"),
            "is an RSA key of another size than 2048 to 8192 bits",
        ),
    ];
    for (pem, expected) in cases {
        assert_eq!(problem(pem), Err(expected.to_string()));
    }
}

#[test]
fn keys_do_not_show() {
    let shown = format!("{:?}", rsa_keys().with_hmac_secret(SECRET));
    assert!(shown.contains("hmac: true, hmac_previous: false, rsa: true"), "{shown}");
    assert!(!shown.contains(SECRET));
}

proptest::proptest! {
    /// Whatever a client sends, a key set or a URL is: an answer, and no panic.
    #[test]
    fn nothing_from_outside_makes_it_panic(
        text in "\\PC{0,80}",
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        header in "[{}\\[\\]\",:a-z0-9HSREdDA]{0,60}",
    ) {
        let json = URL_SAFE_NO_PAD.encode(&bytes);
        let tokens = [
            text.clone(),
            format!("{text}.{json}.{text}"),
            format!("{}.{json}.{json}", URL_SAFE_NO_PAD.encode(&header)),
            format!("{}.{json}.{json}", base64url(&json!({"alg": "RS256", "kid": text}))),
            signer().sign_text(r#"{"alg":"HS256"}"#, &bytes),
            signer().sign_text(r#"{"alg":"HS256"}"#, header.as_bytes()),
        ];
        let endpoint = Endpoint::parse("https://id/jwks", &Rules::default(), Safety::Checked).expect("it is safe");
        let all = [hmac_keys(), rsa_keys(), hmac_keys().without_signatures(), hmac_keys().with_endpoint(endpoint)];
        for (keys, token) in all.iter().flat_map(|keys| tokens.iter().map(move |token| (keys, token))) {
            let _ = (keys.weigh(token), keys.find_question(token), keys.verify_subscription(token, NOW));
            let is_signed = token.starts_with(&URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
            assert!(keys.skip_signatures() || is_signed || keys.verify(token, NOW).is_err());
        }
        let _ = (KeySet::parse(&bytes), KeySet::parse(header.as_bytes()));
        let _ = (Endpoint::parse(&text, &Rules::default(), Safety::Checked), Key::from_rsa_pem(&text));
        let pem = fixtures::pem("PUBLIC KEY", &bytes);
        assert!(Key::from_rsa_pem(&pem).is_err());
        // A compressed point of P-256, P-384 or P-521 is a key, and random bytes may be one.
        assert!(Key::from_ec_pem(&pem).is_err() || matches!(bytes.len(), 33 | 49 | 67) && matches!(bytes[0], 2 | 3));
        assert_eq!(Key::from_ed25519_pem(&pem).is_ok(), bytes.len() == 32, "the bare bytes of the key are one");
        let _ = TokenSigner::from_private_pem(&fixtures::pem("PRIVATE KEY", &bytes));
    }
}
