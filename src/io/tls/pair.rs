//! A certificate and its key: from files or texts to what handshakes use.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, RootCertStore, ServerConfig};

use super::expiry;
use crate::trust;

/// Where PEM comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    Text(Box<str>),
}

/// The certificate of a port, before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, and those between it and its root.
    pub certificate: Pem,
    pub key: Pem,
    /// Roots of the certificates that clients must show; `None`: they need not show any.
    pub client_roots: Option<Pem>,
}

/// A pair that was read and checked.
#[derive(Clone, Debug)]
pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// Until when the certificate is valid, seconds since 1970; `None` if it does not say so in a
    /// way that is understood here.
    pub expires: Option<i64>,
}

/// Which part of a [`Pair`] is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
    ClientRoots,
}

/// Why a pair can't be used, for its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPair {
    pub part: Part,
    /// Names the file, if it is one.
    pub reason: String,
}

impl fmt::Display for BadPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Pair {
    /// Reads the pair and checks that its parts belong together.
    pub fn load(&self) -> Result<Identity, BadPair> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = self.chain()?;
        let expires = expiry::of(&chain[0]);
        let key = self.key()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.bad_pair(&error))?;
        let builder = match &self.client_roots {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = client_roots(pem)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                let bad = |error: rustls::server::VerifierBuilderError| pem.bad(Part::ClientRoots, error.to_string());
                builder.with_client_cert_verifier(verifier.map_err(bad)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.bad_pair(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Sessions are resumed by tickets alone: those of any shard, and nothing is kept for them.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(|error| self.bad_pair(&error))?;
        config.send_tls13_tickets = 1;
        Ok(Identity { config: Arc::new(config), expires })
    }

    /// Files that may change.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.certificate), Some(&self.key), self.client_roots.as_ref()].into_iter().flatten().filter_map(|pem| {
            match pem {
                Pem::File(path) => Some(path),
                Pem::Text(_) => None,
            }
        })
    }

    /// The certificate, and those between it and its root; never empty.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, BadPair> {
        let text = self.certificate.read(Part::Certificate)?;
        trust::certificates(&text).map_err(|reason| self.certificate.bad(Part::Certificate, reason))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, BadPair> {
        let text = self.key.read(Part::Key)?;
        trust::private_key(&text).map_err(|reason| self.key.bad(Part::Key, reason))
    }

    /// What rustls says of a chain and a key that were read.
    fn bad_pair(&self, error: &Error) -> BadPair {
        match error {
            Error::InconsistentKeys(_) => {
                self.key.bad(Part::Key, format!("is not the key of the certificate in {}", self.certificate.name()))
            }
            Error::InvalidCertificate(reason) => {
                self.certificate.bad(Part::Certificate, format!("holds no valid certificate: {reason}"))
            }
            error => self.key.bad(Part::Key, format!("can't be used: {error}")),
        }
    }
}

fn client_roots(pem: &Pem) -> Result<RootCertStore, BadPair> {
    let text = pem.read(Part::ClientRoots)?;
    trust::roots(&text).map_err(|reason| pem.bad(Part::ClientRoots, reason))
}

impl Pem {
    fn read(&self, part: Part) -> Result<Vec<u8>, BadPair> {
        match self {
            Pem::File(path) => fs::read(path).map_err(|error| self.bad(part, error.to_string())),
            Pem::Text(text) => Ok(text.as_bytes().to_vec()),
        }
    }

    fn name(&self) -> String {
        match self {
            Pem::File(path) => path.display().to_string(),
            Pem::Text(_) => "the configuration".into(),
        }
    }

    fn bad(&self, part: Part, reason: String) -> BadPair {
        let reason = match self {
            Pem::File(path) => format!("{}: {reason}", path.display()),
            Pem::Text(_) => reason,
        };
        BadPair { part, reason }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => path.fmt(f),
            // It may be a key.
            Pem::Text(_) => f.write_str("..."),
        }
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
