//! How connections end.
//!
//! A connection that is closed stops taking part at once, its subscriptions are taken down in slices
//! (`leaving`), and its slot is free when that is done and io has dropped the socket.

use std::time::Duration;

use bytes::Bytes;

use super::connection::{Clock, Phase};
use super::subscriptions::Subscription;
use super::{Shard, Speaks};
use crate::limits;
use crate::model::{ConnectionId, DisconnectCode, Now};
use crate::telemetry::{Counter, Gauge};
use crate::ws;

impl Shard {
    /// Handling this connection panicked: close it with 3004 and go on without it.
    pub fn abandon(&mut self, now: Now, id: ConnectionId) {
        self.tell_time(now);
        self.metrics.add(Counter::Bugs, 1);
        if self.connections.find(id).is_some() {
            self.disconnect(id.slot, DisconnectCode::ServerError);
            // Where its next frame begins is not known any more.
            self.end(id.slot);
        }
    }

    /// Closes the connection at `slot`: what waits for it is sent first, then the close frame.
    ///
    /// A slow consumer (3008) is the exception: what waits is dropped, so that the code has a chance
    /// to reach it. Source: protocol page, section 2.4 (Disconnect).
    pub(super) fn disconnect(&mut self, slot: u32, code: DisconnectCode) {
        self.disconnect_for(slot, code.code(), code.text());
    }

