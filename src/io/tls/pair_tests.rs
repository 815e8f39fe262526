//! Pairs that can be used, and what is said of those that can't.

use super::*;
use crate::io::tls::fixtures::{
    CERTIFICATE, CERTIFICATE_EXPIRES, ENCRYPTED_KEY, KEY, OTHER_CERTIFICATE, OTHER_KEY, pem,
};

fn pair(certificate: &[u8], key: &[u8]) -> Pair {
    Pair { certificate: pem(certificate), key: pem(key), client_roots: None }
}

fn check_bad(pair: &Pair, part: Part, reason: &str) {
    let bad = pair.load().expect_err(reason);
    assert_eq!((bad.part, bad.reason.as_str()), (part, reason));
}

#[test]
fn a_pair_that_belongs_together_is_taken() {
    let identity = pair(CERTIFICATE, KEY).load().unwrap();
    assert_eq!(identity.expires, Some(CERTIFICATE_EXPIRES));
    assert_eq!(identity.config.alpn_protocols, [b"http/1.1"]);
    assert!(pair(OTHER_CERTIFICATE, OTHER_KEY).load().is_ok());
    let asks_clients = Pair { client_roots: Some(pem(OTHER_CERTIFICATE)), ..pair(CERTIFICATE, KEY) };
    assert!(asks_clients.load().is_ok());
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    check_bad(&pair(CERTIFICATE, OTHER_KEY), Part::Key, "is not the key of the certificate in the configuration");
}

#[test]
fn what_is_no_certificate_or_key_is_named() {
    let no_certificate = "holds no certificate: there is no BEGIN CERTIFICATE in it";
    check_bad(&pair(KEY, KEY), Part::Certificate, no_certificate);
    check_bad(&pair(b"", KEY), Part::Certificate, no_certificate);
    let no_key = "holds no key: there is no BEGIN PRIVATE KEY in it";
    check_bad(&pair(CERTIFICATE, CERTIFICATE), Part::Key, no_key);
    let encrypted = "is encrypted, and nobody is asked for its password: decrypt it with `openssl pkey`";
    check_bad(&pair(CERTIFICATE, ENCRYPTED_KEY), Part::Key, encrypted);
    let cut = &CERTIFICATE[..CERTIFICATE.len() / 2];
    check_bad(&pair(cut, KEY), Part::Certificate, "is cut off: a section has no END line");
    let no_der = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check_bad(&pair(no_der, KEY), Part::Certificate, "holds no valid certificate: BadEncoding");
    let no_roots = Pair { client_roots: Some(pem(KEY)), ..pair(CERTIFICATE, KEY) };
    check_bad(&no_roots, Part::ClientRoots, no_certificate);
}

#[test]
fn files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("a.pem"), folder.path().join("b.pem"));
    let pair = Pair { certificate: Pem::File(certificate.clone()), key: Pem::File(key.clone()), client_roots: None };
    let missing = format!("{}: No such file or directory (os error 2)", certificate.display());
    check_bad(&pair, Part::Certificate, &missing);
    fs::write(&certificate, CERTIFICATE).unwrap();
    fs::write(&key, OTHER_KEY).unwrap();
    let strange = format!("{}: is not the key of the certificate in {}", key.display(), certificate.display());
    check_bad(&pair, Part::Key, &strange);
    assert_eq!(pair.files().collect::<Vec<_>>(), [&certificate, &key]);
}

#[test]
fn nothing_shows_a_key() {
    let text = format!("{:?}", pair(CERTIFICATE, KEY));
    assert_eq!(text, "Pair { certificate: ..., key: ..., client_roots: None }");
}
