//! Certificates that are renewed while the node runs.
//!
//! A new pair is read and checked before any handshake sees it; one that is broken is refused, and
//! the old one stays. Connections that are open keep theirs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Options;
use crate::io::{Identity, Newest, Pair};
use crate::limits::CERTIFICATE_LOOK;
use crate::telemetry::{NodeMetrics, TlsPort};

/// The pairs of the ports that speak TLS.
pub struct Certificates {
    ports: Vec<Port>,
    metrics: Arc<NodeMetrics>,
}

struct Port {
    name: TlsPort,
    pair: Pair,
    identity: watch::Sender<Identity>,
    /// As the files were when they were last read.
    loaded: Vec<Stamp>,
    /// As they were at the last look.
    seen: Vec<Stamp>,
}

/// What changes when a file does: inode, size, and time of change. `None`: it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

/// What each port speaks; `None`: plain.
#[derive(Default)]
pub struct Identities {
    pub clients: Option<Newest>,
    pub internal: Option<Newest>,
}

impl Certificates {
    /// Reads the pairs that the options name. Errors: one can't be used; the text names its file.
    pub fn load(options: &Options, metrics: &Arc<NodeMetrics>) -> Result<(Certificates, Identities), io::Error> {
        let mut certificates = Certificates { ports: Vec::new(), metrics: Arc::clone(metrics) };
        let clients = certificates.add(TlsPort::Clients, options.client_tls.as_ref())?;
        let internal_tls = options.internal_tls.as_ref().filter(|_| options.internal_address.is_some());
        let internal = certificates.add(TlsPort::Internal, internal_tls)?;
        Ok((certificates, Identities { clients, internal }))
    }

    fn add(&mut self, name: TlsPort, pair: Option<&Pair>) -> Result<Option<Newest>, io::Error> {
        let Some(pair) = pair else { return Ok(None) };
        // Before they are read: a change in between is seen at the first look.
        let loaded = stamps(pair);
        let identity = pair.load().map_err(|bad| io::Error::other(bad.to_string()))?;
        note(&self.metrics, name, &identity);
        let (identity, newest) = watch::channel(identity);
        self.ports.push(Port { name, pair: pair.clone(), identity, seen: loaded.clone(), loaded });
        Ok(Some(newest))
    }

    /// Renews them for as long as the node runs: at SIGHUP, and when their files have changed.
    pub async fn keep_fresh(mut self, mut hangups: Signal) {
        let mut looks = interval(CERTIFICATE_LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = hangups.recv() => true,
                _ = looks.tick() => false,
            };
            for port in &mut self.ports {
                let now = stamps(&port.pair);
                // Two files are seldom replaced at once: they are read when they have come to rest.
                let is_changed = now != port.loaded && now == port.seen;
                port.seen = now;
                if is_asked || is_changed {
                    port.renew(&self.metrics);
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

/// Called inside a runtime; from then on SIGHUP does not end the process.
pub fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

impl Port {
    fn renew(&mut self, metrics: &NodeMetrics) {
        self.loaded = self.seen.clone();
        match self.pair.load() {
            Ok(identity) => {
                note(metrics, self.name, &identity);
                metrics.certificates.count_reload(self.name, true);
                tracing::info!(port = self.name.name(), expires = identity.expires, "took a new certificate");
                self.identity.send_replace(identity);
            }
            Err(bad) => {
                metrics.certificates.count_reload(self.name, false);
                tracing::error!(port = self.name.name(), reason = %bad, "refused a new certificate; the old one stays");
            }
        }
    }
}

fn note(metrics: &NodeMetrics, port: TlsPort, identity: &Identity) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
    if let Some(expires) = identity.expires {
        metrics.certificates.set_expiry(port, expires);
        if expires <= now {
            tracing::warn!(port = port.name(), expires, "the certificate has expired: clients will refuse it");
        }
    }
}

fn stamps(pair: &Pair) -> Vec<Stamp> {
    pair.files().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}
