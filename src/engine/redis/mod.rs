//! The Redis and Valkey engine: streams and presence on servers that others run, and pub/sub to hear what other nodes
//! publish.
//!
//! # How it works
//!
//! A **deployment** is a server, a master that sentinels know, or a cluster; over several the channels are spread by
//! their names (`names.rs`). Each server has two connections, each with a task of its own: the **link** (`link.rs`)
//! writes requests in batches and reads their replies in order, so that thousands are under way; the **listener**
//! (`listener.rs`, `session.rs`, `subscriptions.rs`) subscribes to the channels that this node has members for.
//! What has to happen in one step is a script (`scripts/`): a publish appends and publishes at once, so the order of
//! pub/sub is the order of the stream.
//!
//! # What may happen
//!
//! * A connection breaks, or its server is silent: what is under way fails (100), and so does everything new, at once.
//!   It is connected to again, soon and with jitter (`reconnect.rs`); every channel is subscribed anew, then its home is
//!   told to recheck it.
//! * Another server becomes master: sentinels or the cluster say so (`topology.rs`), and all of that happens with it.
//! * A slot of a cluster moves: requests follow it in their order (`cluster.rs`).
//! * The server lost what it had confirmed: whoever reads or publishes says what it has seen, the script finds it out
//!   (`scripts/read.lua`, `scripts/publish.lua`, `known.rs`), and the stream begins a new epoch.
//! * Somebody else writes to our keys: what is no record is passed over and counted; if it puts the order in doubt,
//!   the stream begins a new epoch.
//! * A replica is read that is behind: only what may be old is read there (`replica.rs`).
//!
//! # What is promised
//!
//! Beyond the contract: a publish that is answered is in the memory of its server. Whether it survives that server is
//! the operator's choice (`appendfsync`, replicas, which Redis copies to later); where it did not, the epoch says so.
//! Publications of channels without history reach whoever is connected at that moment, at most once. Where replicas are
//! read, a page and presence may be as they were before what the channel's home asked earlier: as far as the replica is
//! behind. What a shard itself relies on (`Read`) never is.
//!
//! # What is needed
//!
//! Redis 6.2 or newer, or any Valkey; 7.0 for a cluster (sharded pub/sub). A user needs `~<prefix>.*`, `&<prefix>.*` and
//! `+@read +@write +@pubsub +@connection +@scripting +time`; with sentinels or reads of replicas `+role`, in
//! a cluster `+cluster`.
//!
//! Why no client library: docs/decisions/0007-redis-is-spoken-without-a-client-library.md.
//!
//! Invariants: each request is answered once; nothing here waits without a time-out, and no queue is without a bound.
//! Must never touch shards but by the outlet. Read `link.rs` first, then `listener.rs`, then `cluster.rs`.

mod answer;
mod cluster;
mod control;
mod dial;
mod known;
mod link;
mod listener;
mod names;
mod options;
mod probe;
mod reconnect;
mod replica;
mod resp;
mod scripts;
mod server;
mod session;
mod shared;
mod slots;
mod subscriptions;
mod topology;
mod write;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};

pub use control::start_control;
pub use options::{Address, Deployment, Login, Options, Sentinel};

use self::cluster::{Cluster, give_to};
use self::dial::Manner;
use self::link::Asked;
use self::names::{Names, share_of};
use self::server::Server;
use self::shared::{Health, Shared};
use crate::engine::contract::{Engine, Request};
use crate::engine::outlet::Outlet;
use crate::limits::{OPERATION_TIMEOUT, REDIS_RETURNED_MAX, REDIS_UNDER_WAY_MAX};
use crate::model::ShardId;
use crate::telemetry::{EngineCounter, EngineMetrics};

/// Connects to all servers, on the current tokio runtime, and goes on trying where that fails.
///
/// Panics unless there is a deployment.
pub fn start(options: &Options, outlet: &Outlet, metrics: Arc<EngineMetrics>) -> Arc<dyn Engine> {
    assert!(!options.deployments.is_empty(), "there is at least one deployment");
    let health = Health::new(Arc::clone(&metrics));
    let start = |deployment| start_deployment(options, deployment, outlet, &health);
    Arc::new(Redis { deployments: options.deployments.iter().map(start).collect(), metrics })
}

struct Redis {
    /// Each has the channels of its number (`share_of`).
    deployments: Vec<Running>,
    metrics: Arc<EngineMetrics>,
}

enum Running {
    Server(Server),
    Cluster(mpsc::Sender<Asked>),
}

impl Engine for Redis {
    fn submit(&self, from: ShardId, request: Request) -> Result<(), Request> {
        let deployment = &self.deployments[share_of(request.channel.as_str(), self.deployments.len())];
        let until = Instant::now() + OPERATION_TIMEOUT;
        let asked = Asked { from, request, until, redirections: 0, is_asking: false, permit: None };
        let given = match deployment {
            Running::Server(server) => give_to(server, asked),
            Running::Cluster(requests) => requests.try_send(asked).map_err(mpsc::error::TrySendError::into_inner),
        };
        match given {
            Ok(()) => {
                self.metrics.add(EngineCounter::Requests, 1);
                Ok(())
            }
            Err(asked) => Err(asked.request),
        }
    }
}

fn start_deployment(options: &Options, deployment: &Deployment, outlet: &Outlet, health: &Arc<Health>) -> Running {
    let shared = |returns| {
        Arc::new(Shared {
            names: Names::new(&options.prefix),
            manner: manner_of(options, deployment),
            io_timeout: options.io_timeout,
            presence_ttl: options.presence_ttl,
            has_presence_fields: options.has_presence_fields,
            reads_replicas: options.reads_replicas,
            outlet: outlet.clone(),
            health: Arc::clone(health),
            returns,
            master: None,
        })
    };
    let place = match deployment {
        Deployment::Server(address) => topology::fixed(address.clone()),
        Deployment::Sentinel(sentinel) => topology::by_sentinels(sentinel, options.connect_timeout),
        Deployment::Cluster(seeds) => {
            let (returns, returned) = mpsc::channel(REDIS_RETURNED_MAX);
            let (sender, requests) = mpsc::channel(REDIS_UNDER_WAY_MAX);
            let look = Arc::new(Notify::new());
            let manner = manner_of(options, deployment);
            let maps = topology::by_cluster(seeds.clone(), manner, Arc::clone(&look));
            tokio::spawn(Cluster::new(shared(Some(returns)), maps, look, returned).run(requests));
            return Running::Cluster(sender);
        }
    };
    Running::Server(Server::start(&shared(None), place, None))
}

fn manner_of(options: &Options, deployment: &Deployment) -> Manner {
    let is_cluster = matches!(deployment, Deployment::Cluster(_));
    Manner {
        login: options.login.clone(),
        db: if is_cluster { 0 } else { options.db },
        tls: options.tls.clone(),
        connect_timeout: options.connect_timeout,
        is_master_needed: matches!(deployment, Deployment::Sentinel(_)),
        is_cluster_replica: false,
        needs_field_expiry: options.has_presence_fields,
    }
}
