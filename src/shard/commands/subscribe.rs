//! subscribe and unsubscribe.
//!
//! The order that makes recovery exact: this shard permits, the channel's home adds the shard to the
//! room and answers with position and missed publications in one step, and everything published
//! later travels behind that answer in the same lane. When the answer is here, the connection joins
//! the audience: what came before it is in the answer, what comes after it is delivered.

use std::sync::Arc;

use crate::access::{self, Asker};
use crate::model::{
    ChannelName, ClientId, ConnectionId, DisconnectCode, Encoding, ErrorCode, Outcome, Position, Since,
    SubscribeRequest, SubscribeResult, SubscriptionType,
};
use crate::shard::connection::{On, Subscription, Wanted};
use crate::shard::events::{Ask, Asked, SubscribeAsk, Subscribed};
use crate::shard::timers::Appointment;
use crate::shard::{Shard, Speaks};
use crate::telemetry::Gauge;

/// Bit of a subscribe request's `flag`: refuse rather than subscribe unrecovered.
const MUST_RECOVER: i64 = 1 << 1;

impl Shard {
    pub(super) fn subscribe(&mut self, id: ConnectionId, command: u32, request: &SubscribeRequest) {
        let wants_delta = *request.delta == *"fossil";
        if !(request.delta.is_empty() || wants_delta) {
            return self.disconnect(id.slot, DisconnectCode::BadRequest);
        }
        let channel = match self.check_subscribe(id.slot, request) {
            Ok(channel) => channel,
            Err(error) => return self.reply(id.slot, command, Err(error)),
        };
        let Ok(options) = self.options.namespaces.find_options(channel.as_str()) else { return };
        let options = Arc::clone(options);
        let has_delta = wants_delta && options.allows_delta;
        let Some(encoding) = self.encoding_of(id, has_delta) else { return };
        // What subscribers may have is for it already: subscribing is allowed.
        let asker = Asker { is_subscriber: true, ..self.asker(id.slot, channel.as_str()) };
        let may_read_history = access::may_read_history(&options, asker);
        let has_history = options.has_history();
        let is_recoverable = has_history
            && (options.force_recovery || (request.recoverable && (options.allow_recovery || may_read_history)));
        let is_positioned = has_history
            && (is_recoverable
                || options.force_positioning
                || (request.positioned && (options.allow_positioning || may_read_history)));
        let wants_joins = options.join_leave
            && (options.force_push_join_leave || (request.join_leave && access::may_read_presence(&options, asker)));
        let since =
            (is_recoverable && request.recover).then(|| Since { offset: request.offset, epoch: request.epoch.clone() });
        let wanted = Wanted {
            is_positioned,
            is_recoverable,
            wants_joins,
            has_delta,
            // Also where nothing can be recovered: the client has to hear that it was not.
            since_offset: request.recover.then_some(request.offset),
        };

        let home = self.options.homes.home_of(channel.as_str());
        let local = self.channels.find_or_insert(&channel, home, &options);
        if let Some(entry) = self.channels.at(local) {
            entry.asking += 1;
        }
        let Some(connection) = self.connections.find_mut(id) else { return };
        if connection.subscriptions.capacity() == 0 {
            // Most connections have one: no room is kept for more.
            connection.subscriptions.reserve_exact(1);
        }
        connection.subscriptions.push(Subscription { channel: local, member: None });
        let Some(info) = connection.client.clone() else { return };
        self.wait_for(id, On::Subscribe(wanted));
        let ask = SubscribeAsk {
            encoding,
            info,
            is_positioned,
            is_recoverable,
            since,
            must_recover: request.flag & MUST_RECOVER != 0,
        };
        self.ask_home(Ask { asker: id, id: command, channel, asked: Asked::Subscribe(ask) });
    }

    pub(super) fn unsubscribe_command(&mut self, slot: u32, command: u32, channel: &str) {
        if let Some(channel) = self.channels.find(channel) {
            self.unsubscribe(slot, channel);
        }
        self.reply(slot, command, Ok(Outcome::Unsubscribe));
    }

    /// The home answered a subscribe; its asker may be gone by now.
    pub(super) fn subscribe_answered(
        &mut self,
        asker: ConnectionId,
        command: u32,
        channel: &ChannelName,
        client: ClientId,
        outcome: Result<Subscribed, ErrorCode>,
    ) {
        let Some(local) = self.channels.find(channel.as_str()) else { return };
        if let Ok(Subscribed { position: Some(position), .. }) = &outcome {
            self.stands_at(local, *position);
        }
        let Some(entry) = self.channels.at(local) else { return };
        entry.asking -= 1;
        let subscribed = match outcome {
            Ok(subscribed) => subscribed,
            Err(error) => {
                if self.connections.find(asker).is_some() {
                    self.unsubscribe(asker.slot, local);
                    self.reply(asker.slot, command, Err(error));
                }
                return self.drop_if_unused(local);
            }
        };
        match self.find_wanted(asker) {
            Some(wanted) => self.join(asker, command, local, wanted, subscribed),
            None => {
                self.forsake(client, local);
                self.refuse_revoked(asker, command);
            }
        }
    }

    /// What the application has ended before it began was not permitted.
    fn refuse_revoked(&mut self, asker: ConnectionId, command: u32) {
        let waiting = self.connections.find(asker).and_then(|connection| connection.waiting.as_ref());
        if waiting.is_some_and(|waiting| waiting.on == On::Revoked) {
            self.reply(asker.slot, command, Err(ErrorCode::PermissionDenied));
        }
    }

