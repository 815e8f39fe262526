//! What a home asks engines on behalf of others: to publish, to page, who is there.

use std::sync::Arc;

use super::Shard;
use super::events::{Answered, Answerer, Asked, Question, ServerPublication};
use super::feed::{Feed, Waiter};
use super::home::{Asks, retention_of};
use super::requests::Awaiting;
use crate::access::ChannelOptions;
use crate::engine::contract::{Membership, Operation, Outcome, Page, Publish};
use crate::model::{
    ChannelName, ClientId, ClientInfo, ConnectionId, EngineIndex, ErrorCode, HistoryRequest, Publication, ShardId,
    Version,
};
use crate::room::DeliveryKind;

impl Shard {
    /// Whether the home of the channel decides about publications at once, in its own memory.
    pub(super) fn decides_at_once(&self, channel: &str) -> bool {
        let options = self.options.namespaces.find_options(channel);
        options.map_or(true, |options| options.broker.is_memory())
    }

    /// Asks the channel's engine what a connection asks; the answer goes to the shard `from`. What this shard's own
    /// memory knows is given back.
    pub(super) fn ask_engine(
        &mut self,
        from: ShardId,
        (asker, id): (ConnectionId, u32),
        channel: ChannelName,
        asked: Asked,
    ) -> Option<(Asked, ChannelName)> {
        let Ok(options) = self.options.namespaces.find_options(channel.as_str()).cloned() else {
            return Some((asked, channel));
        };
        let engine = engine_for(&options, &asked);
        if engine.is_memory() {
            return Some((asked, channel));
        }
        let operation = match asked {
            Asked::Subscribe(ask) => {
                self.feed_subscribe(&channel, &options, Waiter { from, asker, id, ask });
                return None;
            }
            Asked::Publish { data, info } => {
                let publication = Publication { data, info: Some(info), ..Publication::default() };
                Ok(self.publish_of(&options, &channel, publication, Asks::default(), None, None))
            }
            Asked::Presence => self.presence_of(&channel, self.presence_clients_max()),
            Asked::PresenceStats => self.check_presence(&channel).map(|()| Operation::PresenceStats),
            Asked::History(request) => self.page_of(&options, request, self.options.history_publications_max),
        };
        let awaiting = Awaiting::Client { to: from, asker, id, channel: channel.clone() };
        match operation {
            Ok(operation) => self.request(engine, &channel, operation, awaiting),
            Err(error) => self.answer_request(awaiting, Err(error)),
        }
        None
    }

    /// The same for a question of the control plane.
    pub(super) fn question(&mut self, question: Question, answerer: Answerer) {
        match question {
            Question::PublishAll(publications) => self.publish_all(publications, answerer),
            Question::Publish(publication) if self.decides_at_once(publication.channel.as_str()) => {
                (answerer.0)(self.home_server_publish(publication).map(Answered::Published));
            }
            Question::Publish(publication) => self.publish_for(publication, Awaiting::Application(answerer)),
            Question::History { channel, request } => {
                let operation =
                    |shard: &Shard, options: &ChannelOptions| shard.page_of(options, request.clone(), usize::MAX);
                match self.ask_broker(&channel, operation) {
                    None => (answerer.0)(self.home_question(Question::History { channel, request })),
                    Some(asked) => self.ask_for(asked, &channel, Awaiting::Application(answerer)),
                }
            }
            Question::HistoryRemove { channel } => {
                let operation = |_: &Shard, options: &ChannelOptions| match options.has_history() {
                    true => Ok(Operation::RemoveHistory),
                    false => Err(ErrorCode::NotAvailable),
                };
                match self.ask_broker(&channel, operation) {
                    None => (answerer.0)(self.home_question(Question::HistoryRemove { channel })),
                    Some(asked) => self.ask_for(asked, &channel, Awaiting::Removal(channel.clone(), answerer)),
                }
            }
            Question::Presence { channel } => match self.ask_presence_manager(&channel) {
                None => (answerer.0)(self.home_question(Question::Presence { channel })),
                Some(engine) => {
                    let asked = self.presence_of(&channel, usize::MAX).map(|operation| (engine, operation));
                    self.ask_for(asked, &channel, Awaiting::Application(answerer));
                }
            },
            Question::PresenceStats { channel } => match self.ask_presence_manager(&channel) {
                None => (answerer.0)(self.home_question(Question::PresenceStats { channel })),
                Some(engine) => {
                    let asked = self.check_presence(&channel).map(|()| (engine, Operation::PresenceStats));
                    self.ask_for(asked, &channel, Awaiting::Application(answerer));
                }
            },
            question => (answerer.0)(self.home_question(question)),
        }
    }

    /// Publishes what the application asks for, here or by the channel's broker.
    fn publish_for(&mut self, publication: ServerPublication, awaiting: Awaiting) {
        let options = self.options.namespaces.find_options(publication.channel.as_str()).cloned();
        let Some(options) = options.ok().filter(|options| !options.broker.is_memory()) else {
            let published = self.home_server_publish(publication).map(Outcome::Published);
            return self.answer_request(awaiting, published);
        };
        let ServerPublication { channel, data, shape, tags, skip_history, delta, idempotency_key, version } =
            publication;
        if !options.publication_data_format.admits(&data, shape) {
            return self.answer_request(awaiting, Err(ErrorCode::BadRequest));
        }
        let number = version.as_ref().map_or(0, |version| version.number);
        let publication = Publication { data, tags, version: number, ..Publication::default() };
        let asks = Asks { skip_history, delta };
        let operation = self.publish_of(&options, &channel, publication, asks, idempotency_key, version);
        self.request(options.broker, &channel, operation, awaiting);
    }

