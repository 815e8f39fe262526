//! What one seed is like: sizes, speeds, and how often what happens.
//!
//! Every seed draws its own: a fault that needs small lanes and large bursts together is found by
//! the seeds that have both.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fanfare::access::TokenKeys;
use fanfare::limits;
use fanfare::model::Homes;
use fanfare::shard::{Faults, Options};

use super::broker::BROKER;
use super::lanes::LaneFault;
use super::namespaces::{CHANNELS, ChannelIndex, namespaces};
use super::world::{MS, Micros, SECOND};

/// A defect planted for the checker to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    Lane(LaneFault),
    AnswerBeforeAppend,
    /// A shard goes to sleep without looking into its lanes once more.
    NoSecondLook,
    RecoveryOffByOne,
    /// A repeated publish is published again.
    ForgottenKeys,
    /// Whatever its version, it is published.
    IgnoredVersions,
    /// The broker loses publications on their way to this node, and does not say so.
    BrokerLoses,
    /// It was away, and does not say which channels may have missed something.
    NoRecheck,
    /// Tokens of other channels, users and clients let in.
    ForeignTokens,
    /// Subscriptions don't end.
    EndlessGrants,
    /// What comes for a client does not wait for the answer to its connect.
    HastyPushes,
}

pub struct Plan {
    pub shards: usize,
    pub planted: Planted,
    pub options: Arc<Options>,
    /// Slots of the rings between shards.
    pub ring_slots: usize,
    /// What the kernel takes for one socket before a write blocks.
    pub socket_bytes: std::ops::Range<usize>,
    pub latency_max: Micros,
    /// What one step of an event loop takes at most.
    pub step_max: Micros,
    /// Things done at once, and the time between two such moments, on average.
    pub cluster_max: u32,
    pub cluster_gap: Micros,
    pub weights: Vec<(Deed, u32)>,
    /// How many kinds of channels the broker feeds.
    pub brokered: usize,
    /// One shard is drained at this time, over this window.
    pub drain: Option<(Micros, usize, Duration)>,
    /// Clients that read promptly are never slow for this hub.
    pub has_large_outboxes: bool,
}

/// What clients, backends and machines do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Publish,
    PublishBurst,
    Subscribe,
    Unsubscribe,
    Mixture,
    History,
    Presence,
    PresenceStats,
    Odd,
    QueryFlood,
    ApiPublish,
    ApiBurst,
    ApiRepeat,
    ApiRemove,
    ApiQuery,
    ApiDisconnect,
    ApiUnsubscribe,
    ApiSubscribe,
    SubRefresh,
    ForeignToken,
    Cut,
    CutMany,
    Leave,
    StopReading,
    ReadSlowly,
    GoSilent,
    Nonsense,
    StallShard,
    StallProcess,
    BrokerGoes,
    PublishElsewhere,
}

const WEIGHTS: [(Deed, u32); 31] = [
    (Deed::Publish, 300),
    (Deed::PublishBurst, 60),
    (Deed::Subscribe, 120),
    (Deed::Unsubscribe, 70),
    (Deed::Mixture, 60),
    (Deed::History, 60),
    (Deed::Presence, 30),
    (Deed::PresenceStats, 15),
    (Deed::Odd, 25),
    (Deed::QueryFlood, 2),
    (Deed::ApiPublish, 80),
    (Deed::ApiBurst, 10),
    (Deed::ApiRepeat, 20),
    (Deed::ApiRemove, 5),
    (Deed::ApiQuery, 15),
    (Deed::ApiDisconnect, 2),
    (Deed::ApiUnsubscribe, 6),
    (Deed::ApiSubscribe, 25),
    (Deed::SubRefresh, 25),
    (Deed::ForeignToken, 6),
    (Deed::Cut, 25),
    (Deed::CutMany, 1),
    (Deed::Leave, 8),
    (Deed::StopReading, 5),
    (Deed::ReadSlowly, 8),
    (Deed::GoSilent, 2),
    (Deed::Nonsense, 3),
    (Deed::StallShard, 3),
    (Deed::StallProcess, 1),
    (Deed::BrokerGoes, 4),
    (Deed::PublishElsewhere, 60),
];

const LITTLE_MEMORY: usize = 12 << 10;

pub const SECRET: &str = "known to the simulated backend";

