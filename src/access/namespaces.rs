//! Namespaces: which options a channel has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{DataFormat, Flush, FlushWindow, NamePattern};
use crate::model::{EngineIndex, Tags};

/// Options of the channels of one namespace. Source: protocol page, section 1.3; the names and
/// defaults are Centrifugo's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelOptions {
    /// The namespace's place in the metrics: 0 for channels without one.
    pub place: usize,
    pub presence: bool,
    pub join_leave: bool,
    pub force_push_join_leave: bool,
    /// Publications kept; 0: no history.
    pub history_size: usize,
    pub history_ttl: Duration,
    /// How long epoch and offset outlive the last publication.
    pub history_meta_ttl: Duration,
    pub force_positioning: bool,
    pub allow_positioning: bool,
    pub force_recovery: bool,
    pub allow_recovery: bool,
    pub recovery_mode: RecoveryMode,
    /// Where the mode is [`RecoveryMode::Cache`]: every subscription recovers, not only those that ask.
    pub auto_cache_recover: bool,
    pub allow_subscribe_for_client: bool,
    pub allow_subscribe_for_anonymous: bool,
    pub allow_publish_for_client: bool,
    pub allow_publish_for_subscriber: bool,
    pub allow_publish_for_anonymous: bool,
    pub allow_presence_for_client: bool,
    pub allow_presence_for_subscriber: bool,
    pub allow_presence_for_anonymous: bool,
    pub allow_history_for_client: bool,
    pub allow_history_for_subscriber: bool,
    pub allow_history_for_anonymous: bool,
    /// Names may end with the users who may subscribe.
    pub allow_user_limited_channels: bool,
    /// Rules what follows the namespace in a name; `None`: names are ASCII.
    pub channel_regex: Option<NamePattern>,
    pub publication_data_format: DataFormat,
    /// Subscribers may be given publications as the difference from the one before.
    pub allows_delta: bool,
    /// Publications are for that whoever publishes; otherwise those of which the API says so.
    pub delta_publish: bool,
    pub slow_consumer_policy: SlowConsumerPolicy,
    pub flush: Flush,
    /// What keeps and carries the channels' publications.
    pub broker: EngineIndex,
    /// What knows who is there.
    pub presence_manager: EngineIndex,
}

/// What a subscriber who comes back is given. Option `force_recovery_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// Everything that it missed.
    #[default]
    Stream,
    /// The newest publication: the channel is used as a cache of it.
    Cache,
}

/// What happens when publications come faster than a subscriber takes them. Ours, not Centrifugo's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumerPolicy {
    /// Its connection is closed when its outbox is full.
    #[default]
    Disconnect,
    /// The oldest publications are dropped when its outbox is full.
    DropOldest,
    /// A publication that waits gives its place to a newer one, of the same value of `tag` if that
    /// is given. A subscriber is given no two of them within `interval_min`; zero: as they come.
    Conflate { tag: Option<Box<str>>, interval_min: Duration },
}

impl SlowConsumerPolicy {
    /// Whether publications may be dropped.
    pub fn may_drop(&self) -> bool {
        !matches!(self, SlowConsumerPolicy::Disconnect)
    }

    /// The shortest time between two publications to one subscriber; zero: any.
    pub fn interval_min(&self) -> Duration {
        match self {
            SlowConsumerPolicy::Conflate { interval_min, .. } => *interval_min,
            SlowConsumerPolicy::Disconnect | SlowConsumerPolicy::DropOldest => Duration::ZERO,
        }
    }

    /// The value by which a publication with these tags is conflated.
    pub fn find_tag(&self, tags: Option<&Tags>) -> Option<Arc<str>> {
        match self {
            SlowConsumerPolicy::Conflate { tag: Some(tag), .. } => tags?.get(&**tag).map(|value| value.as_str().into()),
            _ => None,
        }
    }
}

impl ChannelOptions {
    /// Whether deliveries may have to wait before they are handed over.
    pub fn holds_back(&self) -> bool {
        self.flush.window != FlushWindow::Off || !self.slow_consumer_policy.interval_min().is_zero()
    }

    /// Whether subscribers are given the newest publication without asking for it.
    pub fn recovers_by_itself(&self) -> bool {
        self.auto_cache_recover && self.recovery_mode == RecoveryMode::Cache
    }

    pub fn has_history(&self) -> bool {
        self.history_size > 0 && !self.history_ttl.is_zero()
    }
}

/// What a channel's name says about who may subscribe to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSays {
    Nothing,
    /// A private channel: only with a subscription token.
    TokenHolders,
    /// A user-limited channel: only its users, and this is one of them.
    UsersWithAsker,
    UsersWithoutAsker,
}

/// The name is not one that its namespace allows (error 107).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForbiddenName;

/// No namespace of that name is configured (error 102).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownNamespace;

