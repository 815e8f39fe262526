//! What a case runs on, and the engines there are.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::task::{LocalSet, spawn_local};

use crate::rig::api::position;
use crate::rig::client::Client;
use crate::rig::hub::Hub;
use crate::rig::journal::Position;
use crate::rig::servers::{Persistence, SENTINEL_GROUP, Server};

/// An engine as the configuration says it, with the servers it needs.
pub struct Engine {
    pub name: &'static str,
    /// Laid over the configuration of each hub.
    pub config: Value,
    /// The same with another prefix, where hubs share a broker.
    pub other_prefix: Option<Value>,
    pub keeps: Keeps,
    #[expect(dead_code, reason = "alive as long as the row runs")]
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
        let disk = json!({"path": "log", "ack": ack});
        Engine::inside("disk", json!({"engine": {"type": "disk", "disk": disk}}), Keeps::WhatWasConfirmed)
    }

    pub async fn redis() -> Engine {
        Engine::redis_at("redis", Server::redis(Persistence::Never).await)
    }

    pub async fn valkey() -> Engine {
        Engine::redis_at("valkey", Server::valkey(Persistence::Never).await)
    }

    fn redis_at(name: &'static str, server: Server) -> Engine {
        let address = format!("redis://{}", server.address);
        Engine::beside(name, "redis", &json!({"address": address}), vec![server])
    }

    pub async fn redis_sentinel() -> Engine {
        let servers = Server::sentinel().await;
        let sentinel = servers.last().expect("a sentinel").address.to_string();
        let options = json!({"sentinel_address": [sentinel], "sentinel_master_name": SENTINEL_GROUP});
        Engine::beside("redis sentinel", "redis", &options, servers)
    }

    pub async fn redis_cluster() -> Engine {
        let servers = Server::cluster().await;
        let addresses: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
        Engine::beside("redis cluster", "redis", &json!({"cluster_address": addresses}), servers)
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The hub that all such cases share.
    OneHub,
    /// Hubs that the case starts, and kills.
    OwnHubs,
    /// As `OwnHubs`, several on one broker: not with engines inside the hub.
    Fleet,
}

pub struct Case {
    pub name: &'static str,
    pub needs: Needs,
    pub run: fn(Rc<Bed>) -> Running,
}

pub type Running = Pin<Box<dyn Future<Output = ()>>>;

pub struct Bed {
    pub engine: Engine,
    pub hub: Hub,
}

impl Bed {
    pub async fn client(&self, user: &str) -> Client {
        client(&self.hub, user).await
    }

    /// Publishes data; the position, where there is one.
    pub async fn publish(&self, channel: &str, data: Value) -> Option<Position> {
        self.publish_with(channel, json!({"data": data})).await
    }

    pub async fn publish_with(&self, channel: &str, params: Value) -> Option<Position> {
        publish(&self.hub, channel, params).await
    }

    /// A further hub on the engine.
    pub async fn start_hub(&self) -> Hub {
        Hub::start(&self.engine.config).await
    }
}

pub async fn client(hub: &Hub, user: &str) -> Client {
    Client::connect(hub.address, user).await.expect("the hub takes clients")
}

pub async fn publish(hub: &Hub, channel: &str, mut params: Value) -> Option<Position> {
    params["channel"] = json!(channel);
    position(&hub.api.call("publish", params).await.expect("it is published"))
}

/// Runs every case, and tells all failures at once.
pub async fn run(engine: Engine, cases: &[Case]) {
    LocalSet::new().run_until(run_each(engine, cases)).await;
}

async fn run_each(engine: Engine, cases: &[Case]) {
    let only = std::env::var("CASE").unwrap_or_default();
    let name = engine.name;
    let is_fleet = engine.other_prefix.is_some();
    let hub = Hub::start(&engine.config).await;
    let bed = Rc::new(Bed { engine, hub });
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases.iter().filter(|case| case.name.contains(&only)) {
        if case.needs == Needs::Fleet && !is_fleet {
            continue;
        }
        count += 1;
        let began = std::time::Instant::now();
        match spawn_local((case.run)(Rc::clone(&bed))).await {
            Ok(()) => println!("{name}: {} ({} ms)", case.name, began.elapsed().as_millis()),
            Err(_) => failures.push(case.name),
        }
    }
    assert!(count > 0, "no case has {only:?} in its name");
    assert!(failures.is_empty(), "{name}: {} of {count} failed: {failures:?}\n{}", failures.len(), bed.hub.log());
}
