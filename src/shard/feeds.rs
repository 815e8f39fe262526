//! Rooms that are fed by a broker: who subscribes waits for it, what comes is released in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::events::{HomeAnswer, Reached, SubscribeAsk, Subscribed};
use super::feed::{Coming, Feed, Verdict, Waiter};
use super::home::{recovered_of, retention_of};
use super::requests::Awaiting;
use crate::access::{ChannelOptions, RecoveryMode};
use crate::engine::Stream;
use crate::engine::contract::{Event, Incoming, Membership, Operation, Outcome, Published, Read, RequestId};
use crate::limits::{FEED_AHEAD_MAX, FEED_READ_INTERVAL, FEED_RETRY, FEED_SUSPICION};
use crate::model::{ChannelName, ConnectionId, EngineIndex, ErrorCode, Position, ShardId};
use crate::room::DeliveryKind;
use crate::telemetry::Counter;

/// The feeds that have something due, by time.
pub type FeedsDue = BTreeSet<(Duration, ChannelName)>;

impl Shard {
    /// An engine has something for this shard.
    pub(super) fn engine_event(&mut self, event: Event) {
        self.work.begin_share();
        match event {
            Event::Done { id, outcome } => self.request_done(id, outcome),
            Event::Incoming(incoming) => self.engine_incoming(*incoming),
            Event::Recheck { engine, channels } => channels.iter().for_each(|channel| self.recheck(engine, channel)),
        }
    }

    /// Somebody wants to subscribe to a channel that a broker feeds.
    pub(super) fn feed_subscribe(&mut self, channel: &ChannelName, options: &Arc<ChannelOptions>, waiter: Waiter) {
        if !self.feeds.contains_key(channel) {
            self.open_feed(channel, options);
        }
        if let Some((position, recovered_of)) = self.resolve_now(channel, options, &waiter) {
            return self.answer_waiter(channel, options, waiter, position, recovered_of.as_ref());
        }
        if let Some(feed) = self.feeds.get_mut(channel) {
            feed.waiting.push(waiter);
        }
        self.read_soon(channel);
    }

    /// Nobody listens any more.
    pub(super) fn close_feed_if_unused(&mut self, channel: &ChannelName) {
        let is_waited_for = self.feeds.get(channel).is_none_or(|feed| !feed.waiting.is_empty());
        if is_waited_for || self.rooms.contains_key(channel) {
            return;
        }
        if let Some(feed) = self.feeds.remove(channel) {
            self.forget_due(channel, feed.due);
            self.tell_engine(feed.engine, channel, Operation::Unlisten);
        }
    }

    /// The answer to a request of the channel's feed.
    pub(super) fn feed_answered(&mut self, channel: &ChannelName, id: RequestId, outcome: Result<Outcome, ErrorCode>) {
        let Some(feed) = self.feeds.get_mut(channel).filter(|feed| feed.asked == Some(id)) else { return };
        feed.asked = None;
        match outcome {
            Ok(Outcome::Read(stream)) => self.stream_read(channel, stream),
            Ok(_) => self.feed_opened(channel),
            Err(error) => self.feed_failed(channel, error),
        }
        self.close_feed_if_unused(channel);
    }

    /// What is due for a feed: to forget, or to read.
    pub(super) fn feed_due(&mut self, now: Duration) -> bool {
        if self.feeds_due.first().is_none_or(|(due, _)| *due > now) {
            return false;
        }
        let Some((_, channel)) = self.feeds_due.pop_first() else { return false };
        if let Some(feed) = self.feeds.get_mut(&channel) {
            feed.due = None;
            feed.forget_stale(now);
            feed.is_doubtful |= feed.has_suspect();
            self.read_soon(&channel);
        }
        true
    }

    /// Something may have happened to the stream: somebody wants to know whether the room was sent everything, or
    /// the history was removed.
    pub(super) fn doubt_feed(&mut self, channel: &ChannelName) {
        if let Some(feed) = self.feeds.get_mut(channel) {
            feed.is_doubtful = true;
            self.read_soon(channel);
        }
    }

    // --- asking ---

