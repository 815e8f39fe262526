//! TLS to a server.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// How the server shows who it is, and who we are.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// The name in the server's certificate, if it is not that of its address.
    server_name: Option<ServerName<'static>>,
}

/// What an operator says of it; texts in PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Who vouches for the server; `None`: whom this machine trusts.
    pub server_ca_pem: Option<String>,
    /// Our own certificate and its key, for servers that want one.
    pub pair_pem: Option<(String, String)>,
    pub server_name: Option<String>,
    /// Anybody may be the server.
    pub insecure_skip_verify: bool,
}

impl Tls {
    /// Errors: what is wrong with which option.
    pub fn new(options: &TlsOptions) -> Result<Tls, String> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let verifier: Arc<dyn ServerCertVerifier> = match options.insecure_skip_verify {
            true => Arc::new(Anybody { provider }),
            false => {
                let roots = roots(options.server_ca_pem.as_deref())?.into();
                WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| format!("server_ca_pem: {error}"))?
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match &options.pair_pem {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("key_pem: {error}"))?;
                let chain = certificates(chain).map_err(|error| format!("cert_pem: {error}"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| format!("cert_pem and key_pem: {error}"))?
            }
        };
        let name = |name: &String| ServerName::try_from(name.clone()).map_err(|_| format!("server_name: {name}"));
        let server_name = options.server_name.as_ref().map(name).transpose()?;
        Ok(Tls { config: Arc::new(config), server_name })
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The name that the server at `host` has to show. Errors: that is no name.
    pub(super) fn name_of(&self, host: &str) -> Result<ServerName<'static>, String> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(host.to_owned()).map_err(|_| format!("{host}: no name for a certificate")),
        }
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.map_err(|error| error.to_string()).and_then(|found| match found.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(found),
    })
}

fn roots(pem: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match pem {
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        Some(pem) => {
            for certificate in certificates(pem).map_err(|error| format!("server_ca_pem: {error}"))? {
                roots.add(certificate).map_err(|error| format!("server_ca_pem: {error}"))?;
            }
        }
    }
    Ok(roots)
}

/// Believes every certificate; that the server has its key is still checked.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
