//! One core's state machine, pure: connections, audiences, and the rooms at home here.
//!
//! How to drive it (io does, and the simulation): tell it what happened (`opened`, `received`,
//! `sent`, `lost`, `lane_message`, `tray_message`, `timers`), let it walk (`walk`, one slice), then
//! take what it wants done until nothing is left: `next_dirty` with `unsent`, `next_finished`,
//! `next_outgoing`, `next_job`, `next_timeout`. Time is an argument; randomness is seeded.
//!
//! Invariants: a channel's home alone orders, remembers and recovers it; lanes are FIFO; every
//! queue has a bound. Must never touch tokio, threads, sockets, the clock, files or config.
//! Read `events.rs` first, then `commands/subscribe.rs`.

mod events;
mod options;

pub use events::{
    Answer, Answered, Answerer, Delivery, LaneMessage, Opening, Question, ServerPublication, Speaks, TrayMessage,
};
pub use options::Options;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{ConnectionId, Now, ShardId};
use crate::telemetry::ShardMetrics;
use crate::workers::Job;

pub struct Shard;

impl Shard {
    pub fn new(_id: ShardId, _options: Arc<Options>, _metrics: Arc<ShardMetrics>, _seed: u64) -> Shard {
        Shard
    }

    // --- what happened ---

    /// A socket finished its upgrade; the id names the connection in every later call.
    pub fn opened(&mut self, _now: Now, _opening: Opening) -> ConnectionId {
        ConnectionId { slot: 0, generation: 0 }
    }

    /// Bytes came from the connection's socket; they are unmasked in place.
    pub fn received(&mut self, _now: Now, _id: ConnectionId, _bytes: &mut [u8]) {}

    /// The first `bytes` of what `unsent` gave were taken by the socket; 0 when it would block.
    pub fn sent(&mut self, _now: Now, _id: ConnectionId, _bytes: usize) {}

    /// The socket is at its end: the peer is gone, or an error broke it.
    pub fn lost(&mut self, _now: Now, _id: ConnectionId) {}

    /// Handling this connection panicked: close it with 3004 and go on without it.
    pub fn abandon(&mut self, _now: Now, _id: ConnectionId) {}

    /// A message of shard `from` came by its lane.
    pub fn lane_message(&mut self, _now: Now, _from: ShardId, _message: LaneMessage) {}

    /// A message of API, engine or workers came by the in-tray.
    pub fn tray_message(&mut self, _now: Now, _message: TrayMessage) {}

    /// Does what is due by `now`. Returns whether more is due than one slice holds.
    pub fn timers(&mut self, _now: Now) -> bool {
        false
    }

    // --- what to do next ---

    /// Hands one slice of pending deliveries to outboxes. Returns whether more are pending.
    pub fn walk(&mut self, _now: Now) -> bool {
        false
    }

    /// The next connection with frames to write; each at most once until `sent`.
    pub fn next_dirty(&mut self) -> Option<ConnectionId> {
        None
    }

    /// The frames waiting for the connection's socket, oldest first; what is already written of
    /// the first one is cut off.
    pub fn unsent(&self, _id: ConnectionId) -> impl Iterator<Item = &Bytes> {
        std::iter::empty()
    }

    /// The next connection whose socket io must shut down and forget. The id is dead after this.
    pub fn next_finished(&mut self) -> Option<ConnectionId> {
        None
    }

    /// Whether the connection may be read. When it becomes readable again it is given by
    /// `next_resumed`.
    pub fn wants_reading(&self, _id: ConnectionId) -> bool {
        true
    }

    /// The next connection that may be read again after `wants_reading` said no.
    pub fn next_resumed(&mut self) -> Option<ConnectionId> {
        None
    }

    /// The next message for the lane to `to`, if there is one. Take it only when the lane has room.
    pub fn next_outgoing(&mut self, _to: ShardId) -> Option<LaneMessage> {
        None
    }

    /// The next job for the workers. Take it only when their queue has room: the shard keeps it
    /// otherwise, and does not read its connection meanwhile.
    pub fn next_job(&mut self) -> Option<Job> {
        None
    }

    /// Puts a job back that the workers' queue refused; `next_job` gives it again.
    pub fn return_job(&mut self, _job: Job) {}

    /// When `timers` has something to do, in monotonic time.
    pub fn next_timeout(&self) -> Option<Duration> {
        None
    }

    /// Open connections, also those that are closing.
    pub fn connections(&self) -> usize {
        0
    }
}
