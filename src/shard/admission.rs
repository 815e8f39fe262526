//! How many connections a user may have, over all shards.
//!
//! Where `client.user_connection_limit` is set, or one connection for each user, a user has a home
//! like a channel has: the shard that follows from the hash of the id. It counts the user's connections
//! on all shards. A connection is let in when the home has said so, and when it is gone its shard tells
//! the home. Elsewhere nothing is counted and nothing is sent.
//!
//! Races: of connections that come at once on several shards the home sees one after the other, so
//! that no more than the limit are let in. Lanes are FIFO: where a user has one connection, a shard
//! hears that its new one is let in before it hears that a newer one supersedes it, and what a shard
//! is told to supersede is never newer than who superseded it. A connection that went while it was
//! asked about is given back when the answer finds nobody.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::commands::Desired;
use super::connection::{Connection, On, Phase};
use super::events::{Admit, LaneMessage};
use super::{Options, Shard};
use crate::access::Claims;
use crate::model::{ConnectionId, DisconnectCode, ShardId, UserHash};

/// A connection that the user's home is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its connect command.
    command: u32,
    claims: Claims,
    /// The server-side subscriptions that it asks for.
    desired: Desired,
}

impl Options {
    /// Whether homes of users are asked before a connection is let in.
    fn counts_users(&self) -> bool {
        self.user_connections_max > 0 || self.has_single_connection
    }
}

impl Shard {
    /// A valid token says who the connection is: it is let in, or the user's home is asked.
    pub(super) fn admit(&mut self, id: ConnectionId, command: u32, claims: Claims, desired: Desired) {
        if claims.user.is_empty() || !self.options.counts_users() {
            return self.accept(id, command, claims, desired);
        }
        let user: Arc<str> = claims.user.as_ref().into();
        let home = self.options.homes.home_of_user(self.options.homes.hash_of_user(&user));
        let Some(connection) = self.connections.find_mut(id) else { return };
        connection.phase = Phase::Verifying;
        connection.waiting.get_or_insert_default().on = On::Admission(Box::new(Candidate { command, claims, desired }));
        let admit = Admit { asker: id, user };
        match home == self.id {
            true => self.home_admit(home, admit),
            false => self.outgoing.push(home, LaneMessage::Admit(admit)),
        }
    }

    /// A connection of shard `from` asks to be let in. The answer leaves before what follows from it.
    pub(super) fn home_admit(&mut self, from: ShardId, admit: Admit) {
        let Admit { asker, user } = admit;
        let hash = self.options.homes.hash_of_user(&user);
        let limit = self.options.user_connections_max;
        let count = self.user_connections.entry(hash).or_default();
        let is_admitted = limit == 0 || *count < limit;
        *count += u32::from(is_admitted);
        let has_older = *count > 1;
        match from == self.id {
            true => self.admission_answered(asker, hash, is_admitted),
            false => self.outgoing.push(from, LaneMessage::Admission { asker, user: hash, is_admitted }),
        }
        if is_admitted && has_older && self.options.has_single_connection {
            for shard in (0..self.options.homes.shards()).map(ShardId) {
                let newest = Some(asker).filter(|_| shard == from);
                match shard == self.id {
                    true => self.superseded(&user, newest),
                    false => self.outgoing.push(shard, LaneMessage::Superseded { user: Arc::clone(&user), newest }),
                }
            }
        }
    }

    /// A connection that was let in is gone.
    pub(super) fn home_departed(&mut self, user: UserHash) {
        let Entry::Occupied(mut count) = self.user_connections.entry(user) else {
            return debug_assert!(false, "a connection departs once");
        };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }

    /// The home of a user said whether a connection is let in; it may be gone by now.
    pub(super) fn admission_answered(&mut self, asker: ConnectionId, user: UserHash, is_admitted: bool) {
        let Some(candidate) = self.take_candidate(asker) else { return self.give_back(user, is_admitted) };
        if !is_admitted {
            return self.disconnect(asker.slot, DisconnectCode::ConnectionLimit);
        }
        let Candidate { command, claims, desired } = candidate;
        self.accept(asker, command, claims, desired);
        match self.connections.find_mut(asker).filter(|connection| connection.is_listed) {
            Some(connection) => connection.is_counted = true,
            // Its token expired meanwhile.
            None => self.give_back(user, true),
        }
        if self.connections.find(asker).is_some_and(Connection::waits_for_nothing) {
            self.decided(asker);
        }
    }

    /// A connection that the home counts has gone.
    pub(super) fn give_back(&mut self, user: UserHash, is_counted: bool) {
        if !is_counted {
            return;
        }
        let home = self.options.homes.home_of_user(user);
        match home == self.id {
            true => self.home_departed(user),
            false => self.outgoing.push(home, LaneMessage::Departed(user)),
        }
    }

    /// A newer connection of the user was let in: the others here are closed (3504).
    pub(super) fn superseded(&mut self, user: &str, newest: Option<ConnectionId>) {
        let hash = self.options.homes.hash_of_user(user);
        let newest = newest.map(|id| id.slot);
        // Few: each of them was the only one when it came.
        let older: Vec<u32> =
            self.users.find(&self.connections, hash, user).filter(|slot| Some(*slot) != newest).collect();
        older.into_iter().for_each(|slot| self.disconnect(slot, DisconnectCode::ConnectionLimit));
    }

    fn take_candidate(&mut self, id: ConnectionId) -> Option<Candidate> {
        let on = &mut self.connections.find_mut(id)?.waiting.as_mut()?.on;
        match std::mem::take(on) {
            On::Admission(candidate) => Some(*candidate),
            other => {
                *on = other;
                None
            }
        }
    }
}
