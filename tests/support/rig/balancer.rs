//! Which hub a client is led to: any, or those that say they are ready, as load balancers do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::api::Api;

/// Between two looks at /readyz.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// Hubs, and whether each is to be used.
#[derive(Clone)]
pub struct Balancer(Arc<Vec<(SocketAddr, AtomicBool)>>);

impl Balancer {
    /// All are used, whatever they say, as by a client with a list of addresses.
    pub fn new(hubs: &[SocketAddr]) -> Balancer {
        Balancer(Arc::new(hubs.iter().map(|hub| (*hub, AtomicBool::new(true))).collect()))
    }

    /// The hub whose turn it is, or the next that is ready.
    pub fn pick(&self, turn: usize) -> SocketAddr {
        let in_turn = (0..self.0.len()).map(|step| &self.0[(turn + step) % self.0.len()]);
        let ready = in_turn.clone().find(|(_, is_ready)| is_ready.load(Ordering::SeqCst));
        ready.or(in_turn.clone().next()).expect("there are hubs").0
    }

    /// Asks each hub's /readyz from now on, until what is given back is dropped.
    pub fn probe(&self) -> JoinSet<()> {
        let mut probes = JoinSet::new();
        for at in 0..self.0.len() {
            let hubs = Arc::clone(&self.0);
            probes.spawn(async move {
                let (address, is_ready) = &hubs[at];
                let api = Api::new(*address);
                loop {
                    is_ready.store(api.is_ready().await, Ordering::SeqCst);
                    tokio::time::sleep(PROBE_INTERVAL).await;
                }
            });
        }
        probes
    }
}
