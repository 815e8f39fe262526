//! Finds out where the servers are: asks sentinels, or the servers of a cluster, again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::dial::{Connection, Manner, NoConnection, connect};
use super::options::{Address, Sentinel};
use super::reconnect::Place;
use super::resp::{Commands, Reply};
use super::slots::SlotMap;

/// A server that stays where it is.
pub fn fixed(address: Address) -> Place {
    // Nobody sends; receivers learn that only when they wait for news, and they are given none to wait for.
    let (sender, place) = watch::channel(Some(address));
    tokio::spawn(async move { sender.closed().await });
    place
}

/// The master that most of the sentinels name.
pub fn by_sentinels(sentinel: &Sentinel, connect_timeout: Duration) -> Place {
    let (master, place) = watch::channel(None);
    let (votes, taken) = mpsc::channel(sentinel.addresses.len().max(1));
    let manner = Manner {
        login: sentinel.login.clone(),
        db: 0,
        tls: sentinel.tls.clone(),
        connect_timeout,
        is_master_needed: false,
        is_cluster_replica: false,
        needs_field_expiry: false,
    };
    for (index, address) in sentinel.addresses.iter().enumerate() {
        let (address, manner, votes) = (address.clone(), manner.clone(), votes.clone());
        tokio::spawn(ask_sentinel(index, address, sentinel.master_name.clone(), manner, votes));
    }
    tokio::spawn(count_votes(taken, master));
    place
}

type Vote = (usize, Option<Address>);

/// Tells what one sentinel says, until nobody wants to know.
async fn ask_sentinel(index: usize, address: Address, name: String, manner: Manner, votes: mpsc::Sender<Vote>) {
    let mut connection = None;
    let mut is_silent = false;
    loop {
        let asked = timeout(manner.connect_timeout, ask_for_master(&mut connection, &address, &name, &manner)).await;
        let vote = asked.unwrap_or(Err(NoConnection::TooSlow));
        match &vote {
            Err(problem) if !is_silent => {
                tracing::warn!(sentinel = %address, reason = %problem, "a sentinel does not answer: trying on");
            }
            Ok(None) if !is_silent => {
                tracing::error!(sentinel = %address, name, "the sentinel knows no such master: see sentinel_master_name");
            }
            _ => (),
        }
        is_silent = !matches!(vote, Ok(Some(_)));
        if is_silent {
            connection = None;
        }
        if votes.send((index, vote.ok().flatten())).await.is_err() {
            return;
        }
        sleep(SENTINEL_INTERVAL).await;
    }
}

async fn ask_for_master(
    connection: &mut Option<Connection>,
    address: &Address,
    name: &str,
    manner: &Manner,
) -> Result<Option<Address>, NoConnection> {
    if connection.is_none() {
        *connection = Some(connect(address.clone(), manner).await?);
    }
    let Some(open) = connection else { return Ok(None) };
    let mut commands = Commands::default();
    commands.command(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]);
    let replies = open.ask(commands, 1).await?;
    Ok(replies.first().and_then(master_in))
}

fn master_in(reply: &Reply) -> Option<Address> {
    let [host, port] = reply.as_array()? else { return None };
    Some(Address::tcp(host.as_str()?, u16::try_from(port.as_number()?).ok()?))
}

/// A sentinel that is cut off from the others is outvoted; where all are silent the last word holds.
async fn count_votes(mut votes: mpsc::Receiver<Vote>, master: watch::Sender<Option<Address>>) {
    let mut known: BTreeMap<usize, Address> = BTreeMap::new();
    loop {
        let vote = tokio::select! {
            vote = votes.recv() => vote,
            () = master.closed() => return,
        };
        match vote {
            None => return,
            Some((index, Some(address))) => drop(known.insert(index, address)),
            Some((index, None)) => drop(known.remove(&index)),
        }
        let named = |address: &Address| known.values().filter(|named| *named == address).count();
        let current = master.borrow().clone();
        let best = known.values().max_by_key(|address| (named(address), Some(*address) == current.as_ref())).cloned();
        if best.is_some() && best != current {
            master.send_replace(best);
        }
    }
}

