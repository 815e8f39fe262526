//! The end of a node: a signal, a drain, the shards' ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits::{CLOSE_HANDSHAKE_TIMEOUT, DRAIN_CLIENTS_PER_SECOND};
use crate::nodes::Cluster;
use crate::telemetry::{Gauge, NodeMetrics};

/// SIGTERM and SIGINT. From `listen` on neither ends the process by itself.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Called inside a runtime.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next signal's name and number.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }
}

/// What has to be stopped.
pub struct Stopping {
    pub cluster: Cluster,
    pub metrics: Arc<NodeMetrics>,
    /// Each shard says once that it has drained.
    pub all_drained: mpsc::UnboundedReceiver<()>,
    pub shards: usize,
    /// From the signal to the end of the process.
    pub timeout: Duration,
}

impl Stopping {
    /// Waits for a signal, drains, and tells the shards to end. A second signal ends the process
    /// at once, with the exit code that shells give to a process killed by it.
    pub async fn run(mut self, mut signals: Signals) {
        let (name, _) = signals.next().await;
        let clients = self.metrics.total(Gauge::Connections);
        let window = drain_window(clients, self.timeout);
        tracing::info!(signal = name, clients, ?window, "draining");
        self.metrics.set_draining();
        let (time, shards) = (self.timeout, self.shards);
        tokio::select! {
            drained = timeout(time, self.drain(window, shards)) => match drained {
                Ok(()) => tracing::info!("drained"),
                Err(_elapsed) => {
                    let left = self.metrics.total(Gauge::Connections);
                    tracing::warn!(left, "the drain took longer than shutdown.timeout; the rest is cut");
                }
            },
            (name, number) = signals.next() => {
                tracing::warn!(signal = name, "a second signal: ending at once");
                std::process::exit(128 + number);
            }
        }
        self.cluster.leave();
        self.cluster.handle().stop().await;
    }

    async fn drain(&mut self, window: Duration, shards: usize) {
        self.cluster.handle().drain(window).await;
        for _ in 0..shards {
            self.all_drained.recv().await;
        }
    }
}

/// Over how long the clients are told to go: no longer than their number asks for, and soon enough
/// that the last one can still close with manners before `timeout`.
fn drain_window(clients: u64, timeout: Duration) -> Duration {
    let unhurried = Duration::from_secs(clients) / u32::try_from(DRAIN_CLIENTS_PER_SECOND).unwrap_or(u32::MAX);
    unhurried.min(timeout.saturating_sub(CLOSE_HANDSHAKE_TIMEOUT).max(timeout / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_takes_as_long_as_its_clients_need_and_ends_in_time() {
        let check = |clients, timeout_s, window_ms| {
            let window = drain_window(clients, Duration::from_secs(timeout_s));
            assert_eq!(window, Duration::from_millis(window_ms), "{clients} clients, {timeout_s} s");
        };
        check(0, 30, 0);
        check(1, 30, 2);
        check(5_000, 30, 10_000);
        check(1_000_000, 30, 25_000);
        check(1_000_000, 4, 2_000);
        check(10, 0, 0);
    }
}
