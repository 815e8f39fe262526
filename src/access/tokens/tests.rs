use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a secret that only tests know";
const NOW: i64 = 1_800_000_000;
const PRIVATE_PEM: &str = include_str!("../../../tests/data/rsa_test_private.pem");
const PUBLIC_PEM: &str = include_str!("../../../tests/data/rsa_test_public.pem");

fn hmac_keys() -> TokenKeys {
    TokenKeys::default().with_hmac_secret(SECRET)
}

fn rsa_keys() -> TokenKeys {
    TokenKeys::default().with_rsa_public_key(PUBLIC_PEM).expect("the test key is accepted")
}

fn base64url(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token whose header may say anything, signed by `key` with `algorithm`.
fn forge(header: Value, claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let signed = format!("{}.{}", base64url(&header), base64url(claims));
    let signature = crypto::sign(signed.as_bytes(), key, algorithm).expect("the key fits the algorithm");
    format!("{signed}.{signature}")
}

fn hs256(claims: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    forge(json!({"alg": "HS256", "typ": "JWT"}), &claims, Algorithm::HS256, &key)
}

fn signed_with_rsa(algorithm: Algorithm, claims: Value) -> String {
    let key = EncodingKey::from_rsa_pem(PRIVATE_PEM.as_bytes()).expect("the test key is read");
    forge(json!({"alg": algorithm}), &claims, algorithm, &key)
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
fn every_size_of_both_families_is_accepted() {
    let claims = json!({"sub": "42"});
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = forge(json!({"alg": algorithm}), &claims, algorithm, &key);
        assert_eq!(hmac_keys().verify(&token, NOW), Ok(user("42")), "{algorithm:?}");
        assert_eq!(hmac_keys().weigh(&token), Weight::Light);
    }
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
        let token = signed_with_rsa(algorithm, claims.clone());
        assert_eq!(rsa_keys().verify(&token, NOW), Ok(user("42")), "{algorithm:?}");
        assert_eq!(rsa_keys().weigh(&token), Weight::Heavy);
        assert_eq!(hmac_keys().weigh(&token), Weight::Light, "without a key it is refused at once");
    }
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
    let rsa = signed_with_rsa(Algorithm::RS256, json!({"sub": "42"}));
    let claims = rsa.split('.').nth(1).expect("a token has claims");
    check_invalid(&rsa_keys(), &rsa.replace(claims, &other), mismatch);
}

#[test]
fn a_header_does_not_choose_what_it_likes() {
    let claims = json!({"sub": "42"});
    let unsupported = "its algorithm is not supported";
    for none in ["none", "None", "", "HS1", "PS256", "ES256", "EdDSA"] {
        let unsigned = format!("{}.{}.", base64url(&json!({"alg": none})), base64url(&claims));
        check_invalid(&hmac_keys(), &unsigned, unsupported);
    }
    // The public key, which everybody may know, used as the secret of an HMAC.
    let key = EncodingKey::from_secret(PUBLIC_PEM.as_bytes());
    let confused = forge(json!({"alg": "HS256"}), &claims, Algorithm::HS256, &key);
    check_invalid(&rsa_keys(), &confused, "no key is configured for its algorithm");
    check_invalid(&rsa_keys().with_hmac_secret(SECRET), &confused, "the signature does not match");
    // The right signature under the name of another algorithm.
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let renamed = forge(json!({"alg": "HS512"}), &claims, Algorithm::HS256, &key);
    check_invalid(&hmac_keys(), &renamed, "the signature does not match");
    let critical = forge(json!({"alg": "HS256", "crit": ["b64"]}), &claims, Algorithm::HS256, &key);
    check_invalid(&hmac_keys(), &critical, "the header has critical extensions");
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
        (include_str!("../../../tests/data/ec_test_public.pem"), "is no RSA public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no RSA public key"),
        (
            include_str!("../../../tests/data/rsa_test_short_public.pem"),
            "has 1024 bits: RSA keys of 2048 to 8192 bits are accepted",
        ),
    ];
    for (pem, expected) in cases {
        assert_eq!(problem(pem), Err(expected.to_string()));
    }
}

#[test]
fn keys_do_not_show() {
    assert_eq!(format!("{:?}", rsa_keys().with_hmac_secret(SECRET)), "TokenKeys { hmac: true, rsa: true }");
}
