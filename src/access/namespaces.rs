//! Namespaces: which options a channel has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Flush, FlushWindow};
use crate::model::Tags;

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
    /// Subscribers may be given publications as the difference from the one before.
    pub allows_delta: bool,
    /// Publications are for that whoever publishes; otherwise those of which the API says so.
    pub delta_publish: bool,
    pub slow_consumer_policy: SlowConsumerPolicy,
    pub flush: Flush,
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

    pub fn has_history(&self) -> bool {
        self.history_size > 0 && !self.history_ttl.is_zero()
    }
}

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
