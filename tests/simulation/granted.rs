//! What the backend grants: subscriptions that the server makes, for a connection's token or because the
//! API says so, and when they end.

use fanfare::access::{Grant, Overrides};
use fanfare::model::Since;
use fanfare::shard::{Act, Question as AskedOfShard, Reach, ServerSubscription};

use super::api::{What, name_of};
use super::client::{Client, LinkPhase, Question, USERS};
use super::ledger::{Checked, Promise, violated};
use super::namespaces::{CHANNELS, ChannelIndex, Kind, Offer, Who, find_channel};
use super::plan::choose;
use super::report::Mark;
use super::subscription::{Origin, Subscription};
use super::watch::TIMER_SLACK;
use super::wire::{self, Position, Subscribed};
use super::world::{Micros, SECOND, UNIX_START, World};

/// What is different for one subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// It is recoverable, also where that is not forced.
    pub recovers: bool,
    /// It is told of joins and leaves, also where that is not forced.
    pub is_told: bool,
    /// Presence leaves it out.
    pub is_hidden: bool,
    pub expires: Option<Expiry>,
}

/// When something expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Seconds since 1970.
    pub at: i64,
    /// When that was said.
    pub granted: Micros,
}

/// When a subscription with an end is taken away.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Not before this time,
    pub from: Micros,
    /// and not after this patience.
    pub by: Micros,
}

/// The application has subscribed a user to a channel.
#[derive(Clone, Copy, Debug)]
pub struct ApiGrant {
    user: u32,
    channel: ChannelIndex,
    terms: Terms,
}

/// Server-side subscriptions that a connect brings about, with the position that each is to recover from.
pub type Awaited = Vec<(ChannelIndex, Option<Position>)>;

impl Terms {
    /// Only what the channel has can be different.
    pub fn draw(random: &mut fastrand::Rng, kind: &Kind) -> Terms {
        Terms {
            recovers: kind.is_lasting() && kind.has_history() && random.bool(),
            is_told: kind.joins != Offer::Never && random.bool(),
            is_hidden: kind.has_presence && random.u8(..4) == 0,
            expires: None,
        }
    }

    /// Fields of a token's claims: `"override":{…}`.
    pub fn claims(&self) -> String {
        let flags = [
            ("force_recovery", self.recovers, true),
            ("force_push_join_leave", self.is_told, true),
            ("presence", self.is_hidden, false),
        ];
        let set = flags.iter().filter(|(_, is_set, _)| *is_set);
        let said: Vec<_> = set.map(|(name, _, value)| format!("\"{name}\":{{\"value\":{value}}}")).collect();
        format!("\"override\":{{{}}}", said.join(","))
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            force_recovery: self.recovers.then_some(true),
            force_push_join_leave: self.is_told.then_some(true),
            presence: self.is_hidden.then_some(false),
            ..Overrides::default()
        }
    }
}

/// Whether who the server subscribes holds a position.
pub fn is_positioned(kind: &Kind, terms: &Terms) -> bool {
    kind.has_history() && (kind.recovery == Offer::Always || kind.positioning == Offer::Always || terms.recovers)
}

/// Claims of a connection token that subscribe its user.
pub fn claims_of(granted: &[(ChannelIndex, Terms)]) -> String {
    let name = |channel: ChannelIndex| CHANNELS[channel].name;
    match granted {
        [] => String::new(),
        _ if granted.iter().all(|(_, terms)| *terms == Terms::default()) => {
            let names: Vec<_> = granted.iter().map(|(channel, _)| format!("\"{}\"", name(*channel))).collect();
            format!(",\"channels\":[{}]", names.join(","))
        }
        _ => {
            let each = granted.iter().map(|(channel, terms)| format!("\"{}\":{{{}}}", name(*channel), terms.claims()));
            format!(",\"subs\":{{{}}}", each.collect::<Vec<_>>().join(","))
        }
    }
}

impl World {
    pub fn unix_now(&self) -> i64 {
        UNIX_START + (self.now / SECOND) as i64
    }

