//! The connection to NATS, and the proof that it carries messages.
//!
//! A connection that breaks is given up with everything that waits in it, and followed by a new one: what was asked
//! before is answered by nobody, and whoever listens says so again.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::client::Client;
use async_nats::{ConnectErrorKind, Event, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use super::jetstream::{self, Refusal};
use super::options::{Options, UseJetStream};
use super::subjects::Subjects;
use crate::limits::{NATS_RETRY, NATS_RETRY_REFUSED, OPERATION_TIMEOUT, PROBE_INTERVAL};
use crate::telemetry::EngineMetrics;

/// One connection, from its start to its break.
pub struct Session {
    /// No other of this engine has the same.
    pub id: u64,
    pub client: Client,
    pub has_jetstream: bool,
    /// Changes when messages may have been missed: nobody took them in time, or a stream has another leader.
    pub overflows: watch::Receiver<u64>,
    write_timeout: Duration,
    signs: mpsc::Sender<Sign>,
}

impl Session {
    /// Hands a message over. Errors: it is too large; or there is no room in time, or no connection: then the session
    /// is given up.
    pub async fn publish(&self, subject: String, payload: Bytes) -> Result<(), Refusal> {
        if payload.len() > self.client.max_payload() {
            return Err(Refusal::TooLarge);
        }
        let handed = timeout(self.write_timeout, self.client.publish(subject, payload)).await;
        self.check(handed.is_ok_and(|handed| handed.is_ok()))
    }

    pub async fn publish_with_reply(&self, subject: String, reply: String, payload: Bytes) -> Result<(), Refusal> {
        let handed = timeout(self.write_timeout, self.client.publish_with_reply(subject, reply, payload)).await;
        self.check(handed.is_ok_and(|handed| handed.is_ok()))
    }

    pub async fn subscribe(&self, subject: String) -> Result<Subscriber, Refusal> {
        let handed = timeout(self.write_timeout, self.client.subscribe(subject)).await;
        let subscriber = handed.ok().and_then(|handed| handed.ok());
        self.check(subscriber.is_some())?;
        subscriber.ok_or(Refusal::Away)
    }

    fn check(&self, was_handed: bool) -> Result<(), Refusal> {
        if was_handed {
            return Ok(());
        }
        // One sign of many is enough.
        let _ = self.signs.try_send(Sign::Broken("it takes nothing in time"));
        Err(Refusal::Away)
    }
}

/// The connection of now; `None` while there is none.
pub type Sessions = watch::Receiver<Option<Arc<Session>>>;

/// Keeps a connection as long as somebody holds the sessions. Never fails: it says what is wrong, and tries again.
pub fn keep(options: Options, metrics: Arc<EngineMetrics>) -> Sessions {
    let (sender, sessions) = watch::channel(None);
    metrics.set_needing_store(options.jetstream == UseJetStream::On || options.keeps.is_some());
    let subjects = Subjects::new(&options);
    let link = Link {
        options,
        subjects,
        metrics,
        sessions: sender,
        last_complaint: String::new(),
        next_id: 0,
        discovered: Vec::new(),
    };
    tokio::spawn(link.run());
    sessions
}

struct Link {
    options: Options,
    subjects: Subjects,
    metrics: Arc<EngineMetrics>,
    sessions: watch::Sender<Option<Arc<Session>>>,
    /// What the log says already.
    last_complaint: String,
    next_id: u64,
    /// Servers of the same cluster, as the last one named them.
    discovered: Vec<String>,
}

/// What a connection tells of itself.
enum Sign {
    Broken(&'static str),
    Overflow,
    Complaint(String),
}

impl Link {
    async fn run(mut self) {
        while !self.sessions.is_closed() {
            let pause = match self.connect().await {
                Ok((session, signs, overflows)) => {
                    self.use_while_whole(session, signs, overflows).await;
                    Duration::ZERO
                }
                Err(pause) => pause,
            };
            // Spread, so that the nodes of a cluster don't come in step.
            sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Errors: how long to wait before the next try.
    async fn connect(&mut self) -> Result<(Session, mpsc::Receiver<Sign>, watch::Sender<u64>), Duration> {
        let configured = self.options.urls.iter().map(|url| url.parse()).collect::<Result<Vec<ServerAddr>, _>>();
        let mut servers = configured.map_err(|error| self.refused(format!("an address is none: {error}")))?;
        servers.extend(self.discovered.iter().filter_map(|url| url.parse().ok()));
        let options = self.options.connect_options().await.map_err(|error| self.refused(error))?;
        let (sender, signs) = mpsc::channel(SIGNS_WAITING_MAX);
        let to_signs = sender.clone();
        let options = options.event_callback(move |event| {
            let to_signs = to_signs.clone();
            async move { drop(sign_of(event).map(|sign| to_signs.try_send(sign))) }
        });
        let client = match options.connect(servers).await {
            Ok(client) => client,
            Err(error) if is_refusal(error.kind()) => {
                return Err(self.refused(format!("{error}: check the credentials of the engine")));
            }
            Err(error) => return Err(self.away(format!("{error}"))),
        };
        self.discovered = client.server_info().connect_urls;
        let has_jetstream = self.has_jetstream(&client).await;
        let (overflow, overflows) = watch::channel(0);
        self.next_id += 1;
        let (id, write_timeout) = (self.next_id, self.options.write_timeout);
        let session = Session { id, client, has_jetstream, overflows, write_timeout, signs: sender };
        Ok((session, signs, overflow))
    }

    /// Whether streams can be asked of it, now or soon: JetStream of a cluster may be without a leader for a while,
    /// which plain channels don't mind.
    async fn has_jetstream(&self, client: &Client) -> bool {
        if self.options.jetstream == UseJetStream::Off || self.subjects.is_raw() {
            return false;
        }
        let answer = jetstream::ask(client, "INFO", &Value::Null).await;
        let has_none = has_no_jetstream(&answer);
        let why = match self.options.jetstream {
            UseJetStream::On => Some("jetstream is \"on\""),
            _ => self.options.keeps.as_deref(),
        };
        self.metrics.set_lacking_store(has_none);
        if let Some(why) = why.filter(|_| has_none) {
            let urls = self.options.shown_urls();
            error!(
                "NATS at {urls} has no JetStream, and {why}: that is refused (108), and this node is not ready; enable \
                 JetStream on the server, or take history and presence out of the namespaces"
            );
        }
        !has_none
    }

    async fn use_while_whole(&mut self, session: Session, signs: mpsc::Receiver<Sign>, overflows: watch::Sender<u64>) {
        self.last_complaint.clear();
        let client = session.client.clone();
        let server = client.server_info();
        let jetstream = if session.has_jetstream { "with" } else { "without" };
        info!("connected to NATS {} at {}, {jetstream} JetStream", server.version, self.options.shown_urls());
        self.metrics.set_up(true);
        self.sessions.send_replace(Some(Arc::new(session)));
        let why = tokio::select! {
            why = prove(&client, &self.subjects, &self.metrics) => why,
            why = watch_signs(signs, &overflows) => why,
            why = watch_leaders(&client, &self.subjects, self.options.replicas, &overflows) => why,
            why = wait_for_store(&client, &self.metrics) => why,
            () = self.sessions.closed() => return,
        };
        self.sessions.send_replace(None);
        self.metrics.set_up(false);
        warn!("lost NATS at {}: {why}; connecting again", self.options.shown_urls());
    }

    fn away(&mut self, complaint: String) -> Duration {
        if self.last_complaint != complaint {
            let (urls, pause) = (self.options.shown_urls(), NATS_RETRY.as_millis());
            warn!("NATS at {urls} can't be used: {complaint}; trying again every {pause} ms");
            self.last_complaint = complaint;
        }
        NATS_RETRY
    }

    fn refused(&mut self, complaint: String) -> Duration {
        if self.last_complaint != complaint {
            let (urls, pause) = (self.options.shown_urls(), NATS_RETRY_REFUSED.as_secs());
            error!("NATS at {urls} can't be used: {complaint}; trying again every {pause} s");
            self.last_complaint = complaint;
        }
        NATS_RETRY_REFUSED
    }
}

/// Sends a message to itself each interval. Returns when one does not come back.
async fn prove(client: &Client, subjects: &Subjects, metrics: &EngineMetrics) -> &'static str {
    let subject = subjects.of(&format!("probe.{:016x}", fastrand::u64(..)));
    let Ok(mut probes) = client.subscribe(subject.clone()).await else { return "it takes no subscription" };
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0u64.. {
        ticks.tick().await;
        let sent = Instant::now();
        let way = async {
            client.publish(subject.clone(), number.to_be_bytes().to_vec().into()).await.ok()?;
            come_back(&mut probes, number).await
        };
        let came = timeout(OPERATION_TIMEOUT, way).await.ok().flatten();
        metrics.probed(came.map(|()| sent.elapsed()));
        if came.is_none() {
            return "a message to itself did not come back in time";
        }
    }
    unreachable!("numbers don't end")
}

async fn come_back(probes: &mut Subscriber, number: u64) -> Option<()> {
    loop {
        if probes.next().await?.payload[..] == number.to_be_bytes() {
            return Some(());
        }
    }
}

async fn watch_signs(mut signs: mpsc::Receiver<Sign>, overflows: &watch::Sender<u64>) -> &'static str {
    let mut said: Option<Instant> = None;
    loop {
        match signs.recv().await {
            Some(Sign::Broken(why)) => return why,
            Some(Sign::Overflow) => overflows.send_modify(|count| *count += 1),
            Some(Sign::Complaint(complaint)) if said.is_none_or(|said| said.elapsed() > COMPLAINT_PAUSE) => {
                warn!("NATS complains: {complaint}");
                said = Some(Instant::now());
            }
            Some(Sign::Complaint(_)) => {}
            None => return "the connection has ended",
        }
    }
}

/// A log that is kept by several servers may get another leader: what the former had stored and not sent on is heard
/// by nobody.
async fn watch_leaders(
    client: &Client,
    subjects: &Subjects,
    replicas: usize,
    overflows: &watch::Sender<u64>,
) -> &'static str {
    if replicas > 1 {
        let of_logs = subjects.stream_name("log_");
        let mut elections = client.subscribe(format!("{LEADER_ELECTED}.*")).await;
        while let Some(election) = async { elections.as_mut().ok()?.next().await }.await {
            let stream = election.subject.rsplit('.').next().unwrap_or_default();
            if stream.starts_with(&of_logs) {
                overflows.send_modify(|count| *count += 1);
            }
        }
    }
    pending().await
}

/// Returns when JetStream is missed and was switched on, which a server can do without losing its connections.
async fn wait_for_store(client: &Client, metrics: &EngineMetrics) -> &'static str {
    loop {
        sleep(NATS_RETRY_REFUSED).await;
        if metrics.misses_store() && !has_no_jetstream(&jetstream::ask(client, "INFO", &Value::Null).await) {
            return "it has JetStream from now on";
        }
    }
}

fn has_no_jetstream(answer: &Result<Value, Refusal>) -> bool {
    matches!(answer, Err(Refusal::NoJetStream | Refusal::NoResponders))
}

fn sign_of(event: Event) -> Option<Sign> {
    match event {
        Event::Disconnected | Event::Closed => Some(Sign::Broken("the connection broke")),
        Event::LameDuckMode => Some(Sign::Broken("the server is about to stop")),
        Event::SlowConsumer(_) => Some(Sign::Overflow),
        Event::ServerError(error) => Some(Sign::Complaint(error.to_string())),
        Event::ClientError(error) => Some(Sign::Complaint(error.to_string())),
        Event::Connected | Event::Draining => None,
    }
}

fn is_refusal(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication)
}

/// Subjects of the server's own, which end in a stream's name.
const LEADER_ELECTED: &str = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED";

/// Chosen: what a server does not permit it says for each message.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// Chosen: the newest ones say nothing new.
const SIGNS_WAITING_MAX: usize = 64;
