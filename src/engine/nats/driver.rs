//! One shard's requests, each channel's one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::sleep_until;

use super::super::contract::{Operation, Outcome, Publish};
use super::super::outlet::Outlet;
use super::super::{ResultKey, Results};
use super::complaints::Complaints;
use super::ear::Order;
use super::job::{Answer, Arrived, Finished, Job, LogCell};
use super::link::{Session, Sessions};
use super::log::{Log, LogKind};
use super::quiet::{Quiet, QuietSince};
use super::subjects::Subjects;
use super::tail::Tail;
use crate::limits::{NATS_APPEND_BYTES_MAX, NATS_APPEND_MAX, NATS_TAILS_MAX, REQUESTS_MAX};
use crate::model::{ChannelName, ErrorCode, Position, ShardId};
use crate::telemetry::{EngineCounter, EngineMetrics};

/// Owns what is known of the channels of one shard; what is done for a channel takes it along and brings it back.
///
/// Invariants: at most one step of a channel is under way; `waiting` is the sum of the lines' requests, and at most
/// `REQUESTS_MAX`, above which nothing is taken.
pub struct Driver {
    pub shard: ShardId,
    pub requests: mpsc::Receiver<Arrived>,
    pub ear: mpsc::Sender<Order>,
    pub sessions: Sessions,
    pub outlet: Outlet,
    pub subjects: Arc<Subjects>,
    pub metrics: Arc<EngineMetrics>,
    pub replicas: usize,
    pub complaints: Complaints,
    pub state: State,
}

/// What changes.
#[derive(Default)]
pub struct State {
    lines: AHashMap<ChannelName, Line>,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    waiting: usize,
    /// The rest is of this session.
    session_id: u64,
    logs: AHashMap<LogKind, LogCell>,
    presence_buckets: AHashMap<Duration, Arc<OnceCell<()>>>,
    quiet: Quiet,
    /// Of publishes that are kept nowhere else.
    results: Results,
}

/// What one channel has to do.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Arrived>,
    is_busy: bool,
    /// Where its stream stood when this node last had to do with it.
    tail: Option<(LogKind, Tail)>,
    /// The same as a place, which outlives the connection: a server that comes back with an old copy is found out.
    known: Option<Position>,
    quiet_since: QuietSince,
    /// Of the step under way, if its outcome has to be remembered here.
    key: Option<Box<str>>,
}

impl Driver {
    pub async fn run(mut self) {
        let started = Instant::now();
        loop {
            let has_room = self.state.waiting < REQUESTS_MAX;
            let look = self.state.quiet.next().map(|due| started + due);
            tokio::select! {
                Some(finished) = self.state.running.next() => self.finish(finished, started.elapsed()).await,
                arrived = self.requests.recv(), if has_room => match arrived {
                    Some(arrived) => self.take(arrived, started.elapsed()).await,
                    None => return,
                },
                () = sleep_until(look.unwrap_or(started).into()), if look.is_some() => {
                    self.quieten(started.elapsed()).await;
                }
            }
        }
    }

    /// Lets the server forget histories that have expired.
    async fn quieten(&mut self, now: Duration) {
        let session = self.sessions.borrow().clone();
        while let Some(channel) = self.state.quiet.take_due(now) {
            let expired = self.state.find_expired(&channel, now);
            if let Some(((log, sequence), session)) = expired.zip(session.as_ref()) {
                log.forget_before(session, &self.subjects.tokens_of(channel.as_str()), sequence).await;
            }
        }
    }

    async fn take(&mut self, arrived: Arrived, now: Duration) {
        self.metrics.add(EngineCounter::Requests, 1);
        let (id, channel) = (arrived.request.id, arrived.request.channel.clone());
        let order = match &arrived.request.operation {
            Operation::Listen => Some(Order::Listen(channel.clone(), id)),
            Operation::Unlisten => Some(Order::Unlisten(channel.clone())),
            _ => None,
        };
        if let Some(order) = order {
            // The ear ends with the driver, not before.
            let _ = self.ear.send(order).await;
            return;
        }
        let refusal = match self.sessions.borrow().is_none() {
            true => Some(ErrorCode::Internal),
            false => refusal_of(&self.subjects, channel.as_str(), &arrived.request.operation),
        };
        if let Some(error) = refusal {
            if arrived.request.operation.is_answered() {
                self.answer((id, Err(error))).await;
            }
            return;
        }
        self.state.waiting += 1;
        self.state.line(&channel).waiting.push_back(arrived);
        self.proceed(channel, now).await;
    }

