//! Which connections of this shard a user has.
//!
//! Each shard lists its own connections, those of users with an id: to do something to a user is to
//! ask every shard, and nothing is shared and nothing is sent when clients come and go. An index of
//! all shards at the user's home would cost a lane message for each connect and each close; one made
//! on demand, a look at every connection (10 ms for 100,000) for each call of the API.
//!
//! An entry of the table is 8 bytes and one of control, from half to seven eighths full: 10 to 21 bytes
//! for each user. The connections of a user are a list through the connections themselves: 8 bytes
//! each. The key is 32 bits of the user's hash, so two users may share a list; in it the connections of
//! one user stand together, so that the end of one's and the last one to leave are told without a walk.

use ahash::AHashMap;

use super::connections::Connections;
use super::{Shard, ShardUsers};
use crate::model::UserHash;

/// The index: by user, the first connection of the list.
#[derive(Debug, Default)]
pub struct Users {
    first: AHashMap<u32, u32>,
    /// Users with at least one connection here.
    len: usize,
}

/// The connections before and after one in its list, by slot.
#[derive(Clone, Copy, Debug)]
pub struct Neighbours {
    before: u32,
    after: u32,
}

/// No connection: slabs do not grow so far.
const NOBODY: u32 = u32::MAX;

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours { before: NOBODY, after: NOBODY }
    }
}

impl Users {
    /// Lists the connection at `slot`, which is not listed.
    fn insert(&mut self, connections: &mut Connections, hash: UserHash, slot: u32) {
        let key = key_of(hash);
        let Some(&first) = self.first.get(&key) else {
            self.first.insert(key, slot);
            self.len += 1;
            return;
        };
        match find_user(connections, first, user_at(connections, slot)) {
            Some(of_user) => insert_after(connections, of_user, slot),
            None => {
                link(connections, slot, first);
                self.first.insert(key, slot);
                self.len += 1;
            }
        }
    }

    fn remove(&mut self, connections: &mut Connections, hash: UserHash, slot: u32) {
        let Some(connection) = connections.at(slot) else { return };
        let Neighbours { before, after } = std::mem::take(&mut connection.neighbours);
        let user = user_at(connections, slot);
        let has_others =
            [before, after].into_iter().any(|other| other != NOBODY && user_at(connections, other) == user);
        self.len -= usize::from(!has_others);
        link(connections, before, after);
        match (before, after) {
            (NOBODY, NOBODY) => drop(self.first.remove(&key_of(hash))),
            (NOBODY, after) => drop(self.first.insert(key_of(hash), after)),
            _ => {}
        }
    }

    /// The slots of `user`'s connections, also of those that are closing.
    pub fn find<'a>(
        &self,
        connections: &'a Connections,
        hash: UserHash,
        user: &'a str,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let first = self.first.get(&key_of(hash)).and_then(|&first| find_user(connections, first, user));
        std::iter::successors(first, |&slot| after(connections, slot))
            .take_while(move |&slot| user_at(connections, slot) == user)
    }
}

fn key_of(hash: UserHash) -> u32 {
    // The home is told by the rest of a division; the upper half differs among users of one home too.
    (hash.0 >> 32) as u32
}

fn find_user(connections: &Connections, first: u32, user: &str) -> Option<u32> {
    std::iter::successors(Some(first), |&slot| after(connections, slot))
        .find(|&slot| user_at(connections, slot) == user)
}

fn after(connections: &Connections, slot: u32) -> Option<u32> {
    connections.look_at(slot).map(|connection| connection.neighbours.after).filter(|&after| after != NOBODY)
}

fn user_at(connections: &Connections, slot: u32) -> &str {
    connections.look_at(slot).and_then(|connection| connection.client.as_ref()).map_or("", |client| &client.user)
}

fn insert_after(connections: &mut Connections, before: u32, slot: u32) {
    let next = after(connections, before).unwrap_or(NOBODY);
    link(connections, before, slot);
    link(connections, slot, next);
}

