//! What a room of ten notices of what goes on beside it on its shard.
//!
//! The small room is published to every 10 ms by one of its clients, for two seconds and until all
//! is delivered; beside it 100,000 connections are members of one room, and something happens to
//! them. Sockets are sinks that cost what a system call costs. The latency of a delivery is counted
//! from when its publication was due, so nothing that waits is left out.
//!
//! `cargo bench --bench fairness` prints a table in half a minute; words after `--` pick the lines
//! that hold one of them. Nothing is asserted, since times are no test. A line's last column names
//! the longest single call of the shard: all else waits for it, so one that is far over a slice (1 ms)
//! is not sliced as it should be.

mod hub;
mod probe;
mod scenario;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use hub::{Hub, clock};
use probe::Probe;
use scenario::{SCENARIOS, Scenario};

const RUN: Duration = Duration::from_secs(2);

/// A run whose small room has not heard everything by then is told as it stands.
const RUN_MAX: Duration = Duration::from_secs(20);

fn main() {
    println!("latency of a delivery in the small room (ms), turns it took, longest turn and call (ms)");
    println!("{:<56} {:>7} {:>7} {:>7} {:>6} {:>8}   longest call", "beside it", "p50", "p99", "most", "turns", "turn");
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for scenario in SCENARIOS {
        if asked.is_empty() || asked.iter().any(|word| scenario.name.contains(word.as_str())) {
            run(scenario);
        }
    }
}

fn run(scenario: &Scenario) {
    let mut hub = Hub::new(scenario.options());
    let mut crowd = scenario.gather(&mut hub);
    // Last, so that a drain comes to it last.
    let mut probe = Probe::join(&mut hub);
    hub.begin();
    let began = clock();
    loop {
        let elapsed = clock() - began;
        if elapsed > RUN_MAX || (elapsed > RUN && probe.is_done()) {
            break;
        }
        crowd.go_on(&mut hub, elapsed);
        if elapsed <= RUN {
            probe.publish_due(&mut hub, began);
        }
        if !hub.is_idle() {
            hub.turn(&mut probe);
        }
    }
    let (turn, (call, what)) = (ms(hub.longest_turn), hub.longest_call);
    let latencies = probe.latencies();
    println!(
        "{:<56} {:>7.2} {:>7.2} {:>7.2} {:>6} {turn:>8.2}   {what} {:.2}",
        scenario.name,
        ms(latencies.p50),
        ms(latencies.p99),
        ms(latencies.most),
        latencies.turns_p99,
        ms(call),
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
