//! Certificates of the tests, self-signed for `localhost` and valid for a hundred years, and a client.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use super::{Identity, Pair, Pem};

pub const CERTIFICATE: &[u8] = include_bytes!("fixtures/certificate.pem");
pub const KEY: &[u8] = include_bytes!("fixtures/key.pem");
pub const OTHER_CERTIFICATE: &[u8] = include_bytes!("fixtures/other_certificate.pem");
pub const OTHER_KEY: &[u8] = include_bytes!("fixtures/other_key.pem");
/// `KEY` under a password.
pub const ENCRYPTED_KEY: &[u8] = include_bytes!("fixtures/encrypted_key.pem");

/// `notAfter` of `CERTIFICATE`.
pub const CERTIFICATE_EXPIRES: i64 = 4949087545;

pub fn pem(bytes: &[u8]) -> Pem {
    Pem::Text(std::str::from_utf8(bytes).unwrap().into())
}

pub fn identity() -> Identity {
    Pair { certificate: pem(CERTIFICATE), key: pem(KEY), client_roots: None }.load().unwrap()
}

pub fn other_identity() -> Identity {
    Pair { certificate: pem(OTHER_CERTIFICATE), key: pem(OTHER_KEY), client_roots: None }.load().unwrap()
}

/// A client that trusts `CERTIFICATE` alone.
pub fn client(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

pub const VERSIONS: [(&SupportedProtocolVersion, ProtocolVersion); 2] =
    [(&rustls::version::TLS12, ProtocolVersion::TLSv1_2), (&rustls::version::TLS13, ProtocolVersion::TLSv1_3)];
