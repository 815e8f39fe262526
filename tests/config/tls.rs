//! Certificates in files, and what is said of those that can't be used.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare::config::Flags;
use fanfare::io::{Pair, Pem};

use super::{error, options};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/io/tls/fixtures");

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

/// A file that sets the clients' pair and `more`.
fn file(certificate: &str, key: &str, more: &str) -> String {
    let (certificate, key) = (toml::Value::from(certificate), toml::Value::from(key));
    format!("[http_server]\ntls.enabled = true\ntls.cert_pem = {certificate}\ntls.key_pem = {key}\n{more}")
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

fn text(name: &str) -> String {
    fs::read_to_string(fixture(name)).unwrap()
}

fn check(text: &str, expected: &str) {
    let error = error("a.toml", text, &Flags::default());
    assert_eq!(error.lines().next().unwrap(), expected, "{text}");
}

#[test]
fn a_pair_is_a_path_a_text_or_its_base64() {
    let of = |certificate: &str, key: &str| options("a.toml", &file(certificate, key, "")).client_tls;
    let files = Pair {
        certificate: Pem::File(fixture("certificate.pem")),
        key: Pem::File(fixture("key.pem")),
        client_roots: None,
    };
    assert_eq!(of(&path("certificate.pem"), &path("key.pem")), Some(files));
    let texts = Pair {
        certificate: Pem::Text(text("certificate.pem").into()),
        key: Pem::Text(text("key.pem").into()),
        client_roots: None,
    };
    assert_eq!(of(&text("certificate.pem"), &text("key.pem")), Some(texts.clone()));
    let encode = |name| STANDARD.encode(text(name));
    assert_eq!(of(&encode("certificate.pem"), &encode("key.pem")), Some(texts));
    assert_eq!(options("a.toml", "").client_tls, None);
}

#[test]
fn the_internal_port_has_the_same_pair_or_its_own_or_none() {
    let of = |more: &str| {
        let options = options("a.toml", &file(&path("certificate.pem"), &path("key.pem"), more));
        (options.client_tls, options.internal_tls)
    };
    let (clients, internal) = of("");
    assert_eq!(clients, internal);
    assert_eq!(of("tls_external = true").1, None);
    let own = format!(
        "internal_tls.enabled = true\ninternal_tls.cert_pem = {:?}\ninternal_tls.key_pem = {:?}\n",
        path("other_certificate.pem"),
        path("other_key.pem")
    );
    let (clients, internal) = of(&own);
    assert_ne!(clients, internal);
    assert_eq!(of(&format!("tls_external = true\n{own}")).1, internal);
}

#[test]
fn a_pair_that_cannot_be_used_is_told_with_its_place() {
    check(
        "[http_server]\ntls.enabled = true\n",
        "a.toml:2:15: http_server.tls.enabled is true, and there is no http_server.tls.cert_pem",
    );
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let missing = fixture("nothing.pem").display().to_string();
    check(
        &file(&missing, &key, ""),
        &format!("a.toml:3:16: http_server.tls.cert_pem: {missing}: No such file or directory (os error 2)"),
    );
    check(
        &file(&certificate, "", ""),
        "a.toml:2:15: http_server.tls.enabled is true, and there is no http_server.tls.key_pem",
    );
    let other = path("other_key.pem");
    check(
        &file(&certificate, &other, ""),
        &format!("a.toml:4:15: http_server.tls.key_pem: {other}: is not the key of the certificate in {certificate}"),
    );
    let encrypted = path("encrypted_key.pem");
    check(
        &file(&certificate, &encrypted, ""),
        &format!(
            "a.toml:4:15: http_server.tls.key_pem: {encrypted}: is encrypted, and nobody is asked for its password: \
             decrypt it with `openssl pkey`"
        ),
    );
    check(
        &file(&certificate, &key, &format!("tls.client_ca_pem = {key:?}\n")),
        &format!(
            "a.toml:5:21: http_server.tls.client_ca_pem: {key}: holds no certificate: there is no BEGIN CERTIFICATE in it"
        ),
    );
}

#[test]
fn no_error_shows_a_key() {
    let error = error("a.toml", &file(&text("certificate.pem"), &text("encrypted_key.pem"), ""), &Flags::default());
    assert!(!error.contains("BEGIN"), "{error}");
    let options = options("a.toml", &file(&text("certificate.pem"), &text("key.pem"), ""));
    assert!(!format!("{options:?}").contains("BEGIN"));
}
