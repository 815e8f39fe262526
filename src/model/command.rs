//! What clients ask.
//!
//! Fields and meanings are those of Centrifugo's client protocol; other protocols translate into
//! these.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::DataShape;

/// One request of a client. `id` is echoed by its reply; 0 only for `Send`.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub id: u32,
    pub request: Request,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Connect(Box<ConnectRequest>),
    Subscribe(Box<SubscribeRequest>),
    Unsubscribe {
        channel: Box<str>,
    },
    Publish {
        channel: Box<str>,
        data: Bytes,
        shape: DataShape,
    },
    Presence {
        channel: Box<str>,
    },
    PresenceStats {
        channel: Box<str>,
    },
    History(Box<HistoryRequest>),
    Rpc {
        method: Box<str>,
        data: Bytes,
    },
    Send {
        data: Bytes,
    },
    Refresh {
        token: Box<str>,
    },
    SubRefresh {
        channel: Box<str>,
        token: Box<str>,
    },
    /// Field 11 of the schema; clients that send it are disconnected (protocol page, section 6.1).
    Ping,
    /// A variant of `kind` that belongs to map or shared-poll subscriptions (a publish into a map,
    /// a refresh that tracks keys). Answered "not available".
    NotOffered {
        kind: CommandKind,
    },
}

/// The name of a request, for metrics and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CommandKind {
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Presence,
    PresenceStats,
    History,
    Rpc,
    Send,
    Refresh,
    SubRefresh,
    Ping,
}

impl CommandKind {
    /// The command's name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandKind::Connect => "connect",
            CommandKind::Subscribe => "subscribe",
            CommandKind::Unsubscribe => "unsubscribe",
            CommandKind::Publish => "publish",
            CommandKind::Presence => "presence",
            CommandKind::PresenceStats => "presence_stats",
            CommandKind::History => "history",
            CommandKind::Rpc => "rpc",
            CommandKind::Send => "send",
            CommandKind::Refresh => "refresh",
            CommandKind::SubRefresh => "sub_refresh",
            CommandKind::Ping => "ping",
        }
    }
}

impl Request {
    /// The channel that it is about, as the client wrote it; `None` if it is about no channel.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Request::Subscribe(request) => Some(&request.channel),
            Request::History(request) => Some(&request.channel),
            Request::Unsubscribe { channel }
            | Request::Publish { channel, .. }
            | Request::Presence { channel }
            | Request::PresenceStats { channel }
            | Request::SubRefresh { channel, .. } => Some(channel),
            Request::Connect(_)
            | Request::Rpc { .. }
            | Request::Send { .. }
            | Request::Refresh { .. }
            | Request::Ping
            | Request::NotOffered { .. } => None,
        }
    }

    pub fn kind(&self) -> CommandKind {
        match self {
            Request::Connect(_) => CommandKind::Connect,
            Request::Subscribe(_) => CommandKind::Subscribe,
            Request::Unsubscribe { .. } => CommandKind::Unsubscribe,
            Request::Publish { .. } => CommandKind::Publish,
            Request::Presence { .. } => CommandKind::Presence,
            Request::PresenceStats { .. } => CommandKind::PresenceStats,
            Request::History(_) => CommandKind::History,
            Request::Rpc { .. } => CommandKind::Rpc,
            Request::Send { .. } => CommandKind::Send,
            Request::Refresh { .. } => CommandKind::Refresh,
            Request::SubRefresh { .. } => CommandKind::SubRefresh,
            Request::Ping => CommandKind::Ping,
            Request::NotOffered { kind } => *kind,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectRequest {
    pub token: Box<str>,
    pub data: Bytes,
    /// Server-side subscriptions that the client knows, with their positions.
    pub subs: BTreeMap<String, SubscribeRequest>,
    pub name: Box<str>,
    pub version: Box<str>,
    pub headers: BTreeMap<String, String>,
    pub flag: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeRequest {
    pub channel: Box<str>,
    pub token: Box<str>,
    pub data: Bytes,
    /// Asked to replay what came after `offset` in `epoch`.
    pub recover: bool,
    pub epoch: Box<str>,
    pub offset: u64,
    pub positioned: bool,
    pub recoverable: bool,
    pub join_leave: bool,
    /// Name of a delta format, empty for none.
    pub delta: Box<str>,
    /// The client sent a tag filter (`tf`).
    pub has_filter: bool,
    /// Bit 0: channel compaction understood. Bit 1: refuse rather than subscribe unrecovered (112).
    pub flag: i64,
    pub subscription_type: SubscriptionType,
}

/// Field `type` of a subscribe request: streams are 0, the others are map (1-3) and shared poll (4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionType {
    #[default]
    Stream,
    Other(i32),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryRequest {
    pub channel: Box<str>,
    /// 0: only the top position; below 0: as many as the server allows.
    pub limit: i32,
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
}

/// A position as a client wrote it: its epoch may be empty or foreign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Since {
    pub offset: u64,
    pub epoch: Box<str>,
}
