//! Method `info`: what this node is doing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Api;
use super::failure::Failure;
use super::request::parse;
use crate::telemetry::{Counter, Gauge, ProcessSample};

#[derive(Deserialize)]
struct InfoRequest {}

#[derive(Serialize)]
pub struct InfoResult {
    nodes: Vec<NodeJson>,
}

#[derive(Serialize)]
struct NodeJson {
    uid: String,
    name: String,
    version: &'static str,
    num_clients: u64,
    /// Distinct ids; clients without one are not counted.
    num_users: u64,
    num_subs: u64,
    num_channels: u64,
    /// Seconds.
    uptime: u64,
    metrics: MetricsJson,
    process: ProcessJson,
}

/// What the node did since it began.
#[derive(Serialize)]
struct MetricsJson {
    /// Seconds that `items` were counted over: the uptime.
    interval: f64,
    items: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct ProcessJson {
    /// Percent of one core, on average since the start.
    cpu: f64,
    /// Bytes.
    rss: u64,
}

/// Named after the metrics.
const ITEMS: &[(&str, Counter)] = &[
    ("connections_opened_total", Counter::ConnectionsOpened),
    ("publications_total", Counter::PublicationsAccepted),
    ("publications_sent_total", Counter::PublicationsSent),
    ("replies_sent_total", Counter::RepliesSent),
    ("sent_bytes_total", Counter::BytesSent),
];

/// An empty body will do: there is nothing to ask for.
pub async fn info(api: &Api, body: &[u8]) -> Result<InfoResult, Failure> {
    if !body.trim_ascii().is_empty() {
        let InfoRequest {} = parse(body)?;
    }
    let process = ProcessSample::take();
    let uptime = api.metrics.uptime();
    let cpu = 100.0 * process.cpu.as_secs_f64() / uptime.as_secs_f64().max(0.001);
    let node = NodeJson {
        uid: api.node.uid.clone(),
        name: api.node.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        num_clients: api.metrics.total(Gauge::Connections),
        num_users: api.handle.count_users().await?,
        num_subs: api.metrics.total(Gauge::Subscriptions),
        num_channels: api.metrics.total(Gauge::Rooms),
        uptime: uptime.as_secs(),
        metrics: MetricsJson {
            interval: uptime.as_secs_f64(),
            items: ITEMS.iter().map(|&(name, counter)| (name, api.metrics.total_count(counter))).collect(),
        },
        process: ProcessJson { cpu: (cpu * 100.0).round() / 100.0, rss: process.resident_bytes },
    };
    Ok(InfoResult { nodes: vec![node] })
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY};
    use crate::telemetry::{Counter, Gauge};

    #[tokio::test]
    async fn a_node_sums_its_shards() {
        let fixture = Fixture::publishing();
        for (shard, metrics) in fixture.metrics.shards.iter().enumerate() {
            metrics.set(Gauge::Connections, 10 + shard as u64);
            metrics.set(Gauge::Subscriptions, 20);
            metrics.set(Gauge::Rooms, 30);
            metrics.add(Counter::PublicationsSent, 5);
        }
        for body in ["", "{}"] {
            let (status, text) = fixture.send("POST", "/api/info", KEY, body.to_owned()).await;
            assert_eq!(status, 200);
            let json: serde_json::Value = serde_json::from_str(&text).expect("an answer is JSON");
            let node = &json["result"]["nodes"][0];
            assert_eq!((&node["num_clients"], &node["num_subs"]), (&21.into(), &40.into()), "{text}");
            assert_eq!((&node["num_users"], &node["num_clients"]), (&3.into(), &21.into()), "the same on both shards");
            assert_eq!(node["metrics"]["items"]["publications_sent_total"], 10, "{text}");
            assert_eq!((&node["num_channels"], &node["name"]), (&60.into(), &"node-1".into()), "{text}");
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
            assert!(node["process"]["rss"].as_u64() > Some(100_000), "{text}");
        }
    }
}