/// Makes two connections neighbours; either may be nobody.
fn link(connections: &mut Connections, before: u32, after: u32) {
    if let Some(connection) = connections.at(before) {
        connection.neighbours.after = after;
    }
    if let Some(connection) = connections.at(after) {
        connection.neighbours.before = before;
    }
}

impl Shard {
    pub(super) fn shard_users(&self) -> ShardUsers {
        let keys = match self.options.homes.shards() {
            1 => Vec::new(),
            _ => self.users.first.keys().copied().collect(),
        };
        ShardUsers { count: self.users.len as u64, keys }
    }

    /// The connection at `slot` has become its user's.
    pub(super) fn list(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        let Some(client) = connection.client.as_ref().filter(|client| !client.user.is_empty()) else { return };
        let hash = self.options.homes.hash_of_user(&client.user);
        connection.is_listed = true;
        self.users.insert(&mut self.connections, hash, slot);
    }

    /// The connection at `slot` is closed and about to go.
    pub(super) fn unlist(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_listed) else { return };
        connection.is_listed = false;
        let is_counted = std::mem::take(&mut connection.is_counted);
        let Some(client) = &connection.client else { return };
        let hash = self.options.homes.hash_of_user(&client.user);
        self.users.remove(&mut self.connections, hash, slot);
        self.give_back(hash, is_counted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ClientId, ClientInfo};
    use crate::shard::connection::Connection;
    use crate::shard::{Opening, Speaks};

    /// An index whose users all have the same key, or each its own.
    struct Index {
        users: Users,
        connections: Connections,
        has_one_key: bool,
    }

    impl Index {
        fn new(has_one_key: bool) -> Index {
            Index { users: Users::default(), connections: Connections::default(), has_one_key }
        }

        fn hash(&self, user: &str) -> UserHash {
            let number: u64 = user.parse().expect("users of this test are numbers");
            UserHash(if self.has_one_key { number } else { number << 32 })
        }

        fn insert(&mut self, user: &str) -> u32 {
            let mut connection = Connection::new(Opening { speaks: Speaks::Echo, window: None });
            let client = ClientId::from_random([0; 16]);
            connection.client =
                Some(Arc::new(ClientInfo { user: user.into(), client, conn_info: None, chan_info: None }));
            let slot = self.connections.insert(connection).slot;
            let hash = self.hash(user);
            self.users.insert(&mut self.connections, hash, slot);
            slot
        }

        fn remove(&mut self, slot: u32) {
            let user = user_at(&self.connections, slot).to_owned();
            let hash = self.hash(&user);
            self.users.remove(&mut self.connections, hash, slot);
            self.connections.remove(slot);
        }

        fn find(&self, user: &str) -> Vec<u32> {
            let mut slots: Vec<u32> = self.users.find(&self.connections, self.hash(user), user).collect();
            slots.sort_unstable();
            slots
        }
    }

    #[test]
    fn users_have_their_own_connections_also_where_they_share_a_key() {
        for has_one_key in [false, true] {
            let mut random = fastrand::Rng::with_seed(4);
            let mut index = Index::new(has_one_key);
            let mut present: Vec<(String, u32)> = Vec::new();
            for _ in 0..2000 {
                if present.is_empty() || random.u32(..100) < 52 {
                    let user = random.u32(..12).to_string();
                    let slot = index.insert(&user);
                    present.push((user, slot));
                } else {
                    let (_, slot) = present.swap_remove(random.usize(..present.len()));
                    index.remove(slot);
                }
                let mut users = 0;
                for user in (0..12).map(|user| user.to_string()) {
                    let mut expected: Vec<u32> =
                        present.iter().filter(|(name, _)| *name == user).map(|(_, slot)| *slot).collect();
                    expected.sort_unstable();
                    assert_eq!(index.find(&user), expected, "user {user}");
                    users += usize::from(!expected.is_empty());
                }
                assert_eq!(index.users.len, users);
                assert!(index.users.first.len() <= users);
            }
            while let Some((_, slot)) = present.pop() {
                index.remove(slot);
            }
            assert_eq!((index.users.len, index.users.first.len()), (0, 0));
        }
    }
}
