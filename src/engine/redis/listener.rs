//! Hears what is published on one server, over one connection after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer;
use super::cluster::{Returned, SlotMap};
use super::dial::connect;
use super::link::{FIRST_PATIENCE, Work};
use super::options::Address;
use super::probe::Probe;
use super::reconnect::{Attempts, Place};
use super::server::ControlTopics;
use super::session::{Ended, Session};
use super::shared::{ConnectionHealth, Shared};
use super::subscriptions::{Moved, Subscriptions, Waiter};
use crate::engine::contract::{Incoming, Outcome};
use crate::model::{ChannelName, ErrorCode};
use crate::telemetry::EngineCounter;

/// What a listener is told.
#[derive(Debug)]
pub enum Order {
    Listen {
        channel: ChannelName,
        waiter: Waiter,
        until: Instant,
    },
    Unlisten {
        channel: ChannelName,
    },
    /// Another server of the cluster had them.
    TakeOver(Vec<Moved>),
    /// Gives back what the map says another server has.
    Yield(Arc<SlotMap>, Address),
}

/// What a listener hears besides channels, from the start on.
pub struct Station {
    pub probe: Probe,
    /// Topics of messages between nodes, and who takes them.
    pub control: Option<ControlTopics>,
    /// Where probes are sent.
    pub work: mpsc::Sender<Work>,
}

/// Hears one server until nobody orders anything any more.
pub async fn run(
    shared: Arc<Shared>,
    health: ConnectionHealth,
    mut place: Place,
    mut orders: mpsc::Receiver<Order>,
    station: Station,
) {
    let mut attempts = Attempts::new("publications");
    let mut listener = Listener { health, table: Subscriptions::default(), rechecks: Vec::new(), station, shared };
    let mut patience = FIRST_PATIENCE;
    loop {
        let manner = &listener.shared.clone().manner;
        let connecting = attempts.connect(&mut place, |address| connect(address, manner));
        let Some(connection) = listener.wait_for(&mut orders, patience, connecting).await.flatten() else { return };
        patience = Duration::ZERO;
        let ended = Session::new(&mut listener).serve(connection, &mut place, &mut orders).await;
        listener.health.set_up(false);
        let waiters = listener.table.broke();
        listener.refuse(waiters).await;
        match ended {
            Ended::Unneeded => return,
            Ended::Broken(reason) => attempts.broke(&place, reason),
        }
    }
}

/// What outlives a connection.
pub struct Listener {
    pub shared: Arc<Shared>,
    pub health: ConnectionHealth,
    pub table: Subscriptions,
    /// Channels whose homes have to be told that something may be missing.
    pub rechecks: Vec<ChannelName>,
    pub station: Station,
}

impl Listener {
    /// Tells those who waited that the channel is heard.
    pub async fn confirm(&self, waiters: Vec<Waiter>) {
        for (shard, id) in waiters {
            self.shared.outlet.done(shard, id, Ok(Outcome::Listening)).await;
        }
    }

    /// Waits for a connection, and after `patience` refuses to hear anything new meanwhile. `None`: nobody wants it
    /// any more.
    async fn wait_for<T>(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        patience: Duration,
        connecting: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(connecting);
        if let Ok(connected) = timeout(patience, &mut connecting).await {
            return Some(connected);
        }
        loop {
            tokio::select! {
                connected = &mut connecting => return Some(connected),
                order = orders.recv() => match order? {
                    Order::Listen { waiter, .. } => self.refuse(vec![waiter]).await,
                    Order::Unlisten { channel } => drop(self.table.unlisten(channel.as_str())),
                    Order::TakeOver(moved) => moved.into_iter().for_each(|moved| self.table.take_over(moved)),
                    Order::Yield(map, address) => self.give_back(&map, &address).await,
                },
            }
        }
    }

    pub async fn refuse(&self, waiters: Vec<Waiter>) {
        self.shared.metrics().add(EngineCounter::Failures, waiters.len() as u64);
        for (shard, id) in waiters {
            self.shared.outlet.done(shard, id, Err(ErrorCode::Internal)).await;
        }
    }

    pub async fn give_back(&mut self, map: &SlotMap, address: &Address) {
        let names = &self.shared.names;
        let is_ours = |channel: &str| map.server_of(names.slot_of_channel(channel)) == Some(address);
        let moved = self.table.yield_all_but(is_ours);
        if let Some(returns) = &self.shared.returns {
            // Without the cluster's task nobody listens any more.
            let _ = returns.send(Returned::Yielded(moved)).await;
        }
    }

    pub async fn deliver(&mut self, channel: &str, message: &[u8]) {
        // Something that was not wanted any more when it came.
        let Some(channel) = self.table.find(channel) else { return };
        let Ok(what) = answer::published(message) else {
            tracing::debug!(%channel, "a message that no hub wrote is passed over");
            return self.shared.metrics().add(EngineCounter::Foreign, 1);
        };
        let channel = channel.clone();
        let incoming = Incoming { engine: self.shared.outlet.engine(), channel: channel.clone(), what };
        match self.shared.outlet.incoming(incoming).await {
            Ok(()) => self.shared.metrics().add(EngineCounter::Incoming, 1),
            Err(_) => self.rechecks.push(channel),
        }
    }

    /// Names the channels to their homes once all are heard again. A home that takes nothing is told later.
    pub async fn recheck(&mut self) {
        if self.rechecks.is_empty() {
            return;
        }
        let told = self.shared.outlet.recheck(self.rechecks.iter().cloned()).await;
        if told.is_ok() {
            self.shared.metrics().add(EngineCounter::Rechecked, self.rechecks.len() as u64);
            self.rechecks.clear();
        }
    }
}
