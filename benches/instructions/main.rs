//! Instructions of ours for each piece of work on a message's way, compared with a stored baseline.
//!
//! CPU time moves with whatever else the machine does; the count of executed instructions hardly
//! does, so a rise is a change of the code. Each subject runs in its own process under callgrind
//! (Debian package `valgrind`), which counts inside [`callgrind::counted_section`] alone. A count
//! that is more than a tenth above `benches/baseline.json`, or above its subject's own limit, fails.
//!
//! `make instructions` compares; `UPDATE=1 make instructions` makes what is counted the baseline.
//!
//! Valgrind shows every machine with AVX2 the same processor, so the C library picks the same copies
//! on all of them. Another compiler or C library counts otherwise: the baseline says which compiler
//! made it.

mod baseline;
mod callgrind;
mod rooms;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::process::ExitCode;

use baseline::{Baseline, Verdict};

/// One piece of work that is counted.
pub struct Subject {
    pub name: &'static str,
    /// What the count is for one of.
    pub unit: &'static str,
    /// A limit of its own, whatever the baseline says.
    pub instructions_max: Option<f64>,
    /// Makes ready, does the work inside the counted section, returns how many units that were.
    pub work: fn() -> u64,
}

impl Subject {
    const fn new(name: &'static str, unit: &'static str, work: fn() -> u64) -> Subject {
        Subject { name, unit, instructions_max: None, work }
    }
}

fn main() -> ExitCode {
    let subjects: Vec<Subject> = wire::SUBJECTS.into_iter().chain(rooms::SUBJECTS).collect();
    if let Some(name) = callgrind::counted_subject() {
        let subject = subjects.iter().find(|subject| subject.name == name).expect("a subject of this bench");
        println!("{}", (subject.work)());
        return ExitCode::SUCCESS;
    }
    let stored = Baseline::load();
    let mut counted = Baseline::of_this_compiler();
    let mut failed = false;
    println!("{:<16} {:>12} {:>9}   for each", "subject", "instructions", "baseline");
    for subject in &subjects {
        let count = callgrind::count(subject.name);
        counted.set(subject.name, count);
        let old = stored.count_of(subject.name);
        let baseline = old.map_or("none".to_owned(), |old| format!("{old:.1}"));
        println!("{:<16} {count:>12.1} {baseline:>9}   {}", subject.name, subject.unit);
        if let Some(most) = subject.instructions_max.filter(|most| count > *most) {
            println!("  FAILED: {}: {count:.1} instructions, {most} are its limit", subject.name);
            failed = true;
        }
        match Verdict::of(old, count) {
            Verdict::Same => {}
            Verdict::Better => println!("  more than a tenth better: accept it with {ACCEPT}"),
            Verdict::Worse | Verdict::New if baseline::is_update() => {}
            Verdict::Worse | Verdict::New => {
                println!("  FAILED: {}: baseline {baseline}, now {count:.1}; if it is meant: {ACCEPT}", subject.name);
                failed = true;
            }
        }
    }
    if baseline::is_update() {
        counted.save();
        println!("the baseline is now what was counted");
    } else if stored.rustc != counted.rustc {
        println!("the baseline is of {}, these counts are of {}", stored.rustc, counted.rustc);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Makes what is counted the baseline.
const ACCEPT: &str = "UPDATE=1 make instructions";