    fn publish_of(
        &self,
        options: &ChannelOptions,
        channel: &ChannelName,
        publication: Publication,
        asks: Asks,
        idempotency_key: Option<Box<str>>,
        version: Option<Version>,
    ) -> Operation {
        let is_kept = options.has_history() && !asks.skip_history;
        Operation::Publish(Box::new(Publish {
            publication,
            retention: is_kept.then(|| retention_of(options)),
            delta: asks.delta || options.delta_publish,
            idempotency_key,
            // Where nothing is kept, nothing is known to be newer.
            version: version.filter(|_| is_kept),
            sent_until: self.feeds.get(channel).and_then(Feed::position),
        }))
    }

    fn publish_all(&mut self, publications: Vec<ServerPublication>, answerer: Answerer) {
        let is_here = |publication: &ServerPublication| self.decides_at_once(publication.channel.as_str());
        if publications.iter().all(is_here) {
            return (answerer.0)(self.home_question(Question::PublishAll(publications)));
        }
        self.request_several(publications, answerer, |shard, publication, awaiting| {
            shard.work.add(crate::limits::COMMAND_WORK_BYTES);
            shard.publish_for(publication, awaiting);
        });
    }

    /// What is to be asked of the channel's broker; `None`: it is this shard's memory.
    fn ask_broker(
        &self,
        channel: &ChannelName,
        operation: impl FnOnce(&Shard, &ChannelOptions) -> Result<Operation, ErrorCode>,
    ) -> Option<Result<(EngineIndex, Operation), ErrorCode>> {
        let options = self.options.namespaces.find_options(channel.as_str()).ok()?;
        let engine = Some(options.broker).filter(|engine| !engine.is_memory())?;
        Some(operation(self, options).map(|operation| (engine, operation)))
    }

    fn ask_presence_manager(&self, channel: &ChannelName) -> Option<EngineIndex> {
        let options = self.options.namespaces.find_options(channel.as_str()).ok()?;
        Some(options.presence_manager).filter(|engine| !engine.is_memory())
    }

    fn ask_for(
        &mut self,
        asked: Result<(EngineIndex, Operation), ErrorCode>,
        channel: &ChannelName,
        awaiting: Awaiting,
    ) {
        match asked {
            Ok((engine, operation)) => self.request(engine, channel, operation, awaiting),
            Err(error) => self.answer_request(awaiting, Err(error)),
        }
    }

    fn presence_of(&self, channel: &ChannelName, clients_max: usize) -> Result<Operation, ErrorCode> {
        self.check_presence(channel).map(|()| Operation::Presence { clients_max })
    }

    fn page_of(
        &self,
        options: &ChannelOptions,
        request: HistoryRequest,
        publications_max: usize,
    ) -> Result<Operation, ErrorCode> {
        if !options.has_history() {
            return Err(ErrorCode::NotAvailable);
        }
        let bytes_max = self.options.outbox_bytes_max / 2;
        Ok(Operation::Page(Box::new(Page { retention: retention_of(options), request, publications_max, bytes_max })))
    }

    // --- presence ---

    /// These are in the channel, as far as others may see.
    pub(super) fn attend(&mut self, channel: &ChannelName, clients: Vec<Arc<ClientInfo>>) {
        if let Some(engine) = self.ask_presence_manager(channel)
            && !clients.is_empty()
        {
            let ttl = self.options.presence_ttl;
            self.tell_engine(engine, channel, Operation::Attend { clients, ttl });
        }
    }

    /// The subscribers on shard `from` are still there.
    pub(super) fn keep_attending(&mut self, from: ShardId, channel: &ChannelName) {
        if self.ask_presence_manager(channel).is_some() {
            let clients = self.memory.attendees(channel.as_str(), Some(from));
            self.attend(channel, clients);
        }
    }

    /// The presence manager may have forgotten who is there.
    pub(super) fn attend_again(&mut self, channel: &ChannelName) {
        if self.ask_presence_manager(channel).is_some() {
            let clients = self.memory.attendees(channel.as_str(), None);
            self.attend(channel, clients);
        }
    }

    pub(super) fn tell_gone(&mut self, channel: &ChannelName, client: ClientId) {
        if let Some(engine) = self.ask_presence_manager(channel) {
            self.tell_engine(engine, channel, Operation::Leave(client));
        }
    }

    /// Says to all nodes who came or went. Returns whether there is a broker that does.
    pub(super) fn tell_nodes(&mut self, channel: &ChannelName, info: &Arc<ClientInfo>, kind: DeliveryKind) -> bool {
        let options = self.options.namespaces.find_options(channel.as_str());
        let Some(engine) = options.ok().map(|options| options.broker).filter(|engine| !engine.is_memory()) else {
            return false;
        };
        let membership = if kind == DeliveryKind::Leave { Membership::Left } else { Membership::Joined };
        self.tell_engine(engine, channel, Operation::Tell(membership, Arc::clone(info)));
        true
    }
}

fn engine_for(options: &ChannelOptions, asked: &Asked) -> EngineIndex {
    match asked {
        Asked::Presence | Asked::PresenceStats => options.presence_manager,
        Asked::Subscribe(_) | Asked::Publish { .. } | Asked::History(_) => options.broker,
    }
}
