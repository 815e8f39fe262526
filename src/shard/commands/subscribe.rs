//! subscribe and unsubscribe.
//!
//! The order that makes recovery exact: this shard permits, the channel's home adds the shard to the
//! room and answers with position and missed publications in one step, and everything published
//! later travels behind that answer in the same lane. When the answer is here, the connection joins
//! the audience: what came before it is in the answer, what comes after it is delivered.

use std::sync::Arc;

use crate::access::{self, Asker, ChannelOptions, Grant};
use crate::model::{
    ChannelName, ClientId, ConnectionId, DisconnectCode, Encoding, ErrorCode, Outcome, Position, Since,
    SubscribeRequest, SubscribeResult, SubscriptionType,
};
use crate::shard::connection::{On, SubscriptionPurpose, Wanted};
use crate::shard::events::{Ask, Asked, SubscribeAnswer, SubscribeAsk, Subscribed};
use crate::shard::subscriptions::{Origin, Subscription, Terms, Ticket};
use crate::shard::timers::Appointment;
use crate::shard::{Shard, Speaks};
use crate::telemetry::Gauge;

/// Bit of a subscribe request's `flag`: refuse rather than subscribe unrecovered.
const MUST_RECOVER: i64 = 1 << 1;

/// The delta format there is.
const DELTA: &str = "fossil";

/// A subscription that is permitted, before its home is asked.
pub(super) struct Permitted {
    pub channel: ChannelName,
    /// The channel's own.
    pub channel_options: Arc<ChannelOptions>,
    /// As this subscription has them.
    pub options: Arc<ChannelOptions>,
    pub origin: Origin,
    pub wanted: Wanted,
    pub since: Option<Since>,
    /// Refuse rather than subscribe unrecovered.
    pub must_recover: bool,
    pub recovery_bytes_max: usize,
    pub terms: Option<Terms>,
}

impl Shard {
    pub(super) fn subscribe(&mut self, id: ConnectionId, command: u32, request: Box<SubscribeRequest>) {
        if !(request.delta.is_empty() || *request.delta == *DELTA) {
            return self.disconnect(id.slot, DisconnectCode::BadRequest);
        }
        let channel = match self.check_subscribe(id.slot, &request) {
            Ok(channel) => channel,
            Err(error) => return self.reply(id.slot, command, Err(error)),
        };
        if !request.token.is_empty() {
            let token = request.token.clone();
            return self.verify_subscription(id, command, &token, SubscriptionPurpose::Subscribe(request));
        }
        match self.may_subscribe(id.slot, channel.as_str()) {
            Ok(true) => self.subscribe_permitted(id, command, &request, channel, None),
            Ok(false) => self.reply(id.slot, command, Err(ErrorCode::PermissionDenied)),
            Err(error) => self.reply(id.slot, command, Err(error)),
        }
    }

    /// The client may; what it is given besides may be granted by a token.
    pub(super) fn subscribe_permitted(
        &mut self,
        id: ConnectionId,
        command: u32,
        request: &SubscribeRequest,
        channel: ChannelName,
        grant: Option<Grant>,
    ) {
        if request.has_filter {
            return self.reply(id.slot, command, Err(ErrorCode::BadRequest));
        }
        match self.permit_client(id, request, channel, grant) {
            Ok(permitted) => {
                self.wait_for(id, On::Subscribe(permitted.wanted));
                self.ask_to_subscribe(id, command, permitted);
            }
            Err(error) => self.reply(id.slot, command, Err(error)),
        }
    }

    /// What a client that may subscribe is given of what it asks for.
    fn permit_client(
        &mut self,
        id: ConnectionId,
        request: &SubscribeRequest,
        channel: ChannelName,
        grant: Option<Grant>,
    ) -> Result<Permitted, ErrorCode> {
        let channel_options = self.options.namespaces.find_options(channel.as_str());
        let channel_options = Arc::clone(channel_options.map_err(|_| ErrorCode::UnknownChannel)?);
        let options = granted_options(&channel_options, grant.as_ref());
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
        let since = request.recover.then(|| Since { offset: request.offset, epoch: request.epoch.clone() });
        let wanted = Wanted {
            is_positioned,
            is_recoverable,
            wants_joins,
            has_delta: *request.delta == *DELTA && options.allows_delta,
            // Also where nothing can be recovered: the client has to hear that it was not.
            since_offset: request.recover.then_some(request.offset),
        };
        Ok(Permitted {
            since: recovery_of(&options, is_recoverable, since),
            channel,
            channel_options,
            options,
            origin: Origin::Client,
            wanted,
            must_recover: request.flag & MUST_RECOVER != 0,
            recovery_bytes_max: self.options.outbox_bytes_max / 2,
            terms: grant.map(|grant| self.terms_of(id, grant)).transpose()?,
        })
    }

