//! The reading half of a turn: what is ready, and which sockets are read.

use std::io;

use crate::limits;
use crate::model::{ConnectionId, Now};

use super::super::socket::Read;
use super::{EventLoop, POLL_SET_WORKS, handle_for};

impl EventLoop {
    /// Takes note of what is ready. Of a storm several sets full: who comes last is to be known of.
    pub(super) fn take_events(&mut self) {
        for _ in 0..limits::POLLS_PER_TURN {
            self.poller.look().expect(POLL_SET_WORKS);
            let mut count = 0;
            for readiness in self.poller.take_events() {
                self.sockets.note(readiness);
                count += 1;
            }
            // Doorbell and alarm may be among them, uncounted.
            if count < limits::POLL_EVENTS_MAX - 2 {
                return;
            }
        }
    }

    /// Gives waiting connections at most one read each, within the turn's bounds: reads, and work.
    pub(super) fn read_sockets(&mut self, now: Now) {
        self.sockets.begin_turn();
        // What was done since the last reads is no part of these.
        self.shard.take_work();
        let mut work = 0;
        for _ in 0..self.sends_max {
            let Some(id) = self.sockets.next_to_read() else { return };
            work += self.read(now, id) + self.shard.take_work();
            if work >= self.bytes_max {
                return;
            }
        }
    }

    /// The same for connections whose peer sends no more: few at a time, since nobody waits for it.
    pub(super) fn read_ended(&mut self, now: Now) {
        let mut work = 0;
        for _ in 0..limits::ENDS_PER_TURN {
            let Some(id) = self.sockets.next_ended() else { return };
            work += self.read(now, id) + self.shard.take_work();
            if work >= self.bytes_max {
                return;
            }
        }
    }

    /// Returns how many bytes it read.
    fn read(&mut self, now: Now, id: ConnectionId) -> usize {
        if self.shard.has_yielded(id) {
            handle_for(&mut self.shard, now, id, |shard| shard.go_on(now, id));
            if self.shard.has_yielded(id) {
                // `next_resumed` brings it back.
                return 0;
            }
        }
        let Some(entry) = self.sockets.find(id) else { return 0 };
        if entry.lost {
            return 0;
        }
        if !self.shard.wants_reading(id) {
            // `next_resumed` brings the connection back; but never one that waits for a peer which has gone.
            if entry.ended && self.shard.waits_for_its_reader(id) {
                self.lose(now, id);
            }
            return 0;
        }
        match entry.socket.read(&mut self.scratch, &mut self.tls_buffers) {
            Ok(Read { bytes: 0, .. }) => self.lose(now, id),
            Ok(Read { bytes, is_drained }) => {
                // What comes to a drained socket later is a new event. Only the end may have come
                // before, together with these bytes.
                let more = !is_drained || entry.ended;
                self.receive(now, id, bytes);
                if more {
                    self.sockets.read_later(id);
                }
                return bytes;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.sockets.read_later(id),
            Err(_) => self.lose(now, id),
        }
        0
    }

    /// Lets the shard handle the first `bytes` of the scratch.
    pub(super) fn receive(&mut self, now: Now, id: ConnectionId, bytes: usize) {
        let bytes = &mut self.scratch[..bytes];
        handle_for(&mut self.shard, now, id, |shard| shard.received(now, id, bytes));
    }

    pub(super) fn lose(&mut self, now: Now, id: ConnectionId) {
        if let Some(entry) = self.sockets.find(id)
            && !std::mem::replace(&mut entry.lost, true)
        {
            self.shard.lost(now, id);
        }
    }
}
