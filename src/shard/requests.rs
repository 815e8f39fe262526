//! What this shard has asked of engines, and who waits for the answers.

use std::collections::VecDeque;

use ahash::AHashMap;

use super::events::{Answerer, HomeAnswer, Reached, ServerPublication, TrayMessage};
use super::{Answered, Shard};
use crate::engine::contract::{Event, Operation, Outcome, Request, RequestId};
use crate::limits::{REQUEST_BYTES_MAX, REQUESTS_MAX};
use crate::model::{self, ChannelName, ConnectionId, EngineIndex, ErrorCode, Position, ShardId};
use crate::telemetry::Counter;

/// Requests under way and those that io has not taken yet.
///
/// Bound: at most [`REQUESTS_MAX`] with [`REQUEST_BYTES_MAX`] are under way for clients and the application; what
/// rooms need (to listen, to read) comes on top, at most two for each.
#[derive(Default)]
pub struct Requests {
    last: u64,
    under_way: AHashMap<RequestId, UnderWay>,
    bytes: usize,
    queue: VecDeque<Request>,
    groups: AHashMap<RequestId, Group>,
}

struct UnderWay {
    awaiting: Awaiting,
    bytes: usize,
}

/// Who waits for an answer.
pub enum Awaiting {
    /// A connection of shard `to`, with its command `id`.
    Client { to: ShardId, asker: ConnectionId, id: u32, channel: ChannelName },
    /// The control plane.
    Application(Answerer),
    /// The same, and the channel's room has to know.
    Removal(ChannelName, Answerer),
    /// The same, for one of many: the first of them names the group.
    Several { first: RequestId, place: usize },
    /// The room of the channel: to listen, or to read.
    Feed(ChannelName),
}

/// Publications that the control plane asked for together, and is answered for together.
struct Group {
    left: usize,
    published: Vec<Result<Option<Position>, ErrorCode>>,
    answerer: Answerer,
}

impl Requests {
    /// Requests whose answers are awaited.
    pub fn count(&self) -> usize {
        self.under_way.len()
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= REQUESTS_MAX || self.bytes >= REQUEST_BYTES_MAX
    }

    fn next_id(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }
}

impl Shard {
    /// Asks on behalf of somebody; who can't be asked for now is told so at once.
    pub(super) fn request(
        &mut self,
        engine: EngineIndex,
        channel: &ChannelName,
        operation: Operation,
        awaiting: Awaiting,
    ) {
        if self.requests.is_full() {
            self.metrics.add(Counter::EngineRequestsRefused, 1);
            return self.answer_request(awaiting, Err(ErrorCode::TooManyRequests));
        }
        if let Operation::Publish(_) = operation {
            self.metrics.add(Counter::PublicationsAccepted, 1);
        }
        self.request_always(engine, channel, operation, awaiting);
    }

    /// The same for what a room can't do without.
    pub(super) fn request_always(
        &mut self,
        engine: EngineIndex,
        channel: &ChannelName,
        operation: Operation,
        awaiting: Awaiting,
    ) -> RequestId {
        let id = self.requests.next_id();
        let bytes = operation.bytes();
        self.requests.bytes += bytes;
        self.requests.under_way.insert(id, UnderWay { awaiting, bytes });
        self.requests.queue.push_back(Request { engine, id, channel: channel.clone(), operation });
        id
    }

    /// Tells an engine something that has no answer. Dropped when far too much waits already: it is repeated, or
    /// ends, by itself.
    pub(super) fn tell_engine(&mut self, engine: EngineIndex, channel: &ChannelName, operation: Operation) {
        debug_assert!(!operation.is_answered());
        let is_kept = matches!(operation, Operation::Unlisten) || self.requests.queue.len() < REQUESTS_MAX;
        if !is_kept {
            return self.metrics.add(Counter::EngineRequestsRefused, 1);
        }
        let id = self.requests.next_id();
        self.requests.queue.push_back(Request { engine, id, channel: channel.clone(), operation });
    }

