//! How an engine's words reach the shards.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use super::contract::{Event, Incoming, Outcome, RequestId};
use crate::limits::{ENGINE_DELIVERY_RETRY, ENGINE_DELIVERY_TIMEOUT};
use crate::model::{ChannelName, EngineIndex, ErrorCode, Homes, ShardId};

/// Puts an event into a shard's in-tray; gives it back if the tray is full.
pub type Post = dyn Fn(ShardId, Event) -> Result<(), Event> + Send + Sync;

/// Cheap to clone. Events that one task puts in reach a shard in that order; a shard whose tray is full is waited
/// for, so that a broker which is faster than this node feels it, and nothing piles up in between.
#[derive(Clone)]
pub struct Outlet {
    engine: EngineIndex,
    homes: Homes,
    post: Arc<Post>,
}

/// The shard did not take it in time: it stands still, or has far too much to do. What was published is missing
/// there: the channel has to be rechecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Outlet {
    pub fn new(engine: EngineIndex, homes: Homes, post: Arc<Post>) -> Outlet {
        Outlet { engine, homes, post }
    }

    pub fn engine(&self) -> EngineIndex {
        self.engine
    }

    /// How many shards there are: requests come from each.
    pub fn shards(&self) -> u16 {
        self.homes.shards()
    }

    /// The shard that has to hear what is published to the channel.
    pub fn home_of(&self, channel: &str) -> ShardId {
        self.homes.home_of(channel)
    }

    /// Answers a request of the shard `to`.
    pub async fn done(&self, to: ShardId, id: RequestId, outcome: Result<Outcome, ErrorCode>) {
        // A shard that takes nothing for that long is dead, and the node with it: `/livez` says so.
        let _ = self.put(to, Event::Done { id, outcome }).await;
    }

    /// Tells the channel's home what was published.
    pub async fn incoming(&self, incoming: Incoming) -> Result<(), NotTaken> {
        let home = self.home_of(incoming.channel.as_str());
        self.put(home, Event::Incoming(Box::new(incoming))).await
    }

    /// Tells the homes of these channels that something may be missing. In pieces that one turn can take.
    pub async fn recheck(&self, channels: impl IntoIterator<Item = ChannelName>) -> Result<(), NotTaken> {
        let mut of_home = vec![Vec::new(); usize::from(self.homes.shards())];
        for channel in channels {
            of_home[self.home_of(channel.as_str()).as_index()].push(channel);
        }
        let mut outcome = Ok(());
        for (home, channels) in (0..).map(ShardId).zip(of_home) {
            for piece in channels.chunks(RECHECK_PIECE) {
                let event = Event::Recheck { engine: self.engine, channels: piece.to_vec() };
                outcome = outcome.and(self.put(home, event).await);
            }
        }
        outcome
    }

    /// The same from a thread of its own, which may block.
    pub fn put_blocking(&self, to: ShardId, mut event: Event) -> Result<(), NotTaken> {
        let mut since = None;
        loop {
            match (self.post)(to, event) {
                Ok(()) => return Ok(()),
                Err(returned) => event = returned,
            }
            if waited_enough(&mut since) {
                return Err(NotTaken);
            }
            std::thread::sleep(ENGINE_DELIVERY_RETRY);
        }
    }

    async fn put(&self, to: ShardId, mut event: Event) -> Result<(), NotTaken> {
        let mut since = None;
        loop {
            match (self.post)(to, event) {
                Ok(()) => return Ok(()),
                Err(returned) => event = returned,
            }
            if waited_enough(&mut since) {
                return Err(NotTaken);
            }
            sleep(ENGINE_DELIVERY_RETRY).await;
        }
    }
}

fn waited_enough(since: &mut Option<Instant>) -> bool {
    let since = since.get_or_insert_with(Instant::now);
    since.elapsed() > ENGINE_DELIVERY_TIMEOUT
}

/// Chosen: a read of the stream for each, so a turn's share of work.
const RECHECK_PIECE: usize = 64;

const _: () = assert!(ENGINE_DELIVERY_RETRY.as_micros() < ENGINE_DELIVERY_TIMEOUT.as_micros());