    /// Begins the channel's next step, unless one is under way.
    async fn proceed(&mut self, channel: ChannelName, now: Duration) {
        let Some(session) = self.sessions.borrow().clone() else { return self.refuse_all(channel).await };
        self.state.follow(&session);
        while let Some(requests) = self.state.take_step(&channel) {
            // With JetStream the server knows it.
            let known = match session.has_jetstream {
                true => None,
                false => self.state.find_result(&channel, &requests, now),
            };
            let Some(answer) = known else {
                let job = self.state.job(&session, &self.subjects, &self.metrics, self.replicas, &channel, &requests);
                self.state.running.push(Box::pin(job.run(requests)));
                return;
            };
            self.answer(answer).await;
        }
    }

    /// There is no connection any more.
    async fn refuse_all(&mut self, channel: ChannelName) {
        let Some(line) = self.state.lines.get_mut(&channel) else { return };
        let waiting = std::mem::take(&mut line.waiting);
        if !line.is_busy {
            self.state.lines.remove(&channel);
        }
        self.state.waiting -= waiting.len();
        for arrived in waiting.iter().filter(|arrived| arrived.request.operation.is_answered()) {
            self.answer((arrived.request.id, Err(ErrorCode::Internal))).await;
        }
    }

    async fn finish(&mut self, finished: Finished, now: Duration) {
        let channel = finished.channel.clone();
        if let Some(refusal) = finished.complaint {
            self.complaints.say(refusal, channel.as_str());
        }
        self.state.settle(&finished, now);
        for answer in finished.answers {
            self.answer(answer).await;
        }
        self.proceed(channel, now).await;
    }

    async fn answer(&mut self, (id, outcome): Answer) {
        if matches!(outcome, Err(ErrorCode::Internal)) {
            self.metrics.add(EngineCounter::Failures, 1);
        }
        self.outlet.done(self.shard, id, outcome).await;
    }
}

impl State {
    fn line(&mut self, channel: &ChannelName) -> &mut Line {
        if self.lines.len() >= NATS_TAILS_MAX && !self.lines.contains_key(channel) {
            self.lines.retain(|_, line| line.is_busy || !line.waiting.is_empty());
        }
        self.lines.entry(channel.clone()).or_default()
    }

    /// Forgets what another session knew.
    fn follow(&mut self, session: &Session) {
        if self.session_id != session.id {
            self.session_id = session.id;
            self.logs.clear();
            self.presence_buckets.clear();
            self.lines.values_mut().for_each(|line| line.tail = None);
        }
    }

    /// The requests of the channel's next step; `None` if there are none, or one is under way.
    fn take_step(&mut self, channel: &ChannelName) -> Option<Vec<Arrived>> {
        let line = self.lines.get_mut(channel)?;
        if line.is_busy {
            return None;
        }
        let first = line.waiting.pop_front();
        let Some(first) = first else {
            if line.tail.is_none() && line.known.is_none() {
                self.lines.remove(channel);
            }
            return None;
        };
        let mut step = vec![first];
        while let Some(next) = line.waiting.pop_front() {
            if !goes_along(&step, &next) {
                line.waiting.push_front(next);
                break;
            }
            step.push(next);
        }
        self.waiting -= step.len();
        Some(step)
    }

    /// The log and the newest message of a channel in which nothing was published for long.
    fn find_expired(&mut self, channel: &ChannelName, now: Duration) -> Option<(Log, u64)> {
        let line = self.lines.get_mut(channel)?;
        if !self.quiet.is_quiet(channel, &mut line.quiet_since, now) {
            return None;
        }
        let (kind, tail) = line.tail.as_ref()?;
        let log = self.logs.get(kind)?.get()?;
        Some((log.clone(), tail.sequence))
    }

    /// The answer to a repeated publish that is kept nowhere.
    fn find_result(&mut self, channel: &ChannelName, step: &[Arrived], now: Duration) -> Option<Answer> {
        let publish = publish_of(step.first()?).filter(|publish| publish.retention.is_none())?;
        let idempotency_key = publish.idempotency_key.clone()?;
        self.results.expire(now, RESULTS_EXPIRED_AT_A_GO);
        let key = ResultKey { channel: channel.clone(), idempotency_key };
        let result = self.results.find(&key);
        if result.is_none() {
            self.lines.get_mut(channel)?.key = Some(key.idempotency_key);
        }
        result.map(|position| (step[0].request.id, Ok(Outcome::Published(position))))
    }

