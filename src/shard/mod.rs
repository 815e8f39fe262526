//! One core's state machine, pure: connections, audiences, and the rooms at home here.
//!
//! How to drive it (io does, and the simulation): tell it what happened (`opened`, `received`,
//! `sent`, `lost`, `lane_message`, `tray_message`, `timers`), let it walk (`walk`, one slice), then
//! take what it wants done until nothing is left: `next_dirty` with `unsent`, `next_finished`,
//! `next_resumed`, `next_outgoing`, `next_job`, `next_request`; then ask `next_timeout`. Time is an argument;
//! randomness is seeded.
//!
//! Invariants: a channel's home alone orders, remembers and recovers it; lanes are FIFO; every
//! queue has a bound. Must never touch tokio, threads, sockets, the clock, files or config.
//! Read `events.rs` first, then `commands/subscribe.rs`, `home.rs` and `deliver.rs`.

mod admission;
mod asking;
mod backlog;
mod bases;
mod channels;
mod closing;
mod commands;
mod connection;
mod connections;
mod deliver;
mod drain;
mod events;
mod fan_out;
mod fault;
mod feed;
mod feeds;
mod history_remove;
mod home;
mod insufficient;
mod jobs;
mod offload;
mod options;
mod outbox;
mod outgoing;
mod pressure;
mod reach;
mod receive;
mod release;
mod renewal;
mod replies;
mod requests;
mod sending;
mod server_publish;
mod slow;
mod subscriptions;
mod survey;
mod timers;
mod unconnected;
mod upkeep;
mod user_survey;
mod users;
mod windows;
mod work;

#[cfg(test)]
mod tests;

pub use events::{
    Act, Answer, Answered, Answerer, Ask, Asked, ChannelsAsked, ChannelsFound, HomeAnswer, LaneMessage, Opening,
    Question, Reach, Reached, ServerPublication, ServerRefresh, ServerSubscription, ShardUsers, Speaks, SubscribeAsk,
    Subscribed, TrayMessage,
};
pub use fault::Faults;
pub use options::Options;
// What the application grants, for those that ask for it through the handle.
pub use crate::access::{Grant, Overrides};
pub use pressure::Pressure;
// What the door has to know of protocols: their names.
pub use crate::protocol::{format_of_subprotocol, subprotocol};
// A part of the options.
pub use crate::protocol::Compression;
// What `next_request` gives, and what comes back of it.
pub use crate::engine::contract::{Event as EngineEvent, Request as EngineRequest};
// What `next_job` gives, and what comes back of it.
pub use crate::workers::{Done, Job, Owner, Tools, WorkOutcome};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use crate::engine::Memory;
use crate::limits;
use crate::model::{ChannelName, ConnectionId, DisconnectCode, Now, ShardId, UserHash};
use crate::protocol::FrameBuilder;
use crate::room::Room;
use crate::telemetry::{Counter, Gauge, ShardMetrics};
use crate::ws::Inflater;
use backlog::Dropped;
use channels::Channels;
use connection::Connection;
use connections::Connections;
use deliver::Doomed;
use drain::Drain;
use feed::Feed;
use feeds::FeedsDue;
use jobs::Jobs;
use outgoing::{Class, Outgoing};
use pressure::Cutting;
use reach::{AwaitedReach, Reaching};
use release::Lines;
use renewal::Renewing;
use replies::Replies;
use requests::Requests;
use subscriptions::TermsTable;
use survey::Surveys;
use timers::{Agenda, StallProofClock, Wheel};
use unconnected::Unconnected;
use users::Users;
use windows::Windows;
use work::Work;

/// One shard: what it owns, nobody else touches.
pub struct Shard {
    id: ShardId,
    options: Arc<Options>,
    metrics: Arc<ShardMetrics>,
    random: fastrand::Rng,
    time: StallProofClock,
    /// Wall clock of the turn, seconds since 1970.
    unix_millis: i64,

    connections: Connections,
    users: Users,
    /// Connections of users at home here, on all shards; where they are limited.
    user_connections: AHashMap<UserHash, u32>,
    unconnected: Unconnected,
    channels: Channels,
    subscriptions: u64,
    terms: TermsTable,
    outbox_bytes: usize,
    /// What the rooms at home keep to say the next publication as a difference.
    base_bytes: usize,

    /// Rooms whose home is here, and what is remembered of their channels.
    rooms: AHashMap<ChannelName, Room>,
    memory: Memory,
    /// Rooms that a broker feeds, and those of them that have something due.
    feeds: AHashMap<ChannelName, Feed>,
    feeds_due: FeedsDue,
    requests: Requests,
    /// Channels of which workers encode publications.
    lines: Lines,

    wheel: Wheel,
    agenda: Agenda,
    drain: Option<Drain>,
    /// The outboxes are being looked at, for those to cut.
    cutting: Option<Cutting>,
    /// What the application does to connections; the first is under way.
    reaching: VecDeque<Reaching>,
    /// Audiences are being given the options of a reload.
    renewing: Option<Renewing>,
    surveys: Surveys,
    awaited_reaches: Vec<AwaitedReach>,
    last_reach: u32,

