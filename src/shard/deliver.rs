//! Deliveries reach the local audience, and from there the outboxes.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::outbox;
use super::slow::Parts;
use crate::limits;
use crate::model::{DisconnectCode, Now, Position};
use crate::protocol;
use crate::room::{Delivery, DeliveryKind, Full, Slice, Step};
use crate::telemetry::{Counter, Remedy};

impl Shard {
    /// Hands one slice of pending deliveries to outboxes. Returns whether more are pending.
    pub fn walk(&mut self, now: Now) -> bool {
        self.tell_time(now);
        self.flush_replies();
        let is_looking = self.cut_some() | self.reach_some() | self.renew_some() | self.survey_some();
        self.tell_dropped();
        self.tell_behind();
        self.end_windows();
        self.walk_slice();
        self.send_back_some();
        let is_leaving = self.leave_some();
        !self.walking.is_empty() || !self.cut.is_empty() || is_leaving || is_looking
    }

    /// One slice of fan-out: rooms take turns.
    pub(super) fn walk_slice(&mut self) {
        let mut slice = Slice {
            sends: self.options.slice_sends_max,
            bytes: self.options.slice_bytes_max,
            visits: limits::SLICE_VISITS_MAX,
        };
        while !slice.is_used_up()
            && let Some(slot) = self.walking.pop_front()
        {
            self.walk_audience(slot, &mut slice);
        }
        self.tell_dropped();
        self.close_doomed();
    }

    /// Whether `walk` has something to do, for what happens after it in a turn: a write that finds its
    /// connection lost leaves subscriptions to be taken down.
    pub fn wants_walk(&self) -> bool {
        !self.walking.is_empty() || !self.cut.is_empty() || !self.leaving.is_empty()
    }

    /// A publication, join or leave of a channel came to this shard.
    pub(super) fn deliver_here(&mut self, delivery: Arc<Delivery>) {
        let Some(slot) = self.channels.find(delivery.channel.as_str()) else { return };
        let Some(channel) = self.channels.at(slot) else { return };
        if channel.audience.is_empty() {
            // Somebody's answer is on its way, and says what the position is then.
            channel.position = None;
            return;
        }
        if let DeliveryKind::Publication(Some(position)) = delivery.kind {
            match follows(channel.position, position) {
                Order::Next => channel.position = Some(position),
                Order::Repeated => {
                    debug_assert!(false, "{}: {position:?} came twice", channel.name);
                    self.metrics.add(Counter::Bugs, 1);
                    return;
                }
                Order::Gap => {
                    self.insufficient(slot);
                    return self.deliver_after_gap(delivery);
                }
            }
        }
        self.give_audience(slot, delivery);
    }

    /// Those without a position are given what comes after a gap as well.
    fn deliver_after_gap(&mut self, delivery: Arc<Delivery>) {
        let Some(slot) = self.channels.find(delivery.channel.as_str()) else { return };
        if let (DeliveryKind::Publication(position), Some(channel)) = (delivery.kind, self.channels.at(slot)) {
            channel.position = position;
        }
        self.give_audience(slot, delivery);
    }

    fn give_audience(&mut self, slot: u32, delivery: Arc<Delivery>) {
        let Some(channel) = self.channels.at(slot) else { return };
        let is_publication = matches!(delivery.kind, DeliveryKind::Publication(_));
        if channel.options.holds_back() && self.drain.is_none() {
            return self.hold_back(slot, delivery);
        }
        match channel.audience.push(delivery) {
            Ok(()) => self.queue_walk(slot),
            Err(Full) => self.lose(slot, is_publication),
        }
    }

    /// A delivery to the audience at `slot` is lost.
    pub(super) fn lose(&mut self, slot: u32, is_publication: bool) {
        self.metrics.add(Counter::DeliveriesLost, 1);
        if is_publication {
            self.insufficient(slot);
        }
    }

    /// The audience at `slot` takes its turn.
    pub(super) fn queue_walk(&mut self, slot: u32) {
        let Some(channel) = self.channels.at(slot) else { return };
        if !std::mem::replace(&mut channel.is_walking, true) {
            self.walking.push_back(slot);
        }
    }

    /// The home lost deliveries to this shard, because the lane was full.
    pub(super) fn fell_behind(&mut self, channel: &str) {
        if let Some(slot) = self.channels.find(channel) {
            self.insufficient(slot);
        }
    }

    /// The home says where this shard's audience should be by now.
    pub(super) fn position_told(&mut self, channel: &str, told: Option<Position>) {
        let Some(slot) = self.channels.find(channel) else { return };
        let Some(channel) = self.channels.at(slot) else { return };
        if channel.positioned > 0 && channel.position != told {
            self.insufficient(slot);
        }
    }

