//! The servers start: a missing one is told here, by name.

use crate::rig::servers::{Persistence, Server};

#[tokio::test]
async fn a_redis_with_persistence_keeps_what_it_has_and_one_without_does_not() {
    for (persistence, expected) in [(Persistence::Always, "1\n"), (Persistence::Never, "\n")] {
        let mut server = Server::redis(persistence).await;
        server.command(&["set", "a", "1"]).await;
        server.kill().await;
        server.start_again().await;
        assert_eq!(server.command(&["get", "a"]).await, expected, "{persistence:?}");
    }
}

#[tokio::test]
async fn a_sentinel_watches_a_master_and_its_replica() {
    assert_eq!(Server::replicated(1).await.len(), 3);
}

#[tokio::test]
async fn a_cluster_shares_the_slots() {
    let nodes = Server::cluster().await;
    assert!(nodes[0].command(&["cluster", "info"]).await.contains("cluster_slots_ok:16384"));
}

#[tokio::test]
async fn valkey_and_both_versions_of_nats_start() {
    Server::valkey(Persistence::Never).await;
    Server::nats().await;
    Server::current_nats().await;
}