    /// Asks the channel's home; the answer comes to `subscribe_answered`. `command` is what the answer is for: a
    /// subscribe, or a connect; 0 if the server asks later.
    pub(super) fn ask_to_subscribe(&mut self, id: ConnectionId, command: u32, permitted: Permitted) {
        let Permitted { channel, options, wanted, terms, .. } = permitted;
        let Some(encoding) = self.encoding_of(id, wanted.has_delta) else { return };
        let home = self.options.homes.home_of(channel.as_str());
        let local = self.channels.find_or_insert(&channel, home, &permitted.channel_options);
        if let Some(entry) = self.channels.at(local) {
            entry.asking += 1;
            entry.tells_leaves |= options.presence || options.join_leave;
        }
        let Some(connection) = self.connections.find_mut(id) else { return };
        if connection.subscriptions.capacity() == 0 {
            // Most connections have one: no room is kept for more.
            connection.subscriptions.reserve_exact(1);
        }
        connection.subscriptions.push(Subscription::new(local, permitted.origin, terms.is_some()));
        let own = terms.as_ref().and_then(|terms| terms.info.clone());
        let Some(info) = own.or_else(|| connection.client.clone()) else { return };
        let asked = terms.as_ref().and_then(|terms| terms.asked.as_ref());
        let ask = SubscribeAsk {
            encoding,
            info,
            is_positioned: wanted.is_positioned,
            is_recoverable: wanted.is_recoverable,
            since: permitted.since,
            must_recover: permitted.must_recover,
            recovery_bytes_max: permitted.recovery_bytes_max,
            is_listed: options.presence,
            is_told: options.join_leave,
            ticket: asked.and_then(|asked| asked.by_server).map(|(ticket, _)| ticket),
        };
        if let Some(terms) = terms {
            self.terms.insert(id.slot, local, terms);
        }
        self.ask_home(Ask { asker: id, id: command, channel, asked: Asked::Subscribe(ask) });
    }

    pub(super) fn unsubscribe_command(&mut self, slot: u32, command: u32, channel: &str) {
        if let Some(channel) = self.channels.find(channel) {
            self.unsubscribe(slot, channel);
        }
        self.reply(slot, command, Ok(Outcome::Unsubscribe));
    }

