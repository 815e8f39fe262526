//! What a home sends: encoded once, to each shard that listens.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::events::LaneMessage;
use super::outgoing::Class;
use crate::model::{ChannelName, Push};
use crate::room::{Delivery, DeliveryKind, Room};
use crate::telemetry::Counter;
use crate::workers::EncodePublication;

impl Shard {
    /// Encodes once for each encoding that the room reads, here or with the workers, and sends it.
    /// `base`: the push may be said as the difference from this.
    pub(super) fn fan_out(
        &mut self,
        channel: &ChannelName,
        kind: DeliveryKind,
        tag: Option<Arc<str>>,
        push: &Push<'_>,
        base: Option<Bytes>,
    ) {
        let Some(encodings) = self.rooms.get(channel).map(Room::encodings) else { return };
        if let Push::Publication { publication, epoch, .. } = *push
            && self.is_heavy_for(&publication.data, encodings, base.as_ref())
        {
            let (channel, publication) = (channel.clone(), publication.clone());
            return self.encode_later(kind, tag, EncodePublication { channel, publication, epoch, encodings, base });
        }
        let frames = self.frames.build(push, encodings, base.as_deref());
        self.count_compression();
        let delivery = Arc::new(Delivery { channel: channel.clone(), kind, tag, frames });
        match self.lines.has(channel) {
            true => self.line_up(delivery),
            false => self.hand_out(delivery),
        }
    }

    /// Hands the delivery to each shard that listens. A shard whose lane is full is *behind*.
    pub(super) fn hand_out(&mut self, delivery: Arc<Delivery>) {
        self.work.add(delivery.bytes());
        let (channel, kind) = (&delivery.channel, delivery.kind);
        let Some(room) = self.rooms.get_mut(channel) else { return };
        let mut is_for_here = false;
        for listener in room.listeners_mut() {
            if listener.shard == self.id {
                is_for_here = true;
            } else if !listener.is_behind && self.outgoing.has_room(listener.shard, Class::Delivery) {
                self.outgoing.push(listener.shard, LaneMessage::Deliver(Arc::clone(&delivery)));
            } else {
                self.metrics.add(Counter::DeliveriesLost, 1);
                // Who comes and goes has no position: a lost word of it is no reason to recover.
                if matches!(kind, DeliveryKind::Publication(_)) && !std::mem::replace(&mut listener.is_behind, true) {
                    self.behind.push((listener.shard, channel.clone()));
                }
            }
        }
        if is_for_here {
            self.deliver_here(delivery);
        }
    }

    /// A publication of the channel is lost to everybody: whoever holds a position recovers it.
    pub(super) fn lose_everywhere(&mut self, channel: &ChannelName) {
        let shards = self.rooms.get_mut(channel).map_or(0, |room| room.listeners_mut().len());
        self.metrics.add(Counter::DeliveriesLost, shards as u64);
        self.void_positions(channel);
    }

    /// Positions in the channel are good no more: whoever holds one is told to come back.
    pub(super) fn void_positions(&mut self, channel: &ChannelName) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        let mut is_for_here = false;
        for listener in room.listeners_mut() {
            if listener.shard == self.id {
                is_for_here = true;
            } else if !listener.is_behind && self.outgoing.has_room(listener.shard, Class::Delivery) {
                self.outgoing.push(listener.shard, LaneMessage::Behind { channel: channel.clone() });
            } else if !std::mem::replace(&mut listener.is_behind, true) {
                self.behind.push((listener.shard, channel.clone()));
            }
        }
        if is_for_here {
            self.fell_behind(channel.as_str());
        }
    }

    /// Tells shards that lost deliveries so, as far as their lanes have room for it.
    pub(super) fn tell_behind(&mut self) {
        if self.behind.is_empty() {
            return;
        }
        let mut untold = std::mem::take(&mut self.behind);
        untold.retain(|(shard, channel)| {
            let Some(listener) = self.rooms.get_mut(channel).and_then(|room| room.find_listener(*shard)) else {
                return false;
            };
            if !listener.is_behind {
                return false;
            }
            if !self.outgoing.has_room(*shard, Class::Delivery) {
                return true;
            }
            listener.is_behind = false;
            self.outgoing.push(*shard, LaneMessage::Behind { channel: channel.clone() });
            false
        });
        self.behind = untold;
    }
}
