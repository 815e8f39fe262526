//! Subscriptions, and what is particular about some of them.
//!
//! The usual subscription is made by a client and lasts until that goes: it takes twelve bytes. What
//! else a subscription may have (an end, an info of its own) stands in a table beside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;

use super::connection::Wanted;
use crate::model::ClientInfo;
use crate::room::MemberIndex;

/// One connection's place in a channel.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// Slot of the channel in the shard's table of audiences.
    pub channel: u32,
    /// [`NO_MEMBER`] while the home has not answered.
    member: MemberIndex,
    pub origin: Origin,
    /// There is more about it in the table of terms.
    pub has_terms: bool,
}

/// Who made a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client, by the command `subscribe`.
    Client,
    /// The server, because the connection's token says so.
    Token,
    /// The server, for any other reason.
    Server,
}

const NO_MEMBER: MemberIndex = MemberIndex::MAX;

impl Subscription {
    /// One that the home has not answered yet.
    pub fn new(channel: u32, origin: Origin, has_terms: bool) -> Subscription {
        Subscription { channel, member: NO_MEMBER, origin, has_terms }
    }

    /// `None` while the home has not answered.
    pub fn member(&self) -> Option<MemberIndex> {
        (self.member != NO_MEMBER).then_some(self.member)
    }

    pub fn set_member(&mut self, member: MemberIndex) {
        self.member = member;
    }

    pub fn is_server_side(&self) -> bool {
        self.origin != Origin::Client
    }
}

/// What is particular about one subscription.
#[derive(Debug)]
pub struct Terms {
    /// As others in the channel see its subscriber, if that is not as everywhere else.
    pub info: Option<Arc<ClientInfo>>,
    /// When it ends unless it is refreshed, grace included; `Duration::MAX`: never.
    pub expires: Duration,
    /// What is kept until the home answers.
    pub asked: Option<Box<AskedFor>>,
}

/// A granted subscription on its way.
#[derive(Debug)]
pub struct AskedFor {
    /// What the server wants, and which answer is for it; a client's wish waits in its connection.
    pub by_server: Option<(Ticket, Wanted)>,
    pub data: Bytes,
    /// Seconds until the client must refresh it.
    pub ttl: Option<u32>,
}

/// Tells the answer to one subscribe of the server from that to another of the same connection and channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u32,
    /// The application's question that it is part of, if it is.
    pub reach: Option<u32>,
}

/// The terms of all subscriptions that have some, by the slots of connection and channel.
///
/// Invariant: each that ends has one entry in `ends`.
#[derive(Debug, Default)]
pub struct TermsTable {
    by_subscription: AHashMap<(u32, u32), Terms>,
    ends: BTreeSet<(Duration, u32, u32)>,
    next_number: u32,
}

impl TermsTable {
    pub fn is_empty(&self) -> bool {
        self.by_subscription.is_empty()
    }

    /// Another one each time.
    pub fn take_ticket(&mut self, reach: Option<u32>) -> Ticket {
        self.next_number = self.next_number.wrapping_add(1);
        Ticket { number: self.next_number, reach }
    }

    pub fn insert(&mut self, connection: u32, channel: u32, terms: Terms) {
        self.remove(connection, channel);
        if terms.expires != Duration::MAX {
            self.ends.insert((terms.expires, connection, channel));
        }
        self.by_subscription.insert((connection, channel), terms);
    }

    pub fn remove(&mut self, connection: u32, channel: u32) -> Option<Terms> {
        let terms = self.by_subscription.remove(&(connection, channel))?;
        self.ends.remove(&(terms.expires, connection, channel));
        Some(terms)
    }

    pub fn find(&self, connection: u32, channel: u32) -> Option<&Terms> {
        self.by_subscription.get(&(connection, channel))
    }

    /// For all but the end: see `set_end`.
    pub fn find_mut(&mut self, connection: u32, channel: u32) -> Option<&mut Terms> {
        self.by_subscription.get_mut(&(connection, channel))
    }

    /// The subscription, which has terms, ends at `expires`.
    pub fn set_end(&mut self, connection: u32, channel: u32, expires: Duration) {
        let Some(terms) = self.by_subscription.get_mut(&(connection, channel)) else { return };
        let before = std::mem::replace(&mut terms.expires, expires);
        self.ends.remove(&(before, connection, channel));
        if expires != Duration::MAX {
            self.ends.insert((expires, connection, channel));
        }
    }

    /// The subscriber has another `conn_info` from now on.
    pub fn set_conn_info(&mut self, connection: u32, channel: u32, conn_info: &Option<Bytes>) {
        if let Some(info) = self.find_mut(connection, channel).and_then(|terms| terms.info.as_mut()) {
            *info = Arc::new(ClientInfo { conn_info: conn_info.clone(), ..ClientInfo::clone(info) });
        }
    }

    /// Forgets the terms of a subscription that is the usual one from now on. Returns whether there are some left.
    pub fn keep_if_needed(&mut self, connection: u32, channel: u32) -> bool {
        let is_needed = self
            .find(connection, channel)
            .is_some_and(|terms| terms.info.is_some() || terms.expires != Duration::MAX || terms.asked.is_some());
        if !is_needed {
            self.remove(connection, channel);
        }
        is_needed
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Duration> {
        self.ends.first().map(|(expires, _, _)| *expires)
    }

    /// The slots of connection and channel of one that ends by `now`.
    pub fn find_ended(&self, now: Duration) -> Option<(u32, u32)> {
        self.ends
            .first()
            .filter(|(expires, _, _)| *expires <= now)
            .map(|(_, connection, channel)| (*connection, *channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(seconds: u64) -> Terms {
        Terms { info: None, expires: Duration::from_secs(seconds), asked: None }
    }

    #[test]
    fn a_usual_subscription_is_small() {
        assert_eq!(size_of::<Subscription>(), 12);
    }

    #[test]
    fn ends_come_in_order_and_move_with_their_subscriptions() {
        let mut table = TermsTable::default();
        table.insert(1, 7, terms(30));
        table.insert(2, 7, terms(20));
        table.insert(3, 7, Terms { expires: Duration::MAX, ..terms(0) });
        assert_eq!(table.next_end(), Some(Duration::from_secs(20)));
        table.set_end(2, 7, Duration::from_secs(40));
        assert_eq!(table.find_ended(Duration::from_secs(29)), None);
        assert_eq!(table.find_ended(Duration::from_secs(30)), Some((1, 7)));
        table.insert(1, 7, terms(50));
        assert_eq!(table.next_end(), Some(Duration::from_secs(40)), "whatever was said of it before is forgotten");
        assert!(table.remove(1, 7).is_some() && table.remove(2, 7).is_some());
        assert_eq!((table.next_end(), table.is_empty()), (None, false));
    }
}
