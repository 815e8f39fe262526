//! What reaches a shard from outside its own sockets, and what it sends to the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::options::Options;
use super::pressure::Pressure;
use super::subscriptions::Ticket;
use crate::access::Grant;
use crate::engine::contract::Event;
use crate::model::{
    ChannelName, ClientId, ClientInfo, ConnectionId, DataShape, Encoding, ErrorCode, Format, HistoryRequest,
    HistoryResult, Outcome, Position, PresenceStats, Publication, Since, Tags, UserHash, UserSketch, Version,
    WindowBits,
};
use crate::room::Delivery;
use crate::workers::{Done, Owner};

/// A socket that finished its upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub speaks: Speaks,
    /// permessage-deflate was negotiated, and our messages keep to this window.
    pub window: Option<WindowBits>,
}

/// What the messages of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Centrifugo(Format),
    /// Test endpoint: each message goes back with its opcode.
    Echo,
}

/// What one shard says to another. Lanes are FIFO; the order of these is the ordering contract: the
/// answer to a subscribe comes before everything that is published after it.
#[derive(Debug)]
pub enum LaneMessage {
    // To a channel's home.
    Ask(Box<Ask>),
    /// A subscriber left a channel with presence or leaves.
    Left {
        channel: ChannelName,
        client: ClientId,
    },
    /// The last subscriber left.
    Unlisten {
        channel: ChannelName,
    },
    /// The sender's subscribers of the channel are still there.
    KeepAlive {
        channel: ChannelName,
    },
    /// What position should the sender's audience be at, once this is answered?
    CheckPosition {
        channel: ChannelName,
    },

    // To a user's home, where connections of a user are limited.
    Admit(Admit),
    /// A connection that was let in is gone.
    Departed(UserHash),

    // From a user's home.
    /// Answers `Admit`.
    Admission {
        asker: ConnectionId,
        user: UserHash,
        is_admitted: bool,
    },
    /// Connections of the user are closed, but for the newest, if it is the receiver's.
    Superseded {
        user: Arc<str>,
        newest: Option<ConnectionId>,
    },

    // From a channel's home.
    Answer(Box<Reached>),
    Deliver(Arc<Delivery>),
    /// Deliveries of this channel were lost: they did not fit the lane.
    Behind {
        channel: ChannelName,
    },
    /// Answers `CheckPosition`; everything up to it travelled before it.
    PositionIs {
        channel: ChannelName,
        position: Option<Position>,
    },
}

impl LaneMessage {
    /// The connection whose commands go on with this message: if that panics, it is the one to close.
    pub fn continues(&self) -> Option<ConnectionId> {
        match self {
            LaneMessage::Answer(reached) => Some(reached.asker),
            LaneMessage::Admission { asker, .. } => Some(*asker),
            _ => None,
        }
    }
}

/// A connection asks its user's home to be let in.
#[derive(Debug)]
pub struct Admit {
    pub asker: ConnectionId,
    pub user: Arc<str>,
}

/// A question of one connection to a channel's home.
#[derive(Debug)]
pub struct Ask {
    pub asker: ConnectionId,
    /// Id of the client's command; 0 if the server asks.
    pub id: u32,
    pub channel: ChannelName,
    pub asked: Asked,
}

#[derive(Debug)]
pub enum Asked {
    Subscribe(SubscribeAsk),
    Publish { data: Bytes, info: Arc<ClientInfo> },
    Presence,
    PresenceStats,
    History(HistoryRequest),
}

/// A subscribe that its shard has permitted.
#[derive(Debug)]
pub struct SubscribeAsk {
    pub encoding: Encoding,
    /// The subscriber, as presence, joins and leaves show it.
    pub info: Arc<ClientInfo>,
    pub is_positioned: bool,
    pub is_recoverable: bool,
    /// Replay what came after this.
    pub since: Option<Since>,
    /// Refuse (112) rather than subscribe unrecovered.
    pub must_recover: bool,
    /// More than these bytes are not recovered.
    pub recovery_bytes_max: usize,
    /// Among those present.
    pub is_listed: bool,
    /// Others are told that it joins and leaves.
    pub is_told: bool,
    /// Given back with the answer, if it is the server that subscribes the connection.
    pub ticket: Option<Ticket>,
}

/// A home's answer on its way back.
#[derive(Debug)]
pub struct Reached {
    pub asker: ConnectionId,
    pub id: u32,
    pub channel: ChannelName,
    pub answer: HomeAnswer,
}

#[derive(Debug)]
pub enum HomeAnswer {
    /// `client` is the asker, for the case that it is gone when this arrives.
    Subscribed {
        client: ClientId,
        ticket: Option<Ticket>,
        outcome: Result<Subscribed, ErrorCode>,
    },
    Decided(Result<Outcome, ErrorCode>),
}

/// The answer to a subscribe, as the asker's shard reads it.
#[derive(Debug)]
pub struct SubscribeAnswer<'a> {
    pub channel: &'a ChannelName,
    pub client: ClientId,
    pub ticket: Option<Ticket>,
    pub outcome: Result<Subscribed, ErrorCode>,
}

