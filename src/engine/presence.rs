//! Who is subscribed to one channel.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use crate::model::{ClientId, ClientInfo, PresenceStats, ShardId};

/// The subscribers of one channel, as their shards said.
///
/// A shard vouches for all of its entries at once (`keep_alive`), so that keeping presence alive
/// costs a message for each audience and interval, not one for each member.
///
/// Invariant: `users` has each user of `entries`, with the number of its clients. So counting costs
/// the same in a room of any size: a client may ask a thousand times in one message.
#[derive(Debug, Default)]
pub struct Presence {
    entries: AHashMap<ClientId, Entry>,
    users: AHashMap<Box<str>, u32>,
    /// Until when each shard's word counts.
    alive: Vec<(ShardId, Duration)>,
}

#[derive(Debug)]
struct Entry {
    info: Arc<ClientInfo>,
    shard: ShardId,
}

impl Presence {
    pub fn add(&mut self, info: Arc<ClientInfo>, shard: ShardId, until: Duration) {
        self.keep_alive(shard, until);
        self.remove(info.client);
        match self.users.get_mut(&info.user) {
            Some(clients) => *clients += 1,
            None => drop(self.users.insert(info.user.clone(), 1)),
        }
        self.entries.insert(info.client, Entry { info, shard });
    }

    pub fn remove(&mut self, client: ClientId) -> Option<Arc<ClientInfo>> {
        let info = self.entries.remove(&client)?.info;
        forget_one(&mut self.users, &info.user);
        Some(info)
    }

    pub fn keep_alive(&mut self, shard: ShardId, until: Duration) {
        match self.alive.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, known_until)) => *known_until = until,
            None => self.alive.push((shard, until)),
        }
    }

    /// Drops what silent shards said.
    pub fn expire(&mut self, now: Duration) {
        let known = self.alive.len();
        self.alive.retain(|(_, until)| *until > now);
        if self.alive.len() == known {
            return;
        }
        let (alive, users) = (&self.alive, &mut self.users);
        self.entries.retain(|_, entry| {
            let is_alive = alive.iter().any(|(shard, _)| *shard == entry.shard);
            if !is_alive {
                forget_one(users, &entry.info.user);
            }
            is_alive
        });
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn list(&self) -> Vec<Arc<ClientInfo>> {
        self.entries.values().map(|entry| Arc::clone(&entry.info)).collect()
    }

    pub fn stats(&self) -> PresenceStats {
        PresenceStats { clients: self.entries.len() as u32, users: self.users.len() as u32 }
    }
}

/// One client of `user` is gone.
fn forget_one(users: &mut AHashMap<Box<str>, u32>, user: &str) {
    if let Some(clients) = users.get_mut(user) {
        *clients -= 1;
        if *clients == 0 {
            users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(user: &str, n: u8) -> Arc<ClientInfo> {
        Arc::new(ClientInfo {
            user: user.into(),
            client: ClientId::from_random([n; 16]),
            conn_info: None,
            chan_info: None,
        })
    }

    #[test]
    fn counts_clients_and_users_apart() {
        let mut presence = Presence::default();
        for (user, n) in [("a", 1), ("a", 2), ("b", 3)] {
            presence.add(info(user, n), ShardId(0), Duration::from_secs(60));
        }
        assert_eq!(presence.stats(), PresenceStats { clients: 3, users: 2 });
        presence.add(info("b", 3), ShardId(0), Duration::from_secs(60));
        assert_eq!(presence.stats(), PresenceStats { clients: 3, users: 2 }, "one that was there is there once");
        assert!(presence.remove(ClientId::from_random([1; 16])).is_some());
        assert_eq!(presence.stats(), PresenceStats { clients: 2, users: 2 }, "the other client of that user is left");
        presence.add(info("a", 1), ShardId(0), Duration::from_secs(60));
        assert!(presence.remove(ClientId::from_random([3; 16])).is_some());
        assert_eq!(presence.stats(), PresenceStats { clients: 2, users: 1 });
    }

    #[test]
    fn entries_of_a_silent_shard_expire() {
        let mut presence = Presence::default();
        presence.add(info("a", 1), ShardId(0), Duration::from_secs(60));
        presence.add(info("b", 2), ShardId(1), Duration::from_secs(60));
        presence.keep_alive(ShardId(1), Duration::from_secs(100));
        presence.expire(Duration::from_secs(61));
        assert_eq!(presence.list().iter().map(|info| &*info.user).collect::<Vec<_>>(), ["b"]);
        assert_eq!(presence.stats(), PresenceStats { clients: 1, users: 1 });
    }
}
