//! One step of one channel's work: what its driver gives to NATS at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OnceCell;
use tokio::time::timeout_at;

use super::super::contract::{Membership, Operation, Outcome, Publish, Request, RequestId};
use super::super::record;
use super::entry::Entry;
use super::jetstream::Refusal;
use super::link::Session;
use super::log::{Log, LogKind};
use super::subjects::Subjects;
use super::tail::Tail;
use crate::limits::OPERATION_TIMEOUT;
use crate::model::{ChannelName, ClientInfo, ErrorCode, Position};
use crate::telemetry::{EngineCounter, EngineMetrics};

/// A request, and when it came.
#[derive(Debug)]
pub struct Arrived {
    pub request: Request,
    pub at: Instant,
}

/// A log that is opened when it is first needed.
pub type LogCell = Arc<OnceCell<Log>>;

/// The requests of one step, and all that is needed for them. Several are publishes that go together.
pub struct Job {
    pub session: Arc<Session>,
    pub subjects: Arc<Subjects>,
    pub metrics: Arc<EngineMetrics>,
    pub replicas: usize,
    pub channel: ChannelName,
    pub tail: Option<Tail>,
    /// Where the stream stood at least, as this node knows since an earlier session.
    pub known: Option<Position>,
    /// Of the requests' retention, if they have one.
    pub log: Option<(LogKind, LogCell)>,
    /// Whether the bucket of presence is there, with room for the request's time.
    pub presence_bucket: Arc<OnceCell<()>>,
}

pub type Answer = (RequestId, Result<Outcome, ErrorCode>);

/// What is left of a step.
pub struct Finished {
    /// On which it was done.
    pub session_id: u64,
    pub channel: ChannelName,
    /// With its kind of log.
    pub tail: Option<(LogKind, Tail)>,
    pub answers: Vec<Answer>,
    /// Something was published whose history lives so long.
    pub kept_for: Option<Duration>,
    /// The log is not there any more.
    pub stale: Option<LogKind>,
    /// What an operator should know.
    pub complaint: Option<Refusal>,
}

impl Job {
    /// Does it, within what is left of the oldest request's time.
    pub async fn run(mut self, requests: Vec<Arrived>) -> Finished {
        let ids: Vec<(RequestId, bool)> = requests.iter().map(Arrived::id).collect();
        let deadline = requests.iter().map(|arrived| arrived.at).min().unwrap_or_else(Instant::now) + OPERATION_TIMEOUT;
        let kept_for = requests.first().and_then(Arrived::history_ttl);
        let done = timeout_at(deadline.into(), self.perform(requests)).await.unwrap_or(Err(Refusal::Away));
        let refusal = done.as_ref().err().copied();
        if refusal.is_some() {
            // It may have happened or not.
            self.tail = None;
        }
        let answered = ids.iter().filter(|(_, is_answered)| *is_answered).map(|(id, _)| *id);
        let answers = match done {
            Ok(outcomes) => answered.zip(outcomes).collect(),
            Err(refusal) => answered.map(|id| (id, Err(error_of(refusal)))).collect(),
        };
        let kind = self.log.take().map(|(kind, _)| kind);
        let stale = kind.filter(|_| refusal == Some(Refusal::NoResponders));
        let tail = kind.zip(self.tail.take());
        let complaint = refusal.filter(|refusal| *refusal != Refusal::Away);
        let (session_id, channel) = (self.session.id, self.channel);
        let kept_for = kept_for.filter(|_| refusal.is_none());
        Finished { session_id, channel, tail, answers, kept_for, stale, complaint }
    }

    /// One outcome for each answered request.
    async fn perform(&mut self, requests: Vec<Arrived>) -> Result<Vec<Result<Outcome, ErrorCode>>, Refusal> {
        let mut publishes = Vec::new();
        for Arrived { request, .. } in requests {
            match request.operation {
                Operation::Publish(publish) => publishes.push(*publish),
                operation => return self.perform_one(operation).await,
            }
        }
        let Some(first) = publishes.first() else { return Ok(Vec::new()) };
        match first.retention {
            Some(retention) => self.append(&publishes, retention).await,
            None if first.idempotency_key.is_some() && self.session.has_jetstream => self.append_once(first).await,
            None => self.pass_all(&publishes).await,
        }
    }

