//! Method `info`: what the nodes are doing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Api;
use super::failure::Failure;
use super::missing::{MissingJson, missing_nodes};
use super::request::parse;
use crate::nodes::{Info, Report};

#[derive(Deserialize)]
struct InfoRequest {}

#[derive(Serialize)]
pub struct InfoResult {
    nodes: Vec<NodeJson>,
    /// Different users on all nodes, to within about 2 %; a field of ours, where there are several nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    num_users: Option<u64>,
    /// Of these the last figures that they told stand in `nodes`, if they are not lost altogether.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_nodes: Vec<MissingJson>,
}

#[derive(Serialize)]
struct NodeJson {
    uid: String,
    name: String,
    version: String,
    num_clients: u64,
    /// Distinct ids; clients without one are not counted.
    num_users: u64,
    num_subs: u64,
    num_channels: u64,
    /// Seconds.
    uptime: u64,
    metrics: MetricsJson,
    process: ProcessJson,
    /// Only while it drains.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
}

/// What the node did since it began.
#[derive(Serialize)]
struct MetricsJson {
    /// Seconds that `items` were counted over: the uptime.
    interval: f64,
    items: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct ProcessJson {
    /// Percent of one core, on average since the start.
    cpu: f64,
    /// Bytes.
    rss: u64,
}

/// An empty body will do: there is nothing to ask for.
pub async fn info(api: &Api, body: &[u8]) -> Result<InfoResult, Failure> {
    if !body.trim_ascii().is_empty() {
        let InfoRequest {} = parse(body)?;
    }
    let Info { nodes, users, missing } = api.cluster.info().await?;
    let nodes = nodes.into_iter().map(NodeJson::from).collect();
    Ok(InfoResult { nodes, num_users: users, missing_nodes: missing_nodes(missing) })
}

impl From<Report> for NodeJson {
    fn from(report: Report) -> NodeJson {
        NodeJson {
            uid: report.node.uid,
            name: report.node.name,
            version: report.version,
            num_clients: report.clients,
            num_users: report.users,
            num_subs: report.subscriptions,
            num_channels: report.channels,
            uptime: report.uptime.as_secs(),
            metrics: MetricsJson { interval: report.uptime.as_secs_f64(), items: report.counters },
            process: ProcessJson { cpu: report.cpu, rss: report.resident_bytes },
            draining: report.is_draining,
        }
    }
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
