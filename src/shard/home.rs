//! What this shard does as the home of channels: order, remember, recover, say who is there.

use std::sync::Arc;

use super::Shard;
use super::events::{
    Answer, Answered, Ask, Asked, HomeAnswer, LaneMessage, Question, Reached, SubscribeAsk, Subscribed,
};
use crate::access::{ChannelOptions, RecoveryMode};
use crate::engine::{Attendee, RecoveryLimits, Retention, Stream};
use crate::limits;
use crate::model::{
    ChannelName, ClientId, ClientInfo, Epoch, ErrorCode, HistoryRequest, HistoryResult, Outcome, Position,
    PresenceStats, Publication, Push, ShardId, Since,
};
use crate::room::DeliveryKind;
use crate::telemetry::{Counter, Gauge};

impl Shard {
    /// Asks the channel's home, which may be here; the answer comes to `answered`.
    pub(super) fn ask_home(&mut self, ask: Ask) {
        let home = self.options.homes.home_of(ask.channel.as_str());
        if home == self.id {
            self.asked_by(self.id, ask);
        } else {
            self.outgoing.push(home, LaneMessage::Ask(Box::new(ask)));
        }
    }

    /// A connection of shard `from` asks. The answer leaves before anything that follows from it.
    pub(super) fn asked_by(&mut self, from: ShardId, ask: Ask) {
        let Ask { asker, id, channel, asked } = ask;
        let Some((asked, channel)) = self.ask_engine(from, (asker, id), channel, asked) else { return };
        let outcome = match asked {
            Asked::Subscribe(subscribe) => {
                let outcome = self.home_subscribe(from, &channel, &subscribe);
                return self.answer_subscribe(from, (asker, id), &channel, subscribe, outcome);
            }
            Asked::Publish { data, info } => {
                let publication = Publication { data, info: Some(info), ..Publication::default() };
                let options = self.options_of(&channel);
                let published =
                    options.and_then(|options| self.home_publish(&channel, &options, publication, Asks::default()));
                published.map(|_| Outcome::Publish)
            }
            Asked::Presence => self.home_presence(&channel, self.presence_clients_max()).map(Outcome::Presence),
            Asked::PresenceStats => self.home_presence_stats(&channel).map(Outcome::PresenceStats),
            Asked::History(request) => {
                let page = self.home_history(&channel, &request, self.options.history_publications_max);
                page.map(Outcome::History)
            }
        };
        self.send_answer(from, Reached { asker, id, channel, answer: HomeAnswer::Decided(outcome) });
    }

    /// As many as fit an answer.
    pub(super) fn presence_clients_max(&self) -> usize {
        self.options.outbox_bytes_max / 2 / limits::PRESENCE_ENTRY_BYTES
    }

    pub(super) fn send_answer(&mut self, to: ShardId, reached: Reached) {
        match to == self.id {
            true => self.answered(reached),
            false => self.outgoing.push(to, LaneMessage::Answer(Box::new(reached))),
        }
    }

    /// A question of the control plane.
    pub(super) fn home_question(&mut self, question: Question) -> Answer {
        match question {
            Question::Publish(publication) => self.home_server_publish(publication).map(Answered::Published),
            Question::PublishAll(publications) => {
                let published = publications.into_iter().map(|publication| {
                    self.work.add(limits::COMMAND_WORK_BYTES);
                    self.home_server_publish(publication)
                });
                Ok(Answered::PublishedAll(published.collect()))
            }
            Question::Presence { channel } => self.home_presence(&channel, usize::MAX).map(Answered::Presence),
            Question::PresenceStats { channel } => self.home_presence_stats(&channel).map(Answered::PresenceStats),
            Question::History { channel, request } => {
                self.home_history(&channel, &request, usize::MAX).map(Answered::History)
            }
            // Not of one channel, and not answered at once: `begin_survey`.
            Question::Channels(_) | Question::UserSketch => Err(ErrorCode::Internal),
            Question::HistoryRemove { channel } => {
                self.home_history_remove(&channel).map(|()| Answered::HistoryRemoved)
            }
            Question::Users => Ok(Answered::Users(self.shard_users())),
            Question::Reach(_) => unreachable!("its answer may take some turns: `begin_reach`"),
        }
    }

    /// The subscriber `client` of another shard, or of this one, is gone.
    pub(super) fn home_left(&mut self, channel: &ChannelName, client: ClientId) {
        let Some(attendee) = self.memory.leave(channel.as_str(), client) else { return };
        if attendee.is_listed {
            self.tell_gone(channel, client);
        }
        if attendee.is_told {
            self.tell_membership(channel, &attendee.info, DeliveryKind::Leave);
        }
    }

