//! From settings to a running engine, kind by kind.

#[cfg(feature = "nats")]
mod nats;
mod redis;

use std::sync::Arc;

use super::{Link, Started};
use crate::config::{ClientTls, DiskAck, DiskSettings, EngineSettings};
use crate::engine::disk;
use crate::engine::outlet::Outlet;
use crate::engine::tls::{Tls, TlsOptions};
use crate::telemetry::EngineMetrics;

/// Starts the engine that the settings say, on the current runtime.
pub fn start(settings: &EngineSettings, outlet: Outlet, metrics: Arc<EngineMetrics>) -> Started {
    match settings {
        EngineSettings::Disk(settings) => {
            disk::start(disk_options(settings), outlet, metrics).map_err(|error| error.to_string())
        }
        EngineSettings::Redis(settings) => redis::start(settings, &outlet, metrics),
        #[cfg(feature = "nats")]
        EngineSettings::Nats(settings) => nats::start(settings, outlet, metrics),
        #[cfg(not(feature = "nats"))]
        EngineSettings::Nats(_) => Err(WITHOUT_NATS.into()),
    }
}

/// Connects the node `uid` with the others by this engine, on the current runtime.
pub fn start_control(settings: &EngineSettings, uid: &str, metrics: Arc<EngineMetrics>) -> Result<Link, String> {
    match settings {
        EngineSettings::Disk(_) => Err("a disk carries no words to other nodes".into()),
        EngineSettings::Redis(settings) => redis::start_control(settings, uid, metrics),
        #[cfg(feature = "nats")]
        EngineSettings::Nats(settings) => nats::start_control(settings, uid, metrics),
        #[cfg(not(feature = "nats"))]
        EngineSettings::Nats(_) => Err(WITHOUT_NATS.into()),
    }
}

#[cfg(not(feature = "nats"))]
const WITHOUT_NATS: &str = "this binary was built without the feature nats";

fn disk_options(settings: &DiskSettings) -> disk::Options {
    disk::Options {
        path: settings.path.clone(),
        ack: match settings.ack {
            DiskAck::Memory => disk::Ack::Memory,
            DiskAck::Fsync => disk::Ack::Fsync,
        },
        segment_bytes: settings.segment_bytes,
        bytes_max: settings.bytes_max,
    }
}

/// Errors: what of it can't be used.
fn tls(settings: &ClientTls) -> Result<Tls, String> {
    let pair = settings.certificate.as_ref().zip(settings.key.as_ref());
    Tls::new(&TlsOptions {
        server_ca_pem: settings.roots.clone(),
        pair_pem: pair.map(|(certificate, key)| (certificate.clone(), key.reveal().into())),
        server_name: settings.server_name.clone(),
        insecure_skip_verify: settings.skips_verification,
    })
    .map_err(|reason| format!("tls: {reason}"))
}
