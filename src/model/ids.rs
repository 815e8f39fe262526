//! Names of shards and connections inside one process.

use std::fmt;

/// One thread's state, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    pub fn as_index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of the node's engines: of a broker that keeps and carries publications, or of a presence manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineIndex(pub u8);

impl EngineIndex {
    /// The home shard's own memory, which nobody has to be asked for.
    pub const MEMORY: EngineIndex = EngineIndex(0);

    pub fn is_memory(self) -> bool {
        self == EngineIndex::MEMORY
    }
}

/// One connection of a shard: its place in the slab, and which tenant of that place it is.
///
/// A slot is used again after its connection is gone; the generation tells a late answer that its
/// asker is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub slot: u32,
    pub generation: u32,
}

impl ConnectionId {
    pub fn as_index(self) -> usize {
        self.slot as usize
    }
}
