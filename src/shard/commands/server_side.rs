//! Subscriptions that the server makes: with a connection, and later by itself.
//!
//! A connect is answered when the homes of all its server-side subscriptions have answered. What is
//! published meanwhile waits in the outbox, which is not sent before that answer stands in front of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::subscribe::{Permitted, granted_options, recovery_of};
use crate::access::Grant;
use crate::limits;
use crate::model::{
    ChannelName, ClientInfo, ConnectResult, ConnectionId, DisconnectCode, ErrorCode, Outcome, Publication, Push, Since,
    SubscribeRequest, SubscribeResult,
};
use crate::shard::Shard;
use crate::shard::connection::{Connection, Joining, On, Phase, Wanted};
use crate::shard::events::ServerSubscription;
use crate::shard::subscriptions::{AskedFor, Origin, Terms};

/// Subscriptions that a client desires or had, as it writes them in its connect command.
pub(in crate::shard) type Desired = BTreeMap<String, SubscribeRequest>;

/// Why a connect comes to nothing.
pub(super) enum Refusal {
    Error(ErrorCode),
    Disconnect(DisconnectCode),
}

/// What makes a server-side subscription.
pub(super) enum Maker {
    Connect(Origin),
    /// The application, by the reach of this number.
    Reach(u32),
}

impl Shard {
    /// Everything that the server subscribes a new connection to: what its token grants, the personal
    /// channel of its user, and what the client desires and may have.
    pub(super) fn server_side_of(
        &mut self,
        id: ConnectionId,
        granted: Vec<(Box<str>, Grant)>,
        mut desired: Desired,
    ) -> Result<Vec<Permitted>, Refusal> {
        let mut chosen = BTreeMap::new();
        for (name, grant) in granted {
            let channel = self.parse_channel(&name).map_err(|_| Refusal::Disconnect(DisconnectCode::BadRequest))?;
            chosen.insert(channel, (Origin::Token, grant));
        }
        if let Some(channel) = self.personal_channel_of(id) {
            chosen.entry(channel).or_insert((Origin::Server, Grant::default()));
        }
        for name in desired.keys() {
            match self.parse_channel(name) {
                Err(ErrorCode::UnknownChannel) => return Err(Refusal::Disconnect(DisconnectCode::BadRequest)),
                Ok(channel) if self.may_subscribe(id.slot, name) == Ok(true) => {
                    chosen.entry(channel).or_insert((Origin::Server, Grant::default()));
                }
                // What it may not have is left out.
                _ => {}
            }
        }
        if chosen.len() > self.options.channels_max {
            return Err(Refusal::Disconnect(DisconnectCode::ChannelLimit));
        }
        let mut all = Vec::with_capacity(chosen.len());
        for (channel, (origin, grant)) in chosen {
            let since = desired.remove(channel.as_str()).filter(|request| request.recover);
            let since = since.map(|request| Since { offset: request.offset, epoch: request.epoch });
            all.push(self.permit_by_server(id, channel, grant, Maker::Connect(origin), since).map_err(Refusal::Error)?);
        }
        // One answer holds what all of them recover.
        let recovering = all.iter().filter(|permitted| permitted.since.is_some()).count();
        let share = self.options.outbox_bytes_max / 2 / recovering.max(1);
        all.iter_mut().for_each(|permitted| permitted.recovery_bytes_max = share);
        Ok(all)
    }

