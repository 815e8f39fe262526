//! One request for a JWK Set, bounded in time and bytes.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::access::{KeySet, KeySetProblem};
use crate::limits;
use crate::trust::{self, Trust};

/// Asks over HTTP and HTTPS, follows no redirect, and keeps no connection: there is one request in minutes.
#[derive(Default)]
pub struct Client {
    /// Made for the first request: most nodes never have one.
    client: OnceLock<HttpClient>,
}

type HttpClient = legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Why there are no keys; for the log.
#[derive(Debug)]
pub enum FetchProblem {
    Url,
    /// Refused, reset, not resolved, a certificate that nobody vouches for.
    Unreachable(String),
    Status(StatusCode),
    TooSlow,
    TooLarge,
    Keys(KeySetProblem),
}

impl Client {
    /// Errors: the host does not answer in [`limits::JWKS_FETCH_TIMEOUT`], or not with keys.
    pub async fn fetch(&self, url: &str) -> Result<KeySet, FetchProblem> {
        timeout(limits::JWKS_FETCH_TIMEOUT, self.fetch_slowly(url)).await.unwrap_or(Err(FetchProblem::TooSlow))
    }

    async fn fetch_slowly(&self, url: &str) -> Result<KeySet, FetchProblem> {
        let url = url.parse().map_err(|_| FetchProblem::Url)?;
        let response = self.client.get_or_init(build).get(url).await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(FetchProblem::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), limits::JWKS_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchProblem::TooLarge,
            false => FetchProblem::Unreachable(error.to_string()),
        })?;
        KeySet::parse(&body.to_bytes()).map_err(FetchProblem::Keys)
    }
}

/// With the roots that this machine trusts, so that an issuer inside of a company is trusted as elsewhere.
fn build() -> HttpClient {
    let roots = trust::system_roots();
    if roots.is_empty() {
        tracing::warn!("this machine has no root certificates (ca-certificates): no issuer is reached by https");
    }
    let tls = trust::client(Trust::Roots(roots)).expect("the provider has all versions").with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// The innermost reason: the others say only that it failed.
fn unreachable(error: legacy::Error) -> FetchProblem {
    let mut reason: &dyn std::error::Error = &error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    FetchProblem::Unreachable(reason.to_string())
}

impl fmt::Display for FetchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchProblem::Url => f.write_str("it is no URL"),
            FetchProblem::Unreachable(reason) => f.write_str(reason),
            FetchProblem::Status(status) => write!(f, "it answers {status} instead of 200"),
            FetchProblem::TooSlow => write!(f, "it has not answered within {:?}", limits::JWKS_FETCH_TIMEOUT),
            FetchProblem::TooLarge => write!(f, "it answers more than {} bytes", limits::JWKS_BYTES_MAX),
            FetchProblem::Keys(problem) => problem.fmt(f),
        }
    }
}
