use std::time::{Duration, Instant};

use crate::Run;
use crate::rig::checker::Losses;
use crate::rig::engine::Engine;
use crate::rig::proxy::Fault;
use crate::world::{Plan, Proxied, World};

const HUBS: usize = 3;

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

/// One of three hubs has trouble with its way to the broker, some seconds each; the others go on.
async fn one_hub_has(run: &mut Run, engine: Engine, faults: &[Fault]) {
    let plan = Plan { proxied: Proxied::Broker, ..Plan::new(HUBS, run.random.u64(..)) };
    let world = World::start(engine, plan).await;
    for fault in faults {
        let victim = run.random.usize(..HUBS);
        let since = Instant::now();
        world.proxies[victim].set(*fault);
        tokio::time::sleep(Duration::from_millis(run.random.u64(1_500..3_000))).await;
        let others = world.delivery_p99(since, |reader| reader as usize % HUBS != victim);
        run.measures.note(format!("{fault:?} at one hub: p99 of the others' deliveries {others:?}"));
        world.proxies[victim].set(Fault::None);
        let healed = Instant::now();
        let (took, places) = world.published_after(healed).await;
        run.measures.add("publishing again", took, Duration::from_secs(2));
        let took = world.current_after(healed, &places).await;
        run.measures.add("every reader current again", took, Duration::from_secs(5));
        assert_eq!(world.cut_after(since), 0, "connections of clients were cut by {fault:?}");
    }
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}
