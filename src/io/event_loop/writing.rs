//! The writing half of a turn: each dirty socket once, many of them in one system call.

use std::io;

use crate::limits;
use crate::model::{ConnectionId, Now};

use super::{EventLoop, handle_for};

impl EventLoop {
    /// Writes what this turn made ready. Returns whether more is left than a turn's share: twice a
    /// slice of fan-out, so that what else is said (a whole room told to recover) is sliced too, and
    /// the backlog shrinks while rooms are walked.
    ///
    /// The share is counted in bytes as well: a mebibyte takes a socket as long as fifty small sends, and
    /// one that has more than its part of it goes on in the next turn.
    pub(super) fn write_sockets(&mut self, now: Now) -> bool {
        let mut bytes_left = 2 * self.bytes_max;
        for _ in 0..self.sockets.waiting_to_write() {
            if bytes_left == 0 {
                return true;
            }
            let Some(id) = self.sockets.next_to_write() else { break };
            bytes_left = bytes_left.saturating_sub(self.write(now, id));
        }
        let mut sends_left = 2 * self.sends_max;
        while sends_left > 0 {
            if bytes_left == 0 {
                return true;
            }
            self.fill_batch(sends_left);
            if self.batch.is_empty() {
                return self.sockets.waiting_to_write() > 0;
            }
            sends_left -= self.batch.len();
            bytes_left = bytes_left.saturating_sub(self.write_batch(now));
        }
        true
    }

    /// Takes dirty connections from the shard: as many as the ring sends at once, or one.
    fn fill_batch(&mut self, connections_max: usize) {
        let ring_takes = if self.ring.is_some() { limits::RING_SENDS_MAX } else { 1 };
        while self.batch.len() < connections_max.min(ring_takes)
            && let Some(id) = self.shard.next_dirty()
        {
            self.batch.push(id);
            if self.shard.unsent_bytes(id) > limits::RING_FRAME_BYTES_MAX {
                // Whoever has much to write ends the batch, so that its bytes count before more is taken.
                return;
            }
        }
    }

    /// Writes the connections of the batch. Returns how many bytes that was.
    fn write_batch(&mut self, now: Now) -> usize {
        let mut written = 0;
        if self.batch.len() >= limits::RING_SENDS_MIN {
            written += self.send_batch();
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        for (id, _) in outcomes.drain(..) {
            // Commands may have waited for this.
            handle_for(&mut self.shard, now, id, |shard| shard.sent(now, id, 0));
            written += self.write(now, id);
        }
        self.outcomes = outcomes;
        // Not lent, or dirty once more: by itself, behind what it had lent.
        let mut batch = std::mem::take(&mut self.batch);
        for id in batch.drain(..) {
            written += self.write(now, id);
        }
        self.batch = batch;
        written
    }

    /// Sends what the ring can send; leaves the others in the batch, and among the outcomes those of
    /// connections that have more to do.
    ///
    /// What the sockets took is counted for all of them before anything else happens for one: commands
    /// that waited for that may cut other connections of the batch.
    fn send_batch(&mut self) -> usize {
        let Some(ring) = &mut self.ring else { return 0 };
        let (sockets, shard, outcomes) = (&mut self.sockets, &mut self.shard, &mut self.outcomes);
        self.batch.retain(|id| {
            let Some(entry) = sockets.find(*id).filter(|entry| !entry.lost && !entry.blocked) else { return true };
            let Some(stream) = entry.socket.as_plain() else { return true };
            let Some(frame) = shard.lend(*id) else { return true };
            ring.add(*id, stream, frame, outcomes);
            false
        });
        ring.send(outcomes);
        let mut written = 0;
        outcomes.retain(|(id, outcome)| match outcome {
            Ok(bytes) => {
                written += bytes;
                shard.took(*id, *bytes)
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock
                    && let Some(entry) = sockets.find(*id)
                {
                    entry.blocked = true;
                }
                // Any other error shows again when the socket is written by itself.
                true
            }
        });
        written
    }

    /// Writes all that the connection has to send, or as much as its socket takes, or its part of a
    /// turn. Returns how many bytes that was.
    fn write(&mut self, now: Now, id: ConnectionId) -> usize {
        let mut written = 0;
        while let Some(entry) = self.sockets.find(id)
            && !entry.lost
        {
            if entry.blocked {
                self.shard.sent(now, id, 0);
                return written;
            }
            if written >= limits::WRITE_BYTES_MAX {
                self.sockets.write_later(id);
                return written;
            }
            match entry.socket.write(self.shard.unsent(id), &mut self.tls_buffers) {
                Ok(0) => return written,
                Ok(bytes) => {
                    written += bytes;
                    // Commands may have waited for this.
                    handle_for(&mut self.shard, now, id, |shard| shard.sent(now, id, bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => entry.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.lose(now, id),
            }
        }
        written
    }
}
