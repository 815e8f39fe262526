//! What all tasks of one deployment share: where its answers go, and how it fares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::cluster::Returned;
use super::dial::Manner;
use super::names::Names;
use crate::engine::contract::Request;
use crate::engine::outlet::Outlet;
use crate::model::{ErrorCode, ShardId};
use crate::telemetry::{EngineCounter, EngineMetrics};

pub struct Shared {
    pub names: Names,
    pub manner: Manner,
    pub io_timeout: Duration,
    pub presence_ttl: Option<Duration>,
    pub outlet: Outlet,
    pub health: Arc<Health>,
    /// Of a cluster: what turned out to be another server's.
    pub returns: Option<mpsc::Sender<Returned>>,
}

impl Shared {
    pub fn metrics(&self) -> &EngineMetrics {
        &self.health.metrics
    }

    /// Says that it can't be done now.
    pub async fn refuse(&self, from: ShardId, request: &Request) {
        self.metrics().add(EngineCounter::Failures, 1);
        if request.operation.is_answered() {
            self.outlet.done(from, request.id, Err(ErrorCode::Internal)).await;
        }
    }
}

/// How the engine's connections fare, all together: it is up when each of them is.
pub struct Health {
    pub metrics: Arc<EngineMetrics>,
    down: AtomicUsize,
    unproven: AtomicUsize,
}

impl Health {
    pub fn new(metrics: Arc<EngineMetrics>) -> Arc<Health> {
        Arc::new(Health { metrics, down: AtomicUsize::new(0), unproven: AtomicUsize::new(0) })
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
        let down = match is_up {
            true => self.health.down.fetch_sub(1, Ordering::Relaxed) - 1,
            false => self.health.down.fetch_add(1, Ordering::Relaxed) + 1,
        };
        self.health.metrics.set_up(down == 0);
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
            let down = self.health.down.fetch_sub(1, Ordering::Relaxed) - 1;
            self.health.metrics.set_up(down == 0);
        }
    }
}