    // --- with the connection ---

    /// What the client's connect is to bring about, and what it says of it: where it was in channels of its
    /// token, and others that it would like.
    pub fn awaited_by(&mut self, client: usize) -> (Awaited, Vec<(String, Option<Position>)>) {
        let is_anonymous = self.clients[client].is_anonymous();
        let mut awaited = Awaited::new();
        let mut said = Vec::new();
        let it = &self.clients[client];
        for &(channel, terms) in &it.granted {
            let since = it.held[channel].filter(|_| is_positioned(CHANNELS[channel].kind, &terms));
            let is_recoverable = CHANNELS[channel].kind.recovery == Offer::Always || terms.recovers;
            let since = since.filter(|_| is_recoverable && self.random.u8(..8) > 0);
            said.extend(since.map(|since| (CHANNELS[channel].name.to_string(), Some(since))));
            awaited.push((channel, since));
        }
        if let Some(channel) = it.desired {
            said.push((CHANNELS[channel].name.to_string(), None));
            if CHANNELS[channel].kind.subscribe.may(is_anonymous, false) {
                awaited.push((channel, None));
            }
        }
        for (channel, _) in &awaited {
            self.clients[client].ever_asked |= 1 << channel;
        }
        (awaited, said)
    }

    /// The answer to connect names the channels that it should.
    pub fn served(&mut self, client: usize, awaited: &Awaited, told: Vec<(String, Subscribed)>) -> Checked {
        for (channel, _) in awaited {
            let name = CHANNELS[*channel].name;
            // The application may have ended it before it began.
            if !told.iter().any(|(other, _)| other == name) && !self.api.has_unsubscribed(&self.clients[client]) {
                return violated(Promise::Protocol, format!("{name}: the server did not subscribe client {client}"));
            }
        }
        for (name, told) in told {
            let channel = find_channel(&name);
            let Some((channel, since)) = awaited.iter().find(|(other, _)| Some(*other) == channel).copied() else {
                return violated(Promise::I3, format!("{name}: client {client} is in it, and nobody wanted that"));
            };
            let granted = self.clients[client].granted.iter().find(|(other, _)| *other == channel);
            let terms = granted.map(|(_, terms)| *terms).unwrap_or_default();
            if told.was_recovering != since.is_some() || (told.recovered && !(told.recoverable && since.is_some())) {
                return violated(Promise::Protocol, format!("{name}: {since:?} was answered by {told:?}"));
            }
            if let Some(since) = since {
                self.check_recovery(channel, since, &told)?;
            }
            self.serve(client, channel, terms, None, told)?;
            self.tally.add(Mark::ServedByToken, 1);
        }
        Ok(())
    }

    /// The client is in a channel by the server's will.
    fn serve(
        &mut self,
        client: usize,
        channel: ChannelIndex,
        terms: Terms,
        by: Option<u32>,
        told: Subscribed,
    ) -> Checked {
        let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
        let is_recoverable = kind.has_history() && (kind.recovery == Offer::Always || terms.recovers);
        if self.link(client).subscriptions[channel].is_some() {
            return violated(Promise::Protocol, format!("{name}: subscribed by the server, and was already"));
        }
        if told.recoverable != is_recoverable || told.positioned != is_positioned(kind, &terms) || told.ttl > 0 {
            return violated(Promise::Protocol, format!("{name}: the server subscribes by {terms:?}: {told:?}"));
        }
        let position = told.positioned.then_some(told.position);
        let wants_joins = kind.joins == Offer::Always || (kind.joins == Offer::WhenAsked && terms.is_told);
        let mut subscription = Subscription::new(channel, self.now, position, wants_joins);
        let socket = self.link(client).socket;
        let shard = self.sockets[socket].shard;
        subscription.origin = Origin::Server { by, shard };
        subscription.is_hidden = terms.is_hidden;
        subscription.end = terms.expires.map(|expiry| self.end_of(expiry));
        let now = self.patience();
        for publication in &told.publications {
            subscription.given(now, publication, &mut self.ledger)?;
        }
        if position.is_some() {
            self.clients[client].held[channel] = subscription.position;
        }
        self.link(client).subscriptions[channel] = Some(subscription);
        self.tally.add(Mark::Subscriptions, 1);
        Ok(())
    }

