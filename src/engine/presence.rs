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
/// Invariant: `users` has each user of the listed `entries`, with the number of its clients, and `listed`
/// is how many entries that are. So counting costs the same in a room of any size: a client may ask a
/// thousand times in one message.
#[derive(Debug, Default)]
pub struct Presence {
    entries: AHashMap<ClientId, Entry>,
    users: AHashMap<Box<str>, u32>,
    listed: u32,
    /// Until when each shard's word counts.
    alive: Vec<(ShardId, Duration)>,
}

/// A subscriber, and who may know of it.
#[derive(Clone, Debug)]
pub struct Attendee {
    pub info: Arc<ClientInfo>,
    /// Among those present.
    pub is_listed: bool,
    /// Others are told when it comes and goes.
    pub is_told: bool,
}

#[derive(Debug)]
struct Entry {
    attendee: Attendee,
    shard: ShardId,
}

impl Presence {
    pub fn add(&mut self, attendee: Attendee, shard: ShardId, until: Duration) {
        self.keep_alive(shard, until);
        self.remove(attendee.info.client);
        if attendee.is_listed {
            self.listed += 1;
            match self.users.get_mut(&attendee.info.user) {
                Some(clients) => *clients += 1,
                None => drop(self.users.insert(attendee.info.user.clone(), 1)),
            }
        }
        self.entries.insert(attendee.info.client, Entry { attendee, shard });
    }

    pub fn remove(&mut self, client: ClientId) -> Option<Attendee> {
        let attendee = self.entries.remove(&client)?.attendee;
        if attendee.is_listed {
            self.listed -= 1;
            forget_one(&mut self.users, &attendee.info.user);
        }
        Some(attendee)
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
        let (alive, users, listed) = (&self.alive, &mut self.users, &mut self.listed);
        self.entries.retain(|_, entry| {
            let is_alive = alive.iter().any(|(shard, _)| *shard == entry.shard);
            if !is_alive && entry.attendee.is_listed {
                *listed -= 1;
                forget_one(users, &entry.attendee.info.user);
            }
            is_alive
        });
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn list(&self) -> Vec<Arc<ClientInfo>> {
        self.listed_of(None)
    }

    /// The same, of one shard or of all.
    pub fn listed_of(&self, shard: Option<ShardId>) -> Vec<Arc<ClientInfo>> {
        let entries = self.entries.values().filter(|entry| shard.is_none_or(|shard| entry.shard == shard));
        let listed = entries.map(|entry| &entry.attendee).filter(|attendee| attendee.is_listed);
        listed.map(|attendee| Arc::clone(&attendee.info)).collect()
    }

    pub fn stats(&self) -> PresenceStats {
        PresenceStats { clients: self.listed, users: self.users.len() as u32 }
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

    fn info(user: &str, n: u8) -> Attendee {
        let client = ClientId::from_random([n; 16]);
        let info = ClientInfo { user: user.into(), client, conn_info: None, chan_info: None };
        Attendee { info: Arc::new(info), is_listed: true, is_told: true }
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

    #[test]
    fn who_is_not_listed_is_remembered_and_not_counted() {
        let mut presence = Presence::default();
        let until = Duration::from_secs(60);
        presence.add(info("a", 1), ShardId(0), until);
        presence.add(Attendee { is_listed: false, ..info("b", 2) }, ShardId(0), until);
        assert_eq!(presence.stats(), PresenceStats { clients: 1, users: 1 });
        assert_eq!(presence.list().len(), 1);
        assert!(presence.remove(ClientId::from_random([2; 16])).is_some_and(|attendee| attendee.is_told));
        assert_eq!(presence.stats(), PresenceStats { clients: 1, users: 1 });
        presence.add(Attendee { is_listed: false, ..info("b", 2) }, ShardId(0), until);
        presence.expire(until);
        assert!(presence.is_empty());
        assert_eq!(presence.stats(), PresenceStats::default());
    }
}
