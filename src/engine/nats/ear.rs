//! What one shard hears: the subjects of the channels that have members here.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Instant;

use ahash::{AHashMap, AHashSet};
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{BoxStream, SelectAll};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::super::contract::{Incoming, Outcome, Published, RequestId};
use super::super::outlet::{NotTaken, Outlet};
use super::entry::Entry;
use super::link::{Session, Sessions};
use super::subjects::Subjects;
use crate::limits::{OPERATION_TIMEOUT, PROBE_INTERVAL};
use crate::model::{ChannelName, ErrorCode, Publication, ShardId};
use crate::telemetry::{EngineCounter, EngineMetrics};

/// What a driver asks of its ear.
#[derive(Debug)]
pub enum Order {
    Listen(ChannelName, RequestId),
    Unlisten(ChannelName),
}

/// Hears for one shard. All that it subscribes to at a time is proven by one message to itself behind: once that has
/// come, the server has what was before it.
pub struct Ear {
    pub shard: ShardId,
    pub orders: mpsc::Receiver<Order>,
    pub sessions: Sessions,
    pub outlet: Outlet,
    pub subjects: Arc<Subjects>,
    pub metrics: Arc<EngineMetrics>,
    pub state: State,
}

/// What changes.
#[derive(Default)]
pub struct State {
    session: Option<Arc<Session>>,
    listened: AHashMap<ChannelName, Option<AbortHandle>>,
    voices: SelectAll<BoxStream<'static, Heard>>,
    fence_subject: String,
    fences: VecDeque<Fence>,
    fences_sent: u64,
    /// Channels whose homes have to know that they may have missed something.
    missed: AHashSet<ChannelName>,
}

enum Heard {
    Said(ChannelName, Message),
    Fence(u64),
}

/// What is answered when the message of this number has come.
struct Fence {
    number: u64,
    since: Instant,
    listens: Vec<(ChannelName, RequestId)>,
    /// All channels were subscribed to anew.
    is_recheck: bool,
}

