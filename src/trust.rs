//! Whose certificate is believed: what clients of TLS need, be it an engine, a command or the fetcher of keys; and the
//! one reader of PEM, which ports use as well.
//!
//! Reasons are for operators and follow the name of what was read: "holds no key: ...". Nothing of a text is in them,
//! since it may be a key.
//!
//! Invariant: a handshake is never begun with roots that nobody chose. Absent: sockets, and files of ours.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Whom a client believes to be the server.
#[derive(Debug)]
pub enum Trust {
    /// Whoever one of these vouches for, by the name that was connected to.
    Roots(RootCertStore),
    /// Whoever has this certificate, whatever it says about names and dates.
    Certificate(CertificateDer<'static>),
    /// Anybody; that the server has the key of what it shows is still checked.
    Anybody,
}

/// Begins the configuration of a client; what is left to say is who the client is.
pub fn client(trust: Trust) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let certificate = match trust {
        Trust::Roots(roots) => return Ok(builder.with_root_certificates(roots)),
        Trust::Certificate(certificate) => Some(certificate),
        Trust::Anybody => None,
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Expected { certificate, provider })))
}

/// The certificates in a text, in their order; never none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates.map_err(|error| explain(&error))? {
        certificates if certificates.is_empty() => {
            Err("holds no certificate: there is no BEGIN CERTIFICATE in it".to_owned())
        }
        certificates => Ok(certificates),
    }
}

/// The key in a text.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        _ if String::from_utf8_lossy(pem).contains("ENCRYPTED") => {
            "is encrypted, and nobody is asked for its password: decrypt it with `openssl pkey`".to_owned()
        }
        pem::Error::NoItemsFound => "holds no key: there is no BEGIN PRIVATE KEY in it".to_owned(),
        error => explain(&error),
    })
}

/// The certificates in a text as roots. A bundle may hold some that are too old for this library: those are left out,
/// unless nothing else is there.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates(pem)?) {
        (0, _) => Err("holds no certificate that can be a root".to_owned()),
        _ => Ok(roots),
    }
}

/// Those that this machine trusts, so that a server inside of a company is trusted as elsewhere; there may be none.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn explain(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "is cut off: a section has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "is no PEM: a section has a broken BEGIN line".to_owned(),
        pem::Error::Base64Decode(_) => "is broken: what stands between BEGIN and END is not base64".to_owned(),
        error => format!("is no PEM: {error}"),
    }
}

/// Believes one certificate.
#[derive(Debug)]
struct Expected {
    /// `None`: any.
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.certificate {
            Some(expected) if expected != shown => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("io/tls/fixtures/certificate.pem");

    #[test]
    fn a_bundle_may_hold_roots_that_nobody_can_use() {
        let odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(roots(odd).map(|roots| roots.len()), Err("holds no certificate that can be a root".to_owned()));
        assert_eq!(roots(&[odd, CERTIFICATE].concat()).map(|roots| roots.len()), Ok(1));
        assert_eq!(certificates(&[CERTIFICATE, CERTIFICATE].concat()).map(|all| all.len()), Ok(2));
    }

    #[test]
    fn nothing_is_no_root() {
        let none = "holds no certificate: there is no BEGIN CERTIFICATE in it".to_owned();
        assert_eq!(roots(b"").map(|roots| roots.len()), Err(none));
        assert!(private_key(CERTIFICATE).is_err_and(|reason| reason.starts_with("holds no key")));
    }
}
