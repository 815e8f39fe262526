//! The engines that a hub can be started with, and the servers that they need.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::hub::{DISK_FOLDER, LOCAL_BROKER};
use super::servers::{Persistence, SENTINEL_GROUP, Server};

/// An engine as the configuration says it, with the servers it needs.
pub struct Engine {
    pub name: &'static str,
    /// Laid over the configuration of each hub.
    pub config: Value,
    /// The same with another prefix, where hubs share a broker.
    pub other_prefix: Option<Value>,
    pub keeps: Keeps,
    /// Alive as long as the engine is used.
    pub servers: Vec<Server>,
}

/// What of its streams an engine has after `kill -9` of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    WhatWasConfirmed,
}

impl Engine {
    pub fn memory() -> Engine {
        Engine::inside("memory", json!({"engine": {"type": "memory"}}), Keeps::Nothing)
    }

    pub fn disk(ack: &str) -> Engine {
        let disk = json!({"path": DISK_FOLDER, "ack": ack});
        Engine::inside("disk", json!({"engine": {"type": "disk", "disk": disk}}), Keeps::WhatWasConfirmed)
    }

    pub async fn redis() -> Engine {
        Engine::redis_at("redis", Server::redis(Persistence::Never).await)
    }

    pub async fn durable_redis() -> Engine {
        Engine::redis_at("durable redis", Server::redis(Persistence::Always).await)
    }

    pub async fn valkey() -> Engine {
        Engine::redis_at("valkey", Server::valkey(Persistence::Never).await)
    }

    fn redis_at(name: &'static str, server: Server) -> Engine {
        let address = format!("redis://{}", server.address);
        Engine::beside(name, "redis", &json!({"address": address}), vec![server])
    }

    /// A master, its replica, then so many sentinels.
    pub async fn redis_sentinel(sentinels: usize) -> Engine {
        let servers = Server::replicated(sentinels).await;
        let addresses: Vec<String> = servers[2..].iter().map(|sentinel| sentinel.address.to_string()).collect();
        let options = json!({"sentinel_address": addresses, "sentinel_master_name": SENTINEL_GROUP});
        Engine::beside("redis sentinel", "redis", &options, servers)
    }

    pub async fn redis_cluster() -> Engine {
        let servers = Server::cluster().await;
        let addresses: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
        Engine::beside("redis cluster", "redis", &json!({"cluster_address": [addresses.join(",")]}), servers)
    }

    /// Independent servers, which share the channels.
    pub async fn redis_sharded() -> Engine {
        let servers = vec![Server::redis(Persistence::Never).await, Server::redis(Persistence::Never).await];
        let addresses: Vec<String> = servers.iter().map(|server| format!("redis://{}", server.address)).collect();
        Engine::beside("redis sharded", "redis", &json!({"address": addresses}), servers)
    }

    /// Publications on NATS, presence and the words of nodes on Redis.
    pub async fn nats_and_redis() -> Engine {
        let servers = vec![Server::nats().await, Server::redis(Persistence::Never).await];
        let config = |prefix: &str| {
            let nats = json!({"url": format!("nats://{}", servers[0].address), "prefix": prefix});
            let redis = json!({"address": format!("redis://{}", servers[1].address), "prefix": prefix});
            json!({
                "broker": {"enabled": true, "type": "nats", "nats": nats},
                "presence_manager": {"enabled": true, "type": "redis", "redis": redis},
                "controller": {"enabled": true, "type": "redis", "redis": redis},
            })
        };
        let (config, other_prefix) = (config("one"), Some(config("another")));
        Engine { name: "nats and redis", config, other_prefix, keeps: Keeps::WhatWasConfirmed, servers }
    }

    pub async fn nats() -> Engine {
        Engine::nats_at("nats", Server::nats().await)
    }

    pub async fn current_nats() -> Engine {
        Engine::nats_at("current nats", Server::current_nats().await)
    }

    fn nats_at(name: &'static str, server: Server) -> Engine {
        let url = format!("nats://{}", server.address);
        Engine::beside(name, "nats", &json!({"url": url}), vec![server])
    }

    /// The configuration of a hub that sees the one server at another address, such as a proxy's.
    pub fn config_at(&self, address: SocketAddr) -> Value {
        let text = self.config.to_string();
        let own = self.servers[0].address.to_string();
        assert!(self.servers.len() == 1 && text.contains(&own), "{} has not one address: {text}", self.name);
        serde_json::from_str(&text.replace(&own, &address.to_string())).expect("it was JSON")
    }

    /// Puts the namespace `local` on an engine of each hub's own, in memory.
    pub fn with_local_namespace(mut self) -> Engine {
        self.config["brokers"] = json!([{"name": LOCAL_BROKER, "enabled": true, "type": "memory"}]);
        self
    }

    /// An engine inside the hub.
    fn inside(name: &'static str, config: Value, keeps: Keeps) -> Engine {
        Engine { name, config, other_prefix: None, keeps, servers: Vec::new() }
    }

    /// An engine that hubs share: it stays when they go.
    fn beside(name: &'static str, kind: &str, options: &Value, servers: Vec<Server>) -> Engine {
        let config = json!({"engine": {"type": kind, kind: options}});
        let mut other = config.clone();
        other["engine"][kind]["prefix"] = json!("another-cluster");
        Engine { name, config, other_prefix: Some(other), keeps: Keeps::WhatWasConfirmed, servers }
    }
}
