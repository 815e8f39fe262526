//! What operators decide about a shard.

use std::sync::Arc;
use std::time::Duration;

use super::Faults;
use crate::access::{Namespaces, TokenKeys};
use crate::model::Homes;
use crate::protocol::Compression;

/// The same for every shard of the node; shared, never changed.
#[derive(Clone, Debug)]
pub struct Options {
    pub homes: Homes,
    /// Sent in connect replies.
    pub version: Arc<str>,
    pub namespaces: Arc<Namespaces>,
    /// Of connection tokens.
    pub token_keys: Arc<TokenKeys>,
    /// The same keys, unless subscription tokens have their own.
    pub subscription_token_keys: Arc<TokenKeys>,
    pub allow_anonymous_connect: bool,
    /// Connection tokens have to say a user's id (3507).
    pub disallow_anonymous_tokens: bool,
    /// `client.insecure`: no token, every permission.
    pub insecure: bool,
    /// Who connects is told the hub's time.
    pub tells_time: bool,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    /// Time for the connect command (3502).
    pub stale_close_delay: Duration,
    /// Connections of the node whose connect command has not come, shared evenly by its shards; one more
    /// pushes the oldest out (3013).
    pub unconnected_max: usize,
    /// Grace after a token's expiry (3005).
    pub expired_close_delay: Duration,
    /// The same after a subscription's (2501, 3006).
    pub expired_sub_close_delay: Duration,
    /// What stands before the user's id in the name of its personal channel; `None`: users have none.
    pub personal_channel_prefix: Option<Box<str>>,
    pub channels_max: usize,
    /// Connections of one user on the node; 0: no limit (3504).
    pub user_connections_max: u32,
    /// A new connection of a user takes the place of the older ones, which are closed (3504).
    pub has_single_connection: bool,
    pub channel_bytes_max: usize,
    pub message_bytes_max: usize,
    /// Of a message that came compressed, once it is expanded.
    pub decompressed_bytes_max: usize,
    /// Where connections negotiated it.
    pub compression: Compression,
    /// Of an echo connection, also once it is expanded.
    pub echo_message_bytes_max: usize,
    pub outbox_bytes_max: usize,
    pub presence_update_interval: Duration,
    pub presence_ttl: Duration,
    pub position_check_delay: Duration,
    pub history_publications_max: usize,
    pub recovery_publications_max: usize,
    /// Time for the socket to take the rest when a connection is cut.
    pub write_timeout: Duration,
    /// Streams of one shard, in bytes.
    pub memory_bytes_max: usize,
    pub slice_sends_max: usize,
    pub slice_bytes_max: usize,
    /// Sends per second of one channel from which adaptive flush windows are opened.
    pub adaptive_sends_min: u64,
    pub lane_slots: usize,
    /// Work above these goes to the workers; by cost, in bytes of JSON.
    pub encode_inline_cost_max: usize,
    pub answer_inline_cost_max: usize,
    pub read_inline_bytes_max: usize,
    /// Planted by tests only.
    pub faults: Faults,
}

impl Options {
    /// These options with all of `new` that a running shard can follow. The rest is what peers, clients
    /// or memory were already given: homes, the pings that clients wait for, sizes of what exists.
    pub fn renewed_by(&self, new: &Options) -> Options {
        let running = self.clone();
        Options {
            homes: running.homes,
            version: running.version,
            // It is checked against the address that clients reach, and that stays.
            insecure: running.insecure,
            // Homes count from the start on.
            user_connections_max: running.user_connections_max,
            has_single_connection: running.has_single_connection,
            ping_interval: running.ping_interval,
            pong_timeout: running.pong_timeout,
            channel_bytes_max: running.channel_bytes_max,
            message_bytes_max: running.message_bytes_max,
            decompressed_bytes_max: running.decompressed_bytes_max,
            compression: running.compression,
            outbox_bytes_max: running.outbox_bytes_max,
            write_timeout: running.write_timeout,
            memory_bytes_max: running.memory_bytes_max,
            slice_sends_max: running.slice_sends_max,
            slice_bytes_max: running.slice_bytes_max,
            lane_slots: running.lane_slots,
            ..new.clone()
        }
    }
}

impl Default for Options {
    /// Centrifugo's defaults (protocol page, section 1.11), one shard, nothing allowed.
    fn default() -> Options {
        use crate::limits;
        Options {
            homes: Homes::new(1, 0),
            version: env!("CARGO_PKG_VERSION").into(),
            namespaces: Arc::default(),
            token_keys: Arc::default(),
            subscription_token_keys: Arc::default(),
            allow_anonymous_connect: false,
            disallow_anonymous_tokens: false,
            insecure: false,
            tells_time: false,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            stale_close_delay: Duration::from_secs(10),
            unconnected_max: 16_384,
            expired_close_delay: Duration::from_secs(25),
            expired_sub_close_delay: Duration::from_secs(25),
            personal_channel_prefix: None,
            channels_max: 128,
            user_connections_max: 0,
            has_single_connection: false,
            channel_bytes_max: 255,
            message_bytes_max: 65_536,
            decompressed_bytes_max: 655_360,
            compression: Compression::default(),
            echo_message_bytes_max: 17 * 1024 * 1024,
            outbox_bytes_max: 1_048_576,
            presence_update_interval: Duration::from_secs(27),
            presence_ttl: Duration::from_secs(60),
            position_check_delay: Duration::from_secs(40),
            history_publications_max: 300,
            recovery_publications_max: 300,
            write_timeout: Duration::from_secs(1),
            memory_bytes_max: 256 * 1024 * 1024,
            slice_sends_max: limits::SLICE_SENDS_MAX,
            slice_bytes_max: limits::SLICE_BYTES_MAX,
            adaptive_sends_min: limits::ADAPTIVE_SENDS_MIN,
            lane_slots: limits::LANE_SLOTS,
            encode_inline_cost_max: limits::ENCODE_INLINE_COST_MAX,
            answer_inline_cost_max: limits::ANSWER_INLINE_COST_MAX,
            read_inline_bytes_max: limits::READ_INLINE_BYTES_MAX,
            faults: Faults::default(),
        }
    }
}