/// The home added the asking shard to the room; deliveries follow in the same lane.
#[derive(Debug)]
pub struct Subscribed {
    /// Top of the stream, in channels with history.
    pub position: Option<Position>,
    /// What was missed, when recovery succeeded.
    pub recovered: Option<Vec<Arc<Publication>>>,
    /// The next publication may be said as the difference from the last one recovered.
    pub has_base: bool,
}

/// What API, engines, workers and node say to a shard.
pub enum TrayMessage {
    /// A question of the control plane to the home of its channel.
    Ask { question: Question, answerer: Answerer },
    /// A worker finished.
    Done(Done),
    /// An engine answers, or has something to tell.
    Engine(Event),
    /// Close all connections with 3001, spread evenly over `window`; new ones at once.
    Drain { window: Duration },
    /// How the process's memory stands to its limit.
    Memory(Pressure),
    /// The configuration was read anew.
    Options(Arc<Options>),
    /// The thread ends after this turn. The event loop's own: it never reaches the shard.
    Stop,
}

impl TrayMessage {
    /// As [`LaneMessage::continues`].
    pub fn continues(&self) -> Option<ConnectionId> {
        match self {
            TrayMessage::Done(Done { owner: Owner::Connection(id), .. }) => Some(*id),
            _ => None,
        }
    }
}

/// Takes the answer to wherever the question came from. Called at most once; dropped unanswered
/// when the shard stops.
pub struct Answerer(pub Box<dyn FnOnce(Answer) + Send>);

pub type Answer = Result<Answered, ErrorCode>;

/// What the control plane asks of a channel's home; what is about users it asks of every shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    Publish(ServerPublication),
    /// Some of one home, in order.
    PublishAll(Vec<ServerPublication>),
    Presence {
        channel: ChannelName,
    },
    PresenceStats {
        channel: ChannelName,
    },
    /// `limit` as the caller gave it; below 0 means all that is kept.
    History {
        channel: ChannelName,
        request: HistoryRequest,
    },
    HistoryRemove {
        channel: ChannelName,
    },
    /// Something is to be done to connections of this shard.
    Reach(Box<Reach>),
    /// Which users have connections on this shard.
    Users,
    /// The same in a form that can be joined with what other nodes say; the answer takes some turns.
    UserSketch,
    /// Of every shard; the answer takes some turns.
    Channels(ChannelsAsked),
}

/// Which channels have subscribers: the first names after `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsAsked {
    /// A glob; empty: every name.
    pub pattern: Box<str>,
    pub after: Box<str>,
    /// At least 1.
    pub count_max: usize,
}

/// Names with their subscribers on one shard, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsFound {
    pub channels: Vec<(ChannelName, u32)>,
    pub has_more: bool,
}

/// Something that the application does to connections of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// Empty for those without an id, of whom `client` names one.
    pub user: Box<str>,
    /// Only this one.
    pub client: Option<ClientId>,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Disconnect {
        code: u16,
        /// Fits a close frame.
        reason: Box<str>,
        /// Not these; sorted.
        spared: Vec<ClientId>,
    },
    /// `None`: from all channels.
    Unsubscribe {
        channel: Option<ChannelName>,
    },
    Refresh(ServerRefresh),
    /// Those that are not subscribed yet.
    Subscribe(Box<ServerSubscription>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerSubscription {
    pub channel: ChannelName,
    pub grant: Grant,
    /// Give what came after this.
    pub since: Option<Since>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerRefresh {
    /// They are disconnected (3005).
    pub is_expired: bool,
    /// When they expire, seconds since 1970; `None`: never.
    pub expire_at: Option<i64>,
    /// Takes the place of what is known of the client.
    pub info: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerPublication {
    pub channel: ChannelName,
    pub data: Bytes,
    pub shape: DataShape,
    pub tags: Option<Box<Tags>>,
    pub skip_history: bool,
    /// It may be said as the difference from the one before.
    pub delta: bool,
    /// Another publication with it to this channel is a repetition of this one.
    pub idempotency_key: Option<Box<str>>,
    /// Published only if it is newer than what the channel's history holds.
    pub version: Option<Version>,
}

impl ServerPublication {
    /// One without anything besides its data.
    pub fn new(channel: ChannelName, data: impl Into<Bytes>) -> ServerPublication {
        let (data, shape) = (data.into(), DataShape::Unknown);
        let (tags, idempotency_key, version) = (None, None, None);
        ServerPublication { channel, data, shape, tags, skip_history: false, delta: false, idempotency_key, version }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// `None` in channels without history.
    Published(Option<Position>),
    /// The same for each, in order.
    PublishedAll(Vec<Result<Option<Position>, ErrorCode>>),
    Presence(Vec<Arc<ClientInfo>>),
    PresenceStats(PresenceStats),
    History(HistoryResult),
    HistoryRemoved,
    Channels(ChannelsFound),
    /// To how many connections (or subscriptions, where those were to end) it was done.
    Reached(u64),
    Users(ShardUsers),
    UserSketch(UserSketch),
}

/// The users of one shard's connections, those without an id left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardUsers {
    pub count: u64,
    /// 32 bits of each one's hash, to tell who is on other shards too; nothing where there are none.
    /// Users that have them in common stand here once.
    pub keys: Vec<u32>,
}