    async fn perform_one(&mut self, operation: Operation) -> Result<Vec<Result<Outcome, ErrorCode>>, Refusal> {
        let outcome = match operation {
            Operation::Tell(membership, info) => return self.tell(membership, &info).await.map(|()| Vec::new()),
            Operation::Attend { clients, ttl } => return self.attend(&clients, ttl).await.map(|()| Vec::new()),
            Operation::Leave(client) => return self.leave(client).await.map(|()| Vec::new()),
            Operation::Read(read) => Ok(Outcome::Read(self.read(&read).await?)),
            Operation::Page(page) => self.page(&page).await?.map(Outcome::Page),
            Operation::RemoveHistory => Ok(Outcome::HistoryRemoved(self.remove_history().await?)),
            Operation::Presence { clients_max } => self.presence(clients_max).await?.map(Outcome::Presence),
            Operation::PresenceStats => self.presence_stats().await?.map(Outcome::PresenceStats),
            Operation::Publish(_) | Operation::Listen | Operation::Unlisten => {
                unreachable!("the driver does these otherwise")
            }
        };
        Ok(vec![outcome])
    }

    /// Sends what is not kept.
    async fn pass_all(&self, publishes: &[Publish]) -> Result<Vec<Result<Outcome, ErrorCode>>, Refusal> {
        let mut outcomes = Vec::with_capacity(publishes.len());
        for publish in publishes {
            let payload = match self.subjects.is_raw() {
                true => publish.publication.data.clone(),
                false => Entry::passing(record::encode_publication(&publish.publication, publish.delta)).encode(),
            };
            outcomes.push(match self.send(payload).await {
                Ok(()) => Ok(Outcome::Published(None)),
                Err(Refusal::TooLarge) => Err(error_of(Refusal::TooLarge)),
                Err(refusal) => return Err(refusal),
            });
        }
        Ok(outcomes)
    }

    /// Who came or went; others on raw subjects would not understand it.
    async fn tell(&self, membership: Membership, info: &ClientInfo) -> Result<(), Refusal> {
        if self.subjects.is_raw() {
            return Ok(());
        }
        self.send(Entry::passing(record::encode_membership(membership, info)).encode()).await
    }

    async fn send(&self, payload: Bytes) -> Result<(), Refusal> {
        let subject = self.subjects.of_channel(self.channel.as_str());
        self.session.publish(subject, payload).await
    }

    /// The channel's name in its log.
    pub fn tokens(&self) -> String {
        self.subjects.tokens_of(self.channel.as_str())
    }

    /// The log of the requests' retention.
    pub async fn open_log(&self) -> Result<Log, Refusal> {
        let Some((kind, cell)) = self.log.as_ref().filter(|_| self.session.has_jetstream) else {
            return Err(Refusal::NoJetStream);
        };
        let open = || Log::open(&self.session, &self.subjects, *kind, self.replicas);
        cell.get_or_try_init(open).await.cloned()
    }

    /// Asks where the stream stands.
    pub async fn find_tail(&self, log: &Log) -> Result<Tail, Refusal> {
        let tail = Tail::of(log.last(&self.session, &self.tokens()).await?);
        if tail.is_foreign() {
            self.metrics.add(EngineCounter::Foreign, 1);
        }
        Ok(tail)
    }
}

impl Arrived {
    fn id(&self) -> (RequestId, bool) {
        (self.request.id, self.request.operation.is_answered())
    }

    fn history_ttl(&self) -> Option<Duration> {
        match &self.request.operation {
            Operation::Publish(publish) => publish.retention.map(|retention| retention.ttl),
            _ => None,
        }
    }
}

pub fn error_of(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::NoJetStream | Refusal::NameTaken => ErrorCode::NotAvailable,
        Refusal::TooLarge => ErrorCode::LimitExceeded,
        _ => ErrorCode::Internal,
    }
}
