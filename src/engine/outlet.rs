//! How an engine's words reach the shards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::contract::{Event, Incoming, Outcome, RequestId};
use crate::limits::{ENGINE_DELIVERY_RETRY, ENGINE_DELIVERY_TIMEOUT};
use crate::model::{ChannelName, EngineIndex, ErrorCode, Homes, ShardId};

/// Puts an event into a shard's in-tray; gives it back if the tray is full.
pub type Post = dyn Fn(ShardId, Event) -> Result<(), Event> + Send + Sync;

/// Wakes a shard that sleeps.
pub type Ring = dyn Fn(ShardId) + Send + Sync;

/// Cheap to clone. Events that one task puts in reach a shard in that order; a shard whose tray is full is waited
/// for, so that a broker which is faster than this node feels it, and nothing piles up in between.
#[derive(Clone)]
pub struct Outlet {
    engine: EngineIndex,
    homes: Homes,
    post: Arc<Post>,
    /// `None`: `post` wakes by itself.
    ring: Option<Arc<Ring>>,
}

/// The shard did not take it in time: it stands still, or has far too much to do. What was published is missing
/// there: the channel has to be rechecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

impl Outlet {
    pub fn new(engine: EngineIndex, homes: Homes, post: Arc<Post>) -> Outlet {
        Outlet { engine, homes, post, ring: None }
    }

    /// For a `post` that wakes nobody: so that much is put in, and a shard woken once for it.
    pub fn with_ring(mut self, ring: Arc<Ring>) -> Outlet {
        self.ring = Some(ring);
        self
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

    /// Puts in what the shard need not look at before it is rung; gives it back if its tray is full.
    pub fn put_quietly(&self, to: ShardId, event: Event) -> Result<(), Event> {
        (self.post)(to, event)
    }

    /// What was put in quietly is to be looked at.
    pub fn ring(&self, to: ShardId) {
        if let Some(ring) = &self.ring {
            ring(to);
        }
    }

    /// Waits for room in the tray of the shard, on a thread of its own, which may block.
    pub fn put_blocking(&self, to: ShardId, event: Event) -> Result<(), NotTaken> {
        let mut delivery = Delivery::new(to, event);
        while let Some(pause) = delivery.attempt(self)? {
            std::thread::sleep(pause);
        }
        Ok(())
    }

    async fn put(&self, to: ShardId, event: Event) -> Result<(), NotTaken> {
        let mut delivery = Delivery::new(to, event);
        while let Some(pause) = delivery.attempt(self)? {
            sleep(pause).await;
        }
        Ok(())
    }
}

/// One event on its way into a tray.
struct Delivery {
    to: ShardId,
    /// `None`: it is there.
    event: Option<Event>,
    /// When the tray was full for the first time.
    full_since: Option<Instant>,
}

impl Delivery {
    fn new(to: ShardId, event: Event) -> Delivery {
        Delivery { to, event: Some(event), full_since: None }
    }

    /// Tries; `Some`: the tray is full, try again after that long. Errors: it has been full for too long.
    fn attempt(&mut self, outlet: &Outlet) -> Result<Option<Duration>, NotTaken> {
        let Some(event) = self.event.take() else { return Ok(None) };
        let posted = outlet.put_quietly(self.to, event);
        outlet.ring(self.to);
        let Err(returned) = posted else { return Ok(None) };
        self.event = Some(returned);
        match self.full_since.get_or_insert_with(Instant::now).elapsed() > ENGINE_DELIVERY_TIMEOUT {
            true => Err(NotTaken),
            false => Ok(Some(ENGINE_DELIVERY_RETRY)),
        }
    }
}

/// Chosen: a read of the stream for each, so a turn's share of work.
const RECHECK_PIECE: usize = 64;

const _: () = assert!(ENGINE_DELIVERY_RETRY.as_micros() < ENGINE_DELIVERY_TIMEOUT.as_micros());

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// An outlet to a shard whose tray is full so many times.
    fn full_for(times: usize) -> (Outlet, Arc<AtomicUsize>) {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let post = move |_: ShardId, event| match counted.fetch_add(1, Ordering::Relaxed) < times {
            true => Err(event),
            false => Ok(()),
        };
        (Outlet::new(EngineIndex(1), Homes::new(1, 0), Arc::new(post)), tries)
    }

    fn event() -> Event {
        Event::Done { id: RequestId(1), outcome: Ok(Outcome::Listening) }
    }

    #[tokio::test]
    async fn a_full_tray_is_tried_again_with_and_without_a_runtime() {
        let (outlet, tries) = full_for(2);
        assert_eq!(outlet.put(ShardId(0), event()).await, Ok(()));
        assert_eq!(tries.load(Ordering::Relaxed), 3);
        let (outlet, tries) = full_for(2);
        assert_eq!(std::thread::spawn(move || outlet.put_blocking(ShardId(0), event())).join().ok(), Some(Ok(())));
        assert_eq!(tries.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn one_that_stays_full_is_given_up() {
        let (outlet, tries) = full_for(usize::MAX);
        let mut delivery = Delivery::new(ShardId(0), event());
        assert_eq!(delivery.attempt(&outlet), Ok(Some(ENGINE_DELIVERY_RETRY)));
        delivery.full_since = Instant::now().checked_sub(2 * ENGINE_DELIVERY_TIMEOUT);
        assert_eq!(delivery.attempt(&outlet), Err(NotTaken));
        assert_eq!(tries.load(Ordering::Relaxed), 2);
    }
}
