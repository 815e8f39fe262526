use std::time::{Duration, Instant};

use serde_json::json;

use crate::Run;
use crate::rig::api::Failure;
use crate::rig::checker::Losses;
use crate::rig::client::{Client, Refusal};
use crate::rig::engine::Engine;
use crate::rig::hub::{Hub, Launch};
use crate::rig::journal::{Event, Start};
use crate::rig::proxy::Fault;
use crate::rig::{PATIENCE, until};
use crate::world::{Plan, Proxied, World};

const PUBLISHING: (&str, Duration) = ("publishing again", Duration::from_secs(2));
const CURRENT: (&str, Duration) = ("every reader current again", Duration::from_secs(5));

/// An error comes at once: within the second after which a broker counts as away, and a little.
const REFUSAL: (&str, Duration) = ("longest wait for an error", Duration::from_millis(1_500));

const ROUNDS: u32 = 3;

/// A channel that is on no broker.
const LOCAL: &str = "local:a";

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

/// Whether the replica has all that the master confirmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copy {
    Current,
    Behind,
}

pub async fn sentinels_make_a_new_master(run: &mut Run) {
    fails_over(run, Copy::Current).await;
}

pub async fn sentinels_make_a_master_of_a_copy_that_is_behind(run: &mut Run) {
    fails_over(run, Copy::Behind).await;
}

/// `kill -9` of the master while three sentinels watch. Redis copies after it has confirmed, so the new master may lack
/// what was confirmed last: then its streams are told as others, also where the epoch was copied and only the end
/// of the stream was not.
async fn fails_over(run: &mut Run, copy: Copy) {
    let mut world = World::start(Engine::redis_sentinel(3).await, Plan::new(3, run.random.u64(..))).await;
    world.flow(Duration::from_millis(run.random.u64(100..500))).await;
    if copy == Copy::Behind {
        world.engine.servers[0].stop_copies().await;
        world.flow(Duration::from_millis(300)).await;
    }
    let since = Instant::now();
    world.engine.servers[0].kill().await;
    world.engine.servers[1].leads().await;
    // That is Sentinel's own time, of which a second is how long it was told to wait.
    run.measures.note(format!("a new master after {:?}", since.elapsed()));
    measure_recovery(run, &world, since).await;
    // The old one comes back and takes itself for the master, until the sentinels make it a copy of the new one.
    world.engine.servers[0].start_again().await;
    world.flow(Duration::from_secs(1)).await;
    let summary = world.finish(Losses::WithNewEpoch).await;
    run.measures.note(format!("{summary:?}"));
    assert!(copy == Copy::Current || summary.not_recovered > 0, "the loss was told: {summary:?}");
}

pub async fn redis_comes_late(run: &mut Run) {
    comes_late(run, Engine::redis().await).await;
}

pub async fn nats_comes_late(run: &mut Run) {
    comes_late(run, Engine::nats().await).await;
}

/// A hub that starts before its broker lives, says that it is not ready, and is as soon as the broker is there.
async fn comes_late(run: &mut Run, mut engine: Engine) {
    engine.servers[0].kill().await;
    let hub = Hub::begin(&engine.config, Launch::default());
    let is_alive = async || hub.api.page("/livez").await.is_ok_and(|(status, _)| status == 200).then_some(());
    until("the hub to live", PATIENCE, is_alive).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(is_alive().await.is_some() && !hub.api.is_ready().await, "{}", hub.log());
    let refused = hub.api.call("publish", json!({"channel": "stream:late", "data": 1})).await;
    assert!(matches!(refused, Err(Failure::Refused(100, _))), "{refused:?}");
    engine.servers[0].start_again().await;
    run.measures.add("ready after the broker", hub.ready().await, Duration::from_secs(5));
    hub.api.call("publish", json!({"channel": "stream:late", "data": 1})).await.expect("it is published");
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
    for hub in &world.hubs {
        hub.ready().await;
    }
    run.measures.add("every hub ready again", back.elapsed(), CURRENT.1);
    assert_eq!(world.cut_after(since), 0, "connections of clients were cut");
}

/// Replies come after a second: what needs no broker is as fast as ever, and nobody is cut.
pub async fn redis_is_slow(run: &mut Run) {
    let plan = Plan { proxied: Proxied::Broker, ..Plan::new(2, run.random.u64(..)) };
    let engine = Engine::redis().await.with_local_namespace();
    let world = World::start(engine, plan).await;
    let since = Instant::now();
    for proxy in &world.proxies {
        proxy.set(Fault::Delay(Duration::from_millis(500)));
    }
    let mut client = Client::connect(world.hubs[0].address, "local").await.expect("it needs no broker");
    client.subscribe(LOCAL).await;
    let (mut own, mut fan_out) = (Duration::ZERO, Duration::ZERO);
    while since.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        let answer = client.ask("rpc", json!({})).await;
        assert_eq!(answer, Err(Refusal::Code(108)), "nobody serves it, and the hub says so itself");
        own = own.max(asked.elapsed());
        let sent = Instant::now();
        let params = json!({"channel": LOCAL, "data": 1});
        world.hubs[0].api.call("publish", params).await.expect("it needs no broker");
        client.publication().await;
        fan_out = fan_out.max(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run.measures.add("longest wait for an answer of the hub's own", own, Duration::from_millis(100));
    run.measures.add("longest publish in memory", fan_out, Duration::from_millis(100));
    for proxy in &world.proxies {
        proxy.set(Fault::None);
    }
    measure_recovery(run, &world, since).await;
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}

/// 10,000 subscriptions learn that their streams are gone.
pub async fn ten_thousand_subscriptions_are_checked(run: &mut Run) {
    let every = Duration::from_secs(3);
    let plan = Plan { readers: 100, streams: 100, every, ..Plan::new(3, run.random.u64(..)) };
    let mut world = World::start(Engine::redis().await, plan).await;
    world.engine.servers[0].kill().await;
    let since = Instant::now();
    world.engine.servers[0].start_again().await;
    let is_told = |event: &Event| matches!(event, Event::Subscribed { start: Start::NotRecovered, .. });
    let look = async || (world.journal.count_after(since, is_told) >= 10_000).then_some(());
    until("10,000 subscriptions to begin anew", PATIENCE, look).await;
    run.measures.add("10,000 subscriptions checked", since.elapsed(), CURRENT.1);
    let (_, places) = world.published_after(since).await;
    world.current_after(since, &places).await;
    let summary = world.finish(Losses::WithNewEpoch).await;
    run.measures.note(format!("{summary:?}"));
}
