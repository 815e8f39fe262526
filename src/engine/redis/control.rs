//! Messages between nodes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::link::Work;
use super::names::Names;
use super::options::{Deployment, Options};
use super::server::Server;
use super::shared::{Health, Shared};
use super::{manner_of, topology};
use crate::engine::contract::{Control, Event};
use crate::engine::outlet::Outlet;
use crate::limits::REDIS_CONTROL_MESSAGES_MAX;
use crate::model::{EngineIndex, Homes, ShardId};
use crate::telemetry::EngineMetrics;

/// Connects this node with the others, over the first of the deployments. It hears what comes to it, and to all,
/// from the other end of the queue; what does not fit in there is lost.
pub fn start_control(
    options: &Options,
    node: &str,
    metrics: Arc<EngineMetrics>,
) -> (Arc<dyn Control>, mpsc::Receiver<Bytes>) {
    let deployment = options.deployments.first().expect("there is at least one deployment");
    let place = match deployment {
        Deployment::Server(address) => topology::fixed(address.clone()),
        Deployment::Sentinel(sentinel) => topology::by_sentinels(sentinel, options.connect_timeout),
        Deployment::Cluster(seeds) => {
            let manner = manner_of(options, deployment);
            topology::any_of_cluster(topology::by_cluster(seeds.clone(), manner, Arc::new(Notify::new())))
        }
    };
    let names = Names::new(&options.prefix);
    let topics = vec![names.control(), names.node(node)];
    let shared = Shared {
        names: names.clone(),
        manner: manner_of(options, deployment),
        io_timeout: options.io_timeout,
        presence_ttl: None,
        has_presence_fields: false,
        reads_replicas: false,
        outlet: nowhere(),
        health: Health::new(metrics),
        returns: None,
        master: None,
    };
    let (taker, messages) = mpsc::channel(REDIS_CONTROL_MESSAGES_MAX);
    let server = Server::start(&Arc::new(shared), place, Some((topics, taker)));
    (Arc::new(RedisControl { server, names }), messages)
}

struct RedisControl {
    server: Server,
    names: Names,
}

impl Control for RedisControl {
    fn broadcast(&self, message: Bytes) {
        self.publish(self.names.control(), &message);
    }

    fn send(&self, node: &str, message: Bytes) {
        self.publish(self.names.node(node), &message);
    }
}

impl RedisControl {
    fn publish(&self, topic: String, message: &Bytes) {
        // Full: it is lost, as it may be.
        let _ = self.server.work.try_send(Work::Send { topic, message: message.to_vec() });
    }
}

/// No shard asks anything of it.
fn nowhere() -> Outlet {
    let post = |_: ShardId, _: Event| Ok(());
    Outlet::new(EngineIndex::MEMORY, Homes::new(1, 0), Arc::new(post))
}
