//! Who is in a channel, for all nodes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fanfare::engine::contract::{Operation, Outcome};
use fanfare::model::{ClientId, ClientInfo, ErrorCode, PresenceStats};

use crate::engine_node::{EngineNode, client};
use crate::nats_server::Release;
use crate::{options, server_and_node, start};

const TTL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn presence_is_everybodys() {
    for release in Release::ALL {
        let (server, mut one) = server_and_node(release).await;
        let mut other = start(options(&server));
        other.ready().await;
        assert_eq!(present(&mut one, 10).await, Ok(vec![]), "nobody ever was");
        attend(&mut one, "chat", &[client("ann", 1), client("ann", 2)], TTL).await;
        attend(&mut other, "chat", &[client("bob", 3)], TTL).await;
        attend(&mut other, "chat.b", &[client("eve", 4)], TTL).await;
        assert_eq!(present(&mut other, 10).await, Ok(vec!["ann".into(), "ann".into(), "bob".into()]));
        assert_eq!(present(&mut other, 2).await, Err(ErrorCode::LimitExceeded));
        assert_eq!(stats(&mut one).await, PresenceStats { clients: 3, users: 2 });
        one.submit("chat", Operation::Leave(client("ann", 1).client));
        assert_eq!(stats(&mut one).await, PresenceStats { clients: 2, users: 2 });
        attend(&mut one, "chat", &[client("ann", 2)], TTL).await;
        assert_eq!(stats(&mut one).await, PresenceStats { clients: 2, users: 2 }, "who stays is there once");
    }
}

#[tokio::test]
async fn a_crowd_is_read_in_portions() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        attend(&mut node, "chat", &crowd(0..2500), TTL).await;
        assert_eq!(stats(&mut node).await, PresenceStats { clients: 2500, users: 100 });
    }
}

fn crowd(numbers: Range<u32>) -> Vec<Arc<ClientInfo>> {
    let client = |n: u32| {
        let client = ClientId::from_random([n.to_le_bytes(); 4].concat().try_into().expect("16 bytes"));
        Arc::new(ClientInfo { user: (n % 100).to_string().into(), client, conn_info: None, chan_info: None })
    };
    numbers.map(client).collect()
}

/// A crowd that can't be read in time is no trouble of the server's, and no reason to try again.
#[tokio::test]
async fn a_crowd_that_is_too_large_to_count_is_refused() {
    let (_server, mut node) = server_and_node(Release::Current).await;
    for part in 0..21 {
        attend(&mut node, "chat", &crowd(part * 1000..(part + 1) * 1000), TTL).await;
    }
    assert_eq!(node.ask("chat", Operation::PresenceStats).await.err(), Some(ErrorCode::LimitExceeded));
}

#[tokio::test]
async fn presence_ends_by_itself() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        attend(&mut node, "chat", &[client("ann", 1)], Duration::from_secs(30)).await;
        attend(&mut node, "chat", &[client("bob", 2)], TTL).await;
        // Said for no time at all: it is over when somebody looks.
        attend(&mut node, "chat", &[client("ann", 1)], Duration::ZERO).await;
        assert_eq!(present(&mut node, 10).await, Ok(vec!["bob".into()]));
    }
}

/// What a channel's shard asks next comes after it.
async fn attend(node: &mut EngineNode, name: &str, clients: &[Arc<ClientInfo>], ttl: Duration) {
    node.submit(name, Operation::Attend { clients: clients.to_vec(), ttl });
    let _ = node.ask(name, Operation::PresenceStats).await;
}

async fn present(node: &mut EngineNode, clients_max: usize) -> Result<Vec<String>, ErrorCode> {
    match node.ask("chat", Operation::Presence { clients_max }).await? {
        Outcome::Presence(clients) => {
            let mut users: Vec<String> = clients.iter().map(|info| info.user.to_string()).collect();
            users.sort();
            Ok(users)
        }
        other => panic!("{other:?}"),
    }
}

async fn stats(node: &mut EngineNode) -> PresenceStats {
    match node.ask("chat", Operation::PresenceStats).await {
        Ok(Outcome::PresenceStats(stats)) => stats,
        other => panic!("{other:?}"),
    }
}
