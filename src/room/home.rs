//! The room at its home: which shards listen.

use bytes::Bytes;

use crate::model::{Encoding, EncodingSet, Position, ShardId};

/// The live thing behind a channel, at its home shard. It exists while somebody listens.
#[derive(Debug, Default)]
pub struct Room {
    listeners: Vec<Listener>,
    /// The last publication, where the next one may be said as the difference from it.
    pub base: Option<Base>,
}

/// A publication that the next one may be said as the difference from.
#[derive(Debug)]
pub struct Base {
    pub data: Bytes,
    /// `None` where it is not in the history.
    pub position: Option<Position>,
}

/// One shard that has an audience of the channel.
#[derive(Debug)]
pub struct Listener {
    pub shard: ShardId,
    /// What its members read. It only grows until the shard stops listening.
    pub encodings: EncodingSet,
    /// A delivery did not fit its lane, and the shard has not been told yet.
    pub is_behind: bool,
}

impl Room {
    /// A member that reads `encoding` subscribes on `shard`.
    pub fn listen(&mut self, shard: ShardId, encoding: Encoding) {
        match self.find_listener(shard) {
            Some(listener) => listener.encodings = listener.encodings.with(encoding),
            None => {
                self.listeners.push(Listener { shard, encodings: EncodingSet::EMPTY.with(encoding), is_behind: false })
            }
        }
    }

    /// The last member on `shard` is gone.
    pub fn unlisten(&mut self, shard: ShardId) {
        self.listeners.retain(|listener| listener.shard != shard);
    }

    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Every encoding that a publication has to be ready in.
    pub fn encodings(&self) -> EncodingSet {
        self.listeners.iter().fold(EncodingSet::EMPTY, |all, listener| all.union(listener.encodings))
    }

    pub fn find_listener(&mut self, shard: ShardId) -> Option<&mut Listener> {
        self.listeners.iter_mut().find(|listener| listener.shard == shard)
    }

    pub fn listeners_mut(&mut self) -> &mut [Listener] {
        &mut self.listeners
    }
}