    fn job(
        &mut self,
        session: &Arc<Session>,
        subjects: &Arc<Subjects>,
        metrics: &Arc<EngineMetrics>,
        replicas: usize,
        channel: &ChannelName,
        step: &[Arrived],
    ) -> Job {
        let kind = kind_of(&step[0].request.operation);
        let log = kind.map(|kind| (kind, Arc::clone(self.logs.entry(kind).or_default())));
        let ttl = match &step[0].request.operation {
            Operation::Attend { ttl, .. } => *ttl,
            _ => Duration::ZERO,
        };
        let line = self.line(channel);
        line.is_busy = true;
        let tail = line.tail.take().filter(|(of, _)| Some(*of) == kind).map(|(_, tail)| tail);
        Job {
            session: Arc::clone(session),
            subjects: Arc::clone(subjects),
            metrics: Arc::clone(metrics),
            replicas,
            channel: channel.clone(),
            tail,
            known: line.known,
            log,
            presence_bucket: Arc::clone(self.presence_buckets.entry(ttl).or_default()),
        }
    }

    /// A step has ended.
    fn settle(&mut self, finished: &Finished, now: Duration) {
        let is_of_now = finished.session_id == self.session_id;
        if let Some(kind) = finished.stale.filter(|_| is_of_now) {
            self.logs.remove(&kind);
        }
        self.line(&finished.channel);
        let Some(line) = self.lines.get_mut(&finished.channel) else { return };
        if let Some(ttl) = finished.kept_for {
            self.quiet.put_off(&finished.channel, &mut line.quiet_since, now + ttl);
        }
        line.is_busy = false;
        line.tail = finished.tail.clone().filter(|_| is_of_now);
        let position = line.tail.as_ref().and_then(|(_, tail)| tail.position());
        line.known = position.or(line.known);
        let key = line.key.take();
        if let (Some(idempotency_key), Some((_, Ok(Outcome::Published(position))))) = (key, finished.answers.first()) {
            let position = *position;
            self.results.remember(now, ResultKey { channel: finished.channel.clone(), idempotency_key }, position);
        }
    }
}

/// Whether `next` can be done in the same message.
fn goes_along(step: &[Arrived], next: &Arrived) -> bool {
    let is_plain = |publish: &&Publish| publish.idempotency_key.is_none() && publish.version.is_none();
    let (Some(first), Some(publish)) = (publish_of(&step[0]), publish_of(next)) else { return false };
    let bytes: usize = step.iter().map(|arrived| arrived.request.operation.bytes()).sum();
    let fits = step.len() < NATS_APPEND_MAX && bytes + publish.publication.data.len() <= NATS_APPEND_BYTES_MAX;
    let same = kind_of(&step[0].request.operation) == kind_of(&next.request.operation);
    fits && same && is_plain(&first) && is_plain(&publish)
}

fn publish_of(arrived: &Arrived) -> Option<&Publish> {
    match &arrived.request.operation {
        Operation::Publish(publish) => Some(publish),
        _ => None,
    }
}

fn kind_of(operation: &Operation) -> Option<LogKind> {
    let retention = match operation {
        Operation::Publish(publish) if publish.retention.is_none() && publish.idempotency_key.is_some() => {
            return Some(LogKind::ONCE);
        }
        Operation::Publish(publish) => publish.retention?,
        Operation::Read(read) => read.retention,
        Operation::Page(page) => page.retention,
        _ => return None,
    };
    Some(LogKind::of(retention))
}

/// What can't be asked of such a channel.
fn refusal_of(subjects: &Subjects, channel: &str, operation: &Operation) -> Option<ErrorCode> {
    let is_published = matches!(operation, Operation::Publish(_) | Operation::Tell(..));
    let is_read = matches!(operation, Operation::Read(_) | Operation::Page(_) | Operation::RemoveHistory);
    match subjects.is_valid(channel) {
        false => Some(ErrorCode::BadRequest),
        true if subjects.is_wildcard(channel) && is_published => Some(ErrorCode::BadRequest),
        true if subjects.is_wildcard(channel) && is_read => Some(ErrorCode::NotAvailable),
        true => None,
    }
}

/// Chosen: more than one publish brings, so that they get fewer.
const RESULTS_EXPIRED_AT_A_GO: usize = 4;
