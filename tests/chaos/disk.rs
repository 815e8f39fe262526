use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Run;
use crate::alone::kill_loop;
use crate::rig::checker::Losses;
use crate::rig::engine::Engine;
use crate::rig::hub::Launch;
use crate::rig::journal::Event;
use crate::rig::{PATIENCE, until};
use crate::world::{Plan, World};

/// The file system of the log.
const DISK_MIB: u32 = 64;

pub async fn killed_with_a_log(run: &mut Run) {
    kill_loop(run, Engine::disk("memory")).await;
}

pub async fn killed_with_a_synced_log(run: &mut Run) {
    kill_loop(run, Engine::disk("fsync")).await;
}

/// Publishes that must be on disk are refused while there is no room; what is confirmed stays readable.
pub async fn the_disk_is_full_and_publishes_wait_for_it(run: &mut Run) {
    let world = start_with_small_disk(run, "fsync").await;
    let full = Instant::now();
    let filler = world.hubs[0].disk().join("filler");
    fill(&filler);
    let refused = |event: &Event| matches!(event, Event::Unconfirmed { reason, .. } if reason == "error 100");
    let look = async || (world.journal.count_after(full, refused) > 0).then_some(());
    until("a publish to be refused", PATIENCE, look).await;
    world.hubs[0].api.history(&world.streams[0]).await.expect("the history can be read");
    free(run, &world, &filler).await;
    world.finish(Losses::None).await;
}

/// Publishes go on in memory; streams that could not be kept begin anew.
pub async fn the_disk_is_full_and_publishes_go_on(run: &mut Run) {
    let world = start_with_small_disk(run, "memory").await;
    let full = Instant::now();
    let filler = world.hubs[0].disk().join("filler");
    fill(&filler);
    world.flow(Duration::from_secs(2)).await;
    assert_eq!(world.journal.count_after(full, |event| matches!(event, Event::Unconfirmed { .. })), 0, "refused");
    free(run, &world, &filler).await;
    world.finish(Losses::WithNewEpoch).await;
}

async fn start_with_small_disk(run: &mut Run, ack: &str) -> World {
    let launch = Launch { disk_mib: Some(DISK_MIB), ..Launch::default() };
    let plan = Plan { launch, ..Plan::new(1, run.random.u64(..)) };
    World::start(Engine::disk(ack), plan).await
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("it is ours");
    for piece in [&[0; 1 << 20][..], &[0; 1]] {
        while file.write_all(piece).is_ok() {}
    }
}

/// There is room again: all goes on by itself.
async fn free(run: &mut Run, world: &World, filler: &Path) {
    fs::remove_file(filler).expect("it is ours");
    let since = Instant::now();
    let (took, places) = world.published_after(since).await;
    run.measures.add("publishing again", took, Duration::from_secs(5));
    run.measures.add("every reader current again", world.current_after(since, &places).await, Duration::from_secs(5));
}
