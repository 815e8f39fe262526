//! Replies of one connection, joined into as few WebSocket messages as the turn allows.

use super::{Shard, Speaks, outbox};
use crate::limits;
use crate::model::{ConnectionId, DisconnectCode, ErrorCode, Format, Outcome, Push, Reply};
use crate::protocol::{self, FrameTally};
use crate::telemetry::Counter;

/// The replies of one connection that wait for more of the same.
///
/// One buffer for the whole shard: it belongs to `slot` until the shard turns to another connection,
/// or gives this one anything else.
#[derive(Debug, Default)]
pub struct Replies {
    slot: Option<u32>,
    payload: Vec<u8>,
}

impl Replies {
    /// Bytes that wait for the connection at `slot`.
    pub fn bytes_for(&self, slot: u32) -> usize {
        if self.slot == Some(slot) { self.payload.len() } else { 0 }
    }
}

impl Shard {
    /// Answers the command `id` of the connection at `slot`.
    pub(super) fn reply(&mut self, slot: u32, id: u32, outcome: Result<Outcome, ErrorCode>) {
        if let Err(error) = outcome {
            self.metrics.count_error(error.code());
        }
        let reply = Reply { id, outcome };
        let Some(format) = self.format_at(slot) else { return };
        self.join_reply(slot, |payload| protocol::append_reply(format, &reply, payload, 0));
        self.metrics.add(Counter::RepliesSent, 1);
    }

    /// Answers a command before all that waits for its connection.
    pub(super) fn reply_first(&mut self, id: ConnectionId, command: u32, outcome: Outcome) {
        self.flush_replies();
        let slot = id.slot;
        let Some(format) = self.format_at(slot) else { return };
        let mut payload = Vec::new();
        let reply = Reply { id: command, outcome: Ok(outcome) };
        if protocol::append_reply(format, &reply, &mut payload, 0).is_err() {
            return self.disconnect(slot, DisconnectCode::InappropriateProtocol);
        }
        self.work.add(payload.len());
        let Some(connection) = self.connections.find_mut(id) else { return };
        let frame = self.frames.build_message(format, connection.window, &payload);
        self.metrics.add(Counter::DirectBytesQueued, frame.len() as u64);
        self.metrics.add(Counter::RepliesSent, 1);
        self.outbox_bytes -= connection.outbox.bytes();
        let pushed = connection.outbox.push_first(frame, self.options.outbox_bytes_max, self.dropped.of(slot));
        self.outbox_bytes += connection.outbox.bytes();
        self.count_compression();
        match pushed {
            Ok(()) => self.mark_dirty(slot),
            Err(outbox::Full) => self.disconnect(slot, DisconnectCode::Slow),
        }
    }

    pub(super) fn ping(&mut self, slot: u32) {
        let Some(format) = self.format_at(slot) else { return };
        self.join_reply(slot, |payload| {
            protocol::append_ping(format, payload, 0);
            Ok(())
        });
        self.metrics.add(Counter::PingsSent, 1);
    }

    /// Tells one connection something, behind what it has been answered.
    pub(super) fn push_to(&mut self, slot: u32, push: &Push<'_>) {
        let Some(format) = self.format_at(slot) else { return };
        self.join_reply(slot, |payload| protocol::append_push(format, push, payload, 0));
        self.metrics.add(Counter::OtherPushesSent, 1);
    }

    /// Makes a frame of the waiting replies and puts it into its connection's outbox.
    pub(super) fn flush_replies(&mut self) {
        let Some(slot) = self.replies.slot.take() else { return };
        let mut payload = std::mem::take(&mut self.replies.payload);
        if !payload.is_empty()
            && let Some(format) = self.format_at(slot)
        {
            let window = self.connections.at(slot).and_then(|connection| connection.window);
            let frame = self.frames.build_message(format, window, &payload);
            self.count_compression();
            self.enqueue(slot, frame);
        }
        payload.clear();
        // A page of history may have been large: the buffer is kept for the usual reply.
        payload.shrink_to(limits::REPLY_FRAME_BYTES);
        self.replies.payload = payload;
    }

    fn join_reply(&mut self, slot: u32, append: impl FnOnce(&mut Vec<u8>) -> Result<(), protocol::Inappropriate>) {
        if self.replies.slot != Some(slot) || self.replies.payload.len() >= limits::REPLY_FRAME_BYTES {
            self.flush_replies();
        }
        self.replies.slot = Some(slot);
        let before = self.replies.payload.len();
        let appended = append(&mut self.replies.payload);
        self.work.add(self.replies.payload.len() - before);
        if appended.is_err() {
            self.disconnect(slot, DisconnectCode::InappropriateProtocol);
        }
    }

    pub(super) fn count_compression(&mut self) {
        let tally = self.frames.take_tally();
        self.count_made(tally);
    }

    pub(super) fn count_made(&self, FrameTally { deflated, patched }: FrameTally) {
        if deflated.messages > 0 {
            self.metrics.add(Counter::MessagesDeflated, deflated.messages);
            self.metrics.add(Counter::DeflateBytesBefore, deflated.bytes_before);
            self.metrics.add(Counter::DeflateBytesAfter, deflated.bytes_after);
        }
        if patched.patches > 0 {
            self.metrics.add(Counter::PatchesMade, patched.patches);
            self.metrics.add(Counter::PatchBytesBefore, patched.bytes_before);
            self.metrics.add(Counter::PatchBytesAfter, patched.bytes_after);
        }
    }

    /// The format of the connection at `slot`, if it may still be sent something.
    pub(super) fn format_at(&mut self, slot: u32) -> Option<Format> {
        let connection = self.connections.at(slot).filter(|connection| connection.is_open())?;
        match connection.speaks {
            Speaks::Centrifugo(format) => Some(format),
            Speaks::Echo => None,
        }
    }
}