    /// Subscribes a new connection, and answers its connect when that is done.
    pub(super) fn join_all(&mut self, id: ConnectionId, command: u32, result: ConnectResult, all: Vec<Permitted>) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        connection.phase = if self.options.faults.hasty_pushes { Phase::Ready } else { Phase::Joining };
        let waiting = connection.waiting.get_or_insert_default();
        waiting.on = On::Joining;
        waiting.joining = Some(Box::new(Joining { id: command, result, left: all.len() }));
        for permitted in all {
            if !self.connections.find(id).is_some_and(Connection::is_open) {
                return;
            }
            self.work.add(limits::COMMAND_WORK_BYTES);
            self.ask_to_subscribe(id, command, permitted);
        }
    }

    /// A server-side subscription is made: the client hears of it in the answer to its connect, or by a
    /// push. What it missed follows as publications then.
    pub(super) fn tell_subscribed(
        &mut self,
        id: ConnectionId,
        command: u32,
        channel: &ChannelName,
        result: SubscribeResult,
    ) {
        if command != 0 {
            return self.joined_one(id, Some((channel.clone(), result)));
        }
        let channel = channel.as_str();
        self.push_to(id.slot, &Push::Subscribe { channel, result: &result });
        for publication in &result.publications {
            let publication: &Publication = publication;
            self.push_to(id.slot, &Push::Publication { channel, publication, epoch: None });
        }
    }

    /// One less of the subscriptions that a connect waits for; `None` if nothing came of it.
    pub(super) fn joined_one(&mut self, id: ConnectionId, joined: Option<(ChannelName, SubscribeResult)>) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Some(waiting) = &mut connection.waiting else { return };
        let Some(joining) = &mut waiting.joining else { return };
        joining.result.subs.extend(joined);
        joining.left -= 1;
        if joining.left > 0 {
            return;
        }
        let Some(joining) = waiting.joining.take() else { return };
        let Joining { id: command, mut result, .. } = *joining;
        result.time = self.time_told();
        result.subs.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.reply_first(id, command, Outcome::Connect(Box::new(result)));
        self.begin(id);
        self.decided(id);
    }

    /// A subscription that the server makes, whatever the client may.
    pub(super) fn permit_by_server(
        &mut self,
        id: ConnectionId,
        channel: ChannelName,
        grant: Grant,
        maker: Maker,
        since: Option<Since>,
    ) -> Result<Permitted, ErrorCode> {
        let channel_options = self.options.namespaces.find_options(channel.as_str());
        let channel_options = Arc::clone(channel_options.map_err(|_| ErrorCode::UnknownChannel)?);
        let options = granted_options(&channel_options, Some(&grant));
        let has_history = options.has_history();
        let is_recoverable = has_history && options.force_recovery;
        let wanted = Wanted {
            is_positioned: has_history && (is_recoverable || options.force_positioning),
            is_recoverable,
            wants_joins: options.join_leave && options.force_push_join_leave,
            has_delta: false,
            since_offset: since.as_ref().map(|since| since.offset),
        };
        let mut terms = self.terms_of(id, grant)?;
        let (origin, reach) = match maker {
            Maker::Connect(origin) => (origin, None),
            Maker::Reach(number) => (Origin::Server, Some(number)),
        };
        let ticket = self.terms.take_ticket(reach);
        if let Some(asked) = &mut terms.asked {
            // The server refreshes what it subscribes: the client is not told when.
            (asked.by_server, asked.ttl) = (Some((ticket, wanted)), None);
        }
        Ok(Permitted {
            since: recovery_of(&options, is_recoverable, since),
            channel,
            channel_options,
            options,
            origin,
            wanted,
            must_recover: false,
            recovery_bytes_max: self.options.outbox_bytes_max / 2,
            terms: Some(terms),
        })
    }

    /// The application subscribes a connection. Returns whether it was not subscribed yet.
    pub(in crate::shard) fn subscribe_by_server(
        &mut self,
        slot: u32,
        subscription: &ServerSubscription,
        reach: u32,
    ) -> bool {
        let ServerSubscription { channel, grant, since } = subscription;
        let local = self.channels.find(channel.as_str());
        let Some(id) = self.connections.id_at(slot) else { return false };
        let Some(connection) = self.connections.find(id) else { return false };
        if local.is_some_and(|local| connection.find_subscription(local).is_some()) {
            return false;
        }
        if connection.subscriptions.len() >= self.options.channels_max {
            self.disconnect(slot, DisconnectCode::ChannelLimit);
            return false;
        }
        let maker = Maker::Reach(reach);
        match self.permit_by_server(id, channel.clone(), grant.clone(), maker, since.clone()) {
            Ok(permitted) => {
                self.await_joined(reach);
                self.ask_to_subscribe(id, 0, permitted);
                true
            }
            Err(_) => false,
        }
    }

    /// Why the application can't subscribe anybody so.
    pub(in crate::shard) fn check_server_subscription(&self, wanted: &ServerSubscription) -> Result<(), ErrorCode> {
        self.parse_channel(wanted.channel.as_str())?;
        self.lifetime(wanted.grant.expires_at, self.options.expired_sub_close_delay).map(|_| ())
    }

    /// What is particular about a subscription with this grant.
    ///
    /// Errors: `Expired` (110) if it is over already.
    pub(super) fn terms_of(&mut self, id: ConnectionId, grant: Grant) -> Result<Terms, ErrorCode> {
        let (ttl, expires) = self.lifetime(grant.expires_at, self.options.expired_sub_close_delay)?;
        let client = self.connections.find(id).and_then(|connection| connection.client.as_ref());
        let info = client.filter(|_| grant.info.is_some()).map(|client| {
            let info = ClientInfo { chan_info: grant.info, ..ClientInfo::clone(client) };
            Arc::new(info)
        });
        let expires = if self.options.faults.endless_grants { Duration::MAX } else { expires };
        Ok(Terms { info, expires, asked: Some(Box::new(AskedFor { by_server: None, data: grant.data, ttl })) })
    }

    fn personal_channel_of(&self, id: ConnectionId) -> Option<ChannelName> {
        let prefix = self.options.personal_channel_prefix.as_ref()?;
        let user = &self.connections.find(id)?.client.as_ref().filter(|client| !client.user.is_empty())?.user;
        self.parse_channel(&format!("{prefix}{user}")).ok()
    }
}
