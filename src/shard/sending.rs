//! What io asks and tells while it writes sockets.

use bytes::Bytes;

use super::Shard;
use super::connection::Phase;
use crate::limits;
use crate::model::{ConnectionId, Now};
use crate::telemetry::Counter;

impl Shard {
    /// The next connection with frames to write; each at most once until it has more.
    pub fn next_dirty(&mut self) -> Option<ConnectionId> {
        self.flush_replies();
        while let Some(slot) = self.dirty.pop_front() {
            let Some(connection) = self.connections.at(slot) else { continue };
            connection.is_dirty = false;
            if !connection.is_finished && !connection.outbox.is_empty() {
                return self.connections.id_at(slot);
            }
        }
        None
    }

    /// The frames waiting for the connection's socket, oldest first; what is already written of
    /// the first one is cut off.
    pub fn unsent(&self, id: ConnectionId) -> impl Iterator<Item = &Bytes> {
        let connection = self.connections.find(id).filter(|connection| connection.phase != Phase::Joining);
        connection.into_iter().flat_map(|connection| connection.outbox.frames())
    }

    pub fn unsent_bytes(&self, id: ConnectionId) -> usize {
        self.connections.find(id).map_or(0, |connection| connection.outbox.bytes())
    }

    /// The frame that waits for the connection's socket, if it is the only one and a short one: io sends
    /// it together with those of others, and nothing drops it meanwhile.
    pub fn lend(&mut self, id: ConnectionId) -> Option<Bytes> {
        let connection = self.connections.find_mut(id).filter(|connection| connection.phase != Phase::Joining)?;
        connection.outbox.lend(limits::RING_FRAME_BYTES_MAX)
    }

    /// The first `bytes` of what `unsent` gave were taken by the socket; 0 when it would block.
    pub fn sent(&mut self, now: Now, id: ConnectionId, bytes: usize) {
        self.tell_time(now);
        if self.took(id, bytes) {
            self.go_on_after_sending(id);
        }
    }

    /// The same of a frame that was lent, as one of many: nothing else happens yet, so that each of
    /// them finds its outbox as it was. Returns whether `sent` has more to do for the connection, or a
    /// socket more to take.
    pub fn took(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let Some(connection) = self.connections.find_mut(id).filter(|connection| !connection.is_finished) else {
            return false;
        };
        connection.outbox.took(bytes);
        self.outbox_bytes -= bytes;
        self.metrics.add(Counter::BytesSent, bytes as u64);
        connection.phase == Phase::Ending || connection.waiting.is_some() || !connection.outbox.is_empty()
    }

    /// What waited for the socket to take something.
    fn go_on_after_sending(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        if connection.phase == Phase::Ending && connection.outbox.is_empty() {
            return self.finish(id.slot);
        }
        if connection.waits_for_its_reader() {
            self.was_read(id);
        }
    }
}
