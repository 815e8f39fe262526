//! What an application's backend grants a user in one channel: by a subscription token, by the claim
//! `subs` of a connection token, or by the API's `subscribe`.
//!
//! Source: protocol page, section 1.2 ("`subs` option fields", "Subscription claims").

use bytes::Bytes;

use super::ChannelOptions;

/// One subscription that a backend vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Shown as the subscriber's `chan_info`: JSON text, or whatever bytes `b64info` decodes to.
    pub info: Option<Bytes>,
    /// Given to the subscriber with the subscription; empty for none.
    pub data: Bytes,
    /// When the subscription expires, seconds since 1970; `None`: never.
    pub expires_at: Option<i64>,
    pub overrides: Overrides,
}

/// Channel options that are different for one subscription; `None` leaves the channel's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub presence: Option<bool>,
    pub join_leave: Option<bool>,
    pub force_push_join_leave: Option<bool>,
    pub force_recovery: Option<bool>,
    pub force_positioning: Option<bool>,
}

impl Overrides {
    pub fn is_empty(&self) -> bool {
        *self == Overrides::default()
    }

    /// The channel's options as this subscription has them.
    pub fn apply(&self, options: &ChannelOptions) -> ChannelOptions {
        let mut options = options.clone();
        let pairs = [
            (&mut options.presence, self.presence),
            (&mut options.join_leave, self.join_leave),
            (&mut options.force_push_join_leave, self.force_push_join_leave),
            (&mut options.force_recovery, self.force_recovery),
            (&mut options.force_positioning, self.force_positioning),
        ];
        for (option, value) in pairs {
            *option = value.unwrap_or(*option);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_change_what_they_name_both_ways() {
        let channel = ChannelOptions { presence: true, join_leave: true, ..ChannelOptions::default() };
        assert_eq!(Overrides::default().apply(&channel), channel);
        assert!(Overrides::default().is_empty());
        let overrides = Overrides { presence: Some(false), force_recovery: Some(true), ..Overrides::default() };
        assert!(!overrides.is_empty());
        let expected = ChannelOptions { presence: false, force_recovery: true, ..channel.clone() };
        assert_eq!(overrides.apply(&channel), expected);
    }
}
