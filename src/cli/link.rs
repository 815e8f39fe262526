//! A byte stream to a server, plain or TLS.

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::server::{Endpoint, Trust};
use super::trust;

/// What HTTP and WebSocket are spoken over.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// Connects and shakes hands. The caller bounds the time.
pub async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Link>, Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::unreachable(format!("{endpoint} can't be reached: {error}"));
    let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| cannot(&error))?;
    let Some(trust) = &endpoint.trust else {
        return Ok(Box::new(socket));
    };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(Failure::usage)?;
    let connector = TlsConnector::from(trust::client_config(trust)?);
    let stream = connector.connect(name, socket).await.map_err(|error| match trust {
        Trust::Configured(_) if error.to_string().contains("certificate") => cannot(&format!(
            "{error}: it shows another certificate than the configuration names, or asks for one of its clients"
        )),
        _ => cannot(&error),
    })?;
    Ok(Box::new(stream))
}
