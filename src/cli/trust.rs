//! Whose certificate a command believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Failure;
use super::server::Trust;

/// What a handshake with this trust needs.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Failure::usage)?;
    let expect = |certificate| Arc::new(Expected { certificate, provider });
    let mut config = match trust {
        Trust::Roots(file) => builder.with_root_certificates(roots(file.as_deref())?).with_no_client_auth(),
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(expect(None)).with_no_client_auth(),
        Trust::Configured(pair) => {
            let certificate = pair.chain().map_err(Failure::usage)?.swap_remove(0);
            builder.dangerous().with_custom_certificate_verifier(expect(Some(certificate))).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let of_system = || std::env::var_os("SSL_CERT_FILE").map_or_else(|| SYSTEM_ROOTS.into(), PathBuf::from);
    let file = file.map_or_else(of_system, Path::to_owned);
    let bad = |reason: String| Failure::usage(format!("{}: {reason}: name a file of roots with --ca", file.display()));
    let certificates = CertificateDer::pem_file_iter(&file).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // A system's file may hold some that are too old for this library.
    let (added, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    match added {
        0 => Err(bad("there is no certificate in it".to_owned())),
        _ => Ok(roots),
    }
}

/// Believes one certificate, whatever it says about names and dates: it is the operator's own.
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

/// Where Debian, Alpine and distroless images keep them.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
