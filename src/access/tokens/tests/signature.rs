//! Every algorithm, and what must not pass for one.

use jsonwebtoken::Algorithm as Jwt;
use serde_json::json;

use super::super::*;
use super::fixtures::{NOW, PUBLIC_PEM, SECRET, Signer};

/// One signer of each algorithm, with the keys that verify it.
fn signers() -> Vec<(Signer, TokenKeys)> {
    let keys = TokenKeys::default;
    let mut signers = Vec::new();
    for (algorithm, name) in [(Jwt::HS256, "HS256"), (Jwt::HS384, "HS384"), (Jwt::HS512, "HS512")] {
        signers.push((Signer::hmac(algorithm, name, SECRET), keys().with_hmac_secret(SECRET)));
    }
    for (algorithm, name) in [
        (Jwt::RS256, "RS256"),
        (Jwt::RS384, "RS384"),
        (Jwt::RS512, "RS512"),
        (Jwt::PS256, "PS256"),
        (Jwt::PS384, "PS384"),
        (Jwt::PS512, "PS512"),
    ] {
        signers.push((Signer::rsa(algorithm, name), keys().with_rsa_public_key(PUBLIC_PEM).expect("an RSA key")));
    }
    for name in ["ES256", "ES384", "ES512"] {
        let signer = Signer::generate(name);
        let keys = keys().with_ecdsa_public_key(&signer.public_pem).expect("an EC key");
        signers.push((signer, keys));
    }
    let signer = Signer::generate("EdDSA");
    let keys = keys().with_ed25519_public_key(&signer.public_pem).expect("an Ed25519 key");
    signers.push((signer, keys));
    signers
}

#[test]
fn every_algorithm_is_verified_and_none_for_another() {
    let signers = signers();
    assert_eq!(signers.len(), 13);
    let claims = json!({"sub": "42"});
    for (index, (signer, keys)) in signers.iter().enumerate() {
        let token = signer.sign(&claims);
        let expected = Claims { user: "42".into(), ..Claims::default() };
        assert_eq!(keys.verify(&token, NOW), Ok(expected), "{}", signer.algorithm);
        let weight = if index < 3 { Weight::Light } else { Weight::Heavy };
        assert_eq!(keys.weigh(&token), weight, "{}", signer.algorithm);
        for (other, _) in signers.iter().filter(|(other, _)| other.algorithm != signer.algorithm) {
            let renamed = signer.sign_as(&json!({"alg": other.algorithm}), &claims);
            let refused = keys.verify(&renamed, NOW);
            assert!(matches!(refused, Err(TokenProblem::Invalid(_))), "{} as {}", signer.algorithm, other.algorithm);
        }
    }
}

