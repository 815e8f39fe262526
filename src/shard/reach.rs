//! What the application does to the connections of one user: disconnect, unsubscribe, refresh.
//!
//! Every shard is asked, and does it to its own. The answer leaves when all of them here are reached:
//! what is published after it is not delivered to them. Who was found when the question came is
//! reached in slices, so that a user of a hundred thousand connections holds up nobody.

use std::sync::Arc;

use bytes::Bytes;

use super::connection::{Connection, On, Phase};
use super::events::{Act, Answered, Answerer, Reach};
use super::{ServerRefresh, Shard};
use crate::limits;
use crate::model::{ClientId, ClientInfo, ConnectionId, DisconnectCode, ErrorCode, Push, UnsubscribeCode};

/// A reach under way.
pub struct Reaching {
    reach: Reach,
    answerer: Answerer,
    places: Places,
    /// Subscriptions still to be ended, of the connection in hand.
    subscriptions_left: Option<usize>,
    reached: u64,
    /// What the homes' answers name it by.
    number: u32,
}

/// A reach that subscribes, of which homes still have to answer.
pub struct AwaitedReach {
    number: u32,
    /// Answers to come.
    left: u64,
    /// Everybody is reached: what the application is answered when all homes have.
    end: Option<(Answerer, u64)>,
}

/// Where its connections are.
enum Places {
    /// The last one is next.
    These(Vec<ConnectionId>),
    /// Somewhere among all; slots before `next` were looked at.
    Anywhere { next: u32 },
}

/// A turn's share.
struct Share {
    looks: usize,
    acts: usize,
}

impl Shard {
    /// Begins to reach the connections that `reach` names.
    pub(super) fn begin_reach(&mut self, reach: Reach, answerer: Answerer) {
        if self.reaching.len() + self.awaited_reaches.len() >= limits::REACHES_WAITING_MAX {
            return (answerer.0)(Err(ErrorCode::TooManyRequests));
        }
        if let Act::Subscribe(subscription) = &reach.act
            && let Err(error) = self.check_server_subscription(subscription)
        {
            return (answerer.0)(Err(error));
        }
        let places = self.places_of(&reach);
        self.last_reach = self.last_reach.wrapping_add(1);
        let number = self.last_reach;
        self.reaching.push_back(Reaching { reach, answerer, places, subscriptions_left: None, reached: 0, number });
        if self.reaching.len() == 1 {
            self.reach_some();
        }
    }

    /// Goes on with what is under way, a turn's share. Returns whether more is left.
    pub(super) fn reach_some(&mut self) -> bool {
        let mut share = Share { looks: limits::CUT_LOOKS_PER_TURN, acts: limits::LEAVES_PER_TURN };
        while let Some(mut reaching) = self.reaching.pop_front() {
            if !self.go_on_reaching(&mut reaching, &mut share) {
                self.reaching.push_front(reaching);
                break;
            }
            self.end_reach(reaching);
        }
        self.flush_replies();
        !self.reaching.is_empty()
    }

    /// Answers when all homes have: what is published then is delivered to whoever was subscribed.
    fn end_reach(&mut self, reaching: Reaching) {
        let Reaching { answerer, reached, number, .. } = reaching;
        match self.awaited_reaches.iter_mut().find(|awaited| awaited.number == number) {
            Some(awaited) => awaited.end = Some((answerer, reached)),
            None => (answerer.0)(Ok(Answered::Reached(reached))),
        }
    }

    /// The reach waits for one more home.
    pub(super) fn await_joined(&mut self, number: u32) {
        match self.awaited_reaches.iter_mut().find(|awaited| awaited.number == number) {
            Some(awaited) => awaited.left += 1,
            None => self.awaited_reaches.push(AwaitedReach { number, left: 1, end: None }),
        }
    }

    /// A home has answered one that the reach waits for.
    pub(super) fn reach_joined(&mut self, number: u32) {
        let Some(at) = self.awaited_reaches.iter().position(|awaited| awaited.number == number) else { return };
        self.awaited_reaches[at].left -= 1;
        if self.awaited_reaches[at].left == 0
            && let Some((answerer, reached)) = self.awaited_reaches.swap_remove(at).end
        {
            (answerer.0)(Ok(Answered::Reached(reached)));
        }
    }

    fn places_of(&self, reach: &Reach) -> Places {
        if reach.user.is_empty() {
            // Those without an id are not in the index.
            return Places::Anywhere { next: 0 };
        }
        let hash = self.options.homes.hash_of_user(&reach.user);
        let slots = self.users.find(&self.connections, hash, &reach.user);
        let ids: Vec<_> =
            slots.take(limits::REACH_LISTED_MAX + 1).filter_map(|slot| self.connections.id_at(slot)).collect();
        match ids.len() <= limits::REACH_LISTED_MAX {
            true => Places::These(ids),
            false => Places::Anywhere { next: 0 },
        }
    }

