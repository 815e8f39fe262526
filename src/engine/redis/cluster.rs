//! A Redis Cluster: gives each request to the server that has its slot, and follows slots that move.
//!
//! Order by channel survives a move. What a server sends back comes back in its order, by one queue; and a new map is
//! taken only when nothing is under way, so that nothing new overtakes what is redirected.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::link::{self, Asked};
use super::listener::Order;
use super::options::Address;
use super::server::Server;
use super::shared::Shared;
pub use super::slots::{Redirection, SlotMap};
use super::subscriptions::Moved;
use crate::engine::contract::{Operation, Request};
use crate::limits::{REDIS_REDIRECTIONS_MAX, REDIS_UNDER_WAY_MAX};
use crate::model::ErrorCode;

/// What turned out to be another server's.
#[derive(Debug)]
pub enum Returned {
    Asked {
        asked: Asked,
        to: Redirection,
    },
    Channels {
        moved: Vec<Moved>,
        to: Redirection,
    },
    /// The answer to [`Order::Yield`].
    Yielded(Vec<Moved>),
}

/// The task of one cluster.
pub struct Cluster {
    shared: Arc<Shared>,
    /// Makes the map be looked at.
    look: Arc<Notify>,
    maps: watch::Receiver<Arc<SlotMap>>,
    map: Arc<SlotMap>,
    servers: HashMap<Address, Member>,
    /// One for each request that may be under way.
    permits: Arc<Semaphore>,
    returned: mpsc::Receiver<Returned>,
}

/// A server of the cluster.
struct Member {
    server: Server,
    /// Ends the server's tasks when it is dropped.
    _place: watch::Sender<Option<Address>>,
}

impl Cluster {
    /// `returned` is the other end of the queue in `shared`.
    pub fn new(
        shared: Arc<Shared>,
        maps: watch::Receiver<Arc<SlotMap>>,
        look: Arc<Notify>,
        returned: mpsc::Receiver<Returned>,
    ) -> Cluster {
        let permits = Arc::new(Semaphore::new(REDIS_UNDER_WAY_MAX));
        let map = Arc::new(SlotMap::default());
        Cluster { shared, look, maps, map, servers: HashMap::new(), permits, returned }
    }

