//! What one shard counts.

use std::time::Duration;

/// Counts that only grow. The table in `scrape.rs` gives each its Prometheus name and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    ConnectionsOpened,
    /// WebSocket messages from clients, and their payload bytes.
    MessagesReceived,
    BytesReceived,
    /// Frames put into outboxes, by kind.
    RepliesSent,
    PublicationsSent,
    JoinsSent,
    LeavesSent,
    OtherPushesSent,
    PingsSent,
    /// Bytes taken by sockets.
    BytesSent,
    /// Publications appended or released by homes on this shard.
    PublicationsAccepted,
    /// Deliveries that a full lane lost.
    DeliveriesLost,
    /// Publishes of clients refused because of a full lane.
    PublishesRefused,
    /// Recoveries asked for, and how they ended.
    RecoveriesSucceeded,
    RecoveriesFailed,
    /// Panics caught while one connection was handled.
    Bugs,
    /// Heads that did not become a connection.
    UpgradesRefused,
    StreamsEvicted,
}

/// Values that go up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Gauge {
    Connections,
    Subscriptions,
    Rooms,
    OutboxBytes,
    /// Messages waiting to leave for other shards.
    LaneDepth,
    StreamBytes,
    /// Monotonic milliseconds of the last turn: the heartbeat that /livez reads.
    HeartbeatMs,
}

#[derive(Default)]
pub struct ShardMetrics {}

impl ShardMetrics {
    pub fn add(&self, _counter: Counter, _count: u64) {}
    pub fn set(&self, _gauge: Gauge, _value: u64) {}
    pub fn count_command(&self, _kind: &'static str) {}
    pub fn count_error(&self, _code: u16) {}
    pub fn count_disconnect(&self, _code: u16) {}
    pub fn count_unsubscribe(&self, _code: u16) {}
    /// How long a turn took, and how long the shard was away from its poll set.
    pub fn observe_turn(&self, _duration: Duration) {}
}
