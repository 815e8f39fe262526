//! The application removes a channel's history.

use super::Shard;
use crate::model::{ChannelName, ErrorCode};

impl Shard {
    /// The stream ends; the next one has another epoch. Whoever holds a position of it is told (2500), before
    /// anything of the next one is sent; what it was to be given until then may be dropped.
    pub(super) fn home_history_remove(&mut self, channel: &ChannelName) -> Result<(), ErrorCode> {
        let options = self.options.namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        if !options.has_history() {
            return Err(ErrorCode::NotAvailable);
        }
        if self.memory.remove_history(channel) {
            self.forget_base(channel);
            self.void_positions_in_line(channel);
        }
        Ok(())
    }
}
