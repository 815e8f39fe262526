//! Subscribers that take publications slower than they come, and the policies for them.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::backlog::{DropRule, Droppable, Dropped};
use super::outbox::{Full, Outbox};
use crate::access::{ChannelOptions, SlowConsumerPolicy};
use crate::model::Given;
use crate::room::{Delivery, Member};

/// What one member is given, where frames wait for it already.
pub struct Parts<'a> {
    /// Slot of the channel.
    pub channel: u32,
    pub options: &'a ChannelOptions,
    pub member: Member,
    /// All of it in one piece.
    pub frames: &'a Bytes,
    pub deliveries: &'a [Arc<Delivery>],
}

impl Parts<'_> {
    /// Hands over publication by publication where they may be dropped one by one.
    #[cold]
    pub fn push_to(&self, outbox: &mut Outbox, bytes_max: usize, dropped: &mut Dropped) -> Result<(), Full> {
        let policy = &self.options.slow_consumer_policy;
        if !policy.may_drop() {
            return outbox.push_dropping(self.frames.clone(), bytes_max, dropped);
        }
        for delivery in self.deliveries {
            // Where publications may be dropped there are no deltas.
            let Given::Frame(frame) = delivery.frames.given(self.member.encoding, false) else { continue };
            if delivery.is_publication() {
                let rule = match policy {
                    SlowConsumerPolicy::Conflate { .. } => DropRule::Conflate { tag: delivery.tag.clone() },
                    _ => DropRule::Oldest,
                };
                let is_positioned = self.member.is_positioned;
                let droppable = Droppable { channel: self.channel, namespace: self.options.place, rule, is_positioned };
                outbox.push_droppable(frame.clone(), droppable, bytes_max, dropped)?;
            } else if self.member.wants_joins {
                outbox.push_dropping(frame.clone(), bytes_max, dropped)?;
            }
        }
        Ok(())
    }
}

impl Shard {
    /// Counts what slow consumers were not sent. Those with a position are told, and come back for it.
    ///
    /// Before anything else of the channel is handed over, and again when the slice is over: what
    /// came behind the gap meanwhile still waits, and is dropped too.
    pub(super) fn tell_dropped(&mut self) {
        while let Some((slot, channel)) = self.dropped.gaps.pop() {
            let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_open()) else {
                continue;
            };
            self.outbox_bytes -= connection.outbox.bytes();
            connection.outbox.drop_channel(channel, self.dropped.of(slot));
            self.outbox_bytes += connection.outbox.bytes();
            let member = connection.find_subscription(channel).and_then(|subscription| subscription.member());
            let Some(local) = self.channels.at(channel) else { continue };
            if member.is_some_and(|member| local.audience.is_positioned(member)) {
                let name = local.name.clone();
                self.send_back(slot, channel, &name);
                self.flush_replies();
            }
        }
        for (namespace, remedy, count) in self.dropped.counts.drain(..) {
            self.metrics.add_remedy(namespace, remedy, count);
        }
    }
}
