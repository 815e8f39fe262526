use std::time::{Duration, Instant};

use crate::Run;
use crate::rig::checker::Losses;
use crate::rig::engine::Engine;
use crate::world::{Plan, World};

const HUBS: usize = 3;

/// Bounded for CI: `loadtest herd` brings 15,000.
const READERS: u32 = 900;

/// All clients of a hub lose it, and come back at once as soon as it is there again.
pub async fn a_herd_waits_at_the_door(run: &mut Run) {
    let every = Duration::from_millis(200);
    let plan = Plan { readers: READERS, streams: 1, every, ..Plan::new(1, run.random.u64(..)) };
    let mut world = World::start(Engine::memory(), plan).await;
    world.kill_hub(0).await;
    let since = Instant::now();
    world.hubs[0].start_again().await;
    run.measures.add("all back", world.all_back_after(since).await, Duration::from_secs(20));
    let summary = world.finish(Losses::WithNewEpoch).await;
    run.measures.note(format!("{summary:?}"));
}

/// A third of many clients loses its hub, and comes back to the others at once.
pub async fn a_herd_comes_back(run: &mut Run) {
    let every = Duration::from_millis(200);
    let plan = Plan { readers: READERS, streams: 1, every, ..Plan::new(HUBS, run.random.u64(..)) };
    let mut world = World::start(Engine::redis().await, plan).await;
    let victim = run.random.usize(..HUBS);
    let since = world.kill_hub(victim).await;
    run.measures.add("all back", world.all_back_after(since).await, Duration::from_secs(20));
    let (_, places) = world.published_after(since).await;
    world.current_after(since, &places).await;
    let stayed = world.delivery_p99(since, |reader| reader as usize % HUBS != victim);
    // The clients share the cores with the hubs: `loadtest node-loss` judges this one.
    run.measures.note(format!("deliveries of those who stayed: p99 {stayed:?}"));
    world.hubs[victim].start_again().await;
    let (_, places) = world.published_after(Instant::now()).await;
    world.current_after(since, &places).await;
    let summary = world.finish(Losses::None).await;
    assert_eq!(summary.not_recovered, 0, "all who came back recovered: {summary:?}");
    run.measures.note(format!("{summary:?}"));
}