impl Ear {
    pub async fn run(mut self) {
        let mut orders = Vec::new();
        let mut ticks = interval(PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut overflows = None;
        // The session that is there already counts as new.
        self.sessions.mark_changed();
        loop {
            tokio::select! {
                changed = self.sessions.changed() => match changed {
                    Ok(()) => overflows = self.follow_session().await,
                    Err(_) => return,
                },
                count = self.orders.recv_many(&mut orders, ORDERS_AT_A_GO) => match count {
                    0 => return,
                    _ => self.obey(orders.drain(..)).await,
                },
                Some(heard) = self.state.voices.next() => self.hear(heard).await,
                _ = ticks.tick() => self.look_after().await,
                () = changed(&mut overflows) => {
                    self.state.missed.extend(self.state.listened.keys().cloned());
                    self.recheck_missed().await;
                }
            }
        }
    }

    /// Subscribes to everything anew where the connection is another, and gives up what was asked of the former.
    async fn follow_session(&mut self) -> Option<watch::Receiver<u64>> {
        self.state.voices = SelectAll::new();
        for fence in std::mem::take(&mut self.state.fences) {
            self.give_up(fence).await;
        }
        self.state.session = self.sessions.borrow_and_update().clone();
        let session = self.state.session.clone()?;
        self.state.fence_subject = self.subjects.of(&format!("probe.{:016x}", fastrand::u64(..)));
        if let Ok(fences) = session.subscribe(self.state.fence_subject.clone()).await {
            self.state.voices.push(fences.filter_map(|message| ready(fence_of(&message))).boxed());
        }
        let channels: Vec<ChannelName> = self.state.listened.keys().cloned().collect();
        for channel in &channels {
            self.subscribe(&session, channel).await;
        }
        self.put_fence(&session, Vec::new(), !channels.is_empty()).await;
        Some(session.overflows.clone())
    }

    async fn obey(&mut self, orders: impl Iterator<Item = Order>) {
        let session = self.state.session.clone();
        let mut listens = Vec::new();
        for order in orders {
            match (order, &session) {
                (Order::Unlisten(channel), _) => self.state.unlisten(&channel),
                (Order::Listen(_, id), None) => self.answer(id, Err(ErrorCode::Internal)).await,
                (Order::Listen(channel, id), Some(session)) => {
                    if !self.subjects.is_valid(channel.as_str()) {
                        self.answer(id, Err(ErrorCode::BadRequest)).await;
                        continue;
                    }
                    if !self.state.listened.contains_key(&channel) {
                        self.subscribe(session, &channel).await;
                    }
                    listens.push((channel, id));
                }
            }
        }
        if let Some(session) = session.filter(|_| !listens.is_empty()) {
            self.put_fence(&session, listens, false).await;
        }
    }

    async fn subscribe(&mut self, session: &Session, channel: &ChannelName) {
        // Where it fails the session is given up, and all is subscribed to anew on the next.
        let subscriber = session.subscribe(self.subjects.of_channel(channel.as_str())).await;
        let handle = subscriber.ok().map(|subscriber| self.state.add_voice(channel, subscriber));
        self.state.listened.insert(channel.clone(), handle);
    }

    async fn put_fence(&mut self, session: &Session, listens: Vec<(ChannelName, RequestId)>, is_recheck: bool) {
        self.state.fences_sent += 1;
        let number = self.state.fences_sent;
        self.state.fences.push_back(Fence { number, since: Instant::now(), listens, is_recheck });
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        // One that does not go out does not come back, and is given up.
        let _ = session.publish(self.state.fence_subject.clone(), payload).await;
    }

    async fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Fence(number) => self.pass_fences(number).await,
            Heard::Said(channel, message) => {
                if self.deliver(&channel, message.payload).await.is_err() {
                    self.state.missed.insert(channel);
                }
            }
        }
    }

    async fn pass_fences(&mut self, number: u64) {
        while let Some(fence) = self.state.fences.pop_front_if(|fence| fence.number <= number) {
            for (_, id) in fence.listens {
                self.answer(id, Ok(Outcome::Listening)).await;
            }
            if fence.is_recheck {
                self.state.missed.extend(self.state.listened.keys().cloned());
                self.recheck_missed().await;
            }
        }
    }

    async fn deliver(&mut self, channel: &ChannelName, payload: Bytes) -> Result<(), NotTaken> {
        if self.subjects.is_raw() {
            let publication = Arc::new(Publication { data: payload, ..Publication::default() });
            return self.say(channel, Published::Publication { publication, epoch: None, delta: false }).await;
        }
        let Ok(entry) = Entry::decode(payload) else {
            self.metrics.add(EngineCounter::Foreign, 1);
            return Ok(());
        };
        for published in entry.published() {
            match published {
                Ok(what) => self.say(channel, what).await?,
                Err(_) => self.metrics.add(EngineCounter::Foreign, 1),
            }
        }
        Ok(())
    }

    async fn say(&mut self, channel: &ChannelName, what: Published) -> Result<(), NotTaken> {
        self.metrics.add(EngineCounter::Incoming, 1);
        self.outlet.incoming(Incoming { engine: self.outlet.engine(), channel: channel.clone(), what }).await
    }

    /// What has waited too long is given up; what was missed is said again until it is taken.
    async fn look_after(&mut self) {
        while let Some(fence) = self.state.fences.pop_front_if(|fence| fence.since.elapsed() > OPERATION_TIMEOUT) {
            self.give_up(fence).await;
        }
        self.recheck_missed().await;
    }

    async fn recheck_missed(&mut self) {
        if self.state.missed.is_empty() || self.state.session.is_none() {
            return;
        }
        let missed = std::mem::take(&mut self.state.missed);
        if self.outlet.recheck(missed.iter().cloned()).await.is_ok() {
            self.metrics.add(EngineCounter::Rechecked, missed.len() as u64);
        } else {
            self.state.missed = missed;
        }
    }

    async fn give_up(&mut self, fence: Fence) {
        for (channel, id) in fence.listens {
            self.state.unlisten(&channel);
            self.answer(id, Err(ErrorCode::Internal)).await;
        }
        // The homes have to know all the same, once something is heard.
        if fence.is_recheck {
            self.state.missed.extend(self.state.listened.keys().cloned());
        }
    }

    async fn answer(&mut self, id: RequestId, outcome: Result<Outcome, ErrorCode>) {
        if outcome.is_err() {
            self.metrics.add(EngineCounter::Failures, 1);
        }
        self.outlet.done(self.shard, id, outcome).await;
    }
}

impl State {
    fn add_voice(&mut self, channel: &ChannelName, subscriber: Subscriber) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let name = channel.clone();
        let said = subscriber.map(move |message| Heard::Said(name.clone(), message));
        self.voices.push(Abortable::new(said, registration).boxed());
        handle
    }

    /// The subscription ends when its voice is next looked at: it is dropped there.
    fn unlisten(&mut self, channel: &ChannelName) {
        self.missed.remove(channel);
        if let Some(handle) = self.listened.remove(channel).flatten() {
            handle.abort();
        }
    }
}

fn fence_of(message: &Message) -> Option<Heard> {
    let number = <[u8; 8]>::try_from(&message.payload[..]).ok()?;
    Some(Heard::Fence(u64::from_be_bytes(number)))
}

async fn changed(overflows: &mut Option<watch::Receiver<u64>>) {
    let is_told = match overflows {
        Some(overflows) => overflows.changed().await.is_ok(),
        None => false,
    };
    if !is_told {
        pending::<()>().await;
    }
}

/// Chosen: one proof for so many subscriptions.
const ORDERS_AT_A_GO: usize = 256;
