//! What all tasks of one deployment share: where its answers go, and how it fares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::cluster::Returned;
use super::dial::Manner;
use super::link::{Asked, Work, give};
use super::names::Names;
use super::reconnect::Place;
use crate::engine::outlet::Outlet;
use crate::limits::{CLOCK_DIFFERENCE_MAX, OPERATION_TIMEOUT};
use crate::model::ErrorCode;
use crate::telemetry::{EngineCounter, EngineMetrics};

pub struct Shared {
    pub names: Names,
    pub manner: Manner,
    pub io_timeout: Duration,
    pub presence_ttl: Option<Duration>,
    /// Presence is in hashes whose fields the server ends by itself.
    pub has_presence_fields: bool,
    pub outlet: Outlet,
    pub health: Arc<Health>,
    /// Of a cluster: what turned out to be another server's.
    pub returns: Option<mpsc::Sender<Returned>>,
    /// Some requests may be answered by replicas.
    pub reads_replicas: bool,
    /// Of a replica: its master, which is asked whatever the replica can't answer.
    pub master: Option<mpsc::Sender<Work>>,
}

impl Shared {
    pub fn metrics(&self) -> &EngineMetrics {
        &self.health.metrics
    }

    /// The clock of the server at `place` is ahead of ours by so many microseconds.
    pub fn compare_clocks(&self, place: &Place, ahead: i64) {
        self.metrics().set_clock_ahead(ahead);
        if ahead.unsigned_abs() > CLOCK_DIFFERENCE_MAX.as_micros() as u64
            && let Some(address) = &*place.borrow()
        {
            let seconds = ahead as f64 / 1e6;
            tracing::warn!(
                %address,
                seconds_ahead = seconds,
                "the clocks of Redis and of this machine differ: tokens end by this one, presence and history by that of \
                 Redis; let NTP set both"
            );
        }
    }

    /// Says that it can't be done now; or asks the master, where this is a replica.
    pub async fn refuse(&self, asked: Asked) {
        let refused = match &self.master {
            Some(master) => give(master, asked),
            None => Err(asked),
        };
        let Err(Asked { from, request, .. }) = refused else { return };
        self.metrics().add(EngineCounter::Failures, 1);
        if request.operation.is_answered() {
            self.outlet.done(from, request.id, Err(ErrorCode::Internal)).await;
        }
    }

    /// When an answer comes too late. A replica is given part of the time, so that its master has the rest.
    pub fn end_of(&self, asked: &Asked) -> Instant {
        match self.master {
            Some(_) => asked.until - OPERATION_TIMEOUT / 2,
            None => asked.until,
        }
    }
}

/// How the engine's connections fare, all together: it is up when each of them is.
pub struct Health {
    pub metrics: Arc<EngineMetrics>,
    /// Whether the engine needs them.
    is_needed: bool,
    down: AtomicUsize,
    unproven: AtomicUsize,
}

impl Health {
    pub fn new(metrics: Arc<EngineMetrics>) -> Arc<Health> {
        Health::with(metrics, true)
    }

    /// Of connections that the engine can do without.
    pub fn of_replica(metrics: Arc<EngineMetrics>) -> Arc<Health> {
        Health::with(metrics, false)
    }

    fn with(metrics: Arc<EngineMetrics>, is_needed: bool) -> Arc<Health> {
        Arc::new(Health { metrics, is_needed, down: AtomicUsize::new(0), unproven: AtomicUsize::new(0) })
    }

    pub fn is_up(&self) -> bool {
        self.down.load(Ordering::Relaxed) == 0
    }

    fn changed(&self) {
        if self.is_needed {
            self.metrics.set_up(self.is_up());
        }
    }

    /// A further connection, which is down.
    pub fn of_connection(self: &Arc<Health>) -> ConnectionHealth {
        self.down.fetch_add(1, Ordering::Relaxed);
        ConnectionHealth { health: Arc::clone(self), is_up: false, is_unproven: false }
    }
}

/// One connection's part in it, until it is dropped.
pub struct ConnectionHealth {
    health: Arc<Health>,
    is_up: bool,
    is_unproven: bool,
}

impl ConnectionHealth {
    pub fn set_up(&mut self, is_up: bool) {
        if self.is_up == is_up {
            return;
        }
        self.is_up = is_up;
        match is_up {
            true => self.health.down.fetch_sub(1, Ordering::Relaxed),
            false => self.health.down.fetch_add(1, Ordering::Relaxed),
        };
        self.health.changed();
    }

    /// A probe came back after `delay`, or not in time. One connection that is not proven speaks for all.
    pub fn probed(&mut self, delay: Option<Duration>) {
        let is_unproven = delay.is_none();
        let unproven = &self.health.unproven;
        match (self.is_unproven, is_unproven) {
            (false, true) => drop(unproven.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(unproven.fetch_sub(1, Ordering::Relaxed)),
            _ => (),
        }
        self.is_unproven = is_unproven;
        if is_unproven || unproven.load(Ordering::Relaxed) == 0 {
            self.health.metrics.probed(delay);
        }
    }
}

/// A server that left its cluster is missed by nobody.
impl Drop for ConnectionHealth {
    fn drop(&mut self) {
        if self.is_unproven {
            self.health.unproven.fetch_sub(1, Ordering::Relaxed);
        }
        if !self.is_up {
            self.health.down.fetch_sub(1, Ordering::Relaxed);
            self.health.changed();
        }
    }
}