    /// The home answered a subscribe; its asker may be gone by now.
    pub(super) fn subscribe_answered(&mut self, asker: ConnectionId, command: u32, answered: SubscribeAnswer<'_>) {
        let SubscribeAnswer { channel, client, ticket, outcome } = answered;
        if let Some(reach) = ticket.and_then(|ticket| ticket.reach) {
            self.reach_joined(reach);
        }
        let Some(local) = self.channels.find(channel.as_str()) else { return };
        if let Ok(Subscribed { position: Some(position), .. }) = &outcome {
            self.stands_at(local, *position);
        }
        let Some(entry) = self.channels.at(local) else { return };
        entry.asking -= 1;
        let wanted = self.find_wanted(asker, local, ticket);
        match (wanted, outcome, ticket) {
            (Some(wanted), Ok(subscribed), None) => {
                if let Some(result) = self.join(asker, local, wanted, subscribed) {
                    self.reply(asker.slot, command, Ok(Outcome::Subscribe(Box::new(result))));
                }
            }
            (Some(wanted), Ok(subscribed), Some(_)) => {
                if let Some(result) = self.join(asker, local, wanted, subscribed) {
                    self.tell_subscribed(asker, command, channel, result);
                }
            }
            (Some(_), Err(error), None) => {
                self.unsubscribe(asker.slot, local);
                self.reply(asker.slot, command, Err(error));
            }
            (Some(_), Err(_), Some(_)) => self.disconnect(asker.slot, DisconnectCode::ServerError),
            (None, outcome, _) => {
                if outcome.is_ok() {
                    self.forsake(client, local);
                }
                self.tell_forsaken(asker, command, ticket);
            }
        }
        self.drop_if_unused(local);
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
    fn find_wanted(&self, asker: ConnectionId, local: u32, ticket: Option<Ticket>) -> Option<Wanted> {
        let connection = self.connections.find(asker).filter(|connection| connection.is_open())?;
        let subscription = connection.find_subscription(local).filter(|it| it.member().is_none())?;
        match (ticket, &connection.waiting.as_ref().map(|waiting| &waiting.on)) {
            (None, Some(On::Subscribe(wanted))) if !subscription.is_server_side() => Some(*wanted),
            (None, _) => None,
            (Some(ticket), _) => {
                let (awaited, wanted) = self.terms.find(asker.slot, local)?.asked.as_ref()?.by_server?;
                (awaited == ticket).then_some(wanted)
            }
        }
    }

    /// The answer is for a subscription that somebody ended meanwhile.
    fn tell_forsaken(&mut self, asker: ConnectionId, command: u32, ticket: Option<Ticket>) {
        if self.connections.find(asker).is_none_or(|connection| !connection.is_open()) {
            return;
        }
        match (ticket, command) {
            (None, _) => self.reply(asker.slot, command, Err(ErrorCode::PermissionDenied)),
            (Some(_), 0) => {}
            (Some(_), _) => self.joined_one(asker, None),
        }
    }

    /// Checks what holds whoever may subscribe.
    pub(super) fn check_subscribe(&mut self, slot: u32, request: &SubscribeRequest) -> Result<ChannelName, ErrorCode> {
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
        Ok(channel)
    }

    /// Whether the connection may subscribe to `channel` without a token for it.
    pub(super) fn may_subscribe(&mut self, slot: u32, channel: &str) -> Result<bool, ErrorCode> {
        let asker = self.asker(slot, channel);
        let client = self.connections.at(slot).and_then(|connection| connection.client.as_deref());
        let user = client.map_or("", |client| &*client.user);
        let namespaces = &self.options.namespaces;
        let options = namespaces.find_options(channel).map_err(|_| ErrorCode::UnknownChannel)?;
        Ok(access::may_subscribe(options, asker, namespaces.name_says(options, channel, user)))
    }

    /// The connection becomes a member: what the lane brings from here on is for it.
    fn join(
        &mut self,
        id: ConnectionId,
        local: u32,
        wanted: Wanted,
        subscribed: Subscribed,
    ) -> Option<SubscribeResult> {
        let encoding = self.encoding_of(id, wanted.has_delta)?;
        let entry = self.channels.at(local)?;
        let member = entry.audience.join(id.slot, encoding, wanted.wants_joins, wanted.is_positioned);
        if subscribed.has_base {
            entry.audience.give_base(member);
        }
        entry.positioned += u32::from(wanted.is_positioned);
        self.make_appointments(local);
        let mut result = result_of(wanted, subscribed);
        let subscription = self.connections.find_mut(id)?.find_subscription_mut(local)?;
        subscription.set_member(member);
        if subscription.has_terms
            && let Some(asked) = self.terms.find_mut(id.slot, local).and_then(|terms| terms.asked.take())
        {
            (result.data, result.ttl) = (asked.data, asked.ttl);
            subscription.has_terms = self.terms.keep_if_needed(id.slot, local);
        }
        self.subscriptions += 1;
        self.metrics.set(Gauge::Subscriptions, self.subscriptions);
        Some(result)
    }

    /// The home counts a subscriber that is gone: take that back.
    fn forsake(&mut self, client: ClientId, local: u32) {
        if let Some(entry) = self.channels.at(local)
            && entry.tells_leaves
        {
            let (home, name) = (entry.home, entry.name.clone());
            self.tell_left(home, name, client);
        }
    }

    fn make_appointments(&mut self, local: u32) {
        let now = self.time.now();
        let generation = self.channels.generation(local);
        let Some(entry) = self.channels.at(local) else { return };
        if entry.positioned > 0 && !std::mem::replace(&mut entry.has_check, true) {
            let due = now + self.options.position_check_delay;
            self.agenda.insert(due, Appointment::CheckPosition { channel: local, generation });
        }
        let keeps_presence = entry.tells_leaves;
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

/// The channel's options, as a subscription with this grant has them.
pub(super) fn granted_options(options: &Arc<ChannelOptions>, grant: Option<&Grant>) -> Arc<ChannelOptions> {
    match grant {
        Some(grant) if !grant.overrides.is_empty() => Arc::new(grant.overrides.apply(options)),
        _ => Arc::clone(options),
    }
}

/// What the home is asked to recover.
pub(super) fn recovery_of(options: &ChannelOptions, is_recoverable: bool, since: Option<Since>) -> Option<Since> {
    let since = since.or_else(|| options.recovers_by_itself().then(Since::default));
    since.filter(|_| is_recoverable)
}

/// The reply's position: where the client stands once it has read the publications in it.
fn result_of(wanted: Wanted, subscribed: Subscribed) -> SubscribeResult {
    let recovered = subscribed.recovered.is_some();
    // A cache may recover by itself.
    let was_recovering = wanted.since_offset.is_some() || recovered;
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