    // --- by the API ---

    pub fn api_subscribes(&mut self) {
        let (user, channel) = (self.random.u32(..USERS), self.random.usize(..CHANNELS.len()));
        let kind = CHANNELS[channel].kind;
        let mut terms = Terms::draw(&mut self.random, kind);
        if self.random.u8(..4) == 0 {
            terms.expires = Some(self.soon());
        }
        if self.plan.brokered > 0 || (self.plan.has_little_memory() && is_positioned(kind, &terms)) {
            return;
        }
        let of_user = |client: &Client| client.user_number() == Some(user);
        let since = self.clients.iter().find(|client| of_user(client)).and_then(|client| client.held[channel]);
        let since = since.filter(|_| self.random.bool());
        self.clients.iter_mut().filter(|client| of_user(client)).for_each(|client| client.ever_asked |= 1 << channel);
        let number = self.api.grants.len() as u32;
        self.note(|| format!("the API subscribes user{user} to {}: {terms:?}, {number}", CHANNELS[channel].name));
        self.api.grants.push(ApiGrant { user, channel, terms });
        let grant = Grant {
            info: None,
            data: format!("{{\"n\":{number}}}").into(),
            expires_at: terms.expires.map(|expiry| expiry.at),
            overrides: terms.overrides(),
        };
        let since = since.map(|since| Since { offset: since.offset, epoch: wire::epoch_text(&since.epoch).into() });
        let wanted = Box::new(ServerSubscription { channel: name_of(channel), grant, since });
        let reach = Reach { user: format!("user{user}").into(), client: None, act: Act::Subscribe(wanted) };
        for shard in 0..self.plan.shards {
            let question = AskedOfShard::Reach(Box::new(reach.clone()));
            self.ask_shard(shard, question, What::Grant { number, shard });
        }
        self.tally.add(Mark::ApiSubscribes, 1);
    }

    /// A shard has subscribed whom it has of the user: what is published from here on is theirs.
    pub fn grant_answered(&mut self, number: u32, shard: usize) {
        let next = self.ledger.published().len() as u32;
        self.api.granted_from.insert((number, shard), next);
    }

    /// From which publication on the application was answered that there is the subscription.
    pub fn owed_from(&self, subscription: &Subscription) -> Option<u32> {
        let Origin::Server { by: Some(number), shard } = subscription.origin else { return None };
        self.api.granted_from.get(&(number, shard)).copied()
    }

    /// Whether the grant had ended when its question was looked at.
    pub fn has_grant_expired(&self, number: u32) -> bool {
        self.api.grants[number as usize].terms.expires.is_some_and(|expiry| expiry.at <= self.unix_now())
    }

    /// Whether the application ever subscribed the client's user to something.
    pub fn was_granted(&self, client: usize, only: Option<ChannelIndex>) -> bool {
        let user = self.clients[client].user_number();
        let mut grants = self.api.grants.iter().filter(|grant| Some(grant.user) == user);
        grants.any(|grant| only.is_none_or(|only| only == grant.channel))
    }

    /// A push says that the server has subscribed the client.
    pub fn heard_served(&mut self, client: usize, channel: ChannelIndex, told: Subscribed) -> Checked {
        let name = CHANNELS[channel].name;
        let user = self.clients[client].user_number();
        let grant = told.data.and_then(|number| Some((number, *self.api.grants.get(number as usize)?)));
        let Some((number, grant)) = grant.filter(|(_, it)| it.channel == channel && Some(it.user) == user) else {
            return violated(Promise::I3, format!("{name}: client {client} was subscribed, and nobody wanted that"));
        };
        if self.link(client).phase == LinkPhase::Connecting {
            return violated(Promise::Protocol, format!("{name}: subscribed before the answer to connect"));
        }
        self.serve(client, channel, grant.terms, Some(number), told)?;
        self.tally.add(Mark::ServedByApi, 1);
        if !self.is_faulty && grant.terms.expires.is_some() {
            // Said while the faults went on, heard after they ended, when nothing is to end by itself.
            self.cut(client);
        }
        Ok(())
    }

