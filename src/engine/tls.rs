//! TLS to a server of an engine.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::trust::{self, Trust};

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
        let trust = match (options.insecure_skip_verify, &options.server_ca_pem) {
            (true, _) => Trust::Anybody,
            (false, Some(pem)) => {
                Trust::Roots(trust::roots(pem.as_bytes()).map_err(|reason| format!("server_ca_pem: {reason}"))?)
            }
            (false, None) => match trust::system_roots() {
                roots if roots.is_empty() => {
                    return Err("server_ca_pem: there is none, and this machine has no roots (ca-certificates)".into());
                }
                roots => Trust::Roots(roots),
            },
        };
        let builder = trust::client(trust)?;
        let config = match &options.pair_pem {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = trust::private_key(key.as_bytes()).map_err(|reason| format!("key_pem: {reason}"))?;
                let chain = trust::certificates(chain.as_bytes()).map_err(|reason| format!("cert_pem: {reason}"))?;
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
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>, String> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(host.to_owned()).map_err(|_| format!("{host}: no name for a certificate")),
        }
    }
}
