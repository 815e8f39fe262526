//! One list of cases, run over each engine by the hub's own binary: what `engine/contract.rs` promises, as clients and
//! the application see it.
//!
//! An engine is a row below, a case a line in `CASES`. Servers are real ones, started for the row. `CASE=part-of-a-name`
//! runs only the cases whose names have it. Read `engines/bed.rs` first.

/// What a case runs on: hubs with one engine.
#[path = "engines/bed.rs"]
mod bed;
/// The checker finds what is planted.
#[path = "support/rig/checker_tests.rs"]
mod checker_tests;
/// What a subscriber is given, and how.
#[path = "engines/delivery.rs"]
mod delivery;
/// Several hubs on one broker.
#[path = "engines/fleet.rs"]
mod fleet;
/// Applies differences, from the client's side.
#[path = "support/fossil.rs"]
mod fossil;
/// Idempotency keys and versions.
#[path = "engines/once.rs"]
mod once;
/// Who is there.
#[path = "engines/presence.rs"]
mod presence;
/// The proxy does what it says.
#[path = "support/rig/proxy_tests.rs"]
mod proxy_tests;
/// Coming back with a position.
#[path = "engines/recovery.rs"]
mod recovery;
/// A hub that was killed, and started again.
#[path = "engines/restart.rs"]
mod restart;
#[path = "support/rig/mod.rs"]
mod rig;
/// Brokers start, and keep what they should.
#[path = "support/rig/servers_tests.rs"]
mod servers_tests;
/// Positions and histories.
#[path = "engines/streams.rs"]
mod streams;

use bed::{Case, Needs, run};
use rig::engine::Engine;

#[tokio::test]
async fn memory() {
    run(Engine::memory(), CASES).await;
}

#[tokio::test]
async fn disk() {
    run(Engine::disk("memory"), CASES).await;
}

#[tokio::test]
async fn disk_with_fsync() {
    run(Engine::disk("fsync"), CASES).await;
}

#[tokio::test]
async fn redis() {
    run(Engine::redis().await, CASES).await;
}

#[tokio::test]
async fn redis_behind_a_sentinel() {
    run(Engine::redis_sentinel(1).await, CASES).await;
}

#[tokio::test]
async fn redis_cluster() {
    run(Engine::redis_cluster().await, CASES).await;
}

#[tokio::test]
async fn redis_sharded() {
    run(Engine::redis_sharded().await, CASES).await;
}

#[tokio::test]
async fn nats_and_redis() {
    run(Engine::nats_and_redis().await, CASES).await;
}

#[tokio::test]
async fn valkey() {
    run(Engine::valkey().await, CASES).await;
}

#[tokio::test]
async fn nats() {
    run(Engine::nats().await, CASES).await;
}

#[tokio::test]
async fn current_nats() {
    run(Engine::current_nats().await, CASES).await;
}

/// Makes a case of a function.
macro_rules! case {
    ($needs:ident, $function:path) => {
        Case { name: stringify!($function), needs: Needs::$needs, run: |bed| Box::pin($function(bed)) }
    };
}

const CASES: &[Case] = &[
    case!(OneHub, streams::publications_are_numbered),
    case!(OneHub, streams::pages_of_history_are_what_was_asked_for),
    case!(OneHub, streams::a_history_keeps_its_newest),
    case!(OneHub, streams::removing_a_history_begins_another_epoch),
    case!(OneHub, streams::publications_that_skip_history_are_only_delivered),
    case!(OneHub, streams::channels_without_history_have_no_positions),
    case!(OneHub, streams::names_of_channels_are_kept_apart),
    case!(OneHub, delivery::many_publishers_are_in_one_order),
    case!(OneHub, delivery::a_publication_keeps_what_belongs_to_it),
    case!(OneHub, delivery::a_broadcast_reaches_each_channel),
    case!(OneHub, delivery::differences_restore_what_was_published),
    case!(OneHub, delivery::large_publications_come_whole),
    case!(OneHub, recovery::all_that_was_missed_is_recovered),
    case!(OneHub, recovery::nothing_missed_is_recovered_too),
    case!(OneHub, recovery::what_is_trimmed_is_not_recovered),
    case!(OneHub, recovery::another_epoch_is_not_recovered),
    case!(OneHub, recovery::a_position_from_the_future_is_not_recovered),
    case!(OneHub, recovery::who_must_recover_is_refused),
    case!(OneHub, recovery::a_cache_gives_its_newest),
    case!(OneHub, once::a_key_is_published_once),
    case!(OneHub, once::a_key_is_of_one_channel),
    case!(OneHub, once::of_many_at_once_one_is_published),
    case!(OneHub, once::only_newer_versions_are_published),
    case!(OneHub, once::an_epoch_of_versions_begins_anew),
    case!(OneHub, presence::who_is_there_is_listed_and_counted),
    case!(OneHub, presence::who_leaves_or_is_cut_is_not_listed),
    case!(OneHub, presence::joins_and_leaves_are_told),
    case!(OneHub, presence::who_stays_is_listed_past_the_ttl),
    case!(OwnHubs, restart::what_survives_a_kill_is_recovered),
    case!(OwnHubs, restart::keys_survive_with_their_stream),
    case!(OwnHubs, restart::readers_are_never_deceived),
    case!(Fleet, fleet::both_hubs_deliver_in_one_order),
    case!(Fleet, fleet::channels_without_history_reach_both),
    case!(Fleet, fleet::recovery_goes_on_at_the_other_hub),
    case!(Fleet, fleet::a_key_is_published_once_by_both),
    case!(Fleet, fleet::a_history_removed_by_one_is_told_by_the_other),
    case!(Fleet, fleet::presence_is_of_both),
    case!(Fleet, fleet::joins_and_leaves_reach_the_other),
    case!(Fleet, fleet::a_killed_hub_leaves_no_ghosts),
    case!(Fleet, fleet::users_are_reached_at_the_other_hub),
    case!(Fleet, fleet::info_and_channels_are_of_both),
    case!(Fleet, fleet::a_prefix_keeps_clusters_apart),
];
