use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::Run;
use crate::rig::checker::Losses;
use crate::rig::engine::Engine;
use crate::rig::hub::PRESENCE_TTL;
use crate::rig::namespace::Cut;
use crate::rig::proxy::Fault;
use crate::rig::{PATIENCE, until};
use crate::world::{Plan, Proxied, World};

const HUBS: usize = 3;

/// The hub that `Plan::has_namespace` means.
const IN_NAMESPACE: usize = HUBS - 1;

const CURRENT: (&str, Duration) = ("every reader current again", Duration::from_secs(5));

/// Silence after which SDKs leave (a ping interval of 2 s and 3 s more), and the way to another hub.
const ELSEWHERE: Duration = Duration::from_secs(8);

/// Nothing comes through, in both directions; then in one.
pub async fn one_hub_is_cut_off(run: &mut Run) {
    one_hub_has(run, Engine::redis().await, &[Fault::Stall, Fault::StallToServer]).await;
}

pub async fn connections_to_redis_break(run: &mut Run) {
    one_hub_has(run, Engine::redis().await, &[Fault::Reset, Fault::HalfClose, Fault::Drop(0.02)]).await;
}

pub async fn the_line_to_redis_is_thin(run: &mut Run) {
    one_hub_has(run, Engine::redis().await, &[Fault::Rate(20_000), Fault::Delay(Duration::from_millis(50))]).await;
}

pub async fn one_hub_is_cut_off_from_nats(run: &mut Run) {
    one_hub_has(run, Engine::nats().await, &[Fault::Stall, Fault::Reset]).await;
}

/// The network itself is cut, between one hub and Redis: its connections stay, and nothing answers, not even with a
/// reset.
pub async fn one_hub_loses_its_line_to_redis(run: &mut Run) {
    let plan = Plan { has_namespace: true, ..Plan::new(HUBS, run.random.u64(..)) };
    let world = World::start(Engine::redis().await, plan).await;
    let line = &world.namespace.as_ref().expect("it was planned").to_broker;
    for cut in [Cut::Pulled, Cut::Silent, Cut::SilentOutwards] {
        let since = Instant::now();
        line.cut(cut).await;
        tokio::time::sleep(Duration::from_millis(run.random.u64(1_500..3_000))).await;
        note_the_others(run, &world, since, IN_NAMESPACE, &cut);
        line.heal().await;
        measure_healing(run, &world, since).await;
    }
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}

/// One hub is cut off from Redis and from its clients: they go elsewhere, and nothing comes twice when it is back.
pub async fn one_hub_loses_all_its_lines(run: &mut Run) {
    let plan = Plan { has_namespace: true, ..Plan::new(HUBS, run.random.u64(..)) };
    let world = World::start(Engine::redis().await, plan).await;
    let namespace = world.namespace.as_ref().expect("it was planned");
    let since = Instant::now();
    namespace.to_broker.cut(Cut::Silent).await;
    namespace.to_clients.cut(Cut::Silent).await;
    // To the streams, to the room and to the channel that promises nothing.
    let subscribed = world.readers.len() / HUBS * (world.streams.len() + 2);
    until("its clients to leave", PATIENCE, async || (world.cut_after(since) >= subscribed).then_some(())).await;
    run.measures.add("clients elsewhere", world.all_back_after(since).await, ELSEWHERE);
    note_the_others(run, &world, since, IN_NAMESPACE, &Cut::Silent);
    namespace.to_broker.heal().await;
    namespace.to_clients.heal().await;
    let healed = Instant::now();
    let (_, places) = world.published_after(healed).await;
    run.measures.add(CURRENT.0, world.current_after(healed, &places).await, CURRENT.1);
    let took = world.presence_clean_after(IN_NAMESPACE, healed).await;
    run.measures.add("presence clean", took, PRESENCE_TTL);
    let summary = world.finish(Losses::None).await;
    assert_eq!(summary.not_recovered, 0, "all who came back recovered: {summary:?}");
    run.measures.note(format!("{summary:?}"));
}

/// One of three hubs has trouble with its way to the broker, some seconds each; the others go on.
async fn one_hub_has(run: &mut Run, engine: Engine, faults: &[Fault]) {
    let plan = Plan { proxied: Proxied::Broker, ..Plan::new(HUBS, run.random.u64(..)) };
    let world = World::start(engine, plan).await;
    for fault in faults {
        let victim = run.random.usize(..HUBS);
        let since = Instant::now();
        world.proxies[victim].set(*fault);
        tokio::time::sleep(Duration::from_millis(run.random.u64(1_500..3_000))).await;
        note_the_others(run, &world, since, victim, fault);
        world.proxies[victim].set(Fault::None);
        measure_healing(run, &world, since).await;
    }
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}

fn note_the_others(run: &mut Run, world: &World, since: Instant, victim: usize, fault: &impl Debug) {
    let others = world.delivery_p99(since, |reader| reader as usize % HUBS != victim);
    run.measures.note(format!("{fault:?} at one hub: p99 of the others' deliveries {others:?}"));
}

/// The way to the broker is whole again; it was not since `since`.
async fn measure_healing(run: &mut Run, world: &World, since: Instant) {
    let healed = Instant::now();
    let (took, places) = world.published_after(healed).await;
    run.measures.add("publishing again", took, Duration::from_secs(2));
    run.measures.add(CURRENT.0, world.current_after(healed, &places).await, CURRENT.1);
    for hub in &world.hubs {
        hub.ready().await;
    }
    run.measures.add("every hub ready again", healed.elapsed(), CURRENT.1);
    assert_eq!(world.cut_after(since), 0, "connections of clients were cut");
}
