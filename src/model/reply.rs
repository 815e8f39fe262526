//! What the hub answers.

use std::sync::Arc;

use bytes::Bytes;

use super::{ChannelName, ClientId, ClientInfo, Epoch, ErrorCode, Position, Publication};

/// The answer to the command `id`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub id: u32,
    pub outcome: Result<Outcome, ErrorCode>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Connect(Box<ConnectResult>),
    Subscribe(Box<SubscribeResult>),
    Unsubscribe,
    Publish,
    Presence(Vec<Arc<ClientInfo>>),
    PresenceStats(PresenceStats),
    History(HistoryResult),
    Rpc {
        data: Bytes,
    },
    /// `ttl` in seconds when the new token expires.
    Refresh {
        client: ClientId,
        ttl: Option<u32>,
    },
    SubRefresh {
        ttl: Option<u32>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConnectResult {
    pub client: ClientId,
    /// The hub's version, as SDKs show it.
    pub version: Arc<str>,
    /// Seconds until the client must refresh its token; `None` when it never expires.
    pub ttl: Option<u32>,
    pub data: Bytes,
    /// What the server subscribed the client to, sorted by name.
    pub subs: Vec<(ChannelName, SubscribeResult)>,
    /// Seconds between server pings; 0: none.
    pub ping: u32,
    /// Whether the client must answer pings.
    pub pong: bool,
    /// The hub's clock, milliseconds since 1970; 0: not told.
    pub time: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeResult {
    /// Seconds until the subscription must be refreshed; `None` when it never expires.
    pub ttl: Option<u32>,
    pub recoverable: bool,
    pub positioned: bool,
    /// Top of the stream, or the request's position when `recovered` (protocol page, 2.4).
    pub position: Option<Position>,
    pub publications: Vec<Arc<Publication>>,
    pub recovered: bool,
    pub was_recovering: bool,
    pub data: Bytes,
    /// Publications, these here too, are said for a reader of deltas.
    pub delta: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    pub clients: u32,
    pub users: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HistoryResult {
    pub publications: Vec<Arc<Publication>>,
    pub epoch: Epoch,
    /// Top of the stream.
    pub offset: u64,
}
