//! What reaches a shard from outside its own sockets, and what it sends to the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    ChannelName, ClientInfo, Encoding, ErrorCode, HistoryRequest, HistoryResult, Position, PresenceStats, Tags,
};
use crate::workers::Done;

/// A socket that finished its upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub speaks: Speaks,
}

/// What the messages of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Centrifugo(Encoding),
    /// Test endpoint: each message goes back with its opcode.
    Echo,
}

/// One publication, join or leave with its ready frames: what a home sends to listening shards.
#[derive(Debug)]
pub struct Delivery {
    pub channel: ChannelName,
    pub frames: [Option<Bytes>; Encoding::COUNT],
}

/// What one shard says to another. Lanes are FIFO; the order of these is the ordering contract.
#[derive(Debug)]
pub enum LaneMessage {
    Deliver(Arc<Delivery>),
}

/// What API, engines, workers and node say to a shard.
pub enum TrayMessage {
    /// A question of the control plane to the home of its channel.
    Ask { question: Question, answerer: Answerer },
    /// A worker finished.
    Done(Done),
    /// Close all connections with 3001, spread evenly over `window`; new ones at once.
    Drain { window: Duration },
}

/// Takes the answer to wherever the question came from. Called at most once; dropped unanswered
/// when the shard stops.
pub struct Answerer(pub Box<dyn FnOnce(Answer) + Send>);

pub type Answer = Result<Answered, ErrorCode>;

/// What the control plane asks of a channel's home.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    Publish(ServerPublication),
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
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerPublication {
    pub channel: ChannelName,
    /// Not empty; checked by the API.
    pub data: Bytes,
    pub tags: Option<Box<Tags>>,
    pub skip_history: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// `None` in channels without history.
    Published(Option<Position>),
    Presence(Vec<Arc<ClientInfo>>),
    PresenceStats(PresenceStats),
    History(HistoryResult),
}
