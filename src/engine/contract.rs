//! What shards and engines say to one another. Plain data: an engine may be far away, so everything
//! is asked and answered, and nobody waits.
//!
//! # What a shard may rely on
//!
//! * **An answer to each request**, exactly one [`Event::Done`], within [`limits::OPERATION_TIMEOUT`] and a
//!   little; while the broker is away at once, as [`ErrorCode::Internal`] (100, temporary). What has no
//!   answer by its nature ([`Operation::is_answered`]) has none.
//! * **Order by channel**: operations of one channel take effect in the order in which its home gave them; what
//!   is published to it comes in the order of its stream. An answer and what is published may overtake one
//!   another: a shard tells by offsets what it has.
//! * **Listening**: from [`Outcome::Listening`] to `Unlisten`, each publication comes as [`Incoming`] at least
//!   once; or, where some may be missing, the channel is named in [`Event::Recheck`] once the engine hears
//!   it again.
//! * **A publish that is answered** is in the stream, with that position, as long as the engine keeps what it
//!   confirmed. One that failed may be in it or not.
//! * **Epochs**: a position never comes to mean another publication. A stream that lost something begins a new
//!   epoch; an engine that can't know (its broker failed over to a copy that was behind) is told by
//!   `sent_until` of [`Operation::Read`] and [`Operation::Publish`].
//! * **Idempotency**: of publishes with the same key to one channel within five minutes one is done; the
//!   answer to the others is that of the first. *Versions*: as in `mod.rs`. Both in the same step as the append.
//!
//! What an engine may rely on: a shard has a bounded number of requests under way, listens before it
//! reads, and asks for a channel only at the channel's home.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Retention, Stream};
use crate::model::{
    ChannelName, ClientId, ClientInfo, EngineIndex, Epoch, ErrorCode, HistoryRequest, HistoryResult, Position,
    PresenceStats, Publication, ShardId, Version,
};

/// Names a request among those of its shard. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// What a shard asks of an engine.
#[derive(Debug)]
pub struct Request {
    pub engine: EngineIndex,
    pub id: RequestId,
    pub channel: ChannelName,
    pub operation: Operation,
}

#[derive(Debug)]
pub enum Operation {
    // --- of a broker ---
    /// Gives the publication its place in the stream, and sends it to every node that listens.
    Publish(Box<Publish>),
    /// Says to every node that listens who came or went, at most once.
    Tell(Membership, Arc<ClientInfo>),
    /// What is published from now on comes to this shard.
    Listen,
    Unlisten,
    /// The stream from somewhere on.
    Read(Box<Read>),
    /// What a client or the application asks of the history.
    Page(Box<Page>),
    /// The next publication begins a stream of another epoch.
    RemoveHistory,

    // --- of a presence manager ---
    /// These clients are in the channel, for `ttl` from now on. Adds or prolongs.
    Attend {
        clients: Vec<Arc<ClientInfo>>,
        ttl: Duration,
    },
    Leave(ClientId),
    /// Refused with [`ErrorCode::LimitExceeded`] where there are more than `clients_max`.
    Presence {
        clients_max: usize,
    },
    PresenceStats,
}

impl Operation {
    /// Whether there is an [`Event::Done`] for it. The others are repeated by themselves (`Attend`), end by
    /// themselves (`Leave`), or promise nothing (`Tell`).
    pub fn is_answered(&self) -> bool {
        match self {
            Operation::Publish(_) | Operation::Listen | Operation::Read(_) | Operation::Page(_) => true,
            Operation::RemoveHistory | Operation::Presence { .. } | Operation::PresenceStats => true,
            Operation::Tell(..) | Operation::Unlisten | Operation::Attend { .. } | Operation::Leave(_) => false,
        }
    }

    /// What it holds on its way, in bytes, about.
    pub fn bytes(&self) -> usize {
        match self {
            Operation::Publish(publish) => publish.publication.data.len(),
            Operation::Attend { clients, .. } => clients.len() * size_of::<usize>(),
            _ => 0,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Publish {
    /// Without an offset.
    pub publication: Publication,
    /// `None`: it is sent, and not kept.
    pub retention: Option<Retention>,
    /// The publication may be said as the difference from the one before.
    pub delta: bool,
    pub idempotency_key: Option<Box<str>>,
    /// Published only if it is newer than what the stream holds.
    pub version: Option<Version>,
    /// As in [`Read`]: a stream that ends before it begins a new epoch with this publication. An engine that loses
    /// nothing, or finds out by itself, does not look at it.
    pub sent_until: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Joined,
    Left,
}

/// Everything after an offset, oldest first, as far as it is kept; a stream that never was begins here.
#[derive(Clone, Debug)]
pub struct Read {
    pub retention: Retention,
    /// Publications with greater offsets are wanted; `u64::MAX`: only where the stream stands.
    pub after: u64,
    /// The newest ones, if there are more.
    pub publications_max: usize,
    /// What the channel's room was sent until this was asked. A stream of this epoch that ends before it lost
    /// what it had confirmed: in the same step it begins a new epoch, with nothing in it.
    pub sent_until: Option<Position>,
}

#[derive(Clone, Debug)]
pub struct Page {
    pub retention: Retention,
    pub request: HistoryRequest,
    pub publications_max: usize,
    pub bytes_max: usize,
}

/// What an engine tells a shard.
#[derive(Debug)]
pub enum Event {
    Done {
        id: RequestId,
        outcome: Result<Outcome, ErrorCode>,
    },
    /// Something was published, here or on another node.
    Incoming(Box<Incoming>),
    /// The engine hears these channels again; what was published meanwhile may be missing.
    Recheck {
        engine: EngineIndex,
        channels: Vec<ChannelName>,
    },
}

#[derive(Debug)]
pub enum Outcome {
    /// Where it stands; `None` if it was not kept.
    Published(Option<Position>),
    Listening,
    /// The stream with what was asked of it: its position, and the publications up to there.
    Read(Stream),
    Page(HistoryResult),
    /// Whether there was one.
    HistoryRemoved(bool),
    Presence(Vec<Arc<ClientInfo>>),
    PresenceStats(PresenceStats),
}

#[derive(Debug)]
pub struct Incoming {
    pub engine: EngineIndex,
    pub channel: ChannelName,
    pub what: Published,
}

#[derive(Debug)]
pub enum Published {
    Publication {
        /// With its offset.
        publication: Arc<Publication>,
        /// `None`: of no stream.
        epoch: Option<Epoch>,
        delta: bool,
    },
    Membership(Membership, Arc<ClientInfo>),
}

/// An engine of the node, as shards see it: they put requests in and never wait.
pub trait Engine: Send + Sync {
    /// Takes a request of the shard `from`, or gives it back if there is no room now. Never blocks.
    fn submit(&self, from: ShardId, request: Request) -> Result<(), Request>;

    /// The same for one of several: [`Engine::wake`] follows the last. An engine that sleeps would wake for the first
    /// one, and take it alone.
    fn submit_one_of_several(&self, from: ShardId, request: Request) -> Result<(), Request> {
        self.submit(from, request)
    }

    fn wake(&self) {}
}

/// Node messages: small, at most once, in no order.
pub trait Control: Send + Sync {
    /// To every node of the cluster, this one included. Never blocks; may be lost.
    fn broadcast(&self, message: Bytes);
    /// To the node of this uid, which the engine was given at its start.
    fn send(&self, node: &str, message: Bytes);
}
