//! Everything that one process counts, in one place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{
    ApiMetrics, CertificateMetrics, Counter, Gauge, JwksMetrics, MemoryMetrics, NamedEngine, NodesMetrics,
    ReloadMetrics, ShardMetrics, WorkersMetrics,
};
use crate::limits::NAMESPACES_ADDED_MAX;

/// The metrics of the node: made once, before any thread starts, and shared by all.
#[derive(Debug)]
pub struct NodeMetrics {
    pub shards: Vec<Arc<ShardMetrics>>,
    /// By their place, from 1 on; those behind the ones of the start are named when a reload adds some.
    namespaces: Vec<OnceLock<Box<str>>>,
    pub workers: Arc<WorkersMetrics>,
    /// Those beside the shards' memory.
    pub engines: Vec<NamedEngine>,
    pub api: ApiMetrics,
    pub certificates: CertificateMetrics,
    pub jwks: Arc<JwksMetrics>,
    pub memory: MemoryMetrics,
    /// Of the cluster.
    pub nodes: NodesMetrics,
    pub reload: ReloadMetrics,
    /// Zero of the monotonic time that heartbeats are written in.
    started: Instant,
    /// The same moment by the wall clock, read once: a metric of it must not move.
    started_at: SystemTime,
    is_draining: AtomicBool,
    /// Clients there were when they began to be told to go; 0 before.
    drained_clients: AtomicU64,
}

impl NodeMetrics {
    pub fn new(shards: u16, workers: usize, started: Instant) -> NodeMetrics {
        NodeMetrics {
            shards: std::iter::repeat_with(Arc::default).take(usize::from(shards)).collect(),
            namespaces: Vec::new(),
            workers: Arc::new(WorkersMetrics::new(workers)),
            engines: Vec::new(),
            api: ApiMetrics::default(),
            certificates: CertificateMetrics::default(),
            jwks: Arc::default(),
            memory: MemoryMetrics::default(),
            nodes: NodesMetrics::default(),
            reload: ReloadMetrics::default(),
            started,
            started_at: SystemTime::now().checked_sub(started.elapsed()).unwrap_or(UNIX_EPOCH),
            is_draining: AtomicBool::new(false),
            drained_clients: AtomicU64::new(0),
        }
    }

    /// The same with these namespaces, beside channels without one. Before anything is counted.
    pub fn with_namespaces(mut self, names: Vec<Box<str>>) -> NodeMetrics {
        let places = names.len() + NAMESPACES_ADDED_MAX;
        let shard = || Arc::new(ShardMetrics::new(1 + places));
        self.shards = std::iter::repeat_with(shard).take(self.shards.len()).collect();
        self.namespaces = names.into_iter().map(OnceLock::from).collect();
        self.namespaces.resize_with(places, OnceLock::new);
        self
    }

    /// The same with these engines.
    pub fn with_engines(self, engines: Vec<NamedEngine>) -> NodeMetrics {
        NodeMetrics { engines, ..self }
    }

    /// A reload added the namespace `name` at this place, which keeps the name from then on.
    pub fn name_namespace(&self, place: usize, name: &str) {
        if let Some(named) = place.checked_sub(1).and_then(|at| self.namespaces.get(at)) {
            named.get_or_init(|| name.into());
        }
    }

    /// The namespace at this place; empty for channels without one.
    pub(super) fn namespace(&self, place: usize) -> &str {
        place.checked_sub(1).and_then(|named| self.namespaces.get(named)?.get()).map_or("", |name| name)
    }

    /// Time since the process began.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// When the process began, seconds since 1970.
    pub fn start_seconds(&self) -> f64 {
        self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// The sum of a gauge over all shards.
    pub fn total(&self, gauge: Gauge) -> u64 {
        self.shards.iter().map(|shard| shard.gauge(gauge)).sum()
    }

    /// The sum of a counter over all shards.
    pub fn total_count(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|shard| shard.counter(counter)).sum()
    }

    /// For each shard the time since its last turn.
    pub fn heartbeat_ages(&self) -> impl Iterator<Item = Duration> {
        let now = self.uptime();
        self.shards.iter().map(move |shard| now.saturating_sub(Duration::from_millis(shard.gauge(Gauge::HeartbeatMs))))
    }

    /// From now on the node takes no new clients.
    pub fn set_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// So many clients are told to go from now on.
    pub fn begin_drain(&self, clients: u64) {
        self.drained_clients.store(clients, Ordering::Relaxed);
    }

    /// The part of them that has gone, from 0 to 1.
    pub fn drain_progress(&self) -> f64 {
        let (clients, left) = (self.drained_clients.load(Ordering::Relaxed), self.total(Gauge::Connections));
        if clients == 0 { 0.0 } else { clients.saturating_sub(left) as f64 / clients as f64 }
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}
