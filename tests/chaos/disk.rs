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

pub async fn a_write_fails(run: &mut Run) {
    breaks(run, "memory", "pwrite64:error=EIO:when=200..201").await;
}

pub async fn a_sync_fails(run: &mut Run) {
    breaks(run, "fsync", "fdatasync:error=EIO:when=100..102").await;
}

/// The disk fails what is asked of it for a while. Publishes are refused meanwhile, and go on by themselves; what was
/// confirmed is there after a kill.
async fn breaks(run: &mut Run, ack: &str, fault: &str) {
    let world = start_with_fault(run, ack, fault).await;
    let began = not_ready_since(&world).await;
    let ready = world.hubs[0].ready().await;
    run.measures.add("ready again after the last error", ready, Duration::from_secs(5));
    let refused = |event: &Event| matches!(event, Event::Unconfirmed { reason, .. } if reason == "error 100");
    assert!(world.journal.count_after(began, refused) > 0, "publishes were refused");
    says(&world, "the log can't be written; it is tried again until it can");
    kill_and_finish(run, world, began).await;
}

pub async fn a_write_does_not_return(run: &mut Run) {
    stands_still(run, "memory", "pwrite64:delay_enter=4s:when=200").await;
}

pub async fn a_sync_does_not_return(run: &mut Run) {
    stands_still(run, "fsync", "fdatasync:delay_enter=4s:when=100").await;
}

/// The disk answers nothing for four seconds. Publishes are refused in time, the history can be read, nobody is cut.
async fn stands_still(run: &mut Run, ack: &str, fault: &str) {
    let world = start_with_fault(run, ack, fault).await;
    let began = not_ready_since(&world).await;
    let asked = Instant::now();
    world.hubs[0].api.history(&world.streams[0]).await.expect("the history can be read");
    run.measures.add("a history meanwhile", asked.elapsed(), Duration::from_millis(500));
    world.hubs[0].ready().await;
    let refusal = world.longest_refusal(began - Duration::from_secs(2));
    assert!(refusal > Duration::ZERO, "publishes were refused");
    run.measures.add("an error for a publish", refusal, Duration::from_millis(2_500));
    says(&world, "the disk of the log does not answer");
    assert_eq!(world.cut_after(began), 0, "connections ended");
    kill_and_finish(run, world, began).await;
}

/// Where the fault is an `inject` of strace, of the hub's first process.
async fn start_with_fault(run: &mut Run, ack: &str, fault: &str) -> World {
    let launch = Launch { fault: Some(fault.into()), ..Launch::default() };
    World::start(Engine::disk(ack), Plan { launch, ..Plan::new(1, run.random.u64(..)) }).await
}

async fn not_ready_since(world: &World) -> Instant {
    let look = async || (!world.hubs[0].api.is_ready().await).then_some(());
    until("the hub not to be ready", PATIENCE, look).await;
    Instant::now()
}

fn says(world: &World, text: &str) {
    let log = world.hubs[0].log();
    assert_eq!(log.matches(text).count(), 1, "one line with {text:?} in:\n{log}");
}

/// The disk is well again.
async fn kill_and_finish(run: &mut Run, mut world: World, since: Instant) {
    let (took, places) = world.published_after(Instant::now()).await;
    run.measures.add("publishing again", took, Duration::from_secs(2));
    world.current_after(since, &places).await;
    world.hubs[0].kill().await;
    world.hubs[0].start_well().await;
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}
