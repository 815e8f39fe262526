//! What is counted of certificates. They change some times a year: the counters are shared.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A port that may speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPort {
    Clients,
    Internal,
}

impl TlsPort {
    pub const ALL: [TlsPort; 2] = [TlsPort::Clients, TlsPort::Internal];

    pub fn name(self) -> &'static str {
        match self {
            TlsPort::Clients => "clients",
            TlsPort::Internal => "internal",
        }
    }
}

#[derive(Debug, Default)]
pub struct CertificateMetrics {
    ports: [PortMetrics; TlsPort::ALL.len()],
}

#[derive(Debug, Default)]
struct PortMetrics {
    /// Seconds since 1970; 0: there is no certificate.
    expiry: AtomicI64,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl CertificateMetrics {
    /// The port's certificate is valid until then, seconds since 1970.
    pub fn set_expiry(&self, port: TlsPort, expiry: i64) {
        self.ports[port as usize].expiry.store(expiry, Ordering::Relaxed);
    }

    /// A certificate was renewed, or refused.
    pub fn count_reload(&self, port: TlsPort, was_taken: bool) {
        let port = &self.ports[port as usize];
        let counter = if was_taken { &port.taken } else { &port.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// `None`: the port has no certificate.
    pub fn expiry(&self, port: TlsPort) -> Option<i64> {
        Some(self.ports[port as usize].expiry.load(Ordering::Relaxed)).filter(|expiry| *expiry != 0)
    }

    /// How many were taken, and how many refused.
    pub fn reloads(&self, port: TlsPort) -> (u64, u64) {
        let port = &self.ports[port as usize];
        (port.taken.load(Ordering::Relaxed), port.refused.load(Ordering::Relaxed))
    }
}
