//! What a client may do in a channel.
//!
//! Source: protocol page, section 1.3; each rule is that of Centrifugo's own handlers.

use super::{ChannelOptions, NameSays};

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
    /// `client` opens a right to everyone who is connected, `subscriber` to those in the channel.
    /// Neither reaches anonymous users: they need `anonymous` besides, which alone opens nothing.
    fn may(&self, client: bool, subscriber: bool, anonymous: bool) -> bool {
        let opened = client || (subscriber && self.is_subscriber);
        self.is_unchecked || (opened && (anonymous || !self.is_anonymous))
    }
}

/// Whether a channel may be subscribed to without a subscription token.
///
/// Private channels never are, not even under `client.insecure`; user-limited ones by their users, whatever
/// the namespace allows, and by nobody else.
pub fn may_subscribe(options: &ChannelOptions, asker: Asker, name: NameSays) -> bool {
    match name {
        NameSays::TokenHolders => false,
        NameSays::UsersWithAsker => true,
        NameSays::UsersWithoutAsker => asker.is_unchecked,
        NameSays::Nothing => {
            asker.may(options.allow_subscribe_for_client, false, options.allow_subscribe_for_anonymous)
        }
    }
}

pub fn may_publish(options: &ChannelOptions, asker: Asker) -> bool {
    asker.may(
        options.allow_publish_for_client,
        options.allow_publish_for_subscriber,
        options.allow_publish_for_anonymous,
    )
}

/// Also decides whether a subscriber who asks for joins and leaves is sent them.
pub fn may_read_presence(options: &ChannelOptions, asker: Asker) -> bool {
    asker.may(
        options.allow_presence_for_client,
        options.allow_presence_for_subscriber,
        options.allow_presence_for_anonymous,
    )
}

/// Also decides whether a subscriber who asks for it is positioned or may recover, where
/// `allow_positioning` and `allow_recovery` do not.
pub fn may_read_history(options: &ChannelOptions, asker: Asker) -> bool {
    asker.may(
        options.allow_history_for_client,
        options.allow_history_for_subscriber,
        options.allow_history_for_anonymous,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Asker = Asker { is_anonymous: false, is_subscriber: false, is_unchecked: false };
    const ANONYMOUS: Asker = Asker { is_anonymous: true, ..USER };

    fn subscribed(asker: Asker) -> Asker {
        Asker { is_subscriber: true, ..asker }
    }

    /// The answers of one right for: a user, a subscribed user, an anonymous, a subscribed anonymous.
    fn answers(options: &ChannelOptions, right: fn(&ChannelOptions, Asker) -> bool) -> [bool; 4] {
        [USER, subscribed(USER), ANONYMOUS, subscribed(ANONYMOUS)].map(|asker| right(options, asker))
    }

    /// Sets `allow_<right>_for_*` of publish, presence and history alike and expects one answer.
    fn check(client: bool, subscriber: bool, anonymous: bool, expected: [bool; 4]) {
        let options = ChannelOptions {
            allow_publish_for_client: client,
            allow_publish_for_subscriber: subscriber,
            allow_publish_for_anonymous: anonymous,
            allow_presence_for_client: client,
            allow_presence_for_subscriber: subscriber,
            allow_presence_for_anonymous: anonymous,
            allow_history_for_client: client,
            allow_history_for_subscriber: subscriber,
            allow_history_for_anonymous: anonymous,
            ..ChannelOptions::default()
        };
        assert_eq!(answers(&options, may_publish), expected, "publish");
        assert_eq!(answers(&options, may_read_presence), expected, "presence");
        assert_eq!(answers(&options, may_read_history), expected, "history");
    }

    #[test]
    fn rights_are_closed_until_opened() {
        check(false, false, false, [false, false, false, false]);
        check(true, false, false, [true, true, false, false]);
        check(false, true, false, [false, true, false, false]);
    }

    #[test]
    fn anonymous_widens_a_right_and_opens_none() {
        check(false, false, true, [false, false, false, false]);
        check(true, false, true, [true, true, true, true]);
        check(false, true, true, [false, true, false, true]);
    }

    #[test]
    fn each_right_has_its_own_options() {
        let options = ChannelOptions { allow_publish_for_client: true, ..ChannelOptions::default() };
        assert!(may_publish(&options, USER));
        assert!(!may_read_presence(&options, USER));
        assert!(!may_read_history(&options, USER));
        assert!(!may_subscribe(&options, USER, NameSays::Nothing));
    }

    #[test]
    fn unchecked_askers_may_do_everything_but_enter_private_channels() {
        let asker = Asker { is_unchecked: true, ..ANONYMOUS };
        let options = ChannelOptions::default();
        assert!(may_publish(&options, asker));
        assert!(may_read_presence(&options, asker));
        assert!(may_read_history(&options, asker));
        assert!(may_subscribe(&options, asker, NameSays::Nothing));
        assert!(may_subscribe(&options, asker, NameSays::UsersWithoutAsker));
        assert!(!may_subscribe(&options, asker, NameSays::TokenHolders));
    }

    #[test]
    fn subscribing_without_a_token() {
        let users = ChannelOptions { allow_subscribe_for_client: true, ..ChannelOptions::default() };
        let everyone = ChannelOptions { allow_subscribe_for_anonymous: true, ..users.clone() };
        assert!(may_subscribe(&users, USER, NameSays::Nothing));
        assert!(!may_subscribe(&users, ANONYMOUS, NameSays::Nothing));
        assert!(may_subscribe(&everyone, ANONYMOUS, NameSays::Nothing));
        assert!(!may_subscribe(&everyone, USER, NameSays::TokenHolders), "a private channel needs a token");
        assert!(!may_subscribe(&everyone, USER, NameSays::UsersWithoutAsker), "its users and nobody else");
        assert!(may_subscribe(&ChannelOptions::default(), USER, NameSays::UsersWithAsker), "the name is enough");
    }
}
