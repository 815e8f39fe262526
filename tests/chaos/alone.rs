use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::Run;
use crate::rig::checker::Losses;
use crate::rig::client::{Client, Refusal};
use crate::rig::engine::{Engine, Keeps};
use crate::rig::hub::Launch;
use crate::rig::journal::Event;
use crate::rig::proxy::Fault;
use crate::rig::{PATIENCE, until};
use crate::world::{Plan, Proxied, World};

/// Kills of one run; a nightly one repeats the scenario.
const KILLS: u32 = 20;

pub async fn killed_without_a_log(run: &mut Run) {
    kill_loop(run, Engine::memory()).await;
}

/// `kill -9` at random instants under load, and a start each time.
pub async fn kill_loop(run: &mut Run, engine: Engine) {
    let losses = if engine.keeps == Keeps::Nothing { Losses::WithNewEpoch } else { Losses::None };
    let plan = Plan { every: Duration::from_millis(2), ..Plan::new(1, run.random.u64(..)) };
    let mut world = World::start(engine, plan).await;
    for _ in 0..KILLS {
        world.flow(Duration::from_millis(run.random.u64(10..150))).await;
        world.hubs[0].kill().await;
        let took = world.hubs[0].start_again().await;
        run.measures.add("ready after a start", took, Duration::from_secs(1));
        let (took, _) = world.published_after(Instant::now()).await;
        run.measures.add("publishing again", took, Duration::from_secs(2));
    }
    let summary = world.finish(losses).await;
    run.measures.note(format!("{KILLS} kills: {summary:?}"));
}

/// SIGSTOP for longer than clients have for a pong: nobody is cut for what the hub did not do.
pub async fn stands_still(run: &mut Run) {
    let world = World::start(Engine::memory(), Plan::new(1, run.random.u64(..))).await;
    let stopped = Instant::now();
    world.hubs[0].stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.hubs[0].go_on();
    let (took, places) = world.published_after(Instant::now()).await;
    run.measures.add("publishing again", took, Duration::from_secs(1));
    world.current_after(stopped, &places).await;
    assert_eq!(world.ended_after(stopped), 0, "subscriptions ended");
    world.finish(Losses::None).await;
}

/// SIGTERM under load: what was accepted is answered, everybody is told, and the process ends with 0.
pub async fn ends_while_published_to(run: &mut Run) {
    let mut world = World::start(Engine::memory(), Plan::new(1, run.random.u64(..))).await;
    for _ in 0..5 {
        world.flow(Duration::from_millis(run.random.u64(10..150))).await;
        let since = Instant::now();
        let took = world.hubs[0].terminate().await;
        run.measures.add("drained", took, Duration::from_secs(15));
        let cut = |event: &Event| matches!(event, Event::Ended { reason, .. } if !reason.contains("3001"));
        assert_eq!(world.journal.count_after(since, cut), 0, "subscriptions ended without 3001");
        world.hubs[0].start_again().await;
        world.flow(Duration::ZERO).await;
        let unanswered = world.published_and_not_answered(since);
        assert!(unanswered.is_empty(), "published, and not answered: {unanswered:?}");
    }
    world.finish(Losses::WithNewEpoch).await;
}

/// Answers to publishers and everything else of clients is lost by chance: repeated publishes are there once, and
/// readers have all or are told.
pub async fn answers_are_lost(run: &mut Run) {
    let plan = Plan { proxied: Proxied::Clients, ..Plan::new(1, run.random.u64(..)) };
    let world = World::start(Engine::memory(), plan).await;
    world.proxies[0].set(Fault::Drop(0.02));
    let unconfirmed = || world.journal.count(|event| matches!(event, Event::Unconfirmed { .. }));
    until("20 answers to be lost", PATIENCE, async || (unconfirmed() >= 20).then_some(())).await;
    world.proxies[0].set(Fault::None);
    let healed = Instant::now();
    let (took, places) = world.published_after(healed).await;
    run.measures.add("publishing again", took, Duration::from_secs(2));
    run.measures.add("every reader current again", world.current_after(healed, &places).await, Duration::from_secs(5));
    let summary = world.finish(Losses::None).await;
    assert_eq!(summary.not_recovered, 0, "all who came back recovered: {summary:?}");
    run.measures.note(format!("{summary:?}"));
}

/// The clock on the wall jumps by hours and days, back and forth: pings, time-outs and histories do not follow it.
pub async fn the_clock_jumps(run: &mut Run) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let clock = folder.path().join("clock");
    set_clock(&clock, "+0");
    let plan = Plan { launch: with_clock(&clock), ..Plan::new(1, run.random.u64(..)) };
    let world = World::start(Engine::memory(), plan).await;
    let began = Instant::now();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let claims = json!({"sub": "expires soon", "exp": now.as_secs() + 600});
    for offset in ["+1h", "-1h", "+1d", "-1d", "+0"] {
        set_clock(&clock, offset);
        // Tokens do follow it: so it has jumped. libfaketime may have read the file a moment ago.
        let is_expired = async || {
            let refusal = Client::connect_as(world.hubs[0].address, claims.clone()).await.err();
            refusal == Some(Refusal::Code(109))
        };
        let look = async || (is_expired().await == offset.starts_with("+1")).then_some(());
        until(&format!("tokens to follow the clock to {offset}"), PATIENCE, look).await;
        // Each client is pinged every two seconds, and has one to answer.
        world.flow(Duration::from_millis(3_200)).await;
        assert_eq!(world.ended_after(began), 0, "subscriptions ended when the clock went {offset}");
    }
    world.finish(Losses::None).await;
}

/// Whoever reads the file has the old offset or the new one.
fn set_clock(clock: &Path, offset: &str) {
    let next = clock.with_extension("next");
    fs::write(&next, offset).and_then(|()| fs::rename(&next, clock)).expect("it can be written");
}

/// The file says how far the hub's clock is off, as libfaketime reads it.
fn with_clock(file: &Path) -> Launch {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library} is not there: run tests/install.sh (faketime)");
    let file = file.display().to_string();
    let set = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let variables = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Launch { variables, ..Launch::default() }
}

/// What the application takes away is not delivered from its answer on.
pub async fn channels_are_withdrawn(run: &mut Run) {
    withdraw(run, Engine::memory(), 1).await;
}

/// As above; the hub that is asked is not the reader's.
pub async fn withdraw(run: &mut Run, engine: Engine, hubs: usize) {
    let mut world = World::start(engine, Plan::new(hubs, run.random.u64(..))).await;
    let mut took = Vec::new();
    for reader in 0..20 {
        let channel = world.streams[run.random.usize(..world.streams.len())].clone();
        let asked = Instant::now();
        world.withdraw((reader as usize + 1) % hubs, reader, &channel).await;
        took.push(asked.elapsed());
        world.flow(Duration::from_millis(run.random.u64(0..50))).await;
    }
    let longest = took.into_iter().max().expect("some were taken away");
    run.measures.add("a withdrawal answered", longest, Duration::from_secs(1));
    world.finish(Losses::None).await;
}
