//! Channel names, and which shard is a channel's home.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::ShardId;

/// The name clients use for a room: not empty, at most as long as the configuration allows.
///
/// Cheap to clone; the text is shared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// The name is empty or longer than `channel.max_length` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelNameTooLong;

impl ChannelName {
    /// Checks the length of `name`, in bytes. Namespaces check the rest.
    pub fn parse(name: &str, length_max: usize) -> Result<ChannelName, ChannelNameTooLong> {
        if name.is_empty() || name.len() > length_max {
            return Err(ChannelNameTooLong);
        }
        Ok(ChannelName(Arc::from(name)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stands for a user's id. Keyed as [`Homes`] is: of a million users two have the same with a chance of
/// one in forty million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserHash(pub u64);

/// Maps each channel to its home shard; the same in every thread of one process.
///
/// The hash is keyed, so that a client can't choose names that all live on one shard.
#[derive(Clone, Debug)]
pub struct Homes {
    shards: u16,
    hasher: ahash::RandomState,
}

impl Homes {
    /// `shards` is at least 1; `key` is random for each process, a seed in simulations.
    pub fn new(shards: u16, key: u64) -> Homes {
        assert!(shards > 0, "a node has at least one shard");
        Homes { shards, hasher: ahash::RandomState::with_seeds(key, key.rotate_left(17), !key, 0x6661_6e66_6172_6521) }
    }

    pub fn shards(&self) -> u16 {
        self.shards
    }

    pub fn home_of(&self, channel: &str) -> ShardId {
        ShardId((self.hasher.hash_one(channel) % u64::from(self.shards)) as u16)
    }

    /// What stands for a user's id in tables; the same in every shard.
    pub fn hash_of_user(&self, user: &str) -> UserHash {
        UserHash(self.hasher.hash_one(user))
    }

    /// The shard that counts a user's connections.
    pub fn home_of_user(&self, user: UserHash) -> ShardId {
        ShardId((user.0 % u64::from(self.shards)) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_refused_when_empty_or_too_long() {
        assert_eq!(ChannelName::parse("", 255), Err(ChannelNameTooLong));
        assert_eq!(ChannelName::parse("abcd", 3), Err(ChannelNameTooLong));
        assert_eq!(ChannelName::parse("abc", 3).expect("three bytes fit").as_str(), "abc");
    }

    #[test]
    fn homes_spread_names_over_all_shards() {
        let homes = Homes::new(4, 7);
        let mut count = [0; 4];
        for n in 0..4000 {
            count[homes.home_of(&format!("room:{n}")).as_index()] += 1;
        }
        assert!(count.iter().all(|&c| (800..1200).contains(&c)), "{count:?}");
    }
}