#[test]
fn keys_of_all_families_stand_side_by_side() {
    let (ec, ed) = (Signer::generate("ES384"), Signer::generate("EdDSA"));
    let keys = TokenKeys::default()
        .with_hmac_secret(SECRET)
        .with_rsa_public_key(PUBLIC_PEM)
        .and_then(|keys| keys.with_ecdsa_public_key(&ec.public_pem))
        .and_then(|keys| keys.with_ed25519_public_key(&ed.public_pem))
        .expect("the keys are right");
    let cases = [
        (Signer::hmac(Jwt::HS256, "HS256", SECRET), "hmac_secret_key"),
        (Signer::rsa(Jwt::PS256, "PS256"), "rsa_public_key"),
        (ec, "ecdsa_public_key"),
        (ed, "ed25519_public_key"),
    ];
    for (signer, name) in cases {
        let opened = keys.open(&signer.sign(&json!({})), NOW).map(|opened| opened.by);
        assert_eq!(opened, Ok(KeyUsed::Fixed(name)));
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let (ec, ed) = (Signer::generate("ES256"), Signer::generate("EdDSA"));
    let keys = TokenKeys::default()
        .with_rsa_public_key(PUBLIC_PEM)
        .and_then(|keys| keys.with_ecdsa_public_key(&ec.public_pem))
        .and_then(|keys| keys.with_ed25519_public_key(&ed.public_pem))
        .expect("the keys are right");
    for public in [PUBLIC_PEM, &ec.public_pem, &ed.public_pem] {
        for (algorithm, name) in [(Jwt::HS256, "HS256"), (Jwt::HS384, "HS384"), (Jwt::HS512, "HS512")] {
            let token = Signer::hmac(algorithm, name, public).sign(&json!({"sub": "admin"}));
            let problem = TokenProblem::Invalid("no key is configured for its algorithm");
            assert_eq!(keys.verify(&token, NOW), Err(problem));
            let problem = TokenProblem::Invalid("the signature does not match");
            assert_eq!(keys.clone().with_hmac_secret(SECRET).verify(&token, NOW), Err(problem));
        }
    }
}

#[test]
fn signatures_of_other_forms_are_refused() {
    // As zeros (CVE-2022-21449), as DER, cut short, and with bytes behind.
    let signer = Signer::generate("ES256");
    let keys = TokenKeys::default().with_ecdsa_public_key(&signer.public_pem).expect("an EC key");
    let token = signer.sign(&json!({"sub": "42"}));
    let (signed, signature) = token.rsplit_once('.').expect("a token has a signature");
    let der = "MEUCIQDf3Gc2bW4qWQJjX9n7k1wq1b3m9Jb0x1S0m0sC2tO8EwIgYj1cXo0b3m9Jb0x1S0m0sC2tO8EwYj1cXo0b3m9Jb0w";
    for forged in [&"A".repeat(86), der, &signature[..84], &format!("{signature}AAAA"), ""] {
        let refused = keys.verify(&format!("{signed}.{forged}"), NOW);
        assert_eq!(refused, Err(TokenProblem::Invalid("the signature does not match")), "{forged}");
    }
}

#[test]
fn secrets_are_rotated() {
    let (old, new) = (Signer::hmac(Jwt::HS256, "HS256", "old"), Signer::hmac(Jwt::HS512, "HS512", "new"));
    let token = |signer: &Signer| signer.sign(&json!({"sub": "42"}));
    let by = |keys: &TokenKeys, token: &str, now| keys.open(token, now).map(|opened| opened.by);
    let mismatch = Err(TokenProblem::Invalid("the signature does not match"));
    let keys = TokenKeys::default().with_hmac_secret("new");
    assert_eq!(by(&keys, &token(&old), NOW), mismatch);
    let rotating = keys.clone().with_previous_hmac_secret("old", Some(NOW + 1));
    assert_eq!(by(&rotating, &token(&new), NOW), Ok(KeyUsed::Fixed("hmac_secret_key")));
    assert_eq!(by(&rotating, &token(&old), NOW), Ok(KeyUsed::Fixed("hmac_previous_secret_key")));
    assert_eq!(by(&rotating, &token(&old), NOW + 1), mismatch, "its time has come");
    assert_eq!(by(&rotating, &token(&new), NOW + 1), Ok(KeyUsed::Fixed("hmac_secret_key")));
    let for_ever = keys.with_previous_hmac_secret("old", None);
    assert_eq!(by(&for_ever, &token(&old), i64::MAX), Ok(KeyUsed::Fixed("hmac_previous_secret_key")));
}

#[test]
fn keys_are_checked_before_they_are_used() {
    let ec = include_str!("../../../../tests/data/ec_test_public.pem");
    let ed = Signer::generate("EdDSA").public_pem;
    let rsa = |pem: &str| Key::from_rsa_pem(pem).map(|_| ());
    let curve = |pem: &str| Key::from_ec_pem(pem).map(|_| ());
    let edwards = |pem: &str| Key::from_ed25519_pem(pem).map(|_| ());
    assert_eq!((rsa(PUBLIC_PEM), curve(ec), edwards(&ed)), (Ok(()), Ok(()), Ok(())));
    for pem in [ec, &ed] {
        assert_eq!(rsa(pem), Err(KeyProblem::NotRsa));
    }
    for pem in [PUBLIC_PEM, &ed] {
        assert_eq!(curve(pem), Err(KeyProblem::NotEc));
    }
    for pem in [PUBLIC_PEM, ec] {
        assert_eq!(edwards(pem), Err(KeyProblem::NotEd25519));
    }
    assert_eq!(curve("secret"), Err(KeyProblem::NotPem));
    assert_eq!(edwards(super::fixtures::PRIVATE_PEM), Err(KeyProblem::Private));
}

#[test]
fn what_is_signed_here_is_verified() {
    let opened = |keys: &TokenKeys, token: &str| keys.open(token, NOW).map(|opened| opened.claims);
    for (signer, keys) in signers() {
        let ours = match signer.private_pem.as_str() {
            "" => TokenSigner::from_secret(SECRET),
            pem => TokenSigner::from_private_pem(pem).expect("a private key"),
        };
        let algorithm = Algorithm::from_name(signer.algorithm);
        let token = ours.sign("{}", algorithm, Some("k")).expect("it fits");
        assert_eq!(opened(&keys, &token), Ok(b"{}".to_vec()), "{}", signer.algorithm);
        let other = if signer.algorithm == "EdDSA" { Algorithm::HS256 } else { Algorithm::EdDSA };
        assert_eq!(ours.sign("{}", Some(other), None), Err(SignProblem::Unfit(other)));
        let by_default = ours.sign("{}", None, None).expect("a key has an algorithm of its own");
        assert!(opened(&keys, &by_default).is_ok(), "{}", signer.algorithm);
    }
    for wrong in ["", SECRET, PUBLIC_PEM, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        assert_eq!(TokenSigner::from_private_pem(wrong).err(), Some(SignProblem::NotPrivateKey));
    }
}