/// All namespaces of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    pub without: Arc<ChannelOptions>,
    pub by_name: HashMap<Box<str>, Arc<ChannelOptions>>,
    /// Prefix of private channels; empty: none.
    pub private_prefix: Box<str>,
    /// Ends a namespace's name; empty: no namespaces.
    pub boundary: Box<str>,
    /// Begins the list of users in a name; empty: no name has one.
    pub user_boundary: Box<str>,
    /// Stands between two users; empty: there is one.
    pub user_separator: Box<str>,
}

impl Default for Namespaces {
    /// Centrifugo's characters, no namespace, nothing allowed.
    fn default() -> Namespaces {
        Namespaces {
            without: Arc::default(),
            by_name: HashMap::new(),
            private_prefix: "$".into(),
            boundary: ":".into(),
            user_boundary: "#".into(),
            user_separator: ",".into(),
        }
    }
}

impl Namespaces {
    /// The options of `channel`: those of the namespace before the first boundary, a private
    /// prefix stripped first.
    pub fn find_options(&self, channel: &str) -> Result<&Arc<ChannelOptions>, UnknownNamespace> {
        match self.namespace_of(channel) {
            None => Ok(&self.without),
            Some(name) => self.by_name.get(name).ok_or(UnknownNamespace),
        }
    }

