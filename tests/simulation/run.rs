//! Runs seeds, on as many threads as CI has cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::ledger::{Checked, Promise, Violation};
use super::plan::Planted;
use super::report::Tally;
use super::world::World;

const THREADS: usize = 2;

/// A debug build takes a second for each.
const SEEDS: u64 = if cfg!(debug_assertions) { 10 } else { 1000 };

/// With fewer seeds chance decides how often something occurs.
const SEEDS_TO_COUNT: u64 = 200;

/// Seeds for each planted fault, and in how many of a hundred it has to show: few of the seeds that
/// CI runs are enough to find it.
const PLANTED_SEEDS: u64 = if cfg!(debug_assertions) { 10 } else { 100 };
const CAUGHT_PERCENT_MIN: u64 = 30;

/// Runs all seeds and prints the table, or replays one; fails when a promise is broken, or when what
/// should be tested hardly happens.
pub fn check_promises() {
    if let Some(seed) = number_from("SEED") {
        let (tally, outcome) = run(seed, Planted::Nothing, true);
        println!("{}", tally.table(1));
        if let Err(Violation { promise, what }) = outcome {
            panic!("seed {seed}: {promise:?}: {what}");
        }
        return;
    }
    let seeds = number_from("SEEDS").unwrap_or(SEEDS);
    let (tally, violations) = run_all(seeds, Planted::Nothing);
    println!("{}", tally.table(seeds));
    for (seed, Violation { promise, what }) in &violations {
        println!("SEED={seed}: {promise:?}: {what}");
    }
    assert!(violations.is_empty(), "{} of {seeds} seeds broke a promise", violations.len());
    if seeds >= SEEDS_TO_COUNT {
        let rare = tally.rare(seeds);
        assert!(rare.is_empty(), "too rare to be tested: {rare:?}");
    }
}

/// Runs a seed twice.
pub fn check_repeatable() {
    let (first, again) = (run(1, Planted::Nothing, false), run(1, Planted::Nothing, false));
    assert_eq!(first.0, again.0, "what happened, and how often");
    assert_eq!(first.1, again.1);
}

/// The planted fault shows in many seeds, and breaks the promises that it should.
pub fn check_caught(planted: Planted, promises: &[Promise]) {
    let (_, violations) = run_all(PLANTED_SEEDS, planted);
    let caught = violations.iter().filter(|(_, violation)| promises.contains(&violation.promise)).count() as u64;
    let first = violations.iter().min_by_key(|(seed, _)| seed);
    println!("{planted:?}: caught in {caught} of {PLANTED_SEEDS} seeds, first by {first:?}");
    assert!(caught * 100 >= PLANTED_SEEDS * CAUGHT_PERCENT_MIN, "caught in {caught} of {PLANTED_SEEDS} seeds only");
}

fn run_all(seeds: u64, planted: Planted) -> (Tally, Vec<(u64, Violation)>) {
    let next = AtomicU64::new(0);
    let all = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let (tally, outcome) = run(seed, planted, false);
            let mut all = all.lock().expect("nobody panics with it");
            all.0.join(&tally);
            all.1.extend(outcome.err().map(|violation| (seed, violation)));
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    all.into_inner().expect("nobody panics with it")
}

fn run(seed: u64, planted: Planted, prints: bool) -> (Tally, Checked) {
    let mut world = World::new(seed, planted, prints);
    // A panic of a shard is a broken promise as well.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(Violation { promise: Promise::I5, what: format!("a panic: {}", text.unwrap_or_default()) })
    });
    (world.tally, outcome)
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
