//! What one shard counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::codes::{CodeCounts, NameCounts, places};
use super::histogram::{Histogram, add_alone};
use super::slow::{Remedy, RemedyCounts};

/// An enum whose variants index an array.
macro_rules! indices {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];
        }
    };
}

indices! {
    /// Counts that only grow. `table.rs` gives each its Prometheus name and labels.
    Counter {
        ConnectionsOpened,
        /// Those of them that negotiated permessage-deflate.
        ConnectionsCompressed,
        /// WebSocket messages from clients, and their payload bytes.
        TextsReceived,
        BinariesReceived,
        TextBytesReceived,
        BinaryBytesReceived,
        /// Frames put into outboxes, by kind.
        RepliesSent,
        PublicationsSent,
        JoinsSent,
        LeavesSent,
        OtherPushesSent,
        PingsSent,
        /// Bytes put into outboxes: for one client, and for rooms.
        DirectBytesQueued,
        FanOutBytesQueued,
        /// Messages compressed for one client or for all of a room, and their payload bytes.
        MessagesDeflated,
        DeflateBytesBefore,
        DeflateBytesAfter,
        /// Publications said as the difference from the one before, and the bytes of their data.
        PatchesMade,
        PatchBytesBefore,
        PatchBytesAfter,
        /// Compressed messages from clients, and their payload bytes.
        MessagesInflated,
        InflateBytesBefore,
        InflateBytesAfter,
        /// Bytes taken by sockets.
        BytesSent,
        /// Publications appended or released by homes on this shard.
        PublicationsAccepted,
        /// Deliveries that a full lane lost.
        DeliveriesLost,
        /// Flush windows that ended with their time, and with a full batch.
        WindowsOver,
        WindowsFull,
        /// Publishes of clients refused because of a full lane.
        PublishesRefused,
        /// Recoveries asked for, and how they ended.
        RecoveriesSucceeded,
        RecoveriesFailed,
        /// Panics caught while one connection was handled.
        Bugs,
        /// Who did not become a connection, by the reason: a head that can't be read, one that is no
        /// WebSocket handshake, the origin, the limits of the node, and what it has too little of.
        RefusedForHead,
        RefusedForHandshake,
        RefusedForOrigin,
        RefusedForConnectionLimit,
        RefusedForRate,
        RefusedForMemory,
        RefusedForControl,
        RefusedForDoor,
        RefusedForDescriptors,
        /// Outboxes cut because memory was above its limit: by what could be dropped, and together with
        /// their connections.
        OutboxesShrunk,
        ConnectionsCut,
        /// TLS handshakes that succeeded.
        Handshakes,
        /// Connections that ended before their handshake did.
        HandshakesFailed,
        StreamsEvicted,
        /// Publishes of the API that published nothing: repetitions, and versions that were not newer.
        PublishesRepeated,
        VersionsOutdated,
        /// Results of publishes that were forgotten early.
        IdempotencyKeysEvicted,
        /// What was not asked of an engine because too much is under way.
        EngineRequestsRefused,
        /// Publications that a broker gave again.
        PublicationsRepeated,
    }
}

indices! {
    /// Values that go up and down.
    Gauge {
        Connections,
        Subscriptions,
        Rooms,
        OutboxBytes,
        /// Messages waiting to leave for other shards.
        LaneDepth,
        StreamBytes,
        /// Results of publishes that are kept for their repetitions.
        IdempotencyKeys,
        /// Jobs that the workers have no room for yet.
        JobsHeld,
        /// What engines have not answered yet.
        EngineRequests,
        /// Publications that wait for their encoding, and what waits behind them.
        LineBytes,
        /// Monotonic milliseconds of the last turn: the heartbeat that /livez reads.
        HeartbeatMs,
    }
}

indices! {
    /// Parts of a turn, in their order.
    Stage {
        /// Events of the poll set, new connections, reads, and the commands in them.
        Read,
        /// What came by lanes and in-tray, and the commands that waited for it.
        Messages,
        Timers,
        FanOut,
        Write,
        /// Closes, messages for other shards, jobs.
        Finish,
    }
}

impl Stage {
    /// The stage's name in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Read => "read",
            Stage::Messages => "messages",
            Stage::Timers => "timers",
            Stage::FanOut => "fan_out",
            Stage::Write => "write",
            Stage::Finish => "finish",
        }
    }
}

