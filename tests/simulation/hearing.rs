//! Replies, held against what was asked, may be known and is owed.

use super::client::{Asked, LinkPhase, Question, User};
use super::granted::{Awaited, Terms};
use super::ledger::{Checked, Fate, Promise, violated};
use super::namespaces::{CHANNELS, ChannelIndex, Offer, find_channel};
use super::report::{Mark, Worst};
use super::subscription::{Reads, Subscription};
use super::watch::REPLY_BOUND;
use super::wire::{self, Heard, Outcome, Position, Said, Subscribe, Subscribed};
use super::world::{Event, MS, World};

impl World {
    pub fn heard(&mut self, client: usize, heard: Heard) -> Checked {
        match heard {
            Heard::Ping => self.heard_ping(client),
            Heard::Reply { id, outcome } => self.heard_reply(client, id, outcome),
            Heard::Push { channel, push } => match find_channel(&channel) {
                Some(channel) => self.heard_push(client, channel, push),
                None => violated(Promise::I3, format!("a push of {channel:?}, where nobody is")),
            },
        }
    }

    fn heard_reply(&mut self, client: usize, id: u32, outcome: Result<Outcome, u32>) -> Checked {
        let patience = self.patience();
        let link = self.link(client);
        let Some(at) = link.asked.iter().position(|asked| asked.id == id) else {
            return violated(Promise::Protocol, format!("reply {id}, which nobody awaits"));
        };
        // Commands take effect in order: only publishes run side by side.
        let is_publish = |asked: &Asked| matches!(asked.question, Question::Publish { .. });
        let asked = link.asked.remove(at).expect("found above");
        if let Some(before) = link.asked.iter().take(at).find(|before| !is_publish(before) || !is_publish(&asked)) {
            return violated(Promise::Protocol, format!("reply {id} came before reply {}", before.id));
        }
        let age = patience.saturating_sub(asked.since);
        if link.is_well {
            if age > REPLY_BOUND {
                return violated(Promise::I5, format!("reply {id} took {} ms", age / MS));
            }
            self.tally.worst(Worst::Reply, age);
        }
        match (asked.question.clone(), outcome) {
            (Question::Connect(awaited), outcome) => self.connected(client, &awaited, outcome),
            (Question::Subscribe { channel, asked, terms }, Ok(Outcome::Subscribe(subscribed))) => {
                self.subscribed(client, channel, &asked, terms, subscribed)
            }
            (Question::Subscribe { channel, asked, terms }, Err(code)) => {
                self.not_subscribed(client, channel, &asked, terms, code)
            }
            (Question::Foreign { channel, .. }, Ok(_)) => {
                violated(Promise::I3, format!("{}: a foreign token lets in", CHANNELS[channel].name))
            }
            (Question::Foreign { channel, code }, Err(told)) => self.foreign_answered(client, channel, code, told),
            (Question::SubRefresh { channel, expiry }, Ok(Outcome::SubRefresh { ttl })) => {
                self.sub_refreshed(client, channel, expiry, ttl)
            }
            // It has ended meanwhile.
            (Question::SubRefresh { channel, .. }, Err(103)) if self.link(client).subscriptions[channel].is_none() => {
                Ok(())
            }
            (Question::Unsubscribe { channel }, Ok(Outcome::Unsubscribe)) => {
                self.end_subscription(client, channel);
                Ok(())
            }
            (Question::Publish { number }, Ok(Outcome::Publish)) => self.publish_confirmed(client, number, &asked),
            (Question::Publish { number }, Err(code)) => self.publish_refused(client, number, code),
            (Question::Hopeless { code }, Err(told)) if code == told || self.is_at_limit(client, told) => {
                self.tally.add(Mark::Denied, 1);
                Ok(())
            }
            (_, outcome) => self.queried(client, asked, outcome),
        }
    }

    fn connected(&mut self, client: usize, awaited: &Awaited, outcome: Result<Outcome, u32>) -> Checked {
        let socket = self.link(client).socket;
        match outcome {
            Ok(Outcome::Connect { client: id, subs }) => {
                if self.client_ids.insert(id, client).is_some() {
                    return violated(Promise::Protocol, "a client id was given twice");
                }
                let patience = self.patience();
                let link = self.link(client);
                (link.id, link.phase, link.last_ping) = (Some(id), LinkPhase::Ready, patience);
                self.note(|| format!("client {client} is connected by socket {socket} as {id}"));
                self.served(client, awaited, subs)?;
                self.subscribe_to_wishes(client);
                Ok(())
            }
            Err(109) if matches!(self.clients[client].user, User::Passing(_)) => {
                let patience = self.patience();
                let link = self.link(client);
                (link.phase, link.since) = (LinkPhase::Refused, patience);
                link.asked.clear();
                self.tally.add(Mark::TokenExpired, 1);
                Ok(())
            }
            outcome => violated(Promise::Protocol, format!("connect was answered by {outcome:?}")),
        }
    }