    fn open_feed(&mut self, channel: &ChannelName, options: &ChannelOptions) {
        let mut feed = Feed::new(options.broker, options.has_history());
        let awaiting = Awaiting::Feed(channel.clone());
        feed.asked = Some(self.request_always(options.broker, channel, Operation::Listen, awaiting));
        self.feeds.insert(channel.clone(), feed);
    }

    /// Reads the stream if somebody waits for that and it is not being done; soon, if it was a moment ago: who
    /// comes meanwhile is answered by the same read.
    fn read_soon(&mut self, channel: &ChannelName) {
        let now = self.time.now();
        let Some(feed) = self.feeds.get(channel) else { return };
        let is_wanted = !feed.waiting.is_empty() || feed.is_doubtful || feed.has_held();
        if !feed.is_open || feed.asked.is_some() || !is_wanted || !feed.has_history {
            return;
        }
        let earliest = feed.read_at + FEED_READ_INTERVAL;
        match feed.position() {
            Some(_) if now < earliest => self.make_due(channel, earliest),
            _ => self.read_feed(channel),
        }
    }

    fn read_feed(&mut self, channel: &ChannelName) {
        let Ok(options) = self.options.namespaces.find_options(channel.as_str()).cloned() else { return };
        let Some(feed) = self.feeds.get(channel) else { return };
        let position = feed.position();
        let mut after = position.map_or(u64::MAX, |position| match options.recovery_mode {
            RecoveryMode::Stream => position.offset,
            // The newest, whatever the room was sent.
            RecoveryMode::Cache => position.offset.saturating_sub(1),
        });
        let whole = self.options.recovery_publications_max + FEED_AHEAD_MAX;
        let mut publications_max = if position.is_some() { whole } else { 0 };
        for since in feed.waiting.iter().filter_map(|waiter| waiter.ask.since.as_ref()) {
            match options.recovery_mode {
                RecoveryMode::Stream => {
                    after = after.min(since.offset);
                    publications_max = whole;
                }
                RecoveryMode::Cache if position.is_none() => (after, publications_max) = (0, 1),
                RecoveryMode::Cache => {}
            }
        }
        let read = Read { retention: retention_of(&options), after, publications_max, sent_until: position };
        let (engine, awaiting) = (feed.engine, Awaiting::Feed(channel.clone()));
        let asked = self.request_always(engine, channel, Operation::Read(Box::new(read)), awaiting);
        let now = self.time.now();
        if let Some(feed) = self.feeds.get_mut(channel) {
            feed.begin_read(now, asked);
        }
    }

    fn make_due(&mut self, channel: &ChannelName, at: Duration) {
        let Some(feed) = self.feeds.get_mut(channel) else { return };
        if feed.due.is_some_and(|due| due <= at) {
            return;
        }
        let before = feed.due.replace(at);
        self.forget_due(channel, before);
        self.feeds_due.insert((at, channel.clone()));
    }

    fn forget_due(&mut self, channel: &ChannelName, due: Option<Duration>) {
        if let Some(due) = due {
            self.feeds_due.remove(&(due, channel.clone()));
        }
    }

    // --- answers ---

    /// The engine hears the channel.
    fn feed_opened(&mut self, channel: &ChannelName) {
        let Some(feed) = self.feeds.get_mut(channel) else { return };
        feed.is_open = true;
        match feed.has_history {
            true => self.read_soon(channel),
            false => self.answer_waiting(channel, usize::MAX),
        }
    }

    /// The broker is away, or too slow. Who waits is told; what is in doubt is read later.
    fn feed_failed(&mut self, channel: &ChannelName, error: ErrorCode) {
        let Some(feed) = self.feeds.get_mut(channel) else { return };
        let count = if feed.is_open { feed.read_for } else { feed.waiting.len() };
        feed.is_doubtful |= feed.is_open;
        let waiters: Vec<_> = feed.waiting.drain(..count).collect();
        let was_open = feed.is_open;
        for waiter in waiters {
            self.refuse_waiter(channel, waiter, error);
        }
        match was_open {
            true => self.make_due(channel, self.time.now() + FEED_RETRY),
            // It was never heard, and nobody is there: whoever comes next tries again.
            false => self.listen_again(channel),
        }
    }

