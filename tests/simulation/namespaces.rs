//! The channels of the simulation, and who may do what in them.
//!
//! The rights are written as a person would say them; what the hub makes of its `allow_*` options
//! is held against that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare::access::{ChannelOptions, Flush, FlushWindow, Namespaces, SlowConsumerPolicy};
use fanfare::model::EngineIndex;

use super::broker::BROKER;

/// Who has a right in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Nobody,
    /// Those with a user id.
    Users,
    /// Those subscribed to the channel, anonymous or not.
    Subscribers,
    Everybody,
}

impl Who {
    pub fn may(self, is_anonymous: bool, is_subscriber: bool) -> bool {
        match self {
            Who::Nobody => false,
            Who::Users => !is_anonymous,
            Who::Subscribers => is_subscriber,
            Who::Everybody => true,
        }
    }
}

/// Whether subscribers get something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Never,
    WhenAsked,
    Always,
}

#[derive(Debug)]
pub struct Kind {
    name: &'static str,
    pub subscribe: Who,
    pub publish: Who,
    pub presence: Who,
    pub history: Who,
    pub has_presence: bool,
    pub joins: Offer,
    /// 0: no history.
    pub history_size: usize,
    /// Seconds.
    pub history_ttl: u64,
    pub history_meta_ttl: u64,
    pub positioning: Offer,
    pub recovery: Offer,
    pub window: FlushWindow,
    /// Whether publications come as the difference from the one before: always, or those of the API that say so.
    pub deltas: Offer,
}

impl Kind {
    pub fn has_history(&self) -> bool {
        self.history_size > 0
    }

    /// Nothing expires while a simulation runs.
    pub fn is_lasting(&self) -> bool {
        self.history_ttl >= LONG
    }

    /// The whole stream is kept as long as a simulation runs.
    pub fn keeps_all(&self) -> bool {
        self.history_size >= DEEP && self.is_lasting()
    }

    fn options(&self) -> ChannelOptions {
        let client = |who: Who| matches!(who, Who::Users | Who::Everybody);
        let anonymous = |who: Who| matches!(who, Who::Subscribers | Who::Everybody);
        ChannelOptions {
            place: 0,
            presence: self.has_presence,
            join_leave: self.joins != Offer::Never,
            force_push_join_leave: self.joins == Offer::Always,
            history_size: self.history_size,
            history_ttl: Duration::from_secs(self.history_ttl),
            history_meta_ttl: Duration::from_secs(self.history_meta_ttl),
            force_positioning: self.positioning == Offer::Always,
            allow_positioning: self.positioning == Offer::WhenAsked,
            force_recovery: self.recovery == Offer::Always,
            allow_recovery: self.recovery == Offer::WhenAsked,
            // Where everybody holds a position, a drop is told; elsewhere it would be silent.
            slow_consumer_policy: match (self.positioning, self.recovery) {
                (Offer::Always, _) | (_, Offer::Always) => SlowConsumerPolicy::DropOldest,
                _ => SlowConsumerPolicy::Disconnect,
            },
            allows_delta: self.deltas != Offer::Never,
            delta_publish: self.deltas == Offer::Always,
            flush: Flush { window: self.window, batch_max: 8, ..Flush::default() },
            allow_subscribe_for_client: client(self.subscribe),
            allow_subscribe_for_anonymous: anonymous(self.subscribe),
            allow_publish_for_client: client(self.publish),
            allow_publish_for_subscriber: self.publish == Who::Subscribers,
            allow_publish_for_anonymous: anonymous(self.publish),
            allow_presence_for_client: client(self.presence),
            allow_presence_for_subscriber: self.presence == Who::Subscribers,
            allow_presence_for_anonymous: anonymous(self.presence),
            allow_history_for_client: client(self.history),
            allow_history_for_subscriber: self.history == Who::Subscribers,
            allow_history_for_anonymous: anonymous(self.history),
            ..ChannelOptions::default()
        }
    }
}

const LONG: u64 = 600;
const DEEP: usize = 100_000;

/// No history, no presence, no rights: what the kinds below differ from.
const BARE: Kind = Kind {
    name: "",
    subscribe: Who::Everybody,
    publish: Who::Everybody,
    presence: Who::Nobody,
    history: Who::Nobody,
    has_presence: false,
    joins: Offer::Never,
    history_size: 0,
    history_ttl: LONG,
    history_meta_ttl: LONG,
    positioning: Offer::Never,
    recovery: Offer::Never,
    window: FlushWindow::Off,
    deltas: Offer::Never,
};

/// Presence may be asked for, but there is none.
static PLAIN: Kind = Kind { name: "plain", presence: Who::Everybody, deltas: Offer::Always, ..BARE };
/// The whole stream stays: what is confirmed must be found in it.
static DEEP_KIND: Kind = Kind {
    name: "deep",
    history: Who::Everybody,
    history_size: DEEP,
    positioning: Offer::WhenAsked,
    recovery: Offer::WhenAsked,
    deltas: Offer::Always,
    ..BARE
};
/// Recovery often comes too late.
static SHORT: Kind =
    Kind { name: "short", history: Who::Subscribers, history_size: 4, recovery: Offer::Always, ..BARE };