    // --- ends ---

    /// What is granted now, for a while.
    pub fn soon(&mut self) -> Expiry {
        Expiry { at: self.unix_now() + self.random.i64(2..20), granted: self.now }
    }

    /// When what expires is taken away.
    pub fn end_of(&self, expiry: Expiry) -> End {
        let grace = self.plan.options.expired_sub_close_delay.as_micros() as Micros;
        let from = (expiry.at - UNIX_START).max(0) as Micros * SECOND + grace;
        // A shard counts what was left when it looked, which was before its answer was heard, and does not count
        // the time in which it stood still since. Seconds are counted whole, and after a stall there is another one.
        let left_at_most = from.saturating_sub(expiry.granted);
        End { from, by: self.patience() + left_at_most + 2 * SECOND + TIMER_SLACK }
    }

    /// A client that was told of a loss by 3010 is in a channel by the server's will and holds a position there.
    pub fn is_served(&self, client: usize) -> bool {
        let Some(link) = &self.clients[client].link else { return false };
        let is_server_side = |held: &&Subscription| held.origin != Origin::Client && held.position.is_some();
        let is_awaited = link.phase == LinkPhase::Connecting
            && (self.clients[client].desired.is_some() || !self.clients[client].granted.is_empty());
        // That the application has subscribed it may have been dropped with what waited for it.
        let user = self.clients[client].user_number();
        let may_be_subscribed = self.api.grants.iter().any(|grant| Some(grant.user) == user);
        is_awaited || may_be_subscribed || link.subscriptions.iter().flatten().any(|held| is_server_side(&held))
    }

    /// Whether 3006 may be said: a subscription of the server's has ended, or a token came too late.
    pub fn has_subscription_ended(&self, client: usize) -> bool {
        let Some(link) = &self.clients[client].link else { return false };
        let now = self.unix_now();
        let has_ended =
            |held: &Subscription| held.origin != Origin::Client && held.end.is_some_and(|end| end.from <= self.now);
        link.subscriptions.iter().flatten().any(has_ended)
            || link
                .asked
                .iter()
                .any(|asked| matches!(asked.question, Question::SubRefresh { expiry, .. } if expiry.at <= now))
    }
}

/// Channels that the server subscribes a client to, and one that it would like.
pub fn draw_granted(
    random: &mut fastrand::Rng,
    has_little_memory: bool,
) -> (Vec<(ChannelIndex, Terms)>, Option<ChannelIndex>) {
    let may_serve = |channel: ChannelIndex, terms: &Terms| {
        let kind = CHANNELS[channel].kind;
        !(has_little_memory && is_positioned(kind, terms))
    };
    let mut granted: Vec<(ChannelIndex, Terms)> = Vec::new();
    for _ in 0..*choose(random, &[0, 0, 1, 3]) {
        let channel = random.usize(..CHANNELS.len());
        let terms = match random.bool() {
            true => Terms::draw(random, CHANNELS[channel].kind),
            false => Terms::default(),
        };
        if may_serve(channel, &terms) && granted.iter().all(|(other, _)| *other != channel) {
            granted.push((channel, terms));
        }
    }
    let desired = random.usize(..CHANNELS.len());
    let is_desired = random.u8(..4) == 0
        && may_serve(desired, &Terms::default())
        && granted.iter().all(|(other, _)| *other != desired);
    (granted, is_desired.then_some(desired))
}

/// Whether a client that wants into a channel has to bring a token.
pub fn needs_token(kind: &Kind) -> bool {
    kind.subscribe == Who::Nobody
}
