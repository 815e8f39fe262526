//! Hears the other nodes, says that this one is there, and does what they ask.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::channels::cut;
use super::cluster::{Cluster, Inner, Link};
use super::members::Heard;
use super::report::Report;
use super::wire::{Command, Message, Part, What};
use crate::engine::contract::Control;
use crate::limits::{
    NODE_CHANNELS_BYTES_MAX, NODE_GOODBYE_TIMEOUT, NODE_REPORT_INTERVAL, NODE_REQUESTS_MAX, NODE_USERS_INTERVAL,
    NODE_WORKING_AFTER,
};
use crate::model::ErrorCode;

impl Cluster {
    /// Joins the nodes that `control` reaches. `messages` are what it brings: those to all nodes, this one's own
    /// included, and those to this node's uid. The future ends when they do; it runs on the control plane.
    pub fn join(
        &self,
        control: Arc<dyn Control>,
        messages: mpsc::Receiver<Bytes>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let is_first = self.inner.set_link(control);
        let inner = Arc::clone(&self.inner);
        async move {
            assert!(is_first, "a node joins others once");
            let permits = Arc::new(Semaphore::new(NODE_REQUESTS_MAX));
            Service { inner, permits, users_counted: None }.run(messages).await;
        }
    }

    /// Says to the other nodes that this one ends, so that nobody waits for it. Returns when that has come back to
    /// this node, and so went to the others too, or will not come in time.
    pub async fn leave(&self) {
        let Some(link) = self.inner.link() else { return };
        link.has_left.store(true, Ordering::Relaxed);
        if self.inner.send(None, What::Goodbye).is_ok()
            && timeout(NODE_GOODBYE_TIMEOUT, link.said_goodbye.notified()).await.is_err()
        {
            tracing::warn!("the other nodes may not have heard that this one ends");
        }
    }
}

struct Service {
    inner: Arc<Inner>,
    /// For what other nodes ask.
    permits: Arc<Semaphore>,
    users_counted: Option<Instant>,
}