    /// Adds a frame to an open connection's outbox; one that is too slow is closed.
    pub(super) fn enqueue(&mut self, slot: u32, frame: Bytes) {
        let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_open()) else { return };
        self.metrics.add(Counter::DirectBytesQueued, frame.len() as u64);
        self.outbox_bytes -= connection.outbox.bytes();
        let pushed = connection.outbox.push_dropping(frame, self.options.outbox_bytes_max, self.dropped.of(slot));
        self.outbox_bytes += connection.outbox.bytes();
        match pushed {
            Ok(()) => self.mark_dirty(slot),
            Err(outbox::Full) => self.disconnect(slot, DisconnectCode::Slow),
        }
    }

    pub(super) fn mark_dirty(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push_back(slot);
        }
    }

    /// The member that `step` names has another index.
    pub(super) fn renumber(&mut self, channel: u32, step: Step<'_>) {
        let Step::Moved { slot, from, to } = step else { return };
        let connection = self.connections.at(slot).expect("members are connections of this shard");
        let subscription = connection.find_subscription_mut(channel).expect("a member lists its subscription");
        debug_assert_eq!(subscription.member(), Some(from));
        subscription.set_member(to);
    }

    /// Forgets a channel without subscribers here, and tells its home.
    pub(super) fn drop_if_unused(&mut self, slot: u32) {
        if self.channels.at(slot).is_some_and(|channel| channel.is_unused())
            && let Some(channel) = self.channels.remove(slot)
        {
            self.windows.forget(slot);
            self.tell_unlisten(channel.home, channel.name);
        }
    }

    fn walk_audience(&mut self, slot: u32, slice: &mut Slice) {
        let Some(channel) = self.channels.at(slot) else { return };
        let (mut publications, mut joins, mut leaves, mut bytes) = (0, 0, 0, 0);
        let (connections, dirty, doomed) = (&mut self.connections, &mut self.dirty, &mut self.doomed);
        let (outbox_bytes, outbox_bytes_max) = (&mut self.outbox_bytes, self.options.outbox_bytes_max);
        let (options, dropped, channel_slot) = (&channel.options, &mut self.dropped, slot);
        channel.audience.walk(slice, protocol::join_frames, |step| match step {
            Step::Give { member, frames, counts, deliveries } => {
                let slot = member.slot;
                let Some(connection) = connections.at(slot).filter(|connection| connection.is_open()) else { return };
                let outbox = &mut connection.outbox;
                let may_drop = !outbox.is_empty() && options.slow_consumer_policy.may_drop();
                if !may_drop && outbox.push(frames.clone(), outbox_bytes_max).is_ok() {
                    *outbox_bytes += frames.len();
                } else {
                    *outbox_bytes -= outbox.bytes();
                    let parts = Parts { channel: channel_slot, options, member, frames, deliveries };
                    let pushed = parts.push_to(outbox, outbox_bytes_max, dropped.of(slot));
                    *outbox_bytes += outbox.bytes();
                    if pushed.is_err() {
                        doomed.push(Doomed { slot, because: Because::Slow { namespace: options.place } });
                        return;
                    }
                }
                publications += u64::from(counts.publications);
                joins += u64::from(counts.joins);
                leaves += u64::from(counts.leaves);
                bytes += frames.len() as u64;
                if !connection.is_dirty {
                    connection.is_dirty = true;
                    dirty.push_back(slot);
                }
            }
            Step::Inappropriate { slot } => doomed.push(Doomed { slot, because: Because::Inappropriate }),
            Step::Moved { slot: moved, from, to } => {
                let connection = connections.at(moved).expect("members are connections of this shard");
                let subscription = connection.find_subscription_mut(slot).expect("a member lists its subscription");
                debug_assert_eq!(subscription.member(), Some(from));
                subscription.set_member(to);
            }
        });
        channel.is_walking = channel.audience.is_pending();
        if channel.is_walking {
            self.walking.push_back(slot);
        }
        self.metrics.add(Counter::PublicationsSent, publications);
        self.metrics.add(Counter::JoinsSent, joins);
        self.metrics.add(Counter::LeavesSent, leaves);
        self.metrics.add(Counter::FanOutBytesQueued, bytes);
    }

    fn close_doomed(&mut self) {
        for Doomed { slot, because } in std::mem::take(&mut self.doomed) {
            match because {
                Because::Inappropriate => self.disconnect(slot, DisconnectCode::InappropriateProtocol),
                Because::Slow { namespace } => {
                    // A slice may have found it slow more than once.
                    if self.connections.at(slot).is_some_and(|connection| connection.is_open()) {
                        self.metrics.add_remedy(namespace, Remedy::Disconnect, 1);
                    }
                    self.disconnect(slot, DisconnectCode::Slow);
                }
            }
        }
    }

    /// Ends the subscription of the connection at `slot` to the channel at `channel`.
    pub(super) fn unsubscribe(&mut self, slot: u32, channel: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        let Some(at) = connection.subscriptions.iter().position(|subscription| subscription.channel == channel) else {
            return;
        };
        let subscription = connection.subscriptions.swap_remove(at);
        self.take_down(slot, subscription);
    }
}

/// A connection to be closed once the slice that found a reason has ended.
pub(super) struct Doomed {
    slot: u32,
    because: Because,
}

enum Because {
    /// A frame of its channel can't be written in its protocol.
    Inappropriate,
    /// A publication of this namespace found no room.
    Slow { namespace: usize },
}

enum Order {
    Next,
    Repeated,
    Gap,
}

/// How `came` stands to the last position. Where that is unknown, anything is next.
fn follows(last: Option<Position>, came: Position) -> Order {
    match last {
        None => Order::Next,
        Some(last) if last.epoch != came.epoch => Order::Gap,
        Some(last) if came.offset == last.offset + 1 => Order::Next,
        Some(last) if came.offset <= last.offset => Order::Repeated,
        Some(_) => Order::Gap,
    }
}
