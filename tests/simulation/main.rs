//! The seeded simulation: two to four shards in one thread, on virtual time, with clients that speak
//! real wire bytes, under faults drawn from a seed. The promises of `docs/guarantees.md` are checked
//! after every event.
//!
//! `make simulation` runs 1,000 seeds and prints how often what occurred; a fault that is too rare
//! fails the test. `SEEDS=n` runs another number. `SEED=n` replays one seed and prints all that
//! happened in it:
//!
//! ```text
//! SEED=42 cargo test --release --test simulation promises -- --nocapture
//! ```
//!
//! Release builds are meant: they are fast, and without debug assertions it is the checker that has to
//! find what is wrong. A debug build runs a few seeds only.
//!
//! Read `world.rs` first, then `shard_loop.rs` (what drives a shard), `link.rs` and `hearing.rs` (what
//! clients do and how answers are judged), `subscription.rs` (I1 and I2), `watch.rs` (I5) and
//! `finale.rs` (everything comes to rest).

/// The backend: questions of the control plane.
mod api;
/// A broker, and the way to it.
mod broker;
/// Who the clients are, and what they know of their connections.
mod client;
/// What happens at random.
mod deeds;
/// Compression, from the client's side.
mod deflate;
/// The faults end, and everything has to come to rest.
mod finale;
/// Applies differences, from the client's side.
#[path = "../support/fossil.rs"]
mod fossil;
/// WebSocket, from the client's side.
mod frames;
/// What the backend grants.
mod granted;
/// Replies, held against what was asked.
mod hearing;
/// The workers, who end what they like first.
mod jobs;
/// Lanes, with planted faults.
mod lanes;
/// All that was published and told.
mod ledger;
/// What clients do with their connections.
mod link;
/// Channels, and who may do what in them.
mod namespaces;
/// One order for all.
mod order;
/// What one seed is like.
mod plan;
/// What clients are told unasked, up to the close frame.
mod pushes;
/// Answers to history and presence.
mod queries;
/// Repeated publishes, versions, and removed histories.
mod repeats;
/// How often what happened.
mod report;
/// Runs many seeds.
mod run;
/// A shard's event loop, step by step.
mod shard_loop;
/// Kernel buffers.
mod sockets;
/// One subscription, as its client sees it.
mod subscription;
/// Tokens of channels.
mod tokens;
/// Bounds that hold at any time.
mod watch;
/// What clients say and hear.
mod wire;
/// The same in JSON.
mod wire_json;
/// Time, events, and all there is.
mod world;

use lanes::LaneFault;
use ledger::Promise;
use plan::Planted;

#[test]
fn promises_hold_under_every_seed() {
    run::check_promises();
}

#[test]
fn the_same_seed_is_the_same_run() {
    run::check_repeatable();
}

#[test]
fn a_lane_that_drops_is_caught() {
    run::check_caught(Planted::Lane(LaneFault::Drops), &[Promise::I2, Promise::I5]);
}

#[test]
fn a_lane_that_repeats_is_caught() {
    // Where publications have positions the shard notices by itself, and counts a bug (I5).
    run::check_caught(Planted::Lane(LaneFault::Repeats), &[Promise::I1, Promise::I5]);
}

#[test]
fn a_lane_that_swaps_is_caught() {
    run::check_caught(Planted::Lane(LaneFault::Swaps), &[Promise::I1, Promise::I5]);
}

#[test]
fn an_answer_before_the_append_is_caught() {
    run::check_caught(Planted::AnswerBeforeAppend, &[Promise::I4]);
}

#[test]
fn sleeping_without_a_second_look_is_caught() {
    run::check_caught(Planted::NoSecondLook, &[Promise::I5]);
}

#[test]
fn a_broker_that_loses_is_caught() {
    run::check_caught(Planted::BrokerLoses, &[Promise::I2, Promise::I5]);
}

#[test]
fn a_broker_that_comes_back_silently_is_caught() {
    run::check_caught(Planted::NoRecheck, &[Promise::I2, Promise::I5]);
}

#[test]
fn recovery_off_by_one_is_caught() {
    run::check_caught(Planted::RecoveryOffByOne, &[Promise::I2]);
}

#[test]
fn a_repeated_publish_that_is_published_again_is_caught() {
    run::check_caught(Planted::ForgottenKeys, &[Promise::I1]);
}

#[test]
fn a_token_that_opens_another_channel_is_caught() {
    run::check_caught(Planted::ForeignTokens, &[Promise::I3]);
}

#[test]
fn a_grant_that_never_ends_is_caught() {
    run::check_caught(Planted::EndlessGrants, &[Promise::I5]);
}

#[test]
fn a_push_before_the_answer_to_connect_is_caught() {
    run::check_caught(Planted::HastyPushes, &[Promise::I3, Promise::Protocol]);
}

#[test]
fn an_old_version_that_is_published_is_caught() {
    run::check_caught(Planted::IgnoredVersions, &[Promise::I1, Promise::I3]);
}