    /// The namespace's name in `channel`, `None` without one.
    pub fn namespace_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let public = match self.is_private(channel) {
            true => &channel[self.private_prefix.len()..],
            false => channel,
        };
        // The standard library's search prepares more than these few bytes are worth.
        let at = match self.boundary.as_bytes() {
            [] => None,
            [byte] => memchr::memchr(*byte, public.as_bytes()),
            _ => public.find(&*self.boundary),
        };
        public.get(..at?)
    }

    /// Checks the characters of a name in the namespace that has `options`.
    ///
    /// Without a namespace a pattern rules the whole name, a private prefix included.
    pub fn check_name(&self, options: &ChannelOptions, channel: &str) -> Result<(), ForbiddenName> {
        let is_good = match &options.channel_regex {
            None => channel.is_ascii(),
            Some(pattern) => pattern.is_match(self.after_namespace(channel)),
        };
        if is_good { Ok(()) } else { Err(ForbiddenName) }
    }

    fn after_namespace<'a>(&self, channel: &'a str) -> &'a str {
        match self.namespace_of(channel) {
            None => channel,
            Some(name) => {
                let private = if self.is_private(channel) { self.private_prefix.len() } else { 0 };
                &channel[private + name.len() + self.boundary.len()..]
            }
        }
    }

    /// What the name says to `user`, empty for an anonymous one. The users of a name stand after its last
    /// boundary. Unlike in Centrifugo, an empty place in the list lets no anonymous user in.
    pub fn name_says(&self, options: &ChannelOptions, channel: &str, user: &str) -> NameSays {
        if self.is_private(channel) {
            return NameSays::TokenHolders;
        }
        if !options.allow_user_limited_channels || self.user_boundary.is_empty() {
            return NameSays::Nothing;
        }
        let Some((_, users)) = channel.rsplit_once(&*self.user_boundary) else { return NameSays::Nothing };
        let is_among = match &*self.user_separator {
            "" => users == user,
            separator => users.split(separator).any(|among| among == user),
        };
        match is_among && !user.is_empty() {
            true => NameSays::UsersWithAsker,
            false => NameSays::UsersWithoutAsker,
        }
    }

    /// Whether publications of some namespace have to be read before they are taken.
    pub fn reads_data(&self) -> bool {
        self.by_name.values().chain([&self.without]).any(|options| options.publication_data_format.is_json())
    }

    /// The options of all channels, by namespace.
    pub fn all(&self) -> impl Iterator<Item = &ChannelOptions> {
        self.by_name.values().chain([&self.without]).map(|options| &**options)
    }

    /// The same, each namespace with the place that `place_of` says; `None` if one has none.
    pub fn placed(&self, mut place_of: impl FnMut(&str) -> Option<usize>) -> Option<Namespaces> {
        // In the order of the file, so that places are given in it.
        let names = self.names();
        let by_name = names.into_iter().map(|name| {
            let options = ChannelOptions { place: place_of(&name)?, ..(*self.by_name[&name]).clone() };
            Some((name, Arc::new(options)))
        });
        Some(Namespaces { by_name: by_name.collect::<Option<_>>()?, ..self.clone() })
    }

    /// Names by their place, from 1 on.
    pub fn names(&self) -> Vec<Box<str>> {
        let mut names: Vec<_> = self.by_name.iter().map(|(name, options)| (options.place, name.clone())).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }

    pub fn is_private(&self, channel: &str) -> bool {
        !self.private_prefix.is_empty() && channel.starts_with(&*self.private_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(private_prefix: &str, boundary: &str) -> Namespaces {
        let chat = ChannelOptions { presence: true, ..ChannelOptions::default() };
        Namespaces {
            without: Arc::default(),
            by_name: HashMap::from([("chat".into(), Arc::new(chat))]),
            private_prefix: private_prefix.into(),
            boundary: boundary.into(),
            ..Namespaces::default()
        }
    }

    #[test]
    fn the_namespace_is_what_stands_before_the_first_boundary() {
        let namespaces = namespaces("$", ":");
        assert_eq!(namespaces.namespace_of("news"), None);
        assert_eq!(namespaces.namespace_of("chat:1"), Some("chat"));
        assert_eq!(namespaces.namespace_of("chat:1:2"), Some("chat"));
        assert_eq!(namespaces.namespace_of("$chat:1"), Some("chat"), "a private prefix is no part of it");
        assert_eq!(namespaces.namespace_of(":1"), Some(""), "an empty name is a name");
    }

    #[test]
    fn options_are_those_of_the_namespace() {
        let namespaces = namespaces("$", ":");
        let presence = |channel| namespaces.find_options(channel).map(|options| options.presence);
        assert_eq!(presence("chat:1"), Ok(true));
        assert_eq!(presence("$chat:1"), Ok(true));
        assert_eq!(presence("chat"), Ok(false), "without a boundary there is no namespace");
        assert_eq!(presence("game:1"), Err(UnknownNamespace));
        assert_eq!(presence(":1"), Err(UnknownNamespace));
    }

    #[test]
    fn an_empty_prefix_or_boundary_switches_its_rule_off() {
        assert!(namespaces("$", ":").is_private("$chat:1"));
        assert!(!namespaces("", ":").is_private("$chat:1"));
        assert_eq!(namespaces("", ":").namespace_of("$chat:1"), Some("$chat"));
        assert_eq!(namespaces("$", "").namespace_of("chat:1"), None);
        assert_eq!(namespaces("$", "::").namespace_of("chat:1::2"), Some("chat:1"), "a boundary may be longer");
    }

    #[test]
    fn names_are_ascii_unless_a_pattern_rules_them() {
        let namespaces = namespaces("$", ":");
        let check = |pattern: Option<&str>, channel, is_good| {
            let channel_regex = pattern.map(|text| NamePattern::parse(text).expect("a pattern"));
            let options = ChannelOptions { channel_regex, ..ChannelOptions::default() };
            assert_eq!(namespaces.check_name(&options, channel).is_ok(), is_good, "{pattern:?} {channel}");
        };
        check(None, "chat:1", true);
        check(None, "chat:é", false);
        check(Some("^[0-9]+$"), "chat:12", true);
        check(Some("^[0-9]+$"), "$chat:12", true);
        check(Some("^[0-9]+$"), "chat:a", false);
        check(Some("^[0-9]+:[0-9]+$"), "chat:1:2", true);
        check(Some("^é$"), "chat:é", true);
        check(Some("^news$"), "news", true);
        check(Some("^news$"), "$news", false);
    }

    #[test]
    fn users_stand_after_the_last_boundary() {
        let limited = ChannelOptions { allow_user_limited_channels: true, ..ChannelOptions::default() };
        let namespaces = Namespaces::default();
        let check = |channel, user, expected| {
            assert_eq!(namespaces.name_says(&limited, channel, user), expected, "{channel} {user}");
        };
        check("chat", "1", NameSays::Nothing);
        check("chat#1", "1", NameSays::UsersWithAsker);
        check("chat#1,2", "2", NameSays::UsersWithAsker);
        check("chat#1,2", "3", NameSays::UsersWithoutAsker);
        check("chat#1,2", "1,2", NameSays::UsersWithoutAsker);
        check("chat#1#2", "1", NameSays::UsersWithoutAsker);
        check("chat#1#2", "2", NameSays::UsersWithAsker);
        check("#1", "1", NameSays::UsersWithAsker);
        check("$chat#1", "1", NameSays::TokenHolders);
        // Nobody is not somebody whose name is empty.
        check("chat#", "", NameSays::UsersWithoutAsker);
        check("chat#1,", "", NameSays::UsersWithoutAsker);
    }

    #[test]
    fn user_limits_are_off_without_the_option_or_a_boundary() {
        let limited = ChannelOptions { allow_user_limited_channels: true, ..ChannelOptions::default() };
        let mut namespaces = Namespaces::default();
        assert_eq!(namespaces.name_says(&ChannelOptions::default(), "chat#1", "2"), NameSays::Nothing);
        namespaces.user_separator = "".into();
        assert_eq!(namespaces.name_says(&limited, "chat#1,2", "1"), NameSays::UsersWithoutAsker);
        assert_eq!(namespaces.name_says(&limited, "chat#1,2", "1,2"), NameSays::UsersWithAsker);
        namespaces.user_boundary = "".into();
        assert_eq!(namespaces.name_says(&limited, "chat#1", "2"), NameSays::Nothing);
    }

    #[test]
    fn history_needs_a_size_and_a_time_to_live() {
        let options = |history_size, seconds| ChannelOptions {
            history_size,
            history_ttl: Duration::from_secs(seconds),
            ..ChannelOptions::default()
        };
        assert!(options(1, 1).has_history());
        assert!(!options(0, 1).has_history());
        assert!(!options(1, 0).has_history());
    }
}