    /// Somebody came while the engine failed to listen.
    fn listen_again(&mut self, channel: &ChannelName) {
        let Some(feed) = self.feeds.get(channel).filter(|feed| !feed.waiting.is_empty()) else { return };
        let (engine, awaiting) = (feed.engine, Awaiting::Feed(channel.clone()));
        let asked = self.request_always(engine, channel, Operation::Listen, awaiting);
        if let Some(feed) = self.feeds.get_mut(channel) {
            feed.asked = Some(asked);
        }
    }

    /// The stream was read: the room is sent what it missed, and whoever waited is answered.
    fn stream_read(&mut self, channel: &ChannelName, stream: Stream) {
        let now = self.time.now();
        let Some(feed) = self.feeds.get_mut(channel) else { return };
        let adopted = feed.adopt(now, stream);
        let (read_for, has_suspect) = (feed.read_for, feed.has_suspect());
        if adopted.is_open {
            return self.make_due(channel, now + FEED_SUSPICION);
        }
        feed.fresh_until = now + FEED_READ_INTERVAL;
        if adopted.is_void {
            self.forget_base(channel);
            self.void_positions_in_line(channel);
        }
        adopted.missing.iter().for_each(|coming| self.send_on(channel, coming));
        self.release_held(channel);
        self.answer_waiting(channel, read_for);
        self.make_due(channel, now + if has_suspect { FEED_SUSPICION } else { FEED_READ_INTERVAL });
        self.read_soon(channel);
    }

    /// Answers the first `count` of those who wait.
    fn answer_waiting(&mut self, channel: &ChannelName, count: usize) {
        let Ok(options) = self.options.namespaces.find_options(channel.as_str()).cloned() else { return };
        let Some(feed) = self.feeds.get_mut(channel) else { return };
        let count = count.min(feed.waiting.len());
        let waiters: Vec<_> = feed.waiting.drain(..count).collect();
        let (position, kept) = (feed.position(), feed.kept().cloned());
        for waiter in waiters {
            self.answer_waiter(channel, &options, waiter, position, kept.as_ref());
        }
    }

    /// What whoever subscribes is told without asking the broker: where the room stands, and the stream to
    /// recover from. `None`: it has to be asked.
    fn resolve_now(
        &self,
        channel: &ChannelName,
        options: &ChannelOptions,
        waiter: &Waiter,
    ) -> Option<(Option<Position>, Option<Stream>)> {
        let feed = self.feeds.get(channel).filter(|feed| feed.is_open)?;
        if !feed.has_history {
            return Some((None, None));
        }
        let position = feed.position()?;
        let Some(since) = &waiter.ask.since else { return Some((Some(position), None)) };
        let is_there = *since.epoch == *position.epoch.as_str() && since.offset == position.offset;
        if is_there {
            return Some((Some(position), Some(Stream::from_newest(position, Vec::new()))));
        }
        let fresh = feed.fresh(self.time.now())?;
        let limits = self.recovery_limits(&waiter.ask);
        let is_covered = options.recovery_mode == RecoveryMode::Stream && fresh.recover(since, limits).is_some();
        is_covered.then(|| (Some(position), Some(fresh.clone())))
    }

    /// Answers a subscribe: the room was sent everything up to `position`, and what is missing to the asker is in
    /// `stream`, which ends there.
    fn answer_waiter(
        &mut self,
        channel: &ChannelName,
        options: &Arc<ChannelOptions>,
        waiter: Waiter,
        position: Option<Position>,
        stream: Option<&Stream>,
    ) {
        let Waiter { from, asker, id, ask } = waiter;
        let wants_position = ask.is_positioned || ask.is_recoverable;
        let mut subscribed =
            Subscribed { position: position.filter(|_| wants_position), recovered: None, has_base: false };
        if let (true, Some(since)) = (wants_position, &ask.since) {
            let limits = self.recovery_limits(&ask);
            subscribed.recovered = stream.and_then(|stream| recovered_of(options, stream, since, limits));
            self.plant_fault(&mut subscribed);
            if !self.count_recovery(&subscribed, &ask) {
                return self.refuse_waiter(channel, Waiter { from, asker, id, ask }, ErrorCode::UnrecoverablePosition);
            }
        }
        self.let_in(from, channel, options, &ask, &mut subscribed);
        self.answer_subscribe(from, (asker, id), channel, ask, Ok(subscribed));
    }

