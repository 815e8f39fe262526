//! New options while connections live, after a reload of the configuration.
//!
//! Whatever is asked anew each time follows them from the next time on: permissions, limits, what is
//! kept in history. What a subscription was granted when it began (position, recovery, deltas,
//! presence, joins) it keeps until it ends. How an audience is given publications (flush windows,
//! policies for slow consumers) changes for those that are subscribed already, some audiences a turn.

use std::sync::Arc;

use super::{Options, Shard};
use crate::access::ChannelOptions;
use crate::limits;

/// The audiences that may still follow the options before, from this slot on.
#[derive(Debug)]
pub struct Renewing {
    next: u32,
}

impl Shard {
    /// From here on these options hold. What a running shard can't change is what it was.
    pub(super) fn take_options(&mut self, options: &Options) {
        let options = Arc::new(self.options.renewed_by(options));
        let before = std::mem::replace(&mut self.options, options);
        let had_deltas = before.namespaces.all().any(|options| options.allows_delta);
        if had_deltas && self.base_bytes > 0 {
            // Where deltas are off for a while, what is kept is not what subscribers were given last.
            self.forget_all_bases();
        }
        self.renewing = Some(Renewing { next: 0 });
    }

    /// A turn's share of the audiences. Returns whether more are left.
    pub(super) fn renew_some(&mut self) -> bool {
        let Some(Renewing { next }) = self.renewing.take() else { return false };
        let end = self.channels.slots().min(next + limits::RENEWALS_PER_TURN);
        for slot in next..end {
            self.renew(slot);
        }
        let is_left = end < self.channels.slots();
        if is_left {
            self.renewing = Some(Renewing { next: end });
        }
        is_left
    }

    /// Gives the audience at `slot` the options of its namespace.
    fn renew(&mut self, slot: u32) {
        let Some(channel) = self.channels.at(slot) else { return };
        // Nobody can publish to a namespace that is gone; its subscriptions end when they end.
        let Ok(options) = self.options.namespaces.find_options(channel.name.as_str()) else { return };
        if channel.options == *options {
            channel.options = Arc::clone(options);
            return;
        }
        if !can_follow(&channel.options, options) {
            return;
        }
        channel.is_renewed = true;
        // Members may be known as present, whatever the options say now.
        channel.tells_leaves = true;
        let before = std::mem::replace(&mut channel.options, Arc::clone(options));
        if before.holds_back() {
            self.end_window(slot);
        }
    }
}

/// Whoever reads deltas must be given every publication, so where some may, none may be dropped: such
/// an audience stays as it is until its last subscriber has left.
fn can_follow(before: &ChannelOptions, after: &ChannelOptions) -> bool {
    !(before.allows_delta && after.slow_consumer_policy.may_drop())
}
