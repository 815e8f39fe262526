//! Logins that a file of credentials carries: a JWT that an account has signed, and the seed of its key. The servers
//! know their operator, and by it the accounts (`nsc` makes the same).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::engine::nats::{Credentials, Options};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::engine_node::{EngineNode, kept, wait_until};
use crate::nats_server::{NatsServer, Release};
use crate::{options, start};

/// An operator, and an account that may keep something.
struct Company {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Company {
    fn new() -> Company {
        Company { operator: KeyPair::new_operator(), account: KeyPair::new_account(), system: KeyPair::new_account() }
    }

    /// Lines of a server's configuration.
    fn lines(&self) -> String {
        let operator = signed(&self.operator, &self.operator, json!({"type": "operator", "version": 2}));
        let account = |account: &KeyPair, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
                "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1,
            });
            let claims = json!({"type": "account", "version": 2, "limits": limits});
            format!("{}: \"{}\"", account.public_key(), signed(&self.operator, account, claims))
        };
        format!(
            "operator: \"{operator}\"\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}\n{}\n}}\n\
             jetstream {{ store_dir: \"FOLDER/store\" }}",
            self.system.public_key(),
            account(&self.account, -1),
            account(&self.system, 0),
        )
    }

    /// The file of a new user.
    fn credentials(&self) -> String {
        let user = KeyPair::new_user();
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let jwt = signed(&self.account, &user, claims);
        let seed = user.seed().expect("it was made here");
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A JWT of NATS, which never ends.
fn signed(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let claims = json!({
        "jti": subject.public_key(), "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test",
        "nats": nats,
    });
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(text.as_bytes()).expect("it has its seed");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn node(server: &NatsServer, file: &Path) -> EngineNode {
    start(Options { credentials: Credentials::File(file.into()), keeps: Some("a test".into()), ..options(server) })
}

fn write(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("user.creds");
    fs::write(&path, text).expect("the folder is ours");
    path
}

#[tokio::test]
async fn a_file_of_credentials_is_a_login() {
    for release in Release::ALL {
        let company = Company::new();
        let server = NatsServer::with(release, &company.lines());
        let folder = tempfile::tempdir().expect("a folder");
        let mut node = node(&server, &write(&folder, &company.credentials()));
        node.ready().await;
        node.listen("room").await;
        let at = node.publish("room", kept("a")).await.expect("kept").expect("a position");
        assert_eq!(at.offset, 1);
        assert_eq!(node.publication().await.1, "a");
    }
}

/// What the log said, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn errors(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(bytes).expect("text");
        // The hub's log leaves out what the client library says.
        text.lines().filter(|line| line.contains("ERROR fanfare")).map(ToOwned::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// Each kind of wrong file is one error, without what is secret in it; a right one in its place is taken.
#[tokio::test]
async fn wrong_credentials_are_one_clear_error() {
    let (company, others) = (Company::new(), Company::new());
    let server = NatsServer::with(Release::Current, &company.lines());
    let folder = tempfile::tempdir().expect("a folder");
    let of_others = others.credentials();
    let without_seed = of_others.split("-----BEGIN USER").next().expect("a part").to_owned();
    for (text, expected) in [
        (of_others.as_str(), "check the credentials of the engine"),
        (without_seed.as_str(), "user.creds can't be used"),
        ("no credentials at all", "user.creds can't be used"),
    ] {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let node = node(&server, &write(&folder, text));
        wait_until("the engine says so", || !log.errors().is_empty()).await;
        assert!(!node.metrics.is_up());
        let errors = log.errors();
        assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
        let secrets = text.lines().filter(|line| !line.starts_with('-') && !line.is_empty());
        assert!(!secrets.into_iter().any(|secret| errors[0].contains(secret)), "{errors:?}");
        if expected.starts_with("check") {
            write(&folder, &company.credentials());
            node.ready().await;
            assert_eq!(log.errors().len(), 1, "it was tried again with the file as it was then");
        }
    }
}
