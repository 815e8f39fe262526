//! Who missed something is told so, in slices: "insufficient state", come back and recover.

use super::Shard;
use super::subscriptions::Subscription;
use crate::limits;
use crate::model::{ChannelName, DisconnectCode, Push, UnsubscribeCode};
use crate::room::Slice;

impl Shard {
    /// Something was lost for this channel's audience: whoever holds a position is given nothing more
    /// from here on, is told, and comes back for it; the others lose it.
    pub(super) fn insufficient(&mut self, slot: u32) {
        let Some(channel) = self.channels.at(slot) else { return };
        channel.position = None;
        channel.audience.break_chain();
        if std::mem::take(&mut channel.positioned) > 0 {
            channel.audience.cut();
            self.cut.push_back(slot);
        }
    }

    /// Tells a turn's share of those who missed something. Half of what a slice of fan-out sends, so
    /// that the writes of both fit a turn.
    pub(super) fn send_back_some(&mut self) {
        let mut slice = Slice {
            sends: (self.options.slice_sends_max / 2).max(1),
            bytes: self.options.slice_bytes_max,
            visits: limits::SLICE_VISITS_MAX,
        };
        while let Some(&slot) = self.cut.front()
            && !slice.is_used_up()
            && self.outgoing.has_room_for_leaves()
        {
            let Some(channel) = self.channels.at(slot) else {
                self.cut.pop_front();
                continue;
            };
            let next = channel.audience.next_cut(&mut slice);
            if let Some(member) = next {
                let name = channel.name.clone();
                self.send_back(member, slot, &name);
            } else if !channel.audience.has_cut() {
                self.cut.pop_front();
            }
        }
        self.flush_replies();
    }

    /// Ends a subscription that missed something; its client subscribes again, to recover. It can't where the
    /// server subscribes: so it connects again.
    pub(super) fn send_back(&mut self, slot: u32, channel: u32, name: &ChannelName) {
        let subscription = self.connections.at(slot).and_then(|connection| connection.find_subscription(channel));
        let is_server_side = subscription.is_some_and(Subscription::is_server_side);
        if is_server_side {
            self.unsubscribe(slot, channel);
            return self.disconnect(slot, DisconnectCode::InsufficientState);
        }
        self.end_subscription(slot, channel, name, UnsubscribeCode::InsufficientState);
    }

    /// Ends a subscription, and says why.
    pub(super) fn end_subscription(&mut self, slot: u32, channel: u32, name: &ChannelName, code: UnsubscribeCode) {
        self.unsubscribe(slot, channel);
        self.metrics.count_unsubscribe(code.code());
        self.push_to(slot, &Push::Unsubscribe { channel: name.as_str(), code });
    }
}
