//! The end of a node: a signal, a time of grace, the port left to others, a drain, a goodbye, the shards' ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout_at};

use crate::io::SharedPort;
use crate::limits::{CLOSE_HANDSHAKE_TIMEOUT, DRAIN_CLIENTS_PER_SECOND, DRAIN_REPORT_INTERVAL, PORT_HANDOVER};
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
    /// The clients' port, if another process may have it too.
    pub port: Option<SharedPort>,
    /// From the signal until clients are told to go.
    pub grace: Duration,
    /// From the signal to the end of the process.
    pub timeout: Duration,
}

impl Stopping {
    /// Waits for a signal, drains, and tells the shards to end. A second signal ends the process
    /// at once, with the exit code that shells give to a process killed by it.
    pub async fn run(mut self, mut signals: Signals) {
        let (name, _) = signals.next().await;
        self.metrics.set_draining();
        tokio::select! {
            () = self.end(name) => {}
            (name, number) = signals.next() => {
                tracing::warn!(signal = name, "a second signal: ending at once");
                std::process::exit(128 + number);
            }
        }
    }

    /// Everything between the signal and the end of the shards. The node is not ready any more, but serves as before
    /// until its clients are told to go; other nodes ask it as long as it has any.
    async fn end(&mut self, signal: &'static str) {
        let until = Instant::now() + self.timeout;
        let (clients, grace) = (self.metrics.total(Gauge::Connections), self.grace);
        tracing::info!(signal, clients, ?grace, "not ready any more");
        sleep(grace).await;
        if let Some(port) = self.port.take() {
            hand_over(port, until).await;
        }
        if timeout_at(until, self.drain(until)).await.is_err() {
            let left = self.metrics.total(Gauge::Connections);
            tracing::warn!(left, "the drain took longer than shutdown.timeout; the rest is cut");
        }
        self.cluster.leave().await;
        self.cluster.handle().stop().await;
    }

    async fn drain(&mut self, until: Instant) {
        let clients = self.metrics.total(Gauge::Connections);
        let window = drain_window(clients, until.duration_since(Instant::now()));
        tracing::info!(clients, ?window, "draining");
        self.metrics.begin_drain(clients);
        self.cluster.handle().drain(window).await;
        let mut reports = interval_at(Instant::now() + DRAIN_REPORT_INTERVAL, DRAIN_REPORT_INTERVAL);
        let mut shards_left = self.shards;
        while shards_left > 0 {
            tokio::select! {
                _ = self.all_drained.recv() => shards_left -= 1,
                _ = reports.tick() => {
                    let left = self.metrics.total(Gauge::Connections);
                    tracing::info!(clients, left, shards_left, "still draining");
                }
            }
        }
        tracing::info!("drained");
    }
}

/// Leaves the port to the process that has it too. Whoever has begun to connect is still accepted.
async fn hand_over(port: SharedPort, until: Instant) {
    match port.turn_newcomers_away() {
        Ok(()) => sleep_until(until.min(Instant::now() + PORT_HANDOVER)).await,
        Err(error) => tracing::warn!(%error, "the port can't be left in peace; who connects this moment is refused"),
    }
}

/// Over how long the clients are told to go: no longer than their number asks for, and soon enough
/// that the last one can still close with manners within `timeout`.
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
