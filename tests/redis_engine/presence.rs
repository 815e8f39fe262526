//! What the contract says of presence managers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fanfare::engine::contract::{Operation, Outcome};
use fanfare::model::{ClientId, ClientInfo, ErrorCode, PresenceStats};
use fanfare::telemetry::EngineCounter;

use super::bed::Bed;
use super::servers::{Program, Server};
use super::streams::on_each;

pub fn client(user: &str, n: u8) -> Arc<ClientInfo> {
    let client = ClientId::from_random([n; 16]);
    Arc::new(ClientInfo { user: user.into(), client, conn_info: None, chan_info: None })
}

fn attend(clients: &[Arc<ClientInfo>]) -> Operation {
    Operation::Attend { clients: clients.to_vec(), ttl: Duration::from_secs(60) }
}

async fn list(bed: &Bed) -> BTreeSet<String> {
    match bed.ask("room", Operation::Presence { clients_max: 1000 }).await {
        Ok(Outcome::Presence(clients)) => clients.iter().map(|info| format!("{} {}", info.user, info.client)).collect(),
        other => panic!("{other:?}"),
    }
}

async fn stats(bed: &Bed) -> (u32, u32) {
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