    /// The same with a code and a reason of the application's.
    pub(super) fn disconnect_for(&mut self, slot: u32, code: u16, reason: &str) {
        self.flush_replies();
        let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_open()) else { return };
        self.metrics.count_disconnect(code);
        let close = match connection.speaks {
            Speaks::Centrifugo(_) => ws::close_frame(code, reason),
            // 1001: going away. The echo endpoint knows no codes of the protocol.
            Speaks::Echo => ws::close_frame(1001, ""),
        };
        let patience = match code == DisconnectCode::Slow.code() {
            true => {
                self.outbox_bytes -= connection.outbox.bytes();
                connection.outbox.drop_unsent();
                self.outbox_bytes += connection.outbox.bytes();
                self.options.write_timeout
            }
            false => limits::CLOSE_HANDSHAKE_TIMEOUT,
        };
        self.close_with(slot, close, Phase::Closing);
        self.set_clock(slot, Clock::Drop, self.time.now() + patience);
    }

    /// The peer broke the rules of WebSocket: one last frame says which.
    pub(super) fn violated(&mut self, slot: u32, violation: ws::PeerViolated) {
        self.flush_replies();
        if !self.connections.at(slot).is_some_and(|connection| connection.is_open()) {
            // It was being closed anyway; it can't be read any more, so its answer is not awaited.
            return self.end(slot);
        }
        self.metrics.count_disconnect(violation.close_code);
        self.close_with(slot, ws::close_frame(violation.close_code, violation.what), Phase::Ending);
        self.set_clock(slot, Clock::Drop, self.time.now() + self.options.write_timeout);
    }

    /// The peer's close frame came: it is answered, or it is the answer.
    pub(super) fn peer_closed(&mut self, slot: u32, close: ws::PeerClose) {
        self.flush_replies();
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.phase == Phase::Closing {
            return self.end(slot);
        }
        self.metrics.count_disconnect(DisconnectCode::ConnectionClosed.code());
        self.close_with(slot, ws::close_answer(close), Phase::Ending);
        self.set_clock(slot, Clock::Drop, self.time.now() + self.options.write_timeout);
    }

    /// What waits for the connection at `slot` is the last it is sent; nothing is read any more.
    fn end(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        connection.phase = Phase::Ending;
        if connection.outbox.is_empty() {
            self.finish(slot);
        }
    }

    /// Nothing more can be said to the connection at `slot`: io drops its socket.
    pub(super) fn finish(&mut self, slot: u32) {
        // Replies name their connection by its slot, which may soon be another's.
        self.flush_replies();
        let Some(id) = self.connections.id_at(slot) else { return };
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.is_finished {
            return;
        }
        connection.is_finished = true;
        connection.phase = Phase::Ending;
        self.outbox_bytes -= connection.outbox.bytes();
        connection.outbox = Default::default();
        self.owes_no_connect(slot);
        self.finished.push_back(id);
        self.leave_all(slot);
    }

    /// Takes down subscriptions of closed connections, a turn's share; returns whether more are left.
    pub(super) fn leave_some(&mut self) -> bool {
        let mut budget = limits::LEAVES_PER_TURN;
        while let Some(&slot) = self.leaving.front() {
            if budget == 0 || !self.outgoing.has_room_for_leaves() {
                return true;
            }
            budget -= 1;
            match self.connections.at(slot).and_then(|connection| connection.subscriptions.pop()) {
                Some(subscription) => self.take_down(slot, subscription),
                None => {
                    self.leaving.pop_front();
                    if let Some(connection) = self.connections.at(slot) {
                        connection.is_leaving = false;
                    }
                    self.unlist(slot);
                    self.free_if_gone(slot);
                }
            }
        }
        false
    }

    fn close_with(&mut self, slot: u32, close: Bytes, phase: Phase) {
        self.owes_no_connect(slot);
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.phase == Phase::Joining {
            // Nothing is sent before the answer to connect, and that does not come any more.
            self.outbox_bytes -= connection.outbox.bytes();
            connection.outbox.drop_unsent();
            self.outbox_bytes += connection.outbox.bytes();
        }
        connection.phase = phase;
        connection.expires = Duration::MAX;
        self.outbox_bytes += close.len();
        connection.outbox.push_last(close);
        self.mark_dirty(slot);
        self.leave_all(slot);
    }

    fn leave_all(&mut self, slot: u32) {
        let Some(id) = self.connections.id_at(slot) else { return };
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.waiting.take().is_some_and(|waiting| waiting.unread_since.is_some()) {
            // It is read again, for the peer's close frame.
            self.resumed.push_back(id);
        }
        if !connection.is_leaving && (connection.is_listed || !connection.subscriptions.is_empty()) {
            connection.is_leaving = true;
            self.leaving.push_back(slot);
        }
    }

    /// Frees the slot when io has let go of it, and neither a subscription nor the index of users names it.
    pub(super) fn free_if_gone(&mut self, slot: u32) {
        if self.connections.at(slot).is_some_and(|connection| connection.is_released && !connection.is_leaving) {
            self.connections.remove(slot);
            self.metrics.set(Gauge::Connections, self.connections.len() as u64);
        }
    }

    /// Ends one subscription of a connection that no longer lists it.
    pub(super) fn take_down(&mut self, slot: u32, subscription: Subscription) {
        if subscription.has_terms {
            self.terms.remove(slot, subscription.channel);
        }
        // Without an answer of the home there is no member yet; the answer will find nobody.
        let Some(member) = subscription.member() else { return };
        self.subscriptions -= 1;
        self.metrics.set(Gauge::Subscriptions, self.subscriptions);
        let client =
            self.connections.at(slot).and_then(|connection| connection.client.as_ref()).map(|info| info.client);
        let Some(channel) = self.channels.at(subscription.channel) else { return };
        let is_positioned = channel.audience.is_positioned(member);
        channel.positioned -= u32::from(is_positioned);
        let moved = channel.audience.leave(member);
        if (channel.options.slow_consumer_policy.may_drop() || channel.is_renewed)
            && let Some(connection) = self.connections.at(slot)
        {
            connection.outbox.keep_channel(subscription.channel);
        }
        if channel.tells_leaves
            && let Some(client) = client
        {
            let (home, name) = (channel.home, channel.name.clone());
            self.tell_left(home, name, client);
        }
        if let Some(moved) = moved {
            self.renumber(subscription.channel, moved);
        }
        self.drop_if_unused(subscription.channel);
    }
}
