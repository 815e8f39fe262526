//! Counters of shards, workers and API, their table, the scrape, logs.
//!
//! Invariants: a shard's counters have one writer thread and share no cache line with another
//! shard's; a scrape only reads; every number that `/metrics` shows has its one row in `table.rs`,
//! from which `docs/metrics.md` is generated. Must never touch any other folder.
//! Read `shard.rs` first, then `table.rs`.

mod api;
mod certificates;
mod codes;
mod engine;
mod engine_table;
mod group;
mod histogram;
mod jwks;
mod logs;
mod memory;
mod node;
mod nodes;
mod process;
#[cfg(test)]
mod reference;
mod reload;
mod scrape;
mod shard;
mod slow;
mod table;
mod workers;

pub use api::ApiMetrics;
pub use certificates::{CertificateMetrics, TlsPort};
pub use engine::{EngineCounter, EngineMetrics, NamedEngine};
pub use group::{cpu_quota_of_group, memory_limit_of_group};
pub use histogram::Histogram;
pub use jwks::JwksMetrics;
pub use logs::{log_panics, start_logs};
pub use memory::MemoryMetrics;
pub use node::NodeMetrics;
pub use nodes::NodesMetrics;
pub use process::{ProcessSample, resident_bytes};
pub use reload::ReloadMetrics;
pub use scrape::{CONTENT_TYPE, Scrape};
pub use shard::{Counter, Gauge, ShardMetrics, Stage};
pub use slow::Remedy;
pub use workers::{WorkerMetrics, WorkersMetrics};