    /// Asks for many publications, each as `ask` does; they are answered together.
    pub(super) fn request_several(
        &mut self,
        publications: Vec<ServerPublication>,
        answerer: Answerer,
        ask: impl Fn(&mut Shard, ServerPublication, Awaiting),
    ) {
        let first = self.requests.next_id();
        let (left, published) = (publications.len(), vec![Err(ErrorCode::Internal); publications.len()]);
        self.requests.groups.insert(first, Group { left, published, answerer });
        for (place, publication) in publications.into_iter().enumerate() {
            ask(self, publication, Awaiting::Several { first, place });
        }
    }

    /// The next request for an engine.
    pub fn next_request(&mut self) -> Option<Request> {
        self.requests.queue.pop_front()
    }

    /// Gives a request back that the engine had no room for.
    pub fn return_request(&mut self, request: Request) {
        self.requests.queue.push_front(request);
    }

    /// The connection whose commands go on with this message: if that panics, it is the one to close.
    pub fn continued_by(&self, message: &TrayMessage) -> Option<ConnectionId> {
        let TrayMessage::Engine(Event::Done { id, .. }) = message else { return message.continues() };
        match self.requests.under_way.get(id)?.awaiting {
            Awaiting::Client { to, asker, .. } if to == self.id => Some(asker),
            _ => None,
        }
    }

    /// An engine answered.
    pub(super) fn request_done(&mut self, id: RequestId, outcome: Result<Outcome, ErrorCode>) {
        let Some(UnderWay { awaiting, bytes }) = self.requests.under_way.remove(&id) else { return };
        self.requests.bytes -= bytes;
        match awaiting {
            Awaiting::Feed(channel) => self.feed_answered(&channel, id, outcome),
            awaiting => self.answer_request(awaiting, outcome),
        }
    }

    pub(super) fn answer_request(&mut self, awaiting: Awaiting, outcome: Result<Outcome, ErrorCode>) {
        match awaiting {
            Awaiting::Client { to, asker, id, channel } => {
                let answer = HomeAnswer::Decided(outcome.map(for_client));
                self.send_answer(to, Reached { asker, id, channel, answer });
            }
            Awaiting::Application(answerer) => (answerer.0)(outcome.map(for_application)),
            Awaiting::Removal(channel, answerer) => {
                if matches!(outcome, Ok(Outcome::HistoryRemoved(true))) {
                    self.doubt_feed(&channel);
                }
                (answerer.0)(outcome.map(for_application));
            }
            Awaiting::Several { first, place } => self.answer_one_of(first, place, outcome),
            // It is never refused.
            Awaiting::Feed(_) => {}
        }
    }

    fn answer_one_of(&mut self, first: RequestId, place: usize, outcome: Result<Outcome, ErrorCode>) {
        let Some(group) = self.requests.groups.get_mut(&first) else { return };
        group.published[place] = outcome.map(|outcome| match outcome {
            Outcome::Published(position) => position,
            _ => None,
        });
        group.left -= 1;
        if group.left == 0
            && let Some(Group { published, answerer, .. }) = self.requests.groups.remove(&first)
        {
            (answerer.0)(Ok(Answered::PublishedAll(published)));
        }
    }
}

fn for_client(outcome: Outcome) -> model::Outcome {
    match outcome {
        Outcome::Page(page) => model::Outcome::History(page),
        Outcome::Presence(clients) => model::Outcome::Presence(clients),
        Outcome::PresenceStats(stats) => model::Outcome::PresenceStats(stats),
        // Nothing else is asked for clients.
        Outcome::Published(_) | Outcome::Listening | Outcome::Read(_) | Outcome::HistoryRemoved(_) => {
            model::Outcome::Publish
        }
    }
}

fn for_application(outcome: Outcome) -> Answered {
    match outcome {
        Outcome::Published(position) => Answered::Published(position),
        Outcome::Page(page) => Answered::History(page),
        Outcome::Presence(clients) => Answered::Presence(clients),
        Outcome::PresenceStats(stats) => Answered::PresenceStats(stats),
        // Nothing else is asked for the application.
        Outcome::HistoryRemoved(_) | Outcome::Listening | Outcome::Read(_) => Answered::HistoryRemoved,
    }
}