    /// Returns whether all are reached.
    fn go_on_reaching(&mut self, reaching: &mut Reaching, share: &mut Share) -> bool {
        loop {
            if share.looks == 0 || share.acts == 0 || !self.outgoing.has_room_for_leaves() {
                return false;
            }
            share.looks -= 1;
            let slot = match &mut reaching.places {
                Places::These(ids) => match ids.last() {
                    None => return true,
                    Some(&id) => self.connections.find(id).map(|_| id.slot),
                },
                Places::Anywhere { next } if *next >= self.connections.slots() => return true,
                Places::Anywhere { next } => Some(*next),
            };
            if let Some(slot) = slot
                && self.is_meant(slot, &reaching.reach)
                && !self.reach_one(slot, reaching, share)
            {
                return false;
            }
            reaching.subscriptions_left = None;
            match &mut reaching.places {
                Places::These(ids) => drop(ids.pop()),
                Places::Anywhere { next } => *next += 1,
            }
        }
    }

    fn is_meant(&self, slot: u32, reach: &Reach) -> bool {
        let Some(connection) = self.connections.look_at(slot).filter(|connection| connection.is_open()) else {
            return false;
        };
        let Some(client) = &connection.client else { return false };
        client.user == reach.user && reach.client.is_none_or(|only| only == client.client)
    }

    /// Returns whether it is done; `false` where the share was not enough.
    fn reach_one(&mut self, slot: u32, reaching: &mut Reaching, share: &mut Share) -> bool {
        share.acts -= 1;
        match &reaching.reach.act {
            Act::Disconnect { code, reason, spared } => {
                if !self.is_spared(slot, spared) {
                    self.disconnect_for(slot, *code, reason);
                    reaching.reached += 1;
                }
            }
            Act::Subscribe(subscription) => {
                let number = reaching.number;
                reaching.reached += u64::from(self.subscribe_by_server(slot, subscription, number));
            }
            Act::Refresh(refresh) => {
                self.refresh_by_server(slot, refresh);
                reaching.reached += 1;
            }
            Act::Unsubscribe { channel: Some(channel) } => {
                let channel = self.channels.find(channel.as_str());
                reaching.reached += u64::from(channel.is_some_and(|channel| self.revoke(slot, channel)));
            }
            Act::Unsubscribe { channel: None } => {
                let left = reaching.subscriptions_left.take().unwrap_or(usize::MAX);
                let left = self.revoke_some(slot, left, share, &mut reaching.reached);
                reaching.subscriptions_left = Some(left).filter(|left| *left > 0);
                return left == 0;
            }
        }
        true
    }

    fn is_spared(&self, slot: u32, spared: &[ClientId]) -> bool {
        let client = self.connections.look_at(slot).and_then(|connection| connection.client.as_ref());
        client.is_some_and(|client| spared.binary_search(&client.client).is_ok())
    }

    /// Ends subscriptions from the end of the first `left` on, so that those which the client makes
    /// meanwhile stay. Returns how many are left.
    fn revoke_some(&mut self, slot: u32, left: usize, share: &mut Share, reached: &mut u64) -> usize {
        let mut left = left;
        while let Some(connection) = self.connections.look_at(slot) {
            left = left.min(connection.subscriptions.len());
            if left == 0 {
                break;
            }
            if share.acts == 0 || !self.outgoing.has_room_for_leaves() {
                return left;
            }
            left -= 1;
            share.acts -= 1;
            let channel = connection.subscriptions[left].channel;
            *reached += u64::from(self.revoke(slot, channel));
        }
        0
    }

    /// The application ends a subscription, also one that the home is being asked for. Returns whether
    /// there was one.
    fn revoke(&mut self, slot: u32, channel: u32) -> bool {
        let Some(connection) = self.connections.at(slot) else { return false };
        let Some(subscription) = connection.find_subscription(channel) else { return false };
        let is_asked_for = subscription.member().is_none();
        if is_asked_for
            && let Some(waiting) = &mut connection.waiting
            && matches!(waiting.on, On::Subscribe(_))
        {
            waiting.on = On::Revoked;
        }
        let Some(name) = self.channels.at(channel).map(|channel| channel.name.clone()) else { return false };
        self.unsubscribe(slot, channel);
        if !is_asked_for {
            self.metrics.count_unsubscribe(UnsubscribeCode::Server.code());
            self.push_to(slot, &Push::Unsubscribe { channel: name.as_str(), code: UnsubscribeCode::Server });
        }
        true
    }

    /// The application says until when a connection lasts, and what is known of its client.
    fn refresh_by_server(&mut self, slot: u32, refresh: &ServerRefresh) {
        let (ttl, expires) = match self.lifetime(refresh.expire_at, self.options.expired_close_delay) {
            Ok(lifetime) if !refresh.is_expired => lifetime,
            _ => return self.disconnect(slot, DisconnectCode::Expired),
        };
        let is_connected = |connection: &&mut Connection| matches!(connection.phase, Phase::Joining | Phase::Ready);
        let Some(connection) = self.connections.at(slot).filter(is_connected) else { return };
        connection.expires = expires;
        let is_ready = connection.phase == Phase::Ready;
        if let (Some(info), Some(client)) = (&refresh.info, &mut connection.client) {
            *client = with_info(client, info.clone());
            for subscription in connection.subscriptions.iter().filter(|subscription| subscription.has_terms) {
                self.terms.set_conn_info(slot, subscription.channel, &client.conn_info);
            }
        }
        self.remind(slot);
        // One that still joins channels of its token is told nothing before it is answered.
        if is_ready {
            self.push_to(slot, &Push::Refresh { ttl });
        }
    }
}

fn with_info(client: &ClientInfo, info: Bytes) -> Arc<ClientInfo> {
    Arc::new(ClientInfo { conn_info: Some(info), ..client.clone() })
}