impl Plan {
    pub fn draw(random: &mut fastrand::Rng, planted: Planted) -> Plan {
        let shards = random.usize(2..=4);
        // Some seeds are quiet enough for nothing at all to be lost.
        let is_calm = random.u8(..8) == 0;
        let has_large_outboxes = random.bool();
        let outbox_bytes_max = match has_large_outboxes {
            true => 1 << 20,
            false => *choose(random, &[4 << 10, 8 << 10, 32 << 10]),
        };
        // Some seeds have a broker, which feeds some kinds of channels or all of them.
        let fed = *choose(random, &[0, 0, 128, 255]);
        let fed = if matches!(planted, Planted::BrokerLoses | Planted::NoRecheck) { 255 } else { fed };
        let (namespaces, brokered) = namespaces(|| random.u8(..) < fed);
        let options = Options {
            homes: Homes::new(shards as u16, random.u64(..)),
            namespaces: Arc::new(namespaces),
            token_keys: Arc::new(TokenKeys::default().with_hmac_secret(SECRET)),
            subscription_token_keys: Arc::new(TokenKeys::default().with_hmac_secret(SECRET)),
            allow_anonymous_connect: true,
            ping_interval: Duration::from_secs(random.u64(3..=12)),
            pong_timeout: Duration::from_secs(random.u64(2..=4)),
            stale_close_delay: Duration::from_secs(4),
            expired_close_delay: Duration::from_secs(2),
            expired_sub_close_delay: Duration::from_secs(2),
            channels_max: *choose(random, &[5, 128, 128, 128]),
            outbox_bytes_max,
            presence_update_interval: Duration::from_millis(2700),
            presence_ttl: Duration::from_secs(9),
            position_check_delay: Duration::from_secs(random.u64(3..=20)),
            history_publications_max: *choose(random, &[20, 300]),
            recovery_publications_max: *choose(random, &[20, 300, 300]),
            memory_bytes_max: *choose(random, &[LITTLE_MEMORY, 256 << 20, 256 << 20, 256 << 20, 256 << 20, 256 << 20]),
            slice_sends_max: random.usize(1..=5),
            slice_bytes_max: *choose(random, &[1 << 10, 512 << 10]),
            // A handful of members and some dozen publications a second are a burst here.
            adaptive_sends_min: 50,
            lane_slots: if is_calm { 8 } else { random.usize(4..=8) },
            encode_inline_cost_max: *choose(random, &[limits::ENCODE_INLINE_COST_MAX, 100, 1000]),
            answer_inline_cost_max: *choose(random, &[limits::ANSWER_INLINE_COST_MAX, 200, 2000]),
            read_inline_bytes_max: *choose(random, &[limits::READ_INLINE_BYTES_MAX, 60, 400]),
            faults: Faults {
                answer_without_append: (planted == Planted::AnswerBeforeAppend).then_some(100),
                recovery_off_by_one: planted == Planted::RecoveryOffByOne,
                forgotten_keys: planted == Planted::ForgottenKeys,
                ignored_versions: planted == Planted::IgnoredVersions,
                foreign_tokens: planted == Planted::ForeignTokens,
                endless_grants: planted == Planted::EndlessGrants,
                hasty_pushes: planted == Planted::HastyPushes,
                ..Faults::default()
            },
            ..Options::default()
        };
        Plan {
            shards,
            planted,
            options: Arc::new(options),
            ring_slots: random.usize(4..=8),
            socket_bytes: *choose(random, &[1 << 10, 4 << 10])..*choose(random, &[8 << 10, 64 << 10]),
            latency_max: *choose(random, &[MS / 5, 2 * MS, 6 * MS]),
            step_max: *choose(random, &[10, 30, 100]),
            cluster_max: if is_calm { 1 } else { *choose(random, &[3, 8, 25]) },
            cluster_gap: 0,
            weights: WEIGHTS.iter().map(|(deed, weight)| (*deed, weight_of(*deed, *weight, is_calm, random))).collect(),
            brokered,
            drain: (random.u8(..4) == 0).then(|| {
                let window = Duration::from_millis(random.u64(0..=3000));
                (random.u64(20 * SECOND..50 * SECOND), random.usize(0..shards), window)
            }),
            has_large_outboxes,
        }
        .paced()
    }

    /// Whether the broker feeds the channel.
    pub fn is_brokered(&self, channel: ChannelIndex) -> bool {
        let options = self.options.namespaces.find_options(CHANNELS[channel].name);
        options.is_ok_and(|options| options.broker == BROKER)
    }

    /// Streams have to go for want of it, at any time.
    pub fn has_little_memory(&self) -> bool {
        self.options.memory_bytes_max == LITTLE_MEMORY
    }

    /// Some 2,400 deeds in a minute, however many are done at once.
    fn paced(mut self) -> Plan {
        let mean = u64::from(self.cluster_max).div_ceil(2);
        self.cluster_gap = 2 * mean * SECOND / 40;
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        writeln!(f, "{} shards, rings of {}, {} slots", self.shards, self.ring_slots, options.lane_slots)?;
        let fed: Vec<_> =
            CHANNELS.iter().map(|it| it.name).enumerate().filter(|(at, _)| self.is_brokered(*at)).collect();
        writeln!(f, "fed by the broker: {fed:?}")?;
        writeln!(f, "slices of {} sends, {} bytes", options.slice_sends_max, options.slice_bytes_max)?;
        writeln!(f, "outboxes of {} bytes, sockets of {:?}", options.outbox_bytes_max, self.socket_bytes)?;
        writeln!(f, "steps of {} us, latency of {} us", self.step_max, self.latency_max)?;
        writeln!(f, "up to {} deeds within {} us, of {:?}", self.cluster_max, self.cluster_gap, self.weights)?;
        write!(
            f,
            "ping {:?}, pong {:?}, memory {}",
            options.ping_interval, options.pong_timeout, options.memory_bytes_max
        )
    }
}

/// How often a deed is done in one seed.
fn weight_of(deed: Deed, weight: u32, is_calm: bool, random: &mut fastrand::Rng) -> u32 {
    let is_rough = matches!(
        deed,
        Deed::PublishBurst
            | Deed::ApiBurst
            | Deed::Mixture
            | Deed::CutMany
            | Deed::StallShard
            | Deed::StallProcess
            | Deed::BrokerGoes
    );
    if is_calm && is_rough { 0 } else { weight * choose(random, &[0, 1, 1, 1, 3]) }
}

pub fn choose<'a, T>(random: &mut fastrand::Rng, among: &'a [T]) -> &'a T {
    &among[random.usize(..among.len())]
}
