//! The certificates of the ports: where they come from, and whether they can be used.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::io::{Pair, Part, Pem};

use super::settings::Scope;
use super::source::Problems;

/// The pair of the clients' port, if TLS is spoken there.
pub fn of_clients(root: &Scope<'_>, problems: &mut Problems<'_>) -> Option<Pair> {
    pair(root, "http_server.tls", problems)
}

/// The pair of the internal port: its own, or that of the clients' port unless that is for it alone.
pub fn of_internal(root: &Scope<'_>, clients: Option<&Pair>, problems: &mut Problems<'_>) -> Option<Pair> {
    match root.flag("http_server.tls_external") {
        true => pair(root, "http_server.internal_tls", problems),
        false => pair(root, "http_server.internal_tls", problems).or_else(|| clients.cloned()),
    }
}

/// The pair of one table, which is tried at once.
fn pair(root: &Scope<'_>, table: &str, problems: &mut Problems<'_>) -> Option<Pair> {
    let key = |name: &str| format!("{table}.{name}");
    let [enabled, cert_pem, key_pem, client_ca_pem] = ["enabled", "cert_pem", "key_pem", "client_ca_pem"].map(key);
    if !root.flag(&enabled) {
        return None;
    }
    let mut needed = |name: &str| {
        let text = root.text(name);
        if text.is_none() {
            problems.add(root.span(&enabled), format!("{enabled} is true, and there is no {name}"));
        }
        text.map(pem)
    };
    let (certificate, private_key) = (needed(&cert_pem), needed(&key_pem));
    let pair = Pair { certificate: certificate?, key: private_key?, client_roots: root.text(&client_ca_pem).map(pem) };
    if let Err(bad) = pair.load() {
        let name = match bad.part {
            Part::Certificate => cert_pem,
            Part::Key => key_pem,
            Part::ClientRoots => client_ca_pem,
        };
        problems.add(root.span(&name), format!("{name}: {bad}"));
    }
    Some(pair)
}

/// Centrifugo takes PEM as it is, in base64, or as the path of a file.
pub fn pem(text: String) -> Pem {
    let decoded = || String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok().filter(|text| is_pem(text));
    match is_pem(&text) {
        true => Pem::Text(text.into()),
        false => decoded().map_or_else(|| Pem::File(text.as_str().into()), |decoded| Pem::Text(decoded.into())),
    }
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ")
}
