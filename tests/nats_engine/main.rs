//! The NATS engine against real servers: Debian's 2.9.10 and a current one.

#[path = "../support/engine_node.rs"]
mod engine_node;
#[path = "../support/hub.rs"]
mod hub;
#[path = "../support/nats_server.rs"]
mod nats_server;

mod cluster;
mod credentials;
mod faults;
mod history;
mod keeps;
mod plain;
mod presence;
mod scale;

use std::sync::Arc;

use engine_node::EngineNode;
use fanfare::engine::nats::{self, Options};
use nats_server::{NatsServer, Release};

pub fn options(server: &NatsServer) -> Options {
    Options { urls: vec![server.url()], ..Options::default() }
}

pub fn start(options: Options) -> EngineNode {
    EngineNode::start(move |outlet, metrics| nats::start(options, outlet, metrics))
}

/// A server with JetStream, and a node that has reached it.
pub async fn server_and_node(release: Release) -> (NatsServer, EngineNode) {
    let server = NatsServer::start(release);
    let node = start(options(&server));
    node.ready().await;
    (server, node)
}

/// A connection beside the engine's, of somebody else.
pub async fn stranger(server: &NatsServer) -> async_nats::Client {
    async_nats::connect(server.url()).await.expect("the server is there")
}

pub fn metrics() -> Arc<fanfare::telemetry::EngineMetrics> {
    Arc::default()
}

/// What the server says of the log of channels with the usual retention.
pub async fn log_info(client: &async_nats::Client) -> serde_json::Value {
    let info = client.request("$JS.API.STREAM.INFO.fanfare_log_100_601", "".into()).await.expect("an answer");
    serde_json::from_slice(&info.payload).expect("JSON")
}

/// The subject under which the engine keeps a channel.
pub async fn log_subject(client: &async_nats::Client, channel: &str) -> String {
    let info = log_info(client).await;
    let subject = info["config"]["subjects"][0].as_str().expect("a subject");
    subject.replace('>', channel)
}
