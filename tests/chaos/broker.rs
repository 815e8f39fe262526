use std::time::{Duration, Instant};

use serde_json::json;

use crate::Run;
use crate::rig::checker::Losses;
use crate::rig::client::Client;
use crate::rig::engine::Engine;
use crate::rig::proxy::Fault;
use crate::world::{Plan, Proxied, World};

const PUBLISHING: (&str, Duration) = ("publishing again", Duration::from_secs(2));
const CURRENT: (&str, Duration) = ("every reader current again", Duration::from_secs(5));

/// An error comes at once: within the second after which a broker counts as away, and a little.
const REFUSAL: (&str, Duration) = ("longest wait for an error", Duration::from_millis(1_500));

const ROUNDS: u32 = 3;

pub async fn redis_restarts_with_persistence(run: &mut Run) {
    restarts(run, Engine::durable_redis().await, Losses::None).await;
}

pub async fn redis_restarts_empty(run: &mut Run) {
    restarts(run, Engine::redis().await, Losses::WithNewEpoch).await;
}

pub async fn nats_restarts(run: &mut Run) {
    restarts(run, Engine::nats().await, Losses::None).await;
}

/// `kill -9` of the broker, and a start a moment later: connections of clients stay.
async fn restarts(run: &mut Run, engine: Engine, losses: Losses) {
    let mut world = World::start(engine, Plan::new(3, run.random.u64(..))).await;
    for _ in 0..ROUNDS {
        world.flow(Duration::from_millis(run.random.u64(50..300))).await;
        let since = Instant::now();
        world.engine.servers[0].kill().await;
        tokio::time::sleep(Duration::from_millis(run.random.u64(0..1_500))).await;
        world.engine.servers[0].start_again().await;
        measure_recovery(run, &world, since).await;
    }
    let summary = world.finish(losses).await;
    run.measures.note(format!("{ROUNDS} restarts: {summary:?}"));
}

/// SIGSTOP: connections to the broker stay, and nothing is answered.
pub async fn redis_stands_still(run: &mut Run) {
    stands_still(run, Engine::redis().await).await;
}

pub async fn nats_stands_still(run: &mut Run) {
    stands_still(run, Engine::nats().await).await;
}

async fn stands_still(run: &mut Run, engine: Engine) {
    let world = World::start(engine, Plan::new(3, run.random.u64(..))).await;
    for seconds in [1, 4] {
        world.flow(Duration::from_millis(200)).await;
        let since = Instant::now();
        world.engine.servers[0].stop();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        world.engine.servers[0].go_on();
        measure_recovery(run, &world, since).await;
    }
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}

/// The broker is there again: how long until all is as it was. `since` is when the fault began.
async fn measure_recovery(run: &mut Run, world: &World, since: Instant) {
    let back = Instant::now();
    let (took, places) = world.published_after(back).await;
    run.measures.add(PUBLISHING.0, took, PUBLISHING.1);
    run.measures.add(CURRENT.0, world.current_after(back, &places).await, CURRENT.1);
    run.measures.add(REFUSAL.0, world.longest_refusal(since), REFUSAL.1);
    assert_eq!(world.cut_after(since), 0, "connections of clients were cut");
}

/// Replies come after a second: what needs no broker is as fast as ever, and nobody is cut.
pub async fn redis_is_slow(run: &mut Run) {
    let plan = Plan { proxied: Proxied::Broker, ..Plan::new(2, run.random.u64(..)) };
    let world = World::start(Engine::redis().await, plan).await;
    let since = Instant::now();
    for proxy in &world.proxies {
        proxy.set(Fault::Delay(Duration::from_millis(500)));
    }
    let mut client = Client::connect(world.hubs[0].address, "pinger").await.expect("it needs no broker");
    let mut longest = Duration::ZERO;
    while since.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        client.ask("ping", json!({})).await.expect("it is answered");
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run.measures.add("longest wait for a pong", longest, Duration::from_millis(100));
    for proxy in &world.proxies {
        proxy.set(Fault::None);
    }
    measure_recovery(run, &world, since).await;
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}

/// 10,000 subscriptions learn that their streams are gone.
pub async fn ten_thousand_subscriptions_are_checked(run: &mut Run) {
    let every = Duration::from_millis(500);
    let plan = Plan { readers: 100, streams: 100, every, ..Plan::new(3, run.random.u64(..)) };
    let mut world = World::start(Engine::redis().await, plan).await;
    world.engine.servers[0].kill().await;
    let since = Instant::now();
    world.engine.servers[0].start_again().await;
    let (_, places) = world.published_after(since).await;
    let took = world.current_after(since, &places).await;
    run.measures.add("10,000 subscriptions checked", took, CURRENT.1);
    let summary = world.finish(Losses::WithNewEpoch).await;
    run.measures.note(format!("{summary:?}"));
}
