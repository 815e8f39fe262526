//! What may be a little old is read from replicas, and from the master wherever a replica can't say for sure.

use fanfare::engine::contract::Operation;
use fanfare::engine::redis::{Deployment, Options};
use fanfare::model::Since;
use fanfare::telemetry::EngineCounter;

use super::bed::{Bed, kept};
use super::fleets::{cluster, until_said};
use super::presence::{attend, client, list, stats};
use super::servers::{Program, Server};

fn replica_of(master: &Server) -> Server {
    Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string(), "--replica-read-only", "no"])
}

/// An engine that reads the replica, and both servers.
async fn bed() -> (Bed, Server, Server) {
    let master = Server::start(&[]);
    let replica = replica_of(&master);
    until_said(replica.port, &["INFO", "replication"], |info| info.contains("master_link_status:up")).await;
    let bed = Bed::start(&Options { reads_replicas: true, ..Options::new(vec![master.deployment()]) });
    bed.until(|bed| bed.metrics.is_ready()).await;
    // A page of a stream that is there, until it comes from the replica.
    bed.publish("first", "1").await;
    while replica_reads(&bed) == 0 {
        assert_eq!(pages(&bed, "first").await, [1]);
    }
    (bed, master, replica)
}

fn replica_reads(bed: &Bed) -> u64 {
    bed.count(EngineCounter::ReplicaReads)
}

async fn pages(bed: &Bed, channel: &str) -> Vec<u64> {
    let page = bed.page(channel, 100, None, false).await.expect("a page");
    page.publications.iter().map(|publication| publication.offset).collect()
}

/// All that was published before is there too.
fn caught_up(master: &Server) {
    assert_eq!(master.say(&["WAIT", "1", "0"]), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_presence_come_from_a_replica() {
    let (bed, master, _replica) = bed().await;
    for n in 1..=5 {
        bed.publish("room", &n.to_string()).await;
    }
    bed.submit("room", attend(&[client("ann", 1), client("ann", 2), client("bob", 3)]));
    // Recovery is the master's, and by its answer the master has done all that was asked before.
    assert_eq!(kept(&bed.read("room", 2, None).await).len(), 3);
    caught_up(&master);
    let before = replica_reads(&bed);
    assert_eq!(pages(&bed, "room").await, [1, 2, 3, 4, 5]);
    let newest = bed.page("room", 2, None, true).await.expect("a page");
    assert_eq!((newest.publications[0].offset, newest.publications.len(), newest.offset), (5, 2, 5));
    assert_eq!(stats(&bed).await, (3, 2));
    assert_eq!(list(&bed).await.len(), 3);
    assert_eq!(replica_reads(&bed), before + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_leaves_out_whose_time_is_up() {
    let (bed, master, _replica) = bed().await;
    bed.submit("room", attend(&[client("ann", 1), client("bob", 2)]));
    let ttl = std::time::Duration::from_millis(1);
    bed.submit("room", Operation::Attend { clients: vec![client("ann", 3), client("eve", 4)], ttl });
    assert_eq!(bed.read("room", 0, None).await.position().offset, 0);
    caught_up(&master);
    while stats(&bed).await != (2, 2) {}
    assert_eq!(list(&bed).await.len(), 2);
    assert_eq!(master.say(&["HLEN", "fanfare.presence.clients.{room}"]), "4", "a read changes nothing");
}

/// Where the server ends fields by itself, its replica does not show them either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_expire_are_read_from_a_replica() {
    let Some(master) = Server::start_program(Program::Valkey, &[]) else { return };
    let port = master.port.to_string();
    let replica = Server::start_program(Program::Valkey, &["--replicaof", "127.0.0.1", &port]);
    let replica = replica.expect("Valkey is there");
    until_said(replica.port, &["INFO", "replication"], |info| info.contains("master_link_status:up")).await;
    let options =
        Options { reads_replicas: true, has_presence_fields: true, ..Options::new(vec![master.deployment()]) };
    let bed = Bed::start(&options);
    bed.until(|bed| bed.metrics.is_ready()).await;
    bed.submit("room", attend(&[client("ann", 1), client("ann", 2)]));
    let ttl = std::time::Duration::from_millis(1);
    bed.submit("room", Operation::Attend { clients: vec![client("eve", 3)], ttl });
    let mut counted = (0, 0);
    while replica_reads(&bed) == 0 || counted != (2, 1) {
        counted = stats(&bed).await;
    }
    assert_eq!(list(&bed).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_does_not_know_its_master_does() {
    let (bed, master, replica) = bed().await;
    for n in 1..=3 {
        bed.publish("room", &n.to_string()).await;
    }
    caught_up(&master);
    let before = replica_reads(&bed);
    // It is behind what the client has seen.
    replica.say(&["HSET", "fanfare.meta.{room}", "s", "2"]);
    let since = |offset| Some(Since { offset, epoch: "".into() });
    assert_eq!(bed.page("room", 9, since(3), false).await.expect("a page").offset, 3);
    // Its stream is ahead of its meta.
    assert_eq!(bed.page("room", 9, None, false).await.expect("a page").offset, 3);
    // It has an older epoch.
    let epoch = bed.page("room", 9, None, false).await.expect("a page").epoch;
    replica.say(&["HSET", "fanfare.meta.{room}", "s", "3", "e", "abcdefgh"]);
    let since = Some(Since { offset: 3, epoch: epoch.as_str().into() });
    assert_eq!(bed.page("room", 9, since, false).await.expect("a page").epoch, epoch);
    // It has nothing.
    replica.say(&["DEL", "fanfare.meta.{room}", "fanfare.stream.{room}"]);
    assert_eq!(pages(&bed, "room").await, [1, 2, 3]);
    assert_eq!(replica_reads(&bed), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_slow_or_away_is_not_missed() {
    let (bed, _master, mut replica) = bed().await;
    replica.stop();
    for _ in 0..10 {
        assert_eq!(pages(&bed, "first").await, [1], "the master answers in the time that is left");
    }
    replica.go_on();
    replica.kill();
    for _ in 0..10 {
        assert_eq!(pages(&bed, "first").await, [1]);
        assert!(bed.metrics.is_ready());
    }
    assert_eq!(bed.count(EngineCounter::Failures), 0);
    replica.run();
    let before = replica_reads(&bed);
    while replica_reads(&bed) == before {
        assert_eq!(pages(&bed, "first").await, [1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_cluster_answer_for_their_slots() {
    let servers = cluster(6, 1);
    for server in &servers {
        until_said(server.port, &["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok")).await;
    }
    let cluster = Deployment::Cluster(vec![servers[0].address()]);
    let bed = Bed::start(&Options { reads_replicas: true, ..Options::new(vec![cluster]) });
    bed.until(|bed| bed.metrics.is_ready()).await;
    for n in 0..30 {
        bed.publish(&format!("room:{n}"), "1").await;
    }
    // Each master's replica in turn.
    for n in 0..30 {
        let before = replica_reads(&bed);
        while replica_reads(&bed) == before {
            assert_eq!(pages(&bed, &format!("room:{n}")).await, [1]);
        }
    }
}