/// Streams expire, and begin again.
static BRIEF: Kind = Kind {
    name: "brief",
    history: Who::Users,
    history_size: 50,
    history_ttl: 2,
    history_meta_ttl: 3,
    positioning: Offer::WhenAsked,
    recovery: Offer::WhenAsked,
    deltas: Offer::Always,
    ..BARE
};
static PLACED: Kind =
    Kind { name: "placed", publish: Who::Users, history_size: 20, positioning: Offer::Always, ..BARE };
static HALL: Kind = Kind {
    name: "hall",
    presence: Who::Subscribers,
    has_presence: true,
    joins: Offer::WhenAsked,
    history_size: 60,
    recovery: Offer::WhenAsked,
    deltas: Offer::WhenAsked,
    ..BARE
};
static GATE: Kind = Kind {
    name: "gate",
    subscribe: Who::Users,
    publish: Who::Subscribers,
    presence: Who::Everybody,
    has_presence: true,
    joins: Offer::Always,
    ..BARE
};
/// Only the API publishes.
static FEED: Kind = Kind { name: "feed", publish: Who::Nobody, history_size: 30, recovery: Offer::Always, ..BARE };
/// Publications, joins and leaves are held back.
static HELD: Kind = Kind {
    name: "held",
    has_presence: true,
    joins: Offer::WhenAsked,
    history_size: 60,
    positioning: Offer::WhenAsked,
    recovery: Offer::WhenAsked,
    window: FlushWindow::Fixed(Duration::from_millis(15)),
    deltas: Offer::Always,
    ..BARE
};
/// Held back in bursts.
static BURSTS: Kind = Kind {
    name: "bursts",
    history_size: 60,
    recovery: Offer::Always,
    window: FlushWindow::Adaptive { budget: Duration::from_millis(60) },
    ..BARE
};
/// Nobody gets in without a token, or by the server's will.
static CLUB: Kind = Kind {
    name: "club",
    subscribe: Who::Nobody,
    publish: Who::Subscribers,
    presence: Who::Subscribers,
    history: Who::Subscribers,
    has_presence: true,
    joins: Offer::WhenAsked,
    history_size: 60,
    recovery: Offer::Always,
    ..BARE
};
static SHUT: Kind = Kind { name: "shut", subscribe: Who::Nobody, publish: Who::Users, ..BARE };

pub struct Channel {
    pub name: &'static str,
    pub kind: &'static Kind,
}

/// Index of a channel in [`CHANNELS`].
pub type ChannelIndex = usize;

pub static CHANNELS: [Channel; 18] = [
    Channel { name: "plain:a", kind: &PLAIN },
    Channel { name: "plain:b", kind: &PLAIN },
    Channel { name: "deep:a", kind: &DEEP_KIND },
    Channel { name: "deep:b", kind: &DEEP_KIND },
    Channel { name: "deep:c", kind: &DEEP_KIND },
    Channel { name: "short:a", kind: &SHORT },
    Channel { name: "short:b", kind: &SHORT },
    Channel { name: "brief:a", kind: &BRIEF },
    Channel { name: "brief:b", kind: &BRIEF },
    Channel { name: "placed:a", kind: &PLACED },
    Channel { name: "hall:a", kind: &HALL },
    Channel { name: "gate:a", kind: &GATE },
    Channel { name: "feed:a", kind: &FEED },
    Channel { name: "held:a", kind: &HELD },
    Channel { name: "bursts:a", kind: &BURSTS },
    Channel { name: "shut:a", kind: &SHUT },
    Channel { name: "club:a", kind: &CLUB },
    Channel { name: "club:b", kind: &CLUB },
];

/// Names that nobody can subscribe to, with the error's code.
pub static HOPELESS: [(&str, u32); 3] = [("nowhere:a", 102), ("plain:\u{e4}", 107), ("$deep:a", 103)];

pub fn find_channel(name: &str) -> Option<ChannelIndex> {
    CHANNELS.iter().position(|channel| channel.name == name)
}

/// All of them, and how many of the kinds are fed by the broker: those for which `is_fed` says so.
pub fn namespaces(mut is_fed: impl FnMut() -> bool) -> (Namespaces, usize) {
    let kinds = [&PLAIN, &DEEP_KIND, &SHORT, &BRIEF, &PLACED, &HALL, &GATE, &FEED, &HELD, &BURSTS, &SHUT, &CLUB];
    let mut brokered = 0;
    let by_name = kinds.map(|kind| {
        let engine = if is_fed() { BROKER } else { EngineIndex::MEMORY };
        brokered += usize::from(engine == BROKER);
        let options = ChannelOptions { broker: engine, presence_manager: engine, ..kind.options() };
        (kind.name.into(), Arc::new(options))
    });
    (Namespaces { without: Arc::default(), by_name: HashMap::from_iter(by_name), ..Namespaces::default() }, brokered)
}