    /// Shard `from` has no subscriber of the channel any more.
    pub(super) fn home_unlistened(&mut self, from: ShardId, channel: &ChannelName) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        room.unlisten(from);
        if room.is_empty() {
            self.forget_base(channel);
            self.rooms.remove(channel);
            self.memory.forget_untouched(channel.as_str());
            self.close_feed_if_unused(channel);
            self.metrics.set(Gauge::Rooms, self.rooms.len() as u64);
        }
    }

    pub(super) fn home_keep_alive(&mut self, from: ShardId, channel: &ChannelName) {
        let until = self.time.now() + self.options.presence_ttl;
        self.memory.keep_alive(channel.as_str(), from, until);
        self.keep_attending(from, channel);
    }

    pub(super) fn tell_left(&mut self, home: ShardId, channel: ChannelName, client: ClientId) {
        if home == self.id {
            self.home_left(&channel, client);
        } else {
            self.outgoing.push(home, LaneMessage::Left { channel, client });
        }
    }

    pub(super) fn tell_unlisten(&mut self, home: ShardId, channel: ChannelName) {
        if home == self.id {
            self.home_unlistened(self.id, &channel);
        } else {
            self.outgoing.push(home, LaneMessage::Unlisten { channel });
        }
    }

    fn home_subscribe(
        &mut self,
        from: ShardId,
        channel: &ChannelName,
        ask: &SubscribeAsk,
    ) -> Result<Subscribed, ErrorCode> {
        let options = self.options.namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        let options = Arc::clone(options);
        let mut subscribed = Subscribed { position: None, recovered: None, has_base: false };
        if ask.is_positioned || ask.is_recoverable {
            let limits = self.recovery_limits(ask);
            let stream = self.memory.stream(self.time.now(), channel, retention_of(&options));
            subscribed.position = Some(stream.position());
            if let Some(since) = &ask.since {
                subscribed.recovered = recovered_of(&options, stream, since, limits);
                self.plant_fault(&mut subscribed);
                if !self.count_recovery(&subscribed, ask) {
                    if !self.rooms.contains_key(channel) {
                        self.memory.forget_untouched(channel.as_str());
                    }
                    return Err(ErrorCode::UnrecoverablePosition);
                }
            }
        }
        self.let_in(from, channel, &options, ask, &mut subscribed);
        Ok(subscribed)
    }

    pub(super) fn recovery_limits(&self, ask: &SubscribeAsk) -> RecoveryLimits {
        let publications_max = self.options.recovery_publications_max;
        RecoveryLimits { publications_max, bytes_max: ask.recovery_bytes_max }
    }

    /// Counts what became of a recovery. Returns whether the asker is content with it.
    pub(super) fn count_recovery(&mut self, subscribed: &Subscribed, ask: &SubscribeAsk) -> bool {
        let counter = match subscribed.recovered {
            Some(_) => Counter::RecoveriesSucceeded,
            None => Counter::RecoveriesFailed,
        };
        self.metrics.add(counter, 1);
        subscribed.recovered.is_some() || !ask.must_recover
    }

    pub(super) fn plant_fault(&self, subscribed: &mut Subscribed) {
        if self.options.faults.recovery_off_by_one
            && let Some(publications) = &mut subscribed.recovered
            && !publications.is_empty()
        {
            publications.remove(0);
        }
    }

    /// The room gets one more listener, and what it was sent until now is what `subscribed` says.
    pub(super) fn let_in(
        &mut self,
        from: ShardId,
        channel: &ChannelName,
        options: &ChannelOptions,
        ask: &SubscribeAsk,
        subscribed: &mut Subscribed,
    ) {
        let room = self.rooms.entry(channel.clone()).or_default();
        let has_readers = room.encodings().has_delta();
        room.listen(from, ask.encoding);
        if let Some(listener) = room.find_listener(from)
            && listener.is_behind
        {
            // Before the answer: what was lost is in it, and is not to be lost for the asker.
            listener.is_behind = false;
            self.behind.retain(|(shard, untold)| !(*shard == from && untold == channel));
            self.outgoing.push(from, LaneMessage::Behind { channel: channel.clone() });
        }
        self.metrics.set(Gauge::Rooms, self.rooms.len() as u64);
        subscribed.has_base =
            ask.encoding.has_delta() && options.allows_delta && self.gives_base(channel, subscribed, has_readers);
        if ask.is_listed || ask.is_told {
            let until = self.time.now() + self.options.presence_ttl;
            let attendee = Attendee { info: Arc::clone(&ask.info), is_listed: ask.is_listed, is_told: ask.is_told };
            self.memory.join(channel, attendee, from, until);
        }
        if ask.is_listed {
            self.attend(channel, vec![Arc::clone(&ask.info)]);
        }
    }

    pub(super) fn options_of(&self, channel: &ChannelName) -> Result<Arc<ChannelOptions>, ErrorCode> {
        self.options.namespaces.find_options(channel.as_str()).cloned().map_err(|_| ErrorCode::UnknownChannel)
    }

    /// Appends, answers with the position, and sends to every shard that listens.
    pub(super) fn home_publish(
        &mut self,
        channel: &ChannelName,
        options: &Arc<ChannelOptions>,
        publication: Publication,
        asks: Asks,
    ) -> Result<Option<Position>, ErrorCode> {
        self.check_line(channel, publication.data.len())?;
        self.metrics.add(Counter::PublicationsAccepted, 1);
        if self.options.faults.answer_without_append.is_some_and(|rate| self.random.u32(..rate) == 0) {
            return Ok(None);
        }
        let may_patch = asks.delta || options.delta_publish;
        if !options.has_history() || asks.skip_history {
            self.fan_out_publication(channel, options, &publication, None, may_patch);
            return Ok(None);
        }
        let (publication, epoch, evicted) =
            self.memory.append(self.time.now(), channel, retention_of(options), publication);
        self.metrics.add(Counter::StreamsEvicted, evicted as u64);
        let position = Position { epoch, offset: publication.offset };
        self.fan_out_publication(channel, options, &publication, Some(position), may_patch);
        Ok(Some(position))
    }

    fn home_presence(&mut self, channel: &ChannelName, clients_max: usize) -> Result<Vec<Arc<ClientInfo>>, ErrorCode> {
        self.check_presence(channel)?;
        let presence = self.memory.find_presence(self.time.now(), channel.as_str());
        match presence {
            None => Ok(Vec::new()),
            Some(presence) if presence.stats().clients as usize > clients_max => Err(ErrorCode::LimitExceeded),
            Some(presence) => Ok(presence.list()),
        }
    }

    fn home_presence_stats(&mut self, channel: &ChannelName) -> Result<PresenceStats, ErrorCode> {
        self.check_presence(channel)?;
        let presence = self.memory.find_presence(self.time.now(), channel.as_str());
        Ok(presence.map_or_else(PresenceStats::default, |presence| presence.stats()))
    }

    pub(super) fn check_presence(&self, channel: &ChannelName) -> Result<(), ErrorCode> {
        match self.options.namespaces.find_options(channel.as_str()) {
            Err(_) => Err(ErrorCode::UnknownChannel),
            Ok(options) if !options.presence => Err(ErrorCode::NotAvailable),
            Ok(_) => Ok(()),
        }
    }

    fn home_history(
        &mut self,
        channel: &ChannelName,
        request: &HistoryRequest,
        publications_max: usize,
    ) -> Result<HistoryResult, ErrorCode> {
        let options = self.options.namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        let options = Arc::clone(options);
        if !options.has_history() {
            return Err(ErrorCode::NotAvailable);
        }
        let stream = self.memory.stream(self.time.now(), channel, retention_of(&options));
        let Position { epoch, offset } = stream.position();
        let publications = stream.page(request, publications_max, self.options.outbox_bytes_max / 2);
        if !self.rooms.contains_key(channel) {
            self.memory.forget_untouched(channel.as_str());
        }
        Ok(HistoryResult { publications: publications?, epoch, offset })
    }

    pub(super) fn fan_out_publication(
        &mut self,
        channel: &ChannelName,
        options: &ChannelOptions,
        publication: &Publication,
        position: Option<Position>,
        may_patch: bool,
    ) {
        // The first publication of a stream says which stream it is.
        let epoch: Option<Epoch> = position.filter(|position| position.offset == 1).map(|position| position.epoch);
        let push = Push::Publication { channel: channel.as_str(), publication, epoch };
        let tag = options.slow_consumer_policy.find_tag(publication.tags.as_deref());
        let before = match options.allows_delta {
            true => self.replace_base(channel, &publication.data, position),
            false => None,
        };
        let base = before.filter(|_| may_patch);
        self.fan_out(channel, DeliveryKind::Publication(position), tag, &push, base);
    }

    /// A subscriber came or went of whom that is told.
    pub(super) fn tell_membership(&mut self, channel: &ChannelName, info: &Arc<ClientInfo>, kind: DeliveryKind) {
        if !self.tell_nodes(channel, info, kind) {
            self.fan_out_membership(channel, info, kind);
        }
    }

    pub(super) fn fan_out_membership(&mut self, channel: &ChannelName, info: &ClientInfo, kind: DeliveryKind) {
        let push = match kind {
            DeliveryKind::Leave => Push::Leave { channel: channel.as_str(), info },
            _ => Push::Join { channel: channel.as_str(), info },
        };
        self.fan_out(channel, kind, None, &push, None);
    }
}

/// What a publisher asks besides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asks {
    pub skip_history: bool,
    /// The publication may be said as the difference from the one before.
    pub delta: bool,
}

/// What somebody who comes back is given of the stream; `None`: it can't be had.
pub(super) fn recovered_of(
    options: &ChannelOptions,
    stream: &Stream,
    since: &Since,
    limits: RecoveryLimits,
) -> Option<Vec<Arc<Publication>>> {
    match options.recovery_mode {
        RecoveryMode::Stream => stream.recover(since, limits),
        RecoveryMode::Cache => stream.recover_newest(since, limits),
    }
}

pub(super) fn retention_of(options: &ChannelOptions) -> Retention {
    Retention { size: options.history_size, ttl: options.history_ttl, meta_ttl: options.history_meta_ttl }
}