impl Service {
    async fn run(mut self, mut messages: mpsc::Receiver<Bytes>) {
        let mut ticks = interval(NODE_REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tick(),
                message = messages.recv() => match message {
                    Some(bytes) => self.take(bytes),
                    None => break,
                },
            }
        }
    }

    fn link(&self) -> &Link {
        self.inner.link().expect("it is set before the service runs")
    }

    /// Looks who is there, and says that this node is.
    fn tick(&mut self) {
        let now = Instant::now();
        let is_connected = {
            let mut state = self.link().state();
            for node in state.members.look(now) {
                tracing::warn!(node = node.name, uid = node.uid, "a node fell silent");
            }
            let is_connected = state.members.is_connected(now);
            let (present, lost) = (state.members.present(now).count(), state.members.lost(now).count());
            self.inner.metrics.nodes.set_nodes(1 + present, lost);
            is_connected
        };
        if self.inner.metrics.nodes.is_connected() && !is_connected {
            tracing::warn!("this node does not hear itself: it is cut off from the others");
        }
        self.inner.metrics.nodes.set_connected(is_connected);
        self.count_users(now);
        if !self.link().has_left.load(Ordering::Relaxed) {
            self.report(None, !is_connected);
        }
    }

    /// Every shard is asked for it, so not each time.
    fn count_users(&mut self, now: Instant) {
        if self.users_counted.is_some_and(|counted| now.duration_since(counted) < NODE_USERS_INTERVAL) {
            return;
        }
        self.users_counted = Some(now);
        let inner = Arc::clone(&self.inner);
        let counting = inner.handle.count_users();
        tokio::spawn(async move {
            if let Ok(users) = counting.await {
                inner.users.store(users, Ordering::Relaxed);
            }
        });
    }

    fn report(&self, to: Option<&str>, asks: bool) {
        if let Err(error) = self.inner.send(to, What::Report { report: self.inner.report(), asks }) {
            tracing::error!(%error, "the node can't say who it is");
        }
    }

    fn take(&self, bytes: Bytes) {
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(skipped) => return self.inner.metrics.nodes.count_skipped(skipped.reason()),
        };
        self.inner.metrics.nodes.count_received(message.what.kind());
        if message.from == self.inner.node.uid {
            if message.what == What::Goodbye {
                self.link().said_goodbye.notify_one();
            }
            return self.hear_self();
        }
        if !message.to.is_empty() && message.to != self.inner.node.uid {
            return;
        }
        let Message { from, what, .. } = message;
        match what {
            What::Report { report, asks } => self.hear(report, asks),
            What::Goodbye => self.part(&from),
            What::Request(id, command) => self.serve(from, id, command),
            What::Answer(id, part) => {
                if !self.link().state().asking.answer(id, from, part) {
                    self.inner.metrics.nodes.count_skipped("late");
                }
            }
        }
    }

    fn hear_self(&self) {
        if self.link().state().members.hear_self(Instant::now()) {
            tracing::info!("this node hears itself again");
        }
        self.inner.metrics.nodes.set_connected(true);
    }

    fn hear(&self, report: Report, asks: bool) {
        let node = report.node.clone();
        let heard = self.link().state().members.hear(report, Instant::now());
        match heard {
            Heard::New => tracing::info!(node = node.name, uid = node.uid, "a node is there"),
            Heard::Refused => self.inner.metrics.nodes.count_skipped("crowd"),
            Heard::Parted | Heard::Known => {}
        }
        if asks && !self.link().has_left.load(Ordering::Relaxed) {
            self.report(Some(&node.uid), false);
        }
    }

    fn part(&self, uid: &str) {
        let mut state = self.link().state();
        state.asking.part(uid);
        if let Some(node) = state.members.part(uid, Instant::now()) {
            tracing::info!(node = node.name, uid, "a node has said goodbye");
        }
    }

    /// Begins to do what another node asks; it is answered in any case.
    fn serve(&self, from: String, id: u64, command: Command) {
        let inner = Arc::clone(&self.inner);
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => drop(tokio::spawn(perform(inner, permit, from, id, command))),
            Err(_full) => inner.answer(&from, id, Part::Failed(ErrorCode::TooManyRequests)),
        }
    }
}

async fn perform(inner: Arc<Inner>, _permit: OwnedSemaphorePermit, from: String, id: u64, command: Command) {
    let mut work = pin!(inner.perform(command));
    let parts = match timeout(NODE_WORKING_AFTER, &mut work).await {
        Ok(parts) => parts,
        Err(_elapsed) => {
            inner.answer(&from, id, Part::Working);
            work.await
        }
    };
    parts.into_iter().for_each(|part| inner.answer(&from, id, part));
}

impl Inner {
    async fn perform(&self, command: Command) -> Vec<Part> {
        let failed = |error| vec![Part::Failed(error)];
        match command {
            Command::NotKnown => vec![Part::NotKnown],
            Command::Reach(reach) => match self.handle.reach(reach).await {
                Ok(count) => vec![Part::Reached(count)],
                Err(error) => failed(error),
            },
            Command::Channels { asked, .. } if asked.count_max == 0 => failed(ErrorCode::BadRequest),
            Command::Channels { asked, bytes_max } => match self.handle.channels(asked).await {
                Ok(page) => cut(page, bytes_max.min(NODE_CHANNELS_BYTES_MAX)).into_iter().map(Part::Channels).collect(),
                Err(error) => failed(error),
            },
            Command::Describe => match self.describe().await {
                Ok(report) => vec![Part::Report(report)],
                Err(error) => failed(error),
            },
        }
    }

    fn answer(&self, to: &str, id: u64, part: Part) {
        if let Err(error) = self.send(Some(to), What::Answer(id, part)) {
            tracing::error!(%error, to, "an answer to another node does not fit a message");
        }
    }
}