    fn subscribed(
        &mut self,
        client: usize,
        channel: ChannelIndex,
        asked: &Subscribe,
        granted: Option<Terms>,
        told: Subscribed,
    ) -> Checked {
        let terms = granted.unwrap_or_default();
        let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
        let is_anonymous = self.clients[client].is_anonymous();
        if granted.is_none() && !kind.subscribe.may(is_anonymous, false) {
            return violated(Promise::I3, format!("{name}: subscribed without the right to"));
        }
        if self.link(client).subscriptions[channel].is_some() {
            return violated(Promise::Protocol, format!("{name}: subscribed twice"));
        }
        let recovery = if terms.recovers { Offer::Always } else { kind.recovery };
        let recoverable = offered(recovery, asked.recoverable, kind.has_history());
        // To recover, one has to know where one is.
        let positioned = match (offered(kind.positioning, asked.positioned, kind.has_history()), recoverable) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let is_recovering = asked.since.is_some();
        if recoverable.is_some_and(|expected| expected != told.recoverable)
            || positioned.is_some_and(|expected| expected != told.positioned)
            || told.was_recovering != is_recovering
            || told.delta != (asked.delta && kind.deltas != Offer::Never)
            || (told.recovered && !(is_recovering && told.recoverable))
            || (told.ttl > 0) != terms.expires.is_some()
            || (told.positioned && told.position.epoch == wire::Epoch::default())
        {
            return violated(Promise::Protocol, format!("{name}: {asked:?} was answered by {told:?}"));
        }
        let position = told.positioned.then_some(told.position);
        let wants_joins = match kind.joins {
            Offer::Never => false,
            Offer::Always => true,
            Offer::WhenAsked => terms.is_told || (asked.joins && kind.presence.may(is_anonymous, true)),
        };
        let mut subscription = Subscription::new(channel, self.now, position, wants_joins);
        subscription.is_hidden = terms.is_hidden;
        subscription.end = terms.expires.map(|expiry| self.end_of(expiry));
        self.tally.add(Mark::ByToken, u64::from(granted.is_some()));
        subscription.reads = if told.delta { Reads::Deltas { base: None } } else { Reads::Payloads };
        if let Some(since) = asked.since.filter(|_| told.recoverable) {
            self.check_recovery(channel, since, &told)?;
        }
        let now = self.patience();
        for publication in &told.publications {
            let is_patch = matches!(publication.said, Said::Patch(_));
            self.tally.add(Mark::PatchesRecovered, u64::from(is_patch));
            subscription.given(now, publication, &mut self.ledger)?;
        }
        self.clients[client].held[channel] = subscription.position;
        self.link(client).subscriptions[channel] = Some(subscription);
        self.tally.add(Mark::Subscriptions, 1);
        Ok(())
    }

    /// What is told of a recovery is whole, or says that it is not.
    pub fn check_recovery(&mut self, channel: ChannelIndex, since: Position, told: &Subscribed) -> Checked {
        let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
        if told.recovered {
            if told.position != since {
                return violated(Promise::I2, format!("{name}: recovered from {since:?} by {told:?}"));
            }
            let mark = if told.publications.is_empty() { Mark::RecoveredNothing } else { Mark::Recovered };
            self.tally.add(mark, 1);
            return Ok(());
        }
        self.tally.add(Mark::RecoveryFailed, 1);
        let missed = told.position.offset.checked_sub(since.offset);
        let limit = kind.history_size.min(self.plan.options.recovery_publications_max) as u64;
        if told.position.epoch == since.epoch
            && kind.is_lasting()
            && self.plan.has_large_outboxes
            // A broker may have let go of what is on its way to this node no longer.
            && (!self.is_brokered(channel) || kind.keeps_all())
            && missed.is_some_and(|missed| missed <= limit)
        {
            return violated(Promise::I2, format!("{name}: {missed:?} were missed, all kept, and not recovered"));
        }
        if !told.publications.is_empty() {
            return violated(Promise::I2, format!("{name}: a part was recovered"));
        }
        Ok(())
    }

