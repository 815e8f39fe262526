//! Two to four shards in one thread, on virtual time, with clients that speak real wire bytes.
mod api;
mod client;
mod deeds;
mod finale;
mod frames;
mod hearing;
mod lanes;
mod ledger;
mod link;
mod namespaces;
mod order;
mod plan;
mod queries;
mod report;
mod run;
mod shard_loop;
mod sockets;
mod subscription;
mod watch;
mod wire;
mod wire_json;
mod world;

use lanes::LaneFault;
use plan::Planted;
use run::{find_violation, run_seeds};

#[test]
fn promises_hold_under_every_seed() {
    run_seeds();
}

fn check_caught(planted: Planted) {
    let (seed, violation) = find_violation(planted).expect("the planted fault is found");
    println!("{planted:?}: seed {seed}: {:?}: {}", violation.promise, violation.what);
}

#[test]
fn a_lane_that_drops_is_caught() {
    check_caught(Planted::Lane(LaneFault::Drops));
}
#[test]
fn a_lane_that_repeats_is_caught() {
    check_caught(Planted::Lane(LaneFault::Repeats));
}
#[test]
fn a_lane_that_swaps_is_caught() {
    check_caught(Planted::Lane(LaneFault::Swaps));
}
#[test]
fn an_answer_before_the_append_is_caught() {
    check_caught(Planted::AnswerBeforeAppend);
}
#[test]
fn sleeping_without_a_second_look_is_caught() {
    check_caught(Planted::NoSecondLook);
}
#[test]
fn recovery_off_by_one_is_caught() {
    check_caught(Planted::RecoveryOffByOne);
}
