//! Method `info`: what this node is doing.

use serde::{Deserialize, Serialize};

use super::Api;
use super::request::{Failure, parse};
use crate::telemetry::{Gauge, ProcessSample};

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
    /// 0: not counted, since a user may be on several shards.
    num_users: u64,
    num_subs: u64,
    num_channels: u64,
    /// Seconds.
    uptime: u64,
    process: ProcessJson,
}

#[derive(Serialize)]
struct ProcessJson {
    /// Percent of one core, on average since the start.
    cpu: f64,
    /// Bytes.
    rss: u64,
}

/// An empty body will do: there is nothing to ask for.
pub fn info(api: &Api, body: &[u8]) -> Result<InfoResult, Failure> {
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
        num_users: 0,
        num_subs: api.metrics.total(Gauge::Subscriptions),
        num_channels: api.metrics.total(Gauge::Rooms),
        uptime: uptime.as_secs(),
        process: ProcessJson { cpu: (cpu * 100.0).round() / 100.0, rss: process.resident_bytes },
    };
    Ok(InfoResult { nodes: vec![node] })
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, KEY};
    use crate::telemetry::Gauge;

    #[tokio::test]
    async fn a_node_sums_its_shards() {
        let fixture = Fixture::new();
        for (shard, metrics) in fixture.metrics.shards.iter().enumerate() {
            metrics.set(Gauge::Connections, 10 + shard as u64);
            metrics.set(Gauge::Subscriptions, 20);
            metrics.set(Gauge::Rooms, 30);
        }
        for body in ["", "{}"] {
            let (status, text) = fixture.send("POST", "/api/info", KEY, body.to_owned()).await;
            assert_eq!(status, 200);
            let json: serde_json::Value = serde_json::from_str(&text).expect("an answer is JSON");
            let node = &json["result"]["nodes"][0];
            assert_eq!((&node["num_clients"], &node["num_subs"]), (&21.into(), &40.into()), "{text}");
            assert_eq!((&node["num_channels"], &node["name"]), (&60.into(), &"node-1".into()), "{text}");
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
            assert!(node["process"]["rss"].as_u64() > Some(100_000), "{text}");
        }
    }
}