    /// The home says with an answer where the channel's stream stands. What was published up to there
    /// came before, so a difference means that the stream has begun again: those who hold a position
    /// of the old one are told.
    fn stands_at(&mut self, local: u32, position: Position) {
        let Some(entry) = self.channels.at(local) else { return };
        if entry.positioned > 0 && entry.position != Some(position) {
            self.insufficient(local);
        }
        if let Some(entry) = self.channels.at(local) {
            entry.position = Some(position);
        }
    }

    /// What the asker wanted, if it is still there to get it.
    fn find_wanted(&self, asker: ConnectionId) -> Option<Wanted> {
        let connection = self.connections.find(asker).filter(|connection| connection.is_open())?;
        match connection.waiting.as_ref()?.on {
            On::Subscribe(wanted) => Some(wanted),
            _ => None,
        }
    }

    fn check_subscribe(&mut self, slot: u32, request: &SubscribeRequest) -> Result<ChannelName, ErrorCode> {
        if request.subscription_type != SubscriptionType::Stream {
            return Err(ErrorCode::NotAvailable);
        }
        let channel = self.parse_channel(&request.channel)?;
        let local = self.channels.find(channel.as_str());
        if let Some(connection) = self.connections.at(slot) {
            if local.is_some_and(|local| connection.find_subscription(local).is_some()) {
                return Err(ErrorCode::AlreadySubscribed);
            }
            if connection.subscriptions.len() >= self.options.channels_max {
                return Err(ErrorCode::LimitExceeded);
            }
        }
        let asker = self.asker(slot, channel.as_str());
        let client = self.connections.at(slot).and_then(|connection| connection.client.as_deref());
        let user = client.map_or("", |client| &*client.user);
        let namespaces = &self.options.namespaces;
        let options = namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        match access::may_subscribe(options, asker, namespaces.name_says(options, channel.as_str(), user)) {
            true if request.has_filter => Err(ErrorCode::BadRequest),
            true => Ok(channel),
            false => Err(ErrorCode::PermissionDenied),
        }
    }

    /// The connection becomes a member: what the lane brings from here on is for it.
    fn join(&mut self, id: ConnectionId, command: u32, local: u32, wanted: Wanted, subscribed: Subscribed) {
        let Some(encoding) = self.encoding_of(id, wanted.has_delta) else { return };
        let Some(entry) = self.channels.at(local) else { return };
        let member = entry.audience.join(id.slot, encoding, wanted.wants_joins, wanted.is_positioned);
        if subscribed.has_base {
            entry.audience.give_base(member);
        }
        entry.positioned += u32::from(wanted.is_positioned);
        self.make_appointments(local);
        let Some(connection) = self.connections.find_mut(id) else { return };
        if let Some(subscription) = connection.find_subscription(local) {
            subscription.member = Some(member);
        }
        self.subscriptions += 1;
        self.metrics.set(Gauge::Subscriptions, self.subscriptions);
        let result = result_of(wanted, subscribed);
        self.reply(id.slot, command, Ok(Outcome::Subscribe(Box::new(result))));
    }

    /// The home counts a subscriber that is gone: take that back.
    fn forsake(&mut self, client: ClientId, local: u32) {
        if let Some(entry) = self.channels.at(local)
            && entry.tells_leaves()
        {
            let (home, name) = (entry.home, entry.name.clone());
            self.tell_left(home, name, client);
        }
        self.drop_if_unused(local);
    }

    fn make_appointments(&mut self, local: u32) {
        let now = self.time.now();
        let generation = self.channels.generation(local);
        let Some(entry) = self.channels.at(local) else { return };
        if entry.positioned > 0 && !std::mem::replace(&mut entry.has_check, true) {
            let due = now + self.options.position_check_delay;
            self.agenda.insert(due, Appointment::CheckPosition { channel: local, generation });
        }
        let keeps_presence = entry.tells_leaves();
        if keeps_presence && !std::mem::replace(&mut entry.has_keep_alive, true) {
            let due = now + self.options.presence_update_interval;
            self.agenda.insert(due, Appointment::KeepAlive { channel: local, generation });
        }
    }

    /// What the connection reads in a channel.
    fn encoding_of(&self, id: ConnectionId, has_delta: bool) -> Option<Encoding> {
        let connection = self.connections.find(id)?;
        match connection.speaks {
            Speaks::Centrifugo(format) => Some(Encoding::new(format, has_delta, connection.window)),
            Speaks::Echo => None,
        }
    }
}

/// The reply's position: where the client stands once it has read the publications in it.
fn result_of(wanted: Wanted, subscribed: Subscribed) -> SubscribeResult {
    let was_recovering = wanted.since_offset.is_some();
    let recovered = subscribed.recovered.is_some();
    let position = subscribed.position.map(|top| match (recovered, wanted.since_offset) {
        (true, Some(offset)) => Position { offset, ..top },
        _ => top,
    });
    SubscribeResult {
        ttl: None,
        recoverable: wanted.is_recoverable,
        positioned: wanted.is_positioned,
        position,
        publications: subscribed.recovered.unwrap_or_default(),
        recovered,
        was_recovering,
        data: bytes::Bytes::new(),
        delta: wanted.has_delta,
    }
}