    fn refuse_waiter(&mut self, channel: &ChannelName, waiter: Waiter, error: ErrorCode) {
        let Waiter { from, asker, id, ask } = waiter;
        self.answer_subscribe(from, (asker, id), channel, ask, Err(error));
    }

    // --- what comes ---

    fn engine_incoming(&mut self, incoming: Incoming) {
        let Incoming { engine, channel, what } = incoming;
        match what {
            Published::Membership(membership, info) => {
                let kind = match membership {
                    Membership::Joined => DeliveryKind::Join,
                    Membership::Left => DeliveryKind::Leave,
                };
                self.fan_out_membership(&channel, &info, kind);
            }
            Published::Publication { publication, epoch, delta } => {
                let coming = Coming { publication, epoch, delta };
                let Some(feed) = self.feeds.get_mut(&channel).filter(|feed| feed.engine == engine) else { return };
                match feed.take(&coming) {
                    Verdict::Drop => self.metrics.add(Counter::PublicationsRepeated, 1),
                    Verdict::Release => {
                        self.send_on(&channel, &coming);
                        self.release_held(&channel);
                        self.read_soon(&channel);
                    }
                    Verdict::Hold => self.hold(&channel, coming),
                }
            }
        }
    }

    fn hold(&mut self, channel: &ChannelName, coming: Coming) {
        let Some(feed) = self.feeds.get_mut(channel) else { return };
        if feed.hold(coming).is_ok() {
            return self.read_soon(channel);
        }
        let all = feed.skip_to_held();
        self.forget_base(channel);
        self.void_positions_in_line(channel);
        all.iter().for_each(|coming| self.send_on(channel, coming));
    }

    fn release_held(&mut self, channel: &ChannelName) {
        while let Some(coming) = self.feeds.get_mut(channel).and_then(Feed::next_held) {
            self.send_on(channel, &coming);
        }
    }

    /// Sends a publication to all shards that listen.
    fn send_on(&mut self, channel: &ChannelName, coming: &Coming) {
        let Ok(options) = self.options.namespaces.find_options(channel.as_str()).cloned() else { return };
        let Coming { publication, epoch, delta } = coming;
        if self.check_line(channel, publication.data.len()).is_err() {
            // The workers don't keep up with what the broker brings.
            return self.lose_everywhere(channel);
        }
        let epoch = epoch.filter(|_| options.has_history());
        let position = epoch.map(|epoch| Position { epoch, offset: publication.offset });
        self.fan_out_publication(channel, &options, publication, position, *delta || options.delta_publish);
    }

    /// The engine hears the channel again: the room may have missed something.
    fn recheck(&mut self, engine: EngineIndex, channel: &ChannelName) {
        self.attend_again(channel);
        let Some(feed) = self.feeds.get_mut(channel).filter(|feed| feed.engine == engine) else { return };
        if feed.has_history {
            (feed.is_doubtful, feed.has_lost) = (true, true);
            self.read_soon(channel);
        }
    }

    /// Sends the answer to a subscribe, behind everything that the room was sent before it.
    pub(super) fn answer_subscribe(
        &mut self,
        from: ShardId,
        (asker, id): (ConnectionId, u32),
        channel: &ChannelName,
        ask: SubscribeAsk,
        outcome: Result<Subscribed, ErrorCode>,
    ) {
        let joined = Some(&ask.info).filter(|_| outcome.is_ok() && ask.is_told).cloned();
        let answer = HomeAnswer::Subscribed { client: ask.info.client, ticket: ask.ticket, outcome };
        let reached = Reached { asker, id, channel: channel.clone(), answer };
        match self.lines.has(channel) {
            true => self.answer_in_line(from, reached),
            false => self.send_answer(from, reached),
        }
        if let Some(info) = joined {
            self.tell_membership(channel, &info, DeliveryKind::Join);
        }
    }
}
