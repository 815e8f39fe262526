//! Faults in real processes, under load: hubs and brokers are killed, stopped, slowed and cut off, and the checker
//! holds all that was sent and received against the promises. Recovery times are measured, and printed beside what
//! `docs/guarantees.md` promises.
//!
//! `make chaos` runs each scenario once. `make chaos MINUTES=30` goes on in random order until the time is over.
//! `SCENARIO=part-of-a-name` runs only those, `SEED=n` repeats what chance decided. A scenario fails on a violation
//! and on a promise that was not kept, but for what a busy machine explains.

/// A hub alone: kill loops, a stop, a drain.
mod alone;
/// Faults of the broker.
mod broker;
/// Faults of a hub with a log.
mod disk;
/// Hubs that share a broker, and lose one another.
mod fleet;
/// Many clients that come back at once.
mod herd;
/// What the machine does beside the tests.
mod machine;
/// What was measured, beside what was promised.
mod measure;
/// Faults between hubs and broker.
mod network;
#[path = "../support/rig/mod.rs"]
mod rig;
/// Faults in a row, by chance.
mod storm;
/// Hubs, readers and publishers of a scenario.
mod world;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use machine::Machine;
use measure::{Measures, Table};

/// A scenario draws on this for what chance decides, and says what it measured.
pub struct Run {
    pub random: fastrand::Rng,
    pub measures: Measures,
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

struct Scenario {
    name: &'static str,
    run: for<'a> fn(&'a mut Run) -> Running<'a>,
}

/// Longer than any scenario takes.
const SCENARIO_MAX: Duration = Duration::from_secs(90);

macro_rules! scenarios {
    ($($function:path),* $(,)?) => {
        &[$(Scenario { name: stringify!($function), run: |run| Box::pin($function(run)) }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    alone::killed_without_a_log,
    alone::stands_still,
    alone::ends_while_published_to,
    alone::answers_are_lost,
    alone::the_clock_jumps,
    alone::channels_are_withdrawn,
    herd::a_herd_waits_at_the_door,
    disk::killed_with_a_log,
    disk::killed_with_a_synced_log,
    disk::the_disk_is_full_and_publishes_wait_for_it,
    disk::the_disk_is_full_and_publishes_go_on,
    disk::a_write_fails,
    disk::a_sync_fails,
    disk::a_write_does_not_return,
    disk::a_sync_does_not_return,
    fleet::a_hub_is_killed,
    fleet::a_hub_stands_still,
    fleet::all_hubs_are_restarted_in_turn,
    fleet::channels_are_withdrawn_by_another_hub,
    broker::redis_restarts_with_persistence,
    broker::redis_restarts_empty,
    broker::redis_stands_still,
    broker::redis_is_slow,
    broker::sentinels_make_a_new_master,
    broker::sentinels_make_a_master_of_a_copy_that_is_behind,
    broker::redis_comes_late,
    broker::nats_comes_late,
    broker::ten_thousand_subscriptions_are_checked,
    broker::nats_restarts,
    broker::nats_stands_still,
    network::one_hub_is_cut_off,
    network::connections_to_redis_break,
    network::the_line_to_redis_is_thin,
    network::one_hub_is_cut_off_from_nats,
    network::one_hub_loses_its_line_to_redis,
    network::one_hub_loses_all_its_lines,
    herd::a_herd_comes_back,
    storm::anything_may_fail,
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    // What runs is driven by this thread; clients are tasks of the others.
    runtime.block_on(run_all())
}

async fn run_all() -> ExitCode {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let minutes: u64 = number("MINUTES").unwrap_or(0);
    let seed = number("SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let mut order: Vec<&Scenario> = SCENARIOS.iter().filter(|scenario| scenario.name.contains(&only)).collect();
    assert!(!order.is_empty(), "no scenario has {only:?} in its name");
    let began = Instant::now();
    let mut table = Table::default();
    let mut machine = Machine::watch();
    let mut failed = Vec::new();
    for round in 0.. {
        for scenario in &order {
            let seed = seed + round;
            if !run_one(scenario, seed, &mut machine, &mut table).await {
                failed.push(format!("SEED={seed} SCENARIO={}", scenario.name));
            }
        }
        if began.elapsed() >= Duration::from_secs(60 * minutes) {
            break;
        }
        fastrand::Rng::with_seed(seed + round).shuffle(&mut order);
    }
    println!("\n{table}\n{} s in all", began.elapsed().as_secs());
    failed.iter().for_each(|failure| println!("FAILED: {failure}"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all was well.
async fn run_one(scenario: &Scenario, seed: u64, machine: &mut Machine, table: &mut Table) -> bool {
    let began = Instant::now();
    fastrand::seed(seed);
    machine.begin();
    let mut run = Run { random: fastrand::Rng::with_seed(seed), measures: Measures::default() };
    let ending = AssertUnwindSafe(tokio::time::timeout(SCENARIO_MAX, (scenario.run)(&mut run))).catch_unwind().await;
    let is_over = matches!(ending, Ok(Ok(())));
    let allowance = machine.allowance();
    let broken = run.measures.broken(allowance);
    let is_well = is_over && broken.is_empty();
    let verdict = if is_well { "ok" } else { "FAILED" };
    println!(
        "{}: {verdict} (seed {seed}, {:.1} s, others take {:.0} % of the machine)",
        scenario.name,
        began.elapsed().as_secs_f64(),
        100.0 * (1.0 - 1.0 / allowance.stretch)
    );
    run.measures.notes.iter().for_each(|note| println!("    {note}"));
    broken.iter().for_each(|promise| println!("    promise broken: {promise}"));
    table.add(scenario.name, run.measures);
    is_well
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
