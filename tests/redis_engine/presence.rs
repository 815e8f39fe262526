//! What the contract says of presence managers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fanfare::engine::contract::{Operation, Outcome};
use fanfare::engine::redis::Options;
use fanfare::model::{ClientId, ClientInfo, ErrorCode, PresenceStats};
use fanfare::telemetry::EngineCounter;

use super::bed::Bed;
use super::servers::{Program, Server};
use super::streams::on_each;

pub fn client(user: &str, n: u8) -> Arc<ClientInfo> {
    let client = ClientId::from_random([n; 16]);
    Arc::new(ClientInfo { user: user.into(), client, conn_info: None, chan_info: None })
}

pub fn attend(clients: &[Arc<ClientInfo>]) -> Operation {
    Operation::Attend { clients: clients.to_vec(), ttl: Duration::from_secs(60) }
}

pub async fn list(bed: &Bed) -> BTreeSet<String> {
    match bed.ask("room", Operation::Presence { clients_max: 1000 }).await {
        Ok(Outcome::Presence(clients)) => clients.iter().map(|info| format!("{} {}", info.user, info.client)).collect(),
        other => panic!("{other:?}"),
    }
}

pub async fn stats(bed: &Bed) -> (u32, u32) {
    match bed.ask("room", Operation::PresenceStats).await {
        Ok(Outcome::PresenceStats(PresenceStats { clients, users })) => (clients, users),
        other => panic!("{other:?}"),
    }
}

on_each!(clients_and_users_are_counted_apart, async |bed: Bed, _server: Server| {
    assert_eq!(stats(&bed).await, (0, 0));
    let (ann, again, bob) = (client("ann", 1), client("ann", 2), client("3:bob", 3));
    bed.submit("room", attend(&[ann.clone(), again.clone(), bob.clone()]));
    bed.submit("room", attend(&[ann.clone(), client("", 4)]));
    assert_eq!(stats(&bed).await, (4, 3));
    assert_eq!(list(&bed).await.len(), 4);
    assert!(list(&bed).await.contains(&format!("3:bob {}", bob.client)));
    bed.submit("room", Operation::Leave(ann.client));
    bed.submit("room", Operation::Leave(ann.client));
    assert_eq!(stats(&bed).await, (3, 3), "the other client of that user is left");
    bed.submit("room", Operation::Leave(again.client));
    assert_eq!(stats(&bed).await, (2, 2));
});

on_each!(large_rooms_are_not_listed, async |bed: Bed, _server: Server| {
    let clients: Vec<_> = (0..=255).map(|n| client(&format!("user{}", n % 7), n)).collect();
    bed.submit("room", attend(&clients));
    assert_eq!(stats(&bed).await, (256, 7));
    let answer = bed.ask("room", Operation::Presence { clients_max: 255 }).await;
    assert_eq!(answer.map(drop), Err(ErrorCode::LimitExceeded));
    assert_eq!(list(&bed).await.len(), 256);
});

on_each!(ghosts_are_gone_after_their_time, async |bed: Bed, server: Server| {
    let ghosts = [client("ann", 1), client("bob", 2)];
    bed.submit("room", Operation::Attend { clients: ghosts.to_vec(), ttl: Duration::from_millis(1) });
    bed.submit("room", attend(&[client("ann", 3)]));
    while stats(&bed).await != (1, 1) {}
    assert_eq!(list(&bed).await.len(), 1);
    let ttl: u64 = server.say(&["PTTL", "fanfare.presence.users.{room}"]).parse().expect("a number");
    assert!((50_000..=60_000).contains(&ttl), "{ttl}: an empty room costs nothing in the end");
});

on_each!(foreign_clients_are_passed_over, async |bed: Bed, server: Server| {
    bed.submit("room", attend(&[client("ann", 1)]));
    assert_eq!(stats(&bed).await, (1, 1));
    for entry in ["", "nothing", "5:ann", "99999999999999999999:x", "3:bob\u{1}"] {
        server.say(&["HSET", "fanfare.presence.clients.{room}", entry, entry]);
    }
    assert_eq!(list(&bed).await.len(), 1);
    assert_eq!(bed.count(EngineCounter::Foreign), 5);
});

/// The server ends fields of hashes by itself, where it is new enough.
async fn with_fields() -> Option<(Bed, Server)> {
    let server = Server::start_program(Program::Valkey, &[])?;
    let bed = Bed::start(&Options { has_presence_fields: true, ..Options::new(vec![server.deployment()]) });
    bed.until(|bed| bed.metrics.is_ready()).await;
    Some((bed, server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_expire_are_presence_as_well() {
    let Some((bed, server)) = with_fields().await else { return };
    assert_eq!(stats(&bed).await, (0, 0));
    let (ann, again, bob) = (client("ann", 1), client("ann", 2), client("3:bob", 3));
    bed.submit("room", attend(&[ann.clone(), again.clone(), bob.clone()]));
    bed.submit("room", attend(&[ann.clone(), client("", 4)]));
    assert_eq!(stats(&bed).await, (4, 3));
    assert!(list(&bed).await.contains(&format!("3:bob {}", bob.client)));
    let answer = bed.ask("room", Operation::Presence { clients_max: 3 }).await;
    assert_eq!(answer.map(drop), Err(ErrorCode::LimitExceeded));
    bed.submit("room", Operation::Leave(ann.client));
    bed.submit("room", Operation::Leave(ann.client));
    assert_eq!(stats(&bed).await, (3, 3), "the other client of that user is left");
    let ttl = server.say(&["HPTTL", "fanfare.presence.user_fields.{room}", "FIELDS", "1", "ann"]);
    assert!((50_000..=60_000).contains(&ttl.parse::<i64>().unwrap_or(-9)), "{ttl}");
    bed.submit("room", Operation::Leave(again.client));
    assert_eq!(stats(&bed).await, (2, 2));
    assert_eq!(server.say(&["KEYS", "*expiries*"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_expire_leave_no_ghosts() {
    let Some((bed, server)) = with_fields().await else { return };
    let ghosts = [client("ann", 1), client("bob", 2)];
    bed.submit("room", attend(&[client("ann", 3)]));
    bed.submit("room", Operation::Attend { clients: ghosts.to_vec(), ttl: Duration::from_millis(1) });
    bed.submit("room", attend(&[client("ann", 3)]));
    while stats(&bed).await != (1, 1) {}
    assert_eq!(list(&bed).await.len(), 1);
    bed.submit("room", Operation::Leave(client("ann", 3).client));
    assert_eq!(stats(&bed).await, (0, 0), "nobody is left, whatever was counted");
    assert_eq!(server.say(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_fields_that_expire_is_refused() {
    let server = Server::start(&[]);
    if server.say(&["COMMAND", "INFO", "HPEXPIRE"]).contains("hpexpire") {
        return;
    }
    let bed = Bed::start(&Options { has_presence_fields: true, ..Options::new(vec![server.deployment()]) });
    // Its other connection is there, the one for requests is not.
    let said = |name: &str| server.say(&["INFO", "commandstats"]).contains(name);
    bed.until(|_| said("cmdstat_command|info")).await;
    assert!(!bed.metrics.is_up());
    assert_eq!(bed.ask("room", Operation::PresenceStats).await.map(drop), Err(ErrorCode::Internal));
}
