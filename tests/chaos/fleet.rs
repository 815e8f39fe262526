use std::time::{Duration, Instant};

use crate::Run;
use crate::alone;
use crate::rig::checker::Losses;
use crate::rig::engine::Engine;
use crate::rig::hub::PRESENCE_TTL;
use crate::rig::journal::Event;
use crate::world::{Plan, World};

const HUBS: usize = 3;

/// Thirty looks of the balancer, so that one at least comes through on a busy machine.
const GRACE: Duration = Duration::from_millis(1_500);

/// Longer than clients wait for a ping of a hub that stands still.
const STOP: Duration = Duration::from_secs(6);

/// Between the end of a presence and the next look at it.
const PRESENCE_LOOK: Duration = Duration::from_millis(200);

pub async fn a_hub_is_killed(run: &mut Run) {
    let mut world = World::start(Engine::redis().await, Plan::new(HUBS, run.random.u64(..))).await;
    for _ in 0..2 {
        world.flow(Duration::from_millis(run.random.u64(100..500))).await;
        let victim = run.random.usize(..HUBS);
        let since = world.kill_hub(victim).await;
        run.measures.add("clients elsewhere", world.all_back_after(since).await, Duration::from_secs(3));
        run.measures.add("publishing elsewhere", world.published_after(since).await.0, Duration::from_secs(2));
        let took = world.presence_clean_after((victim + 1) % HUBS, since).await;
        run.measures.add("presence clean", took, PRESENCE_TTL + PRESENCE_LOOK);
        run.measures.add("ready after a start", world.hubs[victim].start_again().await, Duration::from_secs(1));
    }
    let summary = world.finish(Losses::None).await;
    assert_eq!(summary.not_recovered, 0, "all who came back recovered: {summary:?}");
    run.measures.note(format!("{summary:?}"));
}

/// A pause of one process: its clients go elsewhere, the others notice nothing, and nothing comes twice after it.
pub async fn a_hub_stands_still(run: &mut Run) {
    let world = World::start(Engine::redis().await, Plan::new(HUBS, run.random.u64(..))).await;
    let victim = run.random.usize(..HUBS);
    let since = Instant::now();
    world.hubs[victim].stop();
    tokio::time::sleep(STOP).await;
    let others = world.delivery_p99(since, |reader| reader as usize % HUBS != victim);
    world.hubs[victim].go_on();
    run.measures.add("deliveries of the others (p99)", others, Duration::from_millis(100));
    let resumed = Instant::now();
    let (_, places) = world.published_after(resumed).await;
    world.current_after(resumed, &places).await;
    run.measures.add("clients elsewhere", world.all_back_after(resumed).await, Duration::from_secs(3));
    let took = world.presence_clean_after(victim, resumed).await;
    run.measures.add("presence clean", took, PRESENCE_TTL + PRESENCE_LOOK);
    let summary = world.finish(Losses::None).await;
    assert_eq!(summary.not_recovered, 0, "all who came back recovered: {summary:?}");
    run.measures.note(format!("{summary:?}"));
}

/// One hub after the other ends and begins again, behind a balancer that asks them whether they are ready.
pub async fn all_hubs_are_restarted_in_turn(run: &mut Run) {
    let plan = Plan { grace: GRACE, ..Plan::new(HUBS, run.random.u64(..)) };
    let mut world = World::start(Engine::redis().await, plan).await;
    let probes = world.balancer.probe();
    let since = Instant::now();
    for hub in 0..HUBS {
        world.flow(Duration::from_millis(300)).await;
        run.measures.add("drained", world.hubs[hub].terminate().await, Duration::from_secs(15));
        world.hubs[hub].start_again().await;
        world.all_back_after(since).await;
    }
    world.flow(Duration::from_millis(300)).await;
    drop(probes);
    let refused = world.journal.entries_after(since).into_iter().filter_map(|entry| match entry.event {
        Event::Refused { reason, .. } | Event::Unconfirmed { reason, .. } => Some(reason),
        _ => None,
    });
    let refused: Vec<String> = refused.collect();
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
    assert!(refused.is_empty(), "{} connections and publishes refused, first {:?}", refused.len(), refused.first());
    assert_eq!(summary.not_recovered, 0, "all who came back recovered: {summary:?}");
}

pub async fn channels_are_withdrawn_by_another_hub(run: &mut Run) {
    alone::withdraw(run, Engine::redis().await, HUBS).await;
}
