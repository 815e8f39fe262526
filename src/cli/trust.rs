//! Whose certificate a command believes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::Failure;
use super::server::Trust;
use crate::trust;

/// What a handshake with this trust needs.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, Failure> {
    let believed = match trust {
        Trust::Roots(file) => trust::Trust::Roots(roots(file.as_deref())?),
        Trust::Anybody => trust::Trust::Anybody,
        Trust::Configured(pair) => trust::Trust::Certificate(pair.chain().map_err(Failure::usage)?.swap_remove(0)),
    };
    let mut config = trust::client(believed).map_err(Failure::usage)?.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let Some(file) = file else {
        let roots = trust::system_roots();
        return match roots.is_empty() {
            true => Err(Failure::usage("this machine has no roots (ca-certificates): name a file of them with --ca")),
            false => Ok(roots),
        };
    };
    let bad = |reason: String| Failure::usage(format!("{}: {reason}: name a file of roots with --ca", file.display()));
    trust::roots(&fs::read(file).map_err(|error| bad(error.to_string()))?).map_err(bad)
}