/// Clients' commands, as the protocol's schema names them.
const COMMANDS: &[&str] = &[
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "rpc",
    "send",
    "refresh",
    "sub_refresh",
    "ping",
];

/// Source: protocol page, section 2.5; 1000 to 1011 are those of RFC 6455, section 7.4.1.
const ERROR_CODES: &[(u16, u16)] = &[(100, 113)];
const DISCONNECT_CODES: &[(u16, u16)] = &[(3000, 3014), (3500, 3509), (1000, 1011)];
const UNSUBSCRIBE_CODES: &[(u16, u16)] = &[(2000, 2000), (2500, 2502)];

/// The counters of one shard. Only its thread writes; aligned so that no two shards write to one
/// pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardMetrics {
    counters: [AtomicU64; Counter::ALL.len()],
    gauges: [AtomicU64; Gauge::ALL.len()],
    pub(super) commands: NameCounts<{ COMMANDS.len() + 1 }>,
    pub(super) errors: CodeCounts<{ places(ERROR_CODES) }>,
    pub(super) disconnects: CodeCounts<{ places(DISCONNECT_CODES) }>,
    pub(super) unsubscribes: CodeCounts<{ places(UNSUBSCRIBE_CODES) }>,
    pub(super) remedies: RemedyCounts,
    pub(super) turn: Histogram,
    pub(super) stages: [Histogram; Stage::ALL.len()],
    pub(super) gap: Histogram,
    pub(super) lag: Histogram,
}

impl Default for ShardMetrics {
    /// Of a node that has no namespaces.
    fn default() -> ShardMetrics {
        ShardMetrics::new(1)
    }
}

impl ShardMetrics {
    /// `namespaces` counts the place of channels without one.
    pub fn new(namespaces: usize) -> ShardMetrics {
        ShardMetrics {
            counters: [const { AtomicU64::new(0) }; Counter::ALL.len()],
            gauges: [const { AtomicU64::new(0) }; Gauge::ALL.len()],
            commands: NameCounts::new(COMMANDS),
            errors: CodeCounts::new(ERROR_CODES),
            disconnects: CodeCounts::new(DISCONNECT_CODES),
            unsubscribes: CodeCounts::new(UNSUBSCRIBE_CODES),
            remedies: RemedyCounts::new(namespaces),
            turn: Histogram::default(),
            stages: Default::default(),
            gap: Histogram::default(),
            lag: Histogram::default(),
        }
    }

    pub fn add(&self, counter: Counter, count: u64) {
        add_alone(&self.counters[counter as usize], count);
    }

    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    /// `kind` as the protocol's schema writes it: `sub_refresh`.
    pub fn count_command(&self, kind: &'static str) {
        add_alone(self.commands.cell(kind), 1);
    }

    pub fn count_error(&self, code: u16) {
        add_alone(self.errors.cell(code), 1);
    }

    /// A connection that the hub or its peer closed, with the close code.
    pub fn count_disconnect(&self, code: u16) {
        add_alone(self.disconnects.cell(code), 1);
    }

    /// Something was done about slow consumers of channels of this namespace.
    pub fn add_remedy(&self, namespace: usize, remedy: Remedy, count: u64) {
        self.remedies.add(namespace, remedy, count);
    }

    /// Over all namespaces.
    pub fn remedied(&self, remedy: Remedy) -> u64 {
        self.remedies.total(remedy)
    }

    pub fn count_unsubscribe(&self, code: u16) {
        add_alone(self.unsubscribes.cell(code), 1);
    }

    /// How long a turn took: for so long the shard was away from its poll set.
    pub fn observe_turn(&self, duration: Duration) {
        self.turn.observe(duration);
    }

    /// How long one stage of a turn took.
    pub fn observe_stage(&self, stage: Stage, duration: Duration) {
        self.stages[stage as usize].observe(duration);
    }

    /// Between the end of a turn and the beginning of the next, which followed without a sleep.
    pub fn observe_gap(&self, gap: Duration) {
        self.gap.observe(gap);
    }

    /// How late the shard came to something that was due: the loop's lag.
    pub fn observe_lag(&self, lag: Duration) {
        self.lag.observe(lag);
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }

    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Ordering::Relaxed)
    }
}
