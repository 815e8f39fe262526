//! What a client may do in a channel.
//!
//! Source: protocol page, section 1.3 (order of the subscribe rules) and the `allow_*` options.

use super::ChannelOptions;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Has no user id.
    pub is_anonymous: bool,
    /// Is subscribed to the channel.
    pub is_subscriber: bool,
    /// `client.insecure`: everything is allowed.
    pub is_unchecked: bool,
}

impl Asker {
    fn may(&self, client: bool, subscriber: bool, anonymous: bool) -> bool {
        self.is_unchecked || (client && (!self.is_anonymous || anonymous)) || (subscriber && self.is_subscriber)
    }
}

/// Whether a channel may be subscribed to without a subscription token.
pub fn may_subscribe(options: &ChannelOptions, asker: Asker, is_private: bool) -> bool {
    asker.is_unchecked
        || (!is_private
            && options.allow_subscribe_for_client
            && (!asker.is_anonymous || options.allow_subscribe_for_anonymous))
}

pub fn may_publish(options: &ChannelOptions, asker: Asker) -> bool {
    asker.may(
        options.allow_publish_for_client,
        options.allow_publish_for_subscriber,
        options.allow_publish_for_anonymous,
    )
}

pub fn may_read_presence(options: &ChannelOptions, asker: Asker) -> bool {
    asker.may(
        options.allow_presence_for_client,
        options.allow_presence_for_subscriber,
        options.allow_presence_for_anonymous,
    )
}

pub fn may_read_history(options: &ChannelOptions, asker: Asker) -> bool {
    asker.may(
        options.allow_history_for_client,
        options.allow_history_for_subscriber,
        options.allow_history_for_anonymous,
    )
}
