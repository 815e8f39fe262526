//! One server: a connection for requests, and one for what is published.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::link::{self, Work};
use super::listener::{self, Order, Station};
use super::probe::Probe;
use super::reconnect::Place;
use super::replica::Replica;
use super::shared::Shared;
use crate::limits::{REDIS_ORDERS_MAX, REDIS_UNDER_WAY_MAX};

/// Its tasks end when this is dropped.
#[derive(Clone, Debug)]
pub struct Server {
    pub work: mpsc::Sender<Work>,
    pub orders: mpsc::Sender<Order>,
    /// What need not be the newest is read there.
    pub replica: Option<Replica>,
}

/// Topics of messages between nodes, and who takes them.
pub type ControlTopics = (Vec<String>, mpsc::Sender<Bytes>);

impl Server {
    /// Connects to the server at `place`, wherever that is in time.
    pub fn start(shared: &Arc<Shared>, place: Place, control: Option<ControlTopics>) -> Server {
        let (work, work_taken) = mpsc::channel(REDIS_UNDER_WAY_MAX);
        let (orders, orders_taken) = mpsc::channel(REDIS_ORDERS_MAX);
        let probe = Probe::new(shared.names.probe(fastrand::u64(..)));
        let station = Station { probe, control, work: work.clone() };
        // Both count as down from now on, not from when their tasks come to run.
        let [link_health, listener_health] = [(); 2].map(|()| shared.health.of_connection());
        let replica = shared.reads_replicas.then(|| Replica::start(shared, place.clone(), work.clone()));
        let link = link::run(Arc::clone(shared), link_health, place.clone(), work_taken);
        let listener = listener::run(Arc::clone(shared), listener_health, place, orders_taken, station);
        tokio::spawn(link);
        tokio::spawn(listener);
        Server { work, orders, replica }
    }
}
