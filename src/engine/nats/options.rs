//! Where NATS is, and how to speak to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;
use rustls::ClientConfig;

use crate::limits::{NATS_MESSAGES_WAITING_MAX, OPERATION_TIMEOUT, PROBE_INTERVAL};

#[derive(Clone, Debug)]
pub struct Options {
    /// `nats://host:port`, `tls://…`; one server of a cluster names the others. A user and password in the first one
    /// count if `credentials` say nothing.
    pub urls: Vec<String>,
    /// In front of all subjects and streams: clusters of hubs that share a server differ in it.
    pub prefix: String,
    pub dial_timeout: Duration,
    pub write_timeout: Duration,
    /// `None`: only where the server or its URL wants it, with the machine's roots.
    pub tls: Option<ClientConfig>,
    pub credentials: Credentials,
    /// A channel to subscribe to may be a pattern of subjects.
    pub allow_wildcards: bool,
    pub raw_mode: RawMode,
    pub jetstream: UseJetStream,
    /// Servers of a cluster that keep each stream.
    pub replicas: usize,
    /// Who has history or presence, for people: a server that can't keep it is no good then. `None`: nobody.
    pub keeps: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub enum Credentials {
    #[default]
    None,
    User {
        name: String,
        password: String,
    },
    Token(String),
    /// Seed of an nkey.
    NkeySeed(String),
    /// A file of JWT and seed, as `nsc` writes it; read anew for each connection.
    File(PathBuf),
}

/// Bare payloads on subjects that others use too.
#[derive(Clone, Debug, Default)]
pub struct RawMode {
    pub enabled: bool,
    /// What of a channel's name becomes what of its subject.
    pub channel_replacements: BTreeMap<String, String>,
    /// In front of raw subjects, as it is: with its dot.
    pub prefix: String,
}

/// Whether streams and presence are kept by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UseJetStream {
    /// A server without it is an error, said at each connection, and the engine is not ready.
    On,
    /// Where the server has it; one without it is an error as above if somebody has history or presence.
    #[default]
    Auto,
    Off,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            urls: vec!["nats://localhost:4222".to_owned()],
            prefix: "fanfare".to_owned(),
            dial_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            tls: None,
            credentials: Credentials::None,
            allow_wildcards: false,
            raw_mode: RawMode::default(),
            jetstream: UseJetStream::Auto,
            replicas: 1,
            keeps: None,
        }
    }
}

impl Options {
    /// Options of one connection. Errors: the file of credentials can't be read, or is none.
    pub async fn connect_options(&self) -> Result<ConnectOptions, String> {
        let options = ConnectOptions::new()
            .name("fanfare")
            .connection_timeout(self.dial_timeout)
            .request_timeout(Some(OPERATION_TIMEOUT))
            .subscription_capacity(NATS_MESSAGES_WAITING_MAX)
            // One that stands still is given up by the probe; its task ends after some pings of its own.
            .ping_interval(2 * PROBE_INTERVAL)
            // A connection that breaks is not mended but followed by another: see `link.rs`.
            .max_reconnects(1);
        let options = match &self.tls {
            Some(tls) => options.require_tls(true).tls_client_config(tls.clone()),
            // Servers that one of a cluster names come without their scheme.
            None => options.require_tls(self.urls.iter().any(|url| url.starts_with("tls://"))),
        };
        match &self.credentials {
            Credentials::None => Ok(match self.user_of_url() {
                Some((name, password)) => options.user_and_password(name, password),
                None => options,
            }),
            Credentials::User { name, password } => Ok(options.user_and_password(name.clone(), password.clone())),
            Credentials::Token(token) => Ok(options.token(token.clone())),
            Credentials::NkeySeed(seed) => Ok(options.nkey(seed.clone())),
            Credentials::File(path) => options
                .credentials_file(path)
                .await
                .map_err(|error| format!("credentials file {} can't be used: {error}", path.display())),
        }
    }

    /// The addresses, as they may be said aloud.
    pub fn shown_urls(&self) -> String {
        let shown: Vec<&str> =
            self.urls.iter().map(|url| url.rsplit_once('@').map_or(&**url, |(_, host)| host)).collect();
        shown.join(", ")
    }

    fn user_of_url(&self) -> Option<(String, String)> {
        let url: async_nats::ServerAddr = self.urls.first()?.parse().ok()?;
        let name = url.username()?.to_owned();
        Some((name, url.password().unwrap_or_default().to_owned()))
    }
}
