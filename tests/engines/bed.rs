//! What a case runs on.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::task::{LocalSet, spawn_local};

use crate::rig::api::position;
use crate::rig::client::Client;
use crate::rig::engine::Engine;
use crate::rig::hub::Hub;
use crate::rig::journal::Position;

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
