//! One connection that carries requests: many are under way on it, and their replies come in the same order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer;
use super::cluster::{Redirection, Returned};
use super::dial::{Connection, Io, Taught, connect_with_scripts};
use super::reconnect::{Attempts, Place};
use super::resp::{self, Commands, Reply};
use super::scripts::Scripts;
use super::shared::{ConnectionHealth, Shared};
use super::write::Writer;
use crate::engine::contract::{Outcome, Request};
use crate::limits::{REDIS_BATCH_MAX, REDIS_LOOK, REDIS_OUTPUT_BYTES_MAX, REDIS_UNDER_WAY_MAX};
use crate::model::ShardId;
use crate::telemetry::EngineCounter;

/// What a server is given to do.
#[derive(Debug)]
pub enum Work {
    Asked(Asked),
    /// A message of ours, which nobody answers: to `topic`, at most once.
    Send {
        topic: String,
        message: Vec<u8>,
    },
}

/// A request on its way.
#[derive(Debug)]
pub struct Asked {
    pub from: ShardId,
    pub request: Request,
    /// When its time is up.
    pub until: Instant,
    /// Of a cluster: how often it was sent to another server, and whether it may be asked of one that does not
    /// have the slot yet.
    pub redirections: u8,
    pub is_asking: bool,
    /// Of a cluster: held as long as the request is under way.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// Puts a request into a server's queue, or gives it back if there is no room.
pub fn give(work: &mpsc::Sender<Work>, asked: Asked) -> Result<(), Asked> {
    let Ok(room) = work.try_reserve() else { return Err(asked) };
    room.send(Work::Asked(asked));
    Ok(())
}

/// Serves one server until nobody gives it work any more.
pub async fn run(shared: Arc<Shared>, mut health: ConnectionHealth, mut place: Place, mut work: mpsc::Receiver<Work>) {
    let mut writer = Writer::new(&shared);
    let mut attempts = Attempts::new(if shared.master.is_some() { "reads of a replica" } else { "requests" });
    let mut patience = FIRST_PATIENCE;
    loop {
        let connect = attempts.connect(&mut place, |address| connect_with_scripts(address, &shared.manner));
        let connected = refuse_until(&shared, &mut work, patience, connect).await.flatten();
        let Some(Taught { connection, scripts, clock_ahead }) = connected else { return };
        shared.compare_clocks(&place, clock_ahead);
        patience = Duration::ZERO;
        health.set_up(true);
        let mut link = Link::new(&shared, &mut writer, scripts);
        let ended = link.serve(connection, &mut place, &mut work).await;
        health.set_up(false);
        link.fail_all().await;
        match ended {
            Ended::Unneeded => return,
            Ended::Broken(reason) => attempts.broke(&place, reason),
        }
    }
}

/// Waits for `connect`, and after `patience` refuses what is asked meanwhile. `None`: nobody asks any more.
async fn refuse_until<T>(
    shared: &Shared,
    work: &mut mpsc::Receiver<Work>,
    patience: Duration,
    connect: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(connect);
    if let Ok(connected) = timeout(patience, &mut connect).await {
        return Some(connected);
    }
    loop {
        tokio::select! {
            connected = &mut connect => return Some(connected),
            next = work.recv() => match next? {
                Work::Asked(asked) => shared.refuse(asked).await,
                Work::Send { .. } => (),
            },
        }
    }
}

enum Ended {
    Unneeded,
    Broken(String),
}

/// A connection, and what is under way on it.
///
/// Invariants: `pending` has an entry for each reply that is still to come, in their order; the requests of the first
/// `given_up` of them were answered already, since their time was up.
struct Link<'a> {
    shared: &'a Shared,
    writer: &'a mut Writer,
    scripts: Scripts,
    output: Commands,
    needs_flush: bool,
    input: BytesMut,
    pending: VecDeque<Option<Asked>>,
    given_up: usize,
    /// Nothing has come since then, though something is under way.
    quiet_since: Instant,
    /// A request's time was up, and nothing came since: others would fare no better.
    is_silent: bool,
    /// When the log was last told of something that the server refused.
    complained: Option<Instant>,
}

