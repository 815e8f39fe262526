//! `fanfare token` from outside: arguments in, standard output, standard error and exit code out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with the files of one test.
struct Files(TempDir);

impl Files {
    fn new(config: &str) -> Files {
        let files = Files(TempDir::new().expect("a folder"));
        files.write("a.toml", config);
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// `fanfare token` with these arguments and this configuration.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = fanfare();
        command.arg("token").args(arguments).arg("--config").arg(self.0.path().join("a.toml"));
        command.output().expect("it runs")
    }

    /// What it prints as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// The token that it prints.
    fn sign(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).trim().to_owned()
    }
}

fn fanfare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env_remove("FANFARE_CONFIG").env_remove("FANFARE_TOKEN_SECRET");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check_failure(output: &Output, code: i32, reason: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let error = text(&output.stderr);
    assert!(error.contains(reason), "{reason}\n{error}");
}

const CONFIG: &str = r#"
[client.token]
hmac_secret_key = "secret"
issuer = "us"
audience_regex = "^hub"
[client.subscription_token]
enabled = true
hmac_secret_key = "another"
"#;

#[test]
fn a_connection_token_is_signed_and_good() {
    let files = Files::new(CONFIG);
    let token = files.sign(&[
        "conn",
        "--user",
        "42",
        "--audience",
        "hub-1",
        "--channels",
        "a,b",
        "--info",
        r#"{"name":"Ann"}"#,
        "--meta",
        "{}",
        "--claims",
        r#"{"jti":"1"}"#,
        "--algorithm",
        "HS512",
        "--kid",
        "k",
    ]);
    let verdict = files.json(&["verify", &token]);
    assert_eq!((&verdict["valid"], &verdict["kind"]), (&json!(true), &json!("connection")));
    assert_eq!((&verdict["user"], &verdict["key"]), (&json!("42"), &json!("hmac_secret_key")));
    let left = verdict["expires_in_seconds"].as_i64().expect("a number");
    assert!((3500..=3600).contains(&left), "{left}");
    let claims = &verdict["claims"];
    assert_eq!((&claims["iss"], &claims["channels"]), (&json!("us"), &json!(["a", "b"])));
    assert_eq!((&claims["info"]["name"], &claims["jti"]), (&json!("Ann"), &json!("1")));
    let output = files.run(&["verify", &token]);
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("good      connection token\nkey       hmac_secret_key\nuser      42\n"));
}

#[test]
fn a_subscription_token_has_the_keys_of_its_kind() {
    let files = Files::new(CONFIG);
    let token =
        files.sign(&["sub", "--user", "42", "--channel", "$news", "--ttl", "0", "--data", "1", "--client", "c"]);
    let verdict = files.json(&["verify", &token]);
    assert_eq!((&verdict["valid"], &verdict["kind"]), (&json!(true), &json!("subscription")));
    assert_eq!((&verdict["expires_at"], &verdict["claims"]["channel"]), (&Value::Null, &json!("$news")));
    let other = files.sign(&["sub", "--user", "42", "--channel", "$news", "--secret", "secret"]);
    let verdict = files.json(&["verify", &other]);
    assert_eq!((&verdict["valid"], &verdict["reason"]), (&json!(false), &json!("the signature does not match")));
    assert_eq!(verdict["claims"], Value::Null, "what nobody vouches for is not shown");
}

#[test]
fn what_is_refused_has_its_reason_and_exit_code() {
    let files = Files::new(CONFIG);
    let sign = |claims: &str| files.sign(&["conn", "--user", "42", "--audience", "hub", "--claims", claims]);
    for (claims, reason) in [
        (r#"{"exp":1}"#, "it has expired (exp), or is not good yet (nbf)"),
        (r#"{"expire_at":1}"#, "what it grants has expired (expire_at)"),
        (r#"{"iss":"them"}"#, "its issuer is not the one expected"),
        (r#"{"aud":"x"}"#, "its audience is not the one expected"),
        (r#"{"sub":42}"#, "the claims can't be read"),
    ] {
        let output = files.run(&["verify", &sign(claims)]);
        check_failure(&output, 1, &format!("fanfare: the token is refused: {reason}"));
        assert!(text(&output.stdout).starts_with("refused   connection token\n"));
    }
    check_failure(&files.run(&["verify", "garbage"]), 1, "it does not have three parts");
    check_failure(&files.run(&["conn"]), 2, "--user");
    check_failure(&files.run(&["conn", "--user", "1", "--info", "{"]), 2, "it should be JSON");
    check_failure(&files.run(&["conn", "--user", "1", "--algorithm", "none"]), 2, "it should be HS256");
    check_failure(&files.run(&["conn", "--user", "1", "--algorithm", "ES256"]), 2, "the key is not for ES256");
    let output = fanfare().args(["token", "conn", "--user", "1"]).output().expect("it runs");
    check_failure(&output, 2, "say what tokens are signed with");
    let broken = Files::new("client.token = 1");
    check_failure(&broken.run(&["conn", "--user", "1"]), 2, "a.toml:1:");
}

#[test]
fn a_private_key_signs_for_the_public_one() {
    let public = include_str!("data/rsa_test_public.pem");
    let files = Files::new(&format!("client.token.rsa_public_key = '''{public}'''"));
    let private = files.write("private.pem", include_str!("data/rsa_test_private.pem"));
    let private = private.to_str().expect("a path");
    for algorithm in ["RS256", "PS384"] {
        let token = files.sign(&["conn", "--user", "42", "--private-key", private, "--algorithm", algorithm]);
        let verdict = files.json(&["verify", &token]);
        assert_eq!((&verdict["valid"], &verdict["key"]), (&json!(true), &json!("rsa_public_key")), "{algorithm}");
    }
    check_failure(&files.run(&["conn", "--user", "42"]), 2, "the configuration has no hmac_secret_key");
    let wrong = files.write("public.pem", public);
    let arguments = ["conn", "--user", "42", "--private-key", wrong.to_str().expect("a path")];
    check_failure(&files.run(&arguments), 2, "public.pem: it is no private key");
}

#[test]
fn an_issuer_that_does_not_answer_is_told_apart() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let files = Files::new(&format!("client.token.jwks_public_endpoint = \"http://127.0.0.1:{port}/jwks\""));
    let private = files.write("private.pem", include_str!("data/rsa_test_private.pem"));
    let private = private.to_str().expect("a path");
    let token = files.sign(&["conn", "--user", "42", "--private-key", private, "--kid", "k"]);
    check_failure(&files.run(&["verify", &token]), 3, &format!("http://127.0.0.1:{port}/jwks: "));
    let nameless = files.sign(&["conn", "--user", "42", "--private-key", private]);
    check_failure(&files.run(&["verify", &nameless]), 1, "the header names no key (kid)");
}
