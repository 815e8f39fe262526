//! Several servers that act as one: sentinels and a cluster.

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use fanfare::engine::contract::{Operation, Outcome};
use fanfare::engine::redis::{Deployment, Login, Options, Sentinel, start_control};
use fanfare::model::Position;

use super::bed::{Bed, PATIENCE, kept, position, publish, read};
use super::servers::{Program, Server, free_port, say};

/// Waits until the server says something that `condition` accepts.
pub async fn until_said(port: u16, arguments: &[&str], condition: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    while !condition(&say(port, arguments)) {
        assert!(begun.elapsed() < PATIENCE, "{arguments:?}: {}", say(port, arguments));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn sentinel(master: &Server) -> Server {
    let port = free_port();
    let config = [
        format!("sentinel monitor mymaster 127.0.0.1 {} 2", master.port),
        "sentinel down-after-milliseconds mymaster 500".to_owned(),
        "sentinel failover-timeout mymaster 3000".to_owned(),
    ];
    Server::start_configured(port, &config.join("\n"), &["--sentinel"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_is_followed() {
    let mut master = Server::start(&[]);
    let port = master.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    until_said(replica.port, &["INFO", "replication"], |info| info.contains("master_link_status:up")).await;
    let sentinels = [sentinel(&master), sentinel(&master), sentinel(&master)];
    for sentinel in &sentinels {
        let known = |info: &str| info.contains("slaves=1,sentinels=3");
        until_said(sentinel.port, &["INFO", "sentinel"], known).await;
    }
    let sentinel = Sentinel {
        addresses: sentinels.iter().map(Server::address).collect(),
        master_name: "mymaster".to_owned(),
        login: Login::default(),
        tls: None,
    };
    let mut bed = Bed::ready(Deployment::Sentinel(sentinel)).await;
    bed.listen("room").await;
    let at = bed.publish("room", "1").await;
    bed.next_publication().await;
    assert_eq!(master.say(&["WAIT", "1", "0"]), "1");
    master.kill();
    bed.wait_for_recheck(&["room"]).await;
    let again = position(bed.insist("room", || publish("2", |_| ())).await);
    assert_eq!(again, Some(Position { offset: 2, ..at }), "the replica had it all");
    assert_eq!(bed.next_publication().await.2, "2");
    assert_eq!(replica.say(&["EXISTS", "fanfare.stream.{room}"]), "1");

    // The old one comes back, as a replica of the new one: nobody is misled.
    master.run();
    until_said(master.port, &["ROLE"], |role| role.starts_with("slave")).await;
    assert_eq!(bed.publish("room", "3").await.offset, 3);
    assert_eq!(bed.next_publication().await.2, "3");
}

pub fn cluster(count: usize, replicas: usize) -> Vec<Server> {
    cluster_of(Program::Redis, count, replicas).expect("redis-server is there")
}

/// `None`: the program is not installed.
fn cluster_of(program: Program, count: usize, replicas: usize) -> Option<Vec<Server>> {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
    let servers: Option<Vec<Server>> = (0..count).map(|_| Server::start_program(program, &options)).collect();
    let servers = servers?;
    let addresses = servers.iter().map(|server| server.address().to_string());
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
        .output()
        .expect("redis-cli is there: run tests/install.sh");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    Some(servers)
}

async fn ready(servers: &[Server]) -> Bed {
    for server in servers {
        until_said(server.port, &["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok")).await;
    }
    Bed::ready(Deployment::Cluster(vec![servers[0].address()])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_used_as_a_whole() {
    for program in [Program::Redis, Program::Valkey] {
        if let Some(servers) = cluster_of(program, 3, 0) {
            use_as_a_whole(&servers).await;
        }
    }
}

async fn use_as_a_whole(servers: &[Server]) {
    let mut bed = ready(servers).await;
    let rooms: Vec<String> = (0..60).map(|n| format!("room:{n}")).collect();
    for room in &rooms {
        bed.listen(room).await;
        assert_eq!(bed.publish(room, "1").await.offset, 1);
        assert_eq!(bed.next_publication().await.0, *room);
    }
    for server in servers {
        assert!(server.say(&["DBSIZE"]).parse::<usize>().expect("a number") >= 20);
        assert!(server.say(&["PUBSUB", "SHARDCHANNELS"]).lines().count() >= 10, "subscriptions are spread as well");
    }
    bed.submit("room:0", Operation::Unlisten);
    bed.publish("room:0", "unheard").await;
    bed.publish("room:1", "heard").await;
    // The unlisten and the publish have different connections, so the first one may still be heard.
    while bed.next_publication().await.2 != "heard" {}
    let answer = bed.ask("room:3", Operation::PresenceStats).await;
    assert!(matches!(answer, Ok(Outcome::PresenceStats(_))), "{answer:?}");
}

/// Moves slots while they are published to. Each publication is confirmed in its order, or refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_are_followed() {
    for program in [Program::Redis, Program::Valkey] {
        if let Some(servers) = cluster_of(program, 3, 0) {
            move_slots(&servers).await;
        }
    }
}

async fn move_slots(servers: &[Server]) {
    let mut bed = ready(servers).await;
    let rooms: Vec<String> = (0..200).map(|n| format!("room:{n}")).collect();
    for room in &rooms {
        bed.listen(room).await;
        bed.publish(room, "1").await;
    }
    let ids: Vec<String> = servers.iter().map(|server| server.say(&["CLUSTER", "MYID"])).collect();
    let mut resharding = Command::new("redis-cli")
        .args(["--cluster", "reshard", &servers[0].address().to_string(), "--cluster-from", &ids[0]])
        .args(["--cluster-to", &ids[1], "--cluster-slots", "1500", "--cluster-yes"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("redis-cli runs");
    let mut newest = vec![1; rooms.len()];
    let mut refused = 0;
    let ended = loop {
        if let Some(ended) = resharding.try_wait().expect("it is our child") {
            break ended;
        }
        for (room, newest) in rooms.iter().zip(&mut newest) {
            match bed.ask(room, publish("2", |_| ())).await {
                Ok(outcome) => {
                    let at = position(outcome).expect("kept");
                    assert!(at.offset > *newest, "{room}: {} after {newest}", at.offset);
                    *newest = at.offset;
                }
                Err(_) => refused += 1,
            }
        }
    };
    println!("{} publications, {refused} refused", newest.iter().sum::<u64>());
    assert!(ended.success(), "redis-cli could not move all of them");

    // Each is heard where it is now: sooner or later, since a subscription follows its slot a moment after it.
    let begun = Instant::now();
    let mut missing: HashSet<String> = rooms.iter().cloned().collect();
    while !missing.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{missing:?} are not heard");
        for room in &missing {
            bed.insist(room, || publish("last", |_| ())).await;
        }
        while let Some((room, _, text)) = bed.heard_publication() {
            if text == "last" {
                missing.remove(&room);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_that_dies_is_replaced() {
    let mut servers = cluster(6, 1);
    let mut bed = ready(&servers).await;
    let masters: HashSet<u16> =
        servers.iter().filter(|server| server.say(&["ROLE"]).starts_with("master")).map(|server| server.port).collect();
    let rooms: Vec<String> = (0..30).map(|n| format!("room:{n}")).collect();
    let mut positions = Vec::new();
    for room in &rooms {
        bed.listen(room).await;
        positions.push(bed.publish(room, "1").await);
        bed.next_publication().await;
    }
    let victim = servers.iter_mut().find(|server| masters.contains(&server.port)).expect("three are masters");
    let lost: Vec<&str> = {
        let heard = victim.say(&["PUBSUB", "SHARDCHANNELS"]);
        rooms.iter().map(String::as_str).filter(|room| heard.contains(&format!("{{{room}}}"))).collect()
    };
    assert!(!lost.is_empty());
    assert_eq!(victim.say(&["WAIT", "1", "1000"]), "1");
    victim.kill();
    bed.wait_for_recheck(&lost).await;
    for (room, at) in rooms.iter().zip(positions) {
        let again = position(bed.insist(room, || publish("2", |_| ())).await).expect("kept");
        assert_eq!((again.epoch, again.offset), (at.epoch, 2), "{room}");
        assert_eq!(bed.next_publication().await.2, "2");
    }
    let Outcome::Read(stream) = bed.insist(lost[0], || read(0, None)).await else { panic!("a stream") };
    assert_eq!(kept(&stream).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_one_another_over_a_cluster() {
    let servers = cluster(3, 0);
    ready(&servers).await;
    let options = Options::new(vec![Deployment::Cluster(servers.iter().map(Server::address).collect())]);
    let (one, _) = start_control(&options, "one", std::sync::Arc::default());
    let (_two, mut to_two) = start_control(&options, "two", std::sync::Arc::default());
    let begun = Instant::now();
    // At most once: those that are sent before the other one hears are lost.
    while to_two.try_recv().is_err() {
        assert!(begun.elapsed() < PATIENCE);
        one.send("two", bytes::Bytes::from_static(b"hello"));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