impl<'a> Link<'a> {
    fn new(shared: &'a Shared, writer: &'a mut Writer, scripts: Scripts) -> Link<'a> {
        Link {
            shared,
            writer,
            scripts,
            output: Commands::default(),
            needs_flush: false,
            input: BytesMut::new(),
            pending: VecDeque::new(),
            given_up: 0,
            quiet_since: Instant::now(),
            is_silent: false,
            complained: None,
        }
    }

    async fn serve(&mut self, connection: Connection, place: &mut Place, work: &mut mpsc::Receiver<Work>) -> Ended {
        let (mut reader, mut writer) = split(connection.io);
        let mut batch = Vec::with_capacity(REDIS_BATCH_MAX);
        let mut look = interval(REDIS_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What is asked of a silent server is refused, and must not wait for room.
            let has_room = self.is_silent
                || self.pending.len() < REDIS_UNDER_WAY_MAX && self.output.len() < REDIS_OUTPUT_BYTES_MAX;
            let has_output = !self.output.is_empty() || self.needs_flush;
            let done = tokio::select! {
                done = self.pump(&mut reader, &mut writer, has_output) => done,
                count = work.recv_many(&mut batch, REDIS_BATCH_MAX), if has_room => match count {
                    0 => Err(Ended::Unneeded),
                    _ => Ok(Step::Asked),
                },
                _ = look.tick() => Ok(Step::Look),
            };
            let done = match done {
                Err(ended) => Err(ended),
                Ok(Step::Asked) => {
                    self.begin_all(&mut batch).await;
                    Ok(())
                }
                Ok(Step::Heard) => self.take_replies().await,
                Ok(Step::Look) => self.look(place).await,
                Ok(Step::Written) => Ok(()),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Reads some or writes some, whichever goes.
    async fn pump(
        &mut self,
        reader: &mut ReadHalf<Box<dyn Io>>,
        writer: &mut WriteHalf<Box<dyn Io>>,
        has_output: bool,
    ) -> Result<Step, Ended> {
        tokio::select! {
            read = reader.read_buf(&mut self.input) => match read {
                Ok(0) => Err(Ended::Broken("the server closed it".to_owned())),
                Ok(_) => Ok(Step::Heard),
                Err(error) => Err(Ended::Broken(error.to_string())),
            },
            written = write_some(writer, &mut self.output, &mut self.needs_flush), if has_output => match written {
                Ok(()) => Ok(Step::Written),
                Err(error) => Err(Ended::Broken(error.to_string())),
            },
        }
    }

    async fn begin_all(&mut self, batch: &mut Vec<Work>) {
        for work in batch.drain(..) {
            match work {
                Work::Asked(asked) if self.is_silent || self.shared.end_of(&asked) <= Instant::now() => {
                    self.shared.refuse(asked).await;
                }
                Work::Asked(asked) => self.begin(asked),
                Work::Send { topic, message } => {
                    self.output.command(&[b"PUBLISH", topic.as_bytes(), &message]);
                    self.expect(1, None);
                }
            }
        }
    }

    fn begin(&mut self, asked: Asked) {
        if asked.is_asking {
            self.output.command(&[b"ASKING"]);
            self.expect(1, None);
        }
        let Request { channel, operation, .. } = &asked.request;
        let replies = self.writer.write(&mut self.output, &self.scripts, channel.as_str(), operation);
        self.expect(replies, Some(asked));
    }

    /// So many replies are to come, of which the last one is the answer.
    fn expect(&mut self, replies: usize, asked: Option<Asked>) {
        if self.pending.is_empty() {
            self.quiet_since = Instant::now();
        }
        self.pending.extend((1..replies).map(|_| None));
        self.pending.extend((replies > 0).then_some(asked));
    }

    async fn take_replies(&mut self) -> Result<(), Ended> {
        self.quiet_since = Instant::now();
        self.is_silent = false;
        loop {
            let reply = resp::next_reply(&mut self.input).map_err(|_| broken("what it says is no RESP"))?;
            let Some(reply) = reply else { break };
            let asked = self.pending.pop_front().ok_or_else(|| broken("it answers what was not asked"))?;
            self.given_up = self.given_up.saturating_sub(1);
            match (asked, reply) {
                (asked, Reply::Error(words)) => self.take_error(asked, &words).await?,
                (Some(asked), reply) => self.answer(asked, &reply).await,
                (None, _) => (),
            }
        }
        // A long reply is looked at anew each time that more of it came: so as much as half of it may come at once.
        self.input.reserve(READ_BYTES.max(self.input.len()));
        Ok(())
    }

    async fn answer(&mut self, asked: Asked, reply: &Reply) {
        if self.shared.master.is_some() {
            if *reply == Reply::Nil {
                return self.shared.refuse(asked).await;
            }
            self.shared.metrics().add(EngineCounter::ReplicaReads, 1);
        }
        let Request { id, operation, channel, .. } = &asked.request;
        if operation.is_answered() {
            let outcome = answer::outcome(operation, reply, self.shared.metrics());
            if let Ok(Outcome::Published(Some(position))) = &outcome {
                self.writer.known.learn(channel, *position);
            }
            self.shared.outlet.done(asked.from, *id, outcome).await;
        }
    }

    async fn take_error(&mut self, asked: Option<Asked>, words: &[u8]) -> Result<(), Ended> {
        let words = String::from_utf8_lossy(words);
        if UNUSABLE.iter().any(|code| words.starts_with(code)) {
            if let Some(asked) = asked {
                self.shared.refuse(asked).await;
            }
            return Err(broken(&words));
        }
        let Some(asked) = asked else { return Ok(()) };
        let asked = match (&self.shared.returns, Redirection::parse(&words)) {
            (Some(returns), Some(to)) => match returns.send(Returned::Asked { asked, to }).await {
                Ok(()) => return Ok(()),
                Err(_) => return Err(Ended::Unneeded),
            },
            _ => asked,
        };
        self.complain(&asked, &words);
        self.shared.refuse(asked).await;
        Ok(())
    }

    /// Says in the log why something was refused, but not each time.
    fn complain(&mut self, asked: &Asked, words: &str) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            let channel = &asked.request.channel;
            match self.shared.master {
                Some(_) => tracing::warn!(%channel, reason = words, "a replica refused to be read: asking its master"),
                None => tracing::warn!(%channel, reason = words, "Redis refused a request (100)"),
            }
        }
    }

    /// Answers requests whose time is up, and finds out whether the server is any good still.
    async fn look(&mut self, place: &mut Place) -> Result<(), Ended> {
        if place.has_changed().unwrap_or(true) {
            return Err(broken("another server has its place"));
        }
        let now = Instant::now();
        while let Some(late) = self.pending.get_mut(self.given_up) {
            if late.as_ref().is_some_and(|asked| self.shared.end_of(asked) > now) {
                break;
            }
            if let Some(asked) = late.take() {
                self.is_silent = true;
                self.shared.refuse(asked).await;
            }
            self.given_up += 1;
        }
        match !self.pending.is_empty() && now.duration_since(self.quiet_since) > self.shared.io_timeout {
            true => Err(broken("the server says nothing")),
            false => Ok(()),
        }
    }

    async fn fail_all(&mut self) {
        for asked in self.pending.drain(..).flatten() {
            self.shared.refuse(asked).await;
        }
    }
}

enum Step {
    Asked,
    Heard,
    Written,
    Look,
}

fn broken(reason: &str) -> Ended {
    Ended::Broken(reason.to_owned())
}

/// Writes as much as goes. What TLS holds back is flushed once all is written.
pub async fn write_some(
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut Commands,
    needs_flush: &mut bool,
) -> std::io::Result<()> {
    if !output.is_empty() {
        writer.write_buf(output).await?;
        *needs_flush = true;
    }
    if output.is_empty() {
        writer.flush().await?;
        *needs_flush = false;
    }
    Ok(())
}

/// Errors after which another connection is needed: to another server, or to teach it the scripts anew.
const UNUSABLE: &[&str] = &["READONLY", "NOSCRIPT", "MASTERDOWN", "LOADING", "NOAUTH"];

/// A server that is full refuses each publish.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How long what is asked first waits for the first connection: a server that just joined its cluster is asked at once.
pub const FIRST_PATIENCE: Duration = Duration::from_millis(200);

/// Read at a time. Chosen: some hundred replies.
pub const READ_BYTES: usize = 32 * 1024;