    fn not_subscribed(
        &mut self,
        client: usize,
        channel: ChannelIndex,
        asked: &Subscribe,
        granted: Option<Terms>,
        code: u32,
    ) -> Checked {
        let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
        let is_anonymous = self.clients[client].is_anonymous();
        let is_fair = match code {
            103 if granted.is_some() || kind.subscribe.may(is_anonymous, false) => {
                self.tally.add(Mark::RefusedRevoked, 1);
                self.renew_later(client, channel);
                return match self.api.has_unsubscribed(&self.clients[client]) {
                    true => Ok(()),
                    false => violated(Promise::Protocol, format!("{name}: subscribing got error {code}")),
                };
            }
            103 => true,
            105 => self.link(client).subscriptions[channel].is_some() || self.was_granted(client, Some(channel)),
            // What kept it took longer than its token was good for.
            109 => granted.and_then(|terms| terms.expires).is_some_and(|expiry| expiry.at <= self.unix_now()),
            106 => self.is_at_limit(client, code),
            112 => {
                let may_recover = kind.recovery != Offer::Never || granted.is_some_and(|terms| terms.recovers);
                asked.must_recover && asked.since.is_some() && may_recover
            }
            100 => self.is_let_down(channel),
            _ => false,
        };
        if !is_fair {
            return violated(Promise::Protocol, format!("{name}: subscribing got error {code}"));
        }
        match code {
            112 => {
                self.clients[client].held[channel] = None;
                self.tally.add(Mark::Unrecoverable, 1);
                self.renew_later(client, channel);
            }
            105 => {
                self.tally.add(Mark::AlreadySubscribed, 1);
                if self.link(client).subscriptions[channel].is_none() {
                    // The server is about to subscribe it, unless that is taken back.
                    self.renew_later(client, channel);
                }
            }
            100 => {
                self.tally.add(Mark::ToldUnavailable, 1);
                self.renew_later(client, channel);
            }
            109 => self.renew_later(client, channel),
            _ => {
                self.clients[client].wishes[channel] = None;
                self.tally.add(Mark::Denied, 1);
            }
        }
        Ok(())
    }

    /// Whether `code` says that the client has as many subscriptions as it may, and it has.
    pub fn is_at_limit(&mut self, client: usize, code: u32) -> bool {
        let count = self.link(client).subscriptions.iter().flatten().count();
        // Those count as well that the server is about to make.
        let is_granted = self.was_granted(client, None) && self.plan.options.channels_max < CHANNELS.len();
        code == 106 && (is_granted || count >= self.plan.options.channels_max)
    }

    fn publish_confirmed(&mut self, client: usize, number: u32, asked: &Asked) -> Checked {
        let channel = self.ledger.published()[number as usize].channel;
        let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
        let is_anonymous = self.clients[client].is_anonymous();
        let link = self.link(client);
        // It may have been a subscriber when the hub looked, and not be one any more.
        let was_in = link.subscriptions[channel].is_some() || link.left_at[channel] >= asked.at;
        if !kind.publish.may(is_anonymous, was_in) {
            return violated(Promise::I3, format!("{name}: published without the right to"));
        }
        self.tally.add(Mark::Confirmed, 1);
        self.ledger.decide(number, Fate::Confirmed)
    }

    fn publish_refused(&mut self, client: usize, number: u32, code: u32) -> Checked {
        let channel = self.ledger.published()[number as usize].channel;
        let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
        let is_anonymous = self.clients[client].is_anonymous();
        let is_in = self.link(client).subscriptions[channel].is_some();
        let socket = self.link(client).socket;
        let shard = self.sockets[socket].shard;
        let home = self.plan.options.homes.home_of(name).as_index();
        let (is_fair, mark) = match code {
            103 => (!kind.publish.may(is_anonymous, is_in), Mark::Denied),
            111 => (home != shard, Mark::PublishRefused),
            // It may have been published.
            100 if self.is_let_down(channel) => {
                self.tally.add(Mark::ToldUnavailable, 1);
                return Ok(());
            }
            _ => (false, Mark::Denied),
        };
        if !is_fair {
            return violated(Promise::Protocol, format!("{name}: publishing got error {code}"));
        }
        self.tally.add(mark, 1);
        self.ledger.decide(number, Fate::Refused)
    }

    pub fn renew_later(&mut self, client: usize, channel: ChannelIndex) {
        if self.clients[client].wishes[channel].is_some() {
            let delay = self.random.u64(MS..500 * MS);
            self.after(delay, Event::Renew { client, channel });
        }
    }

    pub fn end_subscription(&mut self, client: usize, channel: ChannelIndex) {
        let now = self.now;
        let link = self.link(client);
        if let Some(subscription) = link.subscriptions[channel].take() {
            link.left_at[channel] = now;
            self.keep_log(subscription);
        }
    }

    /// A subscription is over.
    pub fn keep_log(&mut self, subscription: Subscription) {
        let owed_from = self.owed_from(&subscription);
        self.ledger.keep_log(subscription.channel, subscription.log, owed_from);
    }
}

/// Whether something is expected; `None` where the rights of history may decide as well.
fn offered(offer: Offer, is_asked: bool, has_history: bool) -> Option<bool> {
    match offer {
        _ if !has_history => Some(false),
        Offer::Always => Some(true),
        Offer::WhenAsked => Some(is_asked),
        Offer::Never if is_asked => None,
        Offer::Never => Some(false),
    }
}