    /// Serves until nobody asks any more.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Asked>) {
        let mut is_outdated = true;
        loop {
            let permits = Arc::clone(&self.permits);
            tokio::select! {
                Some(returned) = self.returned.recv() => self.take_back(returned).await,
                Ok(permit) = Arc::clone(&permits).acquire_many_owned(ALL), if is_outdated => {
                    drop(permit);
                    is_outdated = false;
                    self.install().await;
                }
                next = next_of(permits, &mut requests), if !is_outdated => match next {
                    Some(asked) => self.route(asked).await,
                    None => return,
                },
                changed = self.maps.changed(), if !is_outdated => match changed {
                    Ok(()) => is_outdated = true,
                    Err(_) => return,
                },
            }
        }
    }

    async fn route(&mut self, asked: Asked) {
        let slot = self.shared.names.slot_of_channel(asked.request.channel.as_str());
        match self.map.server_of(slot).cloned() {
            Some(address) => self.give(&address, asked).await,
            None => {
                self.look.notify_one();
                self.shared.refuse(asked).await;
            }
        }
    }

    async fn give(&mut self, address: &Address, asked: Asked) {
        let server = self.server(address);
        if let Err(asked) = give_to(&server, asked) {
            self.shared.refuse(asked).await;
        }
    }

    async fn take_back(&mut self, returned: Returned) {
        match returned {
            Returned::Asked { mut asked, to } => {
                if !to.is_ask {
                    self.look.notify_one();
                }
                asked.redirections += 1;
                asked.is_asking = to.is_ask;
                if asked.redirections > REDIS_REDIRECTIONS_MAX {
                    return self.shared.refuse(asked).await;
                }
                self.give(&to.address, asked).await;
            }
            Returned::Channels { moved, to } => {
                self.look.notify_one();
                // It listens as long as the cluster runs.
                let _ = self.server(&to.address).orders.send(Order::TakeOver(moved)).await;
            }
            // Of a map before this one.
            Returned::Yielded(moved) => self.hand_over(moved).await,
        }
    }

    /// Takes the newest map. Nothing is under way.
    async fn install(&mut self) {
        let map = self.maps.borrow_and_update().clone();
        let mut awaited = 0;
        for (address, member) in &self.servers {
            let order = Order::Yield(Arc::clone(&map), address.clone());
            awaited += usize::from(member.server.orders.send(order).await.is_ok());
        }
        let (mut moved, mut others) = (Vec::new(), Vec::new());
        while awaited > 0 {
            match self.returned.recv().await {
                Some(Returned::Yielded(channels)) => {
                    moved.extend(channels);
                    awaited -= 1;
                }
                Some(other) => others.push(other),
                None => return,
            }
        }
        self.servers.retain(|address, _| map.servers().contains(address));
        self.map = Arc::clone(&map);
        for address in map.servers() {
            self.server(address);
        }
        self.hand_over(moved).await;
        for returned in others {
            self.take_back(returned).await;
        }
    }

    /// Gives channels to the servers that have them now.
    async fn hand_over(&mut self, moved: Vec<Moved>) {
        let mut by_server: HashMap<Address, Vec<Moved>> = HashMap::new();
        for channel in moved {
            let slot = self.shared.names.slot_of_channel(channel.channel.as_str());
            // Without any server it waits with whichever there is: the next map moves it.
            let server = self.map.server_of(slot).or_else(|| self.servers.keys().next()).cloned();
            match server {
                Some(server) => by_server.entry(server).or_default().push(channel),
                None => self.refuse_waiters(channel).await,
            }
        }
        for (address, moved) in by_server {
            let _ = self.server(&address).orders.send(Order::TakeOver(moved)).await;
        }
    }

    async fn refuse_waiters(&self, moved: Moved) {
        for (shard, id) in moved.waiters {
            self.shared.outlet.done(shard, id, Err(ErrorCode::Internal)).await;
        }
    }

    /// The server at `address`, connected to if need be.
    fn server(&mut self, address: &Address) -> Server {
        let shared = &self.shared;
        let start = || {
            let (sender, place) = watch::channel(Some(address.clone()));
            Member { server: Server::start(shared, place, None), _place: sender }
        };
        self.servers.entry(address.clone()).or_insert_with(start).server.clone()
    }
}

/// The next request, as soon as it may be under way.
async fn next_of(permits: Arc<Semaphore>, requests: &mut mpsc::Receiver<Asked>) -> Option<Asked> {
    let permit = permits.acquire_owned().await.ok()?;
    let mut asked = requests.recv().await?;
    asked.permit = Some(permit);
    Some(asked)
}

/// Gives the request to the part of the server that serves it, or back if it has too much to do.
pub fn give_to(server: &Server, asked: Asked) -> Result<(), Asked> {
    let is_order = matches!(asked.request.operation, Operation::Listen | Operation::Unlisten);
    if !is_order {
        let refused = match &server.replica {
            Some(replica) => replica.give(asked),
            None => Err(asked),
        };
        return refused.or_else(|asked| link::give(&server.work, asked));
    }
    match server.orders.try_reserve() {
        Err(_) => Err(asked),
        Ok(place) => {
            place.send(order_of(asked.from, asked.request, asked.until));
            Ok(())
        }
    }
}

fn order_of(from: crate::model::ShardId, request: Request, until: Instant) -> Order {
    match request.operation {
        Operation::Listen => Order::Listen { channel: request.channel, waiter: (from, request.id), until },
        _ => Order::Unlisten { channel: request.channel },
    }
}

const ALL: u32 = REDIS_UNDER_WAY_MAX as u32;
