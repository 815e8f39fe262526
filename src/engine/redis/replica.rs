//! Reads from a server that copies the master: what is asked often and need not be the newest.
//!
//! These are pages of the history and presence. What decides on gaps and epochs (publishes, recovery, checks of
//! positions) is the master's alone, since a copy is behind by some milliseconds, or more. A replica that can't tell,
//! refuses, is slow or away costs nothing but time: its master is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::dial::{Connection, Manner, NoConnection, connect};
use super::link::{self, Asked, Work};
use super::options::Address;
use super::reconnect::Place;
use super::resp::{Commands, Reply};
use super::shared::{Health, Shared};
use crate::engine::contract::Operation;
use crate::limits::REDIS_UNDER_WAY_MAX;

/// One replica of a master, whichever that is at the moment. Its tasks end when this is dropped.
#[derive(Clone)]
pub struct Replica {
    work: mpsc::Sender<Work>,
    health: Arc<Health>,
}

impl Replica {
    /// Finds one, and connects to it. `master_work` takes what it can't answer.
    pub fn start(shared: &Shared, master: Place, master_work: mpsc::Sender<Work>) -> Replica {
        let is_cluster = shared.returns.is_some();
        let manner = Manner { is_master_needed: false, is_cluster_replica: is_cluster, ..shared.manner.clone() };
        let health = Health::of_replica(Arc::clone(&shared.health.metrics));
        let of_replica = Shared {
            names: shared.names.clone(),
            manner: manner.clone(),
            io_timeout: shared.io_timeout,
            presence_ttl: shared.presence_ttl,
            has_presence_fields: shared.has_presence_fields,
            outlet: shared.outlet.clone(),
            health: Arc::clone(&health),
            returns: None,
            reads_replicas: false,
            master: Some(master_work),
        };
        let (work, work_taken) = mpsc::channel(REDIS_UNDER_WAY_MAX);
        let (found, place) = watch::channel(None);
        tokio::spawn(follow(master, Manner { is_cluster_replica: false, ..manner }, found));
        tokio::spawn(link::run(Arc::new(of_replica), health.of_connection(), place, work_taken));
        Replica { work, health }
    }

    /// Takes what it may answer, if it is there; gives back the rest.
    pub fn give(&self, asked: Asked) -> Result<(), Asked> {
        let may_be_old = matches!(
            asked.request.operation,
            Operation::Page(_) | Operation::Presence { .. } | Operation::PresenceStats
        );
        // Where it was sent on by one server it is asked of a master.
        match may_be_old && asked.redirections == 0 && self.health.is_up() {
            true => link::give(&self.work, asked),
            false => Err(asked),
        }
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("is_up", &self.health.is_up()).finish_non_exhaustive()
    }
}

/// Asks the master again and again who copies it, and keeps to one of them as long as it does.
async fn follow(mut master: Place, manner: Manner, found: watch::Sender<Option<Address>>) {
    let mut connection = None;
    let mut has_complained = false;
    loop {
        let address = master.borrow_and_update().clone();
        if let Some(address) = address {
            let asked = timeout(manner.connect_timeout, ask(&mut connection, &address, &manner)).await;
            match asked.unwrap_or(Err(NoConnection::TooSlow)) {
                Ok(replicas) => choose(&found, &replicas),
                // A master that is away says nothing about its replicas: the last word holds.
                Err(problem) => {
                    connection = None;
                    if problem.is_lasting() && !has_complained {
                        let reason = problem.to_string();
                        tracing::warn!(%address, reason, "the master does not tell its replicas: it is read itself");
                        has_complained = true;
                    }
                }
            }
        }
        tokio::select! {
            () = sleep(INTERVAL) => (),
            () = found.closed() => return,
            changed = master.changed() => match changed {
                Ok(()) => connection = None,
                Err(_) => return,
            },
        }
    }
}

async fn ask(
    connection: &mut Option<Connection>,
    address: &Address,
    manner: &Manner,
) -> Result<Vec<Address>, NoConnection> {
    if connection.is_none() {
        *connection = Some(connect(address.clone(), manner).await?);
    }
    let Some(open) = connection else { return Ok(Vec::new()) };
    let mut commands = Commands::default();
    commands.command(&[b"ROLE"]);
    let replies = open.ask(commands, 1).await?;
    Ok(replies.first().and_then(replicas_in).unwrap_or_default())
}

/// Reads `master`, its offset, and of each replica that is connected address, port and offset.
fn replicas_in(role: &Reply) -> Option<Vec<Address>> {
    let [name, _, replicas] = role.as_array()? else { return None };
    if name.as_str() != Some("master") {
        return None;
    }
    let address = |replica: &Reply| {
        let [host, port, _] = replica.as_array()? else { return None };
        Some(Address::tcp(host.as_str()?, u16::try_from(port.as_number()?).ok()?))
    };
    replicas.as_array()?.iter().map(address).collect()
}

/// Each node takes one by chance, so that many nodes use them all.
fn choose(found: &watch::Sender<Option<Address>>, replicas: &[Address]) {
    found.send_if_modified(|current| {
        if current.as_ref().map_or(replicas.is_empty(), |current| replicas.contains(current)) {
            return false;
        }
        *current = (!replicas.is_empty()).then(|| replicas[fastrand::usize(..replicas.len())].clone());
        true
    });
}

/// Chosen: as often as a cluster's map is looked at; a replica that stopped costs a read half its time meanwhile.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::resp::next_reply;
    use super::*;

    fn replicas(wire: &str) -> Option<Vec<String>> {
        let reply = next_reply(&mut BytesMut::from(wire)).expect("RESP").expect("a whole one");
        Some(replicas_in(&reply)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_master_tells_its_replicas() {
        let two = "*3\r\n$6\r\nmaster\r\n:9\r\n*2\r\n*3\r\n$1\r\na\r\n$4\r\n6380\r\n$1\r\n9\r\n\
                   *3\r\n$3\r\n::1\r\n$4\r\n6381\r\n$1\r\n8\r\n";
        assert_eq!(replicas(two), Some(vec!["a:6380".to_owned(), "[::1]:6381".to_owned()]));
        assert_eq!(replicas("*3\r\n$6\r\nmaster\r\n:9\r\n*0\r\n"), Some(vec![]));
        assert_eq!(replicas("*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:9\r\n"), None);
        assert_eq!(replicas("+OK\r\n"), None);
    }

    #[test]
    fn one_is_kept_as_long_as_it_copies() {
        let (found, _place) = watch::channel(None);
        let [one, two] = ["a", "b"].map(|host| Address::tcp(host, 1));
        let chosen = |replicas: &[Address]| {
            choose(&found, replicas);
            found.borrow().clone()
        };
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(std::slice::from_ref(&one)), Some(one.clone()));
        for _ in 0..20 {
            assert_eq!(chosen(&[two.clone(), one.clone()]), Some(one.clone()));
        }
        assert_eq!(chosen(std::slice::from_ref(&two)), Some(two));
        assert_eq!(chosen(&[]), None);
    }
}