/// Follows a cluster's map. `look` makes it look at once.
pub fn by_cluster(seeds: Vec<Address>, manner: Manner, look: Arc<Notify>) -> watch::Receiver<Arc<SlotMap>> {
    let (sender, maps) = watch::channel(Arc::new(SlotMap::default()));
    tokio::spawn(follow_cluster(seeds, manner, look, sender));
    maps
}

async fn follow_cluster(seeds: Vec<Address>, manner: Manner, look: Arc<Notify>, maps: watch::Sender<Arc<SlotMap>>) {
    let mut newest = 0;
    let mut said = String::new();
    while !maps.is_closed() {
        // One of the cluster as it is known; the seeds may be long gone, or come back.
        let known = maps.borrow().servers().to_vec();
        let candidates: Vec<&Address> = known.iter().chain(&seeds).collect();
        let Some(address) = candidates.get(fastrand::usize(..candidates.len().max(1))) else { return };
        match timeout(manner.connect_timeout, ask_for_map(address, &manner)).await.unwrap_or(Err(NoConnection::TooSlow))
        {
            Ok((epoch, map)) if epoch >= newest => {
                newest = epoch;
                said.clear();
                maps.send_if_modified(|known| {
                    let is_news = **known != map;
                    if is_news {
                        *known = Arc::new(map);
                    }
                    is_news
                });
            }
            // It is cut off from the others, and tells of what was.
            Ok(_) => (),
            Err(problem) => {
                let text = format!("{address}: {problem}");
                if said.is_empty() {
                    tracing::warn!(reason = %text, "a server of the Redis Cluster does not tell its slots: asking others");
                }
                said = text;
            }
        }
        let pause =
            if maps.borrow().servers().is_empty() || !said.is_empty() { CLUSTER_RETRY } else { CLUSTER_INTERVAL };
        tokio::select! {
            () = sleep(pause) => (),
            // Many requests find out at once that something has moved.
            () = look.notified() => sleep(CLUSTER_RETRY).await,
        }
    }
}

/// The map of a server that is part of a working cluster, and how new it is.
async fn ask_for_map(address: &Address, manner: &Manner) -> Result<(u64, SlotMap), NoConnection> {
    let mut connection = connect(address.clone(), manner).await?;
    let mut commands = Commands::default();
    commands.command(&[b"CLUSTER", b"INFO"]);
    commands.command(&[b"CLUSTER", b"SLOTS"]);
    let replies = connection.ask(commands, 2).await?;
    let refused = |words: &str| NoConnection::Refused(words.to_owned());
    let info = replies[0].as_str().unwrap_or_default();
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("cluster_state:") != Some("ok") {
        return Err(refused("CLUSTERDOWN: not all slots are served"));
    }
    let epoch = field("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let map = SlotMap::parse(&replies[1], address).ok_or_else(|| refused("its slots are not understood"))?;
    Ok((epoch, map))
}

/// Some master of the cluster, the same one as long as it is one.
pub fn any_of_cluster(mut maps: watch::Receiver<Arc<SlotMap>>) -> Place {
    let (sender, place) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let map = maps.borrow_and_update().clone();
            sender.send_if_modified(|current: &mut Option<Address>| {
                let servers = map.servers();
                let is_gone = current.as_ref().is_none_or(|current| !servers.contains(current));
                if is_gone && !servers.is_empty() {
                    *current = Some(servers[fastrand::usize(..servers.len())].clone());
                }
                is_gone
            });
            let changed = tokio::select! {
                changed = maps.changed() => changed,
                () = sender.closed() => return,
            };
            if changed.is_err() {
                return;
            }
        }
    });
    place
}

/// Chosen: a new master is found within the second that its election takes anyway.
const SENTINEL_INTERVAL: Duration = Duration::from_millis(500);
/// Chosen: redirections tell of what changes; this finds masters that died.
const CLUSTER_INTERVAL: Duration = Duration::from_secs(1);
const CLUSTER_RETRY: Duration = Duration::from_millis(100);