    /// Local channels with pending deliveries; rooms take turns.
    walking: VecDeque<u32>,
    /// Local channels with members that missed something and were not told.
    cut: VecDeque<u32>,
    /// Local channels whose deliveries are held back.
    windows: Windows,
    /// Connections to be closed once the slice that found them slow has ended.
    doomed: Vec<Doomed>,
    /// What slow consumers were not sent, until it is counted and told.
    dropped: Dropped,
    /// Closed connections whose subscriptions are still to be taken down.
    leaving: VecDeque<u32>,
    work: Work,
    /// Shards that have not been told of deliveries they lost.
    behind: Vec<(ShardId, ChannelName)>,

    // What io takes.
    replies: Replies,
    frames: FrameBuilder,
    inflater: Inflater,
    dirty: VecDeque<u32>,
    finished: VecDeque<ConnectionId>,
    resumed: VecDeque<ConnectionId>,
    outgoing: Outgoing,
    jobs: Jobs,
    /// Given back by a full queue.
    returned: Option<Job>,
}

impl Shard {
    /// `seed` decides all that is random: jitter, client ids, epochs.
    pub fn new(id: ShardId, options: Arc<Options>, metrics: Arc<ShardMetrics>, seed: u64) -> Shard {
        let mut random = fastrand::Rng::with_seed(seed);
        Shard {
            id,
            memory: Memory::new(options.memory_bytes_max, random.u64(..)),
            work: Work::new(options.slice_bytes_max / limits::WORK_SHARES),
            outgoing: Outgoing::new(options.homes.shards(), options.lane_slots),
            frames: FrameBuilder::new(options.compression, limits::DEFLATE_INLINE_BYTES_MAX),
            inflater: Inflater::default(),
            options,
            metrics,
            random,
            time: StallProofClock::default(),
            unix_millis: 0,
            connections: Connections::default(),
            users: Users::default(),
            user_connections: AHashMap::new(),
            unconnected: Unconnected::default(),
            channels: Channels::default(),
            subscriptions: 0,
            terms: TermsTable::default(),
            outbox_bytes: 0,
            base_bytes: 0,
            rooms: AHashMap::new(),
            feeds: AHashMap::new(),
            feeds_due: FeedsDue::new(),
            requests: Requests::default(),
            lines: Lines::default(),
            wheel: Wheel::default(),
            agenda: Agenda::default(),
            drain: None,
            cutting: None,
            reaching: VecDeque::new(),
            renewing: None,
            surveys: Surveys::default(),
            awaited_reaches: Vec::new(),
            last_reach: 0,
            walking: VecDeque::new(),
            cut: VecDeque::new(),
            windows: Windows::default(),
            doomed: Vec::new(),
            dropped: Dropped::default(),
            leaving: VecDeque::new(),
            behind: Vec::new(),
            replies: Replies::default(),
            dirty: VecDeque::new(),
            finished: VecDeque::new(),
            resumed: VecDeque::new(),
            jobs: Jobs::default(),
            returned: None,
        }
    }

    // --- what happened ---

    /// A socket finished its upgrade; the id names the connection in every later call.
    pub fn opened(&mut self, now: Now, opening: Opening) -> ConnectionId {
        self.tell_time(now);
        let mut connection = Connection::new(opening);
        if let Speaks::Centrifugo(_) = opening.speaks {
            connection.deadline = self.time.now() + self.options.stale_close_delay;
        }
        let id = self.connections.insert(connection);
        self.remind(id.slot);
        self.metrics.add(Counter::ConnectionsOpened, 1);
        self.metrics.add(Counter::ConnectionsCompressed, u64::from(opening.window.is_some()));
        self.metrics.set(Gauge::Connections, self.connections.len() as u64);
        if self.drain.is_some() {
            self.disconnect(id.slot, DisconnectCode::Shutdown);
        } else if let Speaks::Centrifugo(_) = opening.speaks {
            self.await_connect(id);
        }
        id
    }

    /// The socket is at its end: the peer is gone, or an error broke it.
    pub fn lost(&mut self, now: Now, id: ConnectionId) {
        self.tell_time(now);
        let Some(connection) = self.connections.find(id) else { return };
        if connection.is_open() {
            self.metrics.count_disconnect(DisconnectCode::ConnectionClosed.code());
        }
        self.finish(id.slot);
    }

