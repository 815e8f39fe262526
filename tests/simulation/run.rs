//! Runs seeds, on two threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::ledger::{Promise, Violation};
use super::plan::Planted;
use super::report::Tally;
use super::world::World;

const SEEDS: u64 = 1000;

fn run(seed: u64, planted: Planted, prints: bool) -> (Tally, Result<(), Violation>) {
    let mut world = World::new(seed, planted, prints);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default();
        Err(Violation { promise: Promise::I5, what: format!("a panic: {what}") })
    });
    (world.tally, outcome)
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

pub fn run_seeds() {
    if let Some(seed) = number_from("SEED") {
        let (tally, outcome) = run(seed, Planted::Nothing, true);
        println!("{}", tally.table(1));
        if let Err(violation) = outcome {
            panic!("seed {seed}: {:?}: {}", violation.promise, violation.what);
        }
        return;
    }
    let seeds = number_from("SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let all = Mutex::new((Tally::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let (tally, outcome) = run(seed, Planted::Nothing, false);
                    let mut all = all.lock().expect("nobody panics with it");
                    all.0.join(&tally);
                    if let Err(violation) = outcome {
                        all.1.push((seed, violation));
                    }
                }
            });
        }
    });
    let (tally, violations) = all.into_inner().expect("nobody panics with it");
    println!("{}", tally.table(seeds));
    for (seed, violation) in &violations {
        println!("SEED={seed}: {:?}: {}", violation.promise, violation.what);
    }
    assert!(violations.is_empty(), "{} of {seeds} seeds broke a promise", violations.len());
    let rare = tally.rare(seeds);
    assert!(rare.is_empty(), "too rare to be tested: {rare:?}");
}

/// The first seed in which the planted fault shows.
pub fn find_violation(planted: Planted) -> Option<(u64, Violation)> {
    (0..300).find_map(|seed| run(seed, planted, false).1.err().map(|violation| (seed, violation)))
}
