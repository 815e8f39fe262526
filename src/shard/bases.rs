//! What the home of channels keeps of a publication, to say the next one as the difference from it.

use bytes::Bytes;

use super::Shard;
use super::events::Subscribed;
use crate::limits::{DELTA_BASES_BYTES_MAX, DELTA_BYTES_MAX};
use crate::model::{ChannelName, Position};
use crate::room::Base;

impl Shard {
    /// `data` is published in a channel that allows deltas: the next publication may be said as the
    /// difference from it, if somebody reads deltas and there is room to keep it. Returns the data of
    /// the publication before, if that was kept.
    pub(super) fn replace_base(
        &mut self,
        channel: &ChannelName,
        data: &Bytes,
        position: Option<Position>,
    ) -> Option<Bytes> {
        let before = self.forget_base(channel);
        let room = self.rooms.get_mut(channel)?;
        let fits = data.len() <= DELTA_BYTES_MAX && self.base_bytes + data.len() <= DELTA_BASES_BYTES_MAX;
        if fits && room.encodings().has_delta() {
            self.base_bytes += data.len();
            room.base = Some(Base { data: data.clone(), position });
        }
        before
    }

    /// Takes what the next publication could be said as the difference from.
    pub(super) fn forget_base(&mut self, channel: &ChannelName) -> Option<Bytes> {
        let base = self.rooms.get_mut(channel)?.base.take()?;
        self.base_bytes -= base.data.len();
        Some(base.data)
    }

    /// The next publication of every channel is said in full.
    pub(super) fn forget_all_bases(&mut self) {
        self.rooms.values_mut().for_each(|room| room.base = None);
        self.base_bytes = 0;
    }

    /// Whether somebody who was just given what it missed can read the next publication as the
    /// difference from the last one of those. For the first reader of deltas that one is made the base;
    /// where there were some before, they share theirs, for what is said to one is said to all.
    pub(super) fn gives_base(&mut self, channel: &ChannelName, subscribed: &Subscribed, has_readers: bool) -> bool {
        let Some(last) = subscribed.recovered.as_ref().and_then(|recovered| recovered.last()) else { return false };
        if !has_readers {
            self.replace_base(channel, &last.data, subscribed.position);
        }
        let base = self.rooms.get(channel).and_then(|room| room.base.as_ref());
        base.is_some_and(|base| base.position.is_some() && base.position == subscribed.position)
    }
}