    /// A message of shard `from` came by its lane.
    pub fn lane_message(&mut self, now: Now, from: ShardId, message: LaneMessage) {
        self.tell_time(now);
        match message {
            LaneMessage::Ask(ask) => self.asked_by(from, *ask),
            LaneMessage::Left { channel, client } => self.home_left(&channel, client),
            LaneMessage::Unlisten { channel } => self.home_unlistened(from, &channel),
            LaneMessage::KeepAlive { channel } => self.home_keep_alive(from, &channel),
            LaneMessage::CheckPosition { channel } => {
                // Where there is no room now, the next check will find some.
                if self.outgoing.has_room(from, Class::Delivery)
                    && let Some(position) = self.checked_position_of(&channel)
                {
                    self.outgoing.push(from, LaneMessage::PositionIs { channel, position });
                }
            }
            LaneMessage::Admit(admit) => self.home_admit(from, admit),
            LaneMessage::Departed(user) => self.home_departed(user),
            LaneMessage::Admission { asker, user, is_admitted } => self.admission_answered(asker, user, is_admitted),
            LaneMessage::Superseded { user, newest } => self.superseded(&user, newest),
            LaneMessage::Answer(reached) => {
                self.work.begin_share();
                self.answered(*reached);
            }
            LaneMessage::Deliver(delivery) => self.deliver_here(delivery),
            LaneMessage::Behind { channel } => self.fell_behind(channel.as_str()),
            LaneMessage::PositionIs { channel, position } => self.position_told(channel.as_str(), position),
        }
    }

    /// A message of API, engine or workers came by the in-tray.
    pub fn tray_message(&mut self, now: Now, message: TrayMessage) {
        self.tell_time(now);
        match message {
            TrayMessage::Ask { question: Question::Reach(reach), answerer } => self.begin_reach(*reach, answerer),
            TrayMessage::Ask { question: Question::Channels(asked), answerer } => self.begin_survey(asked, answerer),
            TrayMessage::Ask { question: Question::UserSketch, answerer } => self.begin_user_survey(answerer),
            TrayMessage::Ask { question, answerer } => self.question(question, answerer),
            TrayMessage::Engine(event) => self.engine_event(event),
            TrayMessage::Done(done) => {
                self.work.begin_share();
                self.job_done(done);
            }
            TrayMessage::Drain { window } => self.begin_drain(window),
            TrayMessage::Memory(pressure) => self.feel_pressure(pressure),
            TrayMessage::Options(options) => self.take_options(&options),
            TrayMessage::Stop => {}
        }
    }

    // --- what to do next ---

    /// The next connection whose socket io must shut down and forget. The id is dead after this.
    pub fn next_finished(&mut self) -> Option<ConnectionId> {
        let id = self.finished.pop_front()?;
        if let Some(connection) = self.connections.find_mut(id) {
            connection.is_released = true;
            self.free_if_gone(id.slot);
        }
        Some(id)
    }

    /// Whether the connection may be read. When it becomes readable again it is given by
    /// `next_resumed`.
    pub fn wants_reading(&self, id: ConnectionId) -> bool {
        self.connections.find(id).is_none_or(|connection| !connection.is_unread())
    }

    /// Whether it is the peer that has to read before the connection is read again.
    pub fn waits_for_its_reader(&self, id: ConnectionId) -> bool {
        self.connections.find(id).is_some_and(|connection| connection.waits_for_its_reader())
    }

    /// The next connection that may be read again after `wants_reading` said no, or that has yielded:
    /// it takes its turn among those that wait to be read.
    pub fn next_resumed(&mut self) -> Option<ConnectionId> {
        self.resumed.pop_front()
    }

    /// The next message for the lane to `to`, if there is one. Take it only when the lane has room.
    pub fn next_outgoing(&mut self, to: ShardId) -> Option<LaneMessage> {
        self.outgoing.pop(to).or_else(|| {
            // All else is on its way, so now there is room; the next turn may be long in coming.
            self.tell_behind();
            self.outgoing.pop(to)
        })
    }

    /// Whether something waits for room in a lane: messages, or the word that a shard is behind.
    pub fn has_outgoing(&self) -> bool {
        self.outgoing.len() > 0 || !self.behind.is_empty()
    }

    /// When `timers` or `walk` has something to do, in monotonic time; at the latest for the next heartbeat, so
    /// that a stall is told from a time in which nothing was due.
    pub fn next_timeout(&mut self) -> Duration {
        self.set_gauges();
        let drain = self.drain.as_ref().and_then(Drain::next_due);
        let windows = self.windows.next_due();
        let (connections, subscriptions) = (self.wheel.next_due(), self.terms.next_end());
        let feeds = self.feeds_due.first().map(|(due, _)| *due);
        let due =
            [connections, subscriptions, self.agenda.next_due(), self.memory.next_expiry(), drain, windows, feeds];
        let now = self.time.now();
        let heartbeat = now + limits::HEARTBEAT_INTERVAL;
        self.time.expect_by(due.into_iter().flatten().fold(heartbeat, Duration::min).max(now))
    }

    /// Open connections, also those that are closing.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn unix_seconds(&self) -> i64 {
        self.unix_millis.div_euclid(1000)
    }

    fn tell_time(&mut self, now: Now) {
        self.unix_millis = now.unix_millis;
        self.time.advance(now.monotonic);
    }
}
