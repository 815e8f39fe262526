//! The channels that somebody on this shard is subscribed to.

use std::sync::Arc;

use ahash::AHashMap;

use crate::access::ChannelOptions;
use crate::model::{ChannelName, Position, ShardId};
use crate::room::Audience;

/// One channel as this shard's subscribers see it. It exists while there are some, or while some
/// wait for the home's answer.
#[derive(Debug)]
pub struct LocalChannel {
    pub name: ChannelName,
    pub home: ShardId,
    pub options: Arc<ChannelOptions>,
    pub audience: Audience,
    /// Subscribes that the home has not answered.
    pub asking: u32,
    /// Members that are told when they would miss something.
    pub positioned: u32,
    /// Position of the newest publication that came here; `None` while that is not known.
    pub position: Option<Position>,
    /// In the shard's queue of audiences to walk.
    pub is_walking: bool,
    pub has_check: bool,
    pub has_keep_alive: bool,
    /// Its options were others before: members may wait for publications that may be dropped, whatever the
    /// options say now.
    pub is_renewed: bool,
    /// The home has to be told of each subscriber that leaves: the channel's presence, joins or leaves are
    /// on, or were for one subscription.
    pub tells_leaves: bool,
}

impl LocalChannel {
    pub fn is_unused(&self) -> bool {
        self.asking == 0 && self.audience.is_empty()
    }
}

/// Local channels by slot and by name.
#[derive(Default)]
pub struct Channels {
    by_name: AHashMap<ChannelName, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    generation: u32,
    channel: Option<LocalChannel>,
}

impl Channels {
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The channel's slot; it begins to exist if need be.
    pub fn find_or_insert(&mut self, name: &ChannelName, home: ShardId, options: &Arc<ChannelOptions>) -> u32 {
        if let Some(slot) = self.find(name.as_str()) {
            return slot;
        }
        let channel = LocalChannel {
            name: name.clone(),
            home,
            options: Arc::clone(options),
            audience: Audience::default(),
            asking: 0,
            positioned: 0,
            position: None,
            is_walking: false,
            has_check: false,
            has_keep_alive: false,
            is_renewed: false,
            tells_leaves: options.presence || options.join_leave,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.entries.push(Entry { generation: 0, channel: None });
                (self.entries.len() - 1) as u32
            }
        };
        self.entries[slot as usize].channel = Some(channel);
        self.by_name.insert(name.clone(), slot);
        slot
    }

    pub fn remove(&mut self, slot: u32) -> Option<LocalChannel> {
        let entry = &mut self.entries[slot as usize];
        let channel = entry.channel.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.by_name.remove(&channel.name);
        Some(channel)
    }

    /// Slots so far, also free ones.
    pub fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    pub fn at(&mut self, slot: u32) -> Option<&mut LocalChannel> {
        self.entries.get_mut(slot as usize)?.channel.as_mut()
    }

    /// The channel at `slot`, if it is still the one that was there in `generation`.
    pub fn at_generation(&mut self, slot: u32, generation: u32) -> Option<&mut LocalChannel> {
        self.entries.get_mut(slot as usize).filter(|entry| entry.generation == generation)?.channel.as_mut()
    }

    pub fn generation(&self, slot: u32) -> u32 {
        self.entries[slot as usize].generation
    }
}
