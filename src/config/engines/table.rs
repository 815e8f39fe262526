//! The table of one engine's settings, wherever it stands.

use std::fs;
use std::time::Duration;

use super::super::keys::{KEYS, Key};
use super::super::options::Secret;
use super::super::settings::Scope;
use super::super::source::{Problems, Span};
use super::super::tls::pem;
use crate::io::Pem;

/// `engine`, `broker` or an item of `brokers`, asked for keys below it: `redis.address`.
pub struct Table<'a> {
    scope: &'a Scope<'a>,
    /// What stands before a key within the scope.
    before: &'static str,
    /// What stands before it for people.
    shown: String,
}

impl<'a> Table<'a> {
    pub fn of_root(root: &'a Scope<'a>, name: &'static str) -> Table<'a> {
        Table { scope: root, before: name, shown: format!("{name}.") }
    }

    pub fn of_item(scope: &'a Scope<'a>, list: &str, name: &str) -> Table<'a> {
        Table { scope, before: "", shown: format!("{list}[{name}].") }
    }

    /// What the key is called in errors.
    pub fn shown(&self, key: &str) -> String {
        format!("{}{key}", self.shown)
    }

    /// Whether this table has the key, and it does something there.
    pub fn has(&self, key: &str) -> bool {
        KEYS.get(&self.scope.path_of(&self.within(key))).is_some_and(Key::is_supported)
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.scope.text(&self.within(key))
    }

    pub fn secret(&self, key: &str) -> Option<Secret> {
        self.text(key).map(|text| Secret::new(&text))
    }

    pub fn texts(&self, key: &str) -> Vec<String> {
        self.scope.texts(&self.within(key))
    }

    pub fn pairs(&self, key: &str) -> Vec<(String, String)> {
        self.scope.pairs(&self.within(key))
    }

    pub fn flag(&self, key: &str) -> bool {
        self.scope.flag(&self.within(key))
    }

    pub fn count(&self, key: &str) -> u64 {
        self.scope.count(&self.within(key)) as u64
    }

    pub fn duration(&self, key: &str) -> Duration {
        self.scope.duration(&self.within(key))
    }

    /// Where the value stands, or else what asks for the engine.
    pub fn span(&self, key: &str) -> Option<Span> {
        self.scope.span(&self.within(key)).or_else(|| self.scope.span(&self.within("type")))
    }

    /// `message` follows the key's name.
    pub fn refuse(&self, key: &str, message: &str, problems: &mut Problems<'_>) {
        problems.add(self.span(key), format!("{} {message}", self.shown(key)));
    }

    fn within(&self, key: &str) -> String {
        if self.before.is_empty() { key.into() } else { format!("{}.{key}", self.before) }
    }
}

/// How this node speaks TLS to a server. PEM as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// `None`: those of the system.
    pub roots: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<Secret>,
    /// `None`: the name that is connected to.
    pub server_name: Option<String>,
    pub skips_verification: bool,
}

impl ClientTls {
    /// What the table `name` says, whether it is enabled or not: the scheme of an address may ask for it too.
    pub fn read(table: &Table<'_>, name: &str, problems: &mut Problems<'_>) -> ClientTls {
        let [ca, cert, key] = ["server_ca_pem", "cert_pem", "key_pem"].map(|part| format!("{name}.{part}"));
        let server_name = format!("{name}.server_name");
        if table.text(&cert).is_some() != table.text(&key).is_some() {
            let set = if table.text(&cert).is_some() { &cert } else { &key };
            table.refuse(set, "needs both: cert_pem and key_pem are one identity", problems);
        }
        ClientTls {
            roots: read_pem(table, &ca, problems),
            certificate: read_pem(table, &cert, problems),
            key: read_pem(table, &key, problems).map(|text| Secret::new(&text)),
            server_name: table.has(&server_name).then(|| table.text(&server_name)).flatten(),
            skips_verification: table.flag(&format!("{name}.insecure_skip_verify")),
        }
    }
}

fn read_pem(table: &Table<'_>, key: &str, problems: &mut Problems<'_>) -> Option<String> {
    let text = match pem(table.text(key)?) {
        Pem::Text(text) => text.into(),
        Pem::File(path) => match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                table.refuse(key, &format!("can't be read: {}: {error}", path.display()), problems);
                return None;
            }
        },
    };
    if !text.contains("-----BEGIN ") {
        table.refuse(key, "is no PEM", problems);
    }
    Some(text)
}
