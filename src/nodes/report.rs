//! What a node says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::UserSketch;
use crate::telemetry::{Counter, Gauge, NodeMetrics, ProcessSample};

/// How a node is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Another one for each process; what other nodes send to.
    pub uid: String,
    /// For operators. Two processes may have the same, as in a rolling restart.
    pub name: String,
}

/// A node at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub node: NodeName,
    /// Of the program.
    pub version: String,
    pub uptime: Duration,
    pub clients: u64,
    /// Distinct ids on this node; clients without one are not counted.
    pub users: u64,
    pub subscriptions: u64,
    pub channels: u64,
    /// What it did since it began, by name.
    pub counters: BTreeMap<String, u64>,
    /// Percent of one core, on average since the start.
    pub cpu: f64,
    pub resident_bytes: u64,
    pub is_draining: bool,
    /// The users, to be joined with those of other nodes; only where it was asked for.
    pub users_sketch: Option<UserSketch>,
}

/// Named after the metrics.
const COUNTERS: &[(&str, Counter)] = &[
    ("connections_opened_total", Counter::ConnectionsOpened),
    ("publications_total", Counter::PublicationsAccepted),
    ("publications_sent_total", Counter::PublicationsSent),
    ("replies_sent_total", Counter::RepliesSent),
    ("sent_bytes_total", Counter::BytesSent),
];

impl Report {
    /// This node, now. How many `users` there are is asked of the shards before.
    pub fn take(node: &NodeName, metrics: &NodeMetrics, users: u64) -> Report {
        let process = ProcessSample::take();
        let uptime = metrics.uptime();
        let cpu = 100.0 * process.cpu.as_secs_f64() / uptime.as_secs_f64().max(0.001);
        Report {
            node: node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime,
            clients: metrics.total(Gauge::Connections),
            users,
            subscriptions: metrics.total(Gauge::Subscriptions),
            channels: metrics.total(Gauge::Rooms),
            counters: COUNTERS.iter().map(|&(name, counter)| (name.to_owned(), metrics.total_count(counter))).collect(),
            cpu: (cpu * 100.0).round() / 100.0,
            resident_bytes: process.resident_bytes,
            is_draining: metrics.is_draining(),
            users_sketch: None,
        }
    }
}
