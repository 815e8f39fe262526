//! The turn: take in what is ready, let the shard decide, write each dirty socket once.
//!
//! A turn is a plain function, and what drives it is the very future that the thread's `block_on`
//! runs: a panic in it reaches the thread, while the runtime would swallow that of a task.

mod reading;
mod writing;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;

use crate::lane::{Ports, TrayReceiver};
use crate::limits;
use crate::model::{ConnectionId, Now, ShardId};
use crate::shard::{LaneMessage, Shard, TrayMessage};
use crate::telemetry::{Gauge, ShardMetrics, Stage};

use super::door::Arrival;
use super::poller::Poller;
use super::ring::{Outcome, Ring};
use super::sockets::Sockets;
use super::thread::{JobSink, RequestSink};
use super::tls::{Buffers, Ration};

/// One shard, and all that reaches it or leaves it. Put together in `thread.rs`.
pub(super) struct EventLoop {
    pub shard: Shard,
    pub poller: Poller,
    pub sockets: Sockets,
    /// Sends the frames of many connections at once; `None`: each is a system call.
    pub ring: Option<Ring>,
    /// The connections that are written next, and what became of their sends; empty between two writes.
    pub batch: Vec<ConnectionId>,
    pub outcomes: Vec<Outcome>,
    /// The only read buffer, `READ_SCRATCH_BYTES` long.
    pub scratch: Box<[u8]>,
    /// What TLS needs besides.
    pub tls_buffers: Buffers,
    /// What handshakes may take between two turns.
    pub ration: Rc<Ration>,
    pub arriving: mpsc::Receiver<Arrival>,
    /// The arrival that ended a sleep.
    pub arrived: Option<Arrival>,
    pub ports: Ports<LaneMessage>,
    pub tray: TrayReceiver<TrayMessage>,
    pub jobs: JobSink,
    pub requests: RequestSink,
    pub metrics: Arc<ShardMetrics>,
    /// Zero of monotonic time.
    pub start: Instant,
    /// Of each kind (openings, reads) at most this many in one turn, and bytes of work.
    pub sends_max: usize,
    pub bytes_max: usize,
    /// Told when the node drains; accept and door listen.
    pub draining: watch::Sender<bool>,
    /// Told when memory is above its limit, and when it is below again; the door listens.
    pub full: watch::Sender<bool>,
    /// Called once, when a draining shard has no connection left, neither here nor in the door.
    pub drained: Option<Box<dyn FnOnce() + Send>>,
    pub stopping: bool,
    /// When the stage before the current one ended.
    pub lapped_at: Duration,
    /// When the last turn ended, if the next one follows without a sleep.
    pub turned_at: Option<Duration>,
}

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Something was cut by its bound: another turn, without waiting.
    Turn,
    /// All is done.
    Sleep,
    /// All but what waits for room in a lane or in the workers' queue, where nobody rings.
    Nap,
    Stop,
}

impl EventLoop {
    /// Turns until it is told to stop.
    pub async fn run(mut self) {
        loop {
            match self.turn() {
                Next::Turn => yield_now().await,
                Next::Sleep => self.sleep(limits::HEARTBEAT_INTERVAL).await,
                Next::Nap => self.sleep(limits::ROOM_RETRY).await,
                Next::Stop => return,
            }
        }
    }

    fn turn(&mut self) -> Next {
        let now = self.now();
        self.begin_laps(now);

        self.take_events();
        let mut cut = self.take_arrivals(now);
        self.read_sockets(now);
        self.read_ended(now);
        self.lap(Stage::Read);
        cut |= self.take_lane_messages(now);
        cut |= self.take_tray_messages(now);
        self.lap(Stage::Messages);
        if let Some(late) = now.monotonic.checked_sub(self.shard.next_timeout()) {
            self.metrics.observe_lag(late);
            cut |= self.shard.timers(now);
        }
        self.lap(Stage::Timers);
        cut |= self.shard.walk(now);
        self.lap(Stage::FanOut);

        cut |= self.write_sockets(now);
        self.lap(Stage::Write);
        cut |= self.close_sockets();
        self.send_lane_messages();
        let no_room = self.submit_jobs() | self.submit_requests() | self.shard.has_outgoing();
        while let Some(id) = self.shard.next_resumed() {
            self.sockets.read_later(id);
        }
        cut |= self.sockets.has_to_read() || self.shard.wants_walk();
        cut |= self.ration.renew();
        self.lap(Stage::Finish);

        self.report(now);
        self.turned_at = cut.then_some(self.lapped_at);
        if self.stopping {
            Next::Stop
        } else if cut {
            Next::Turn
        } else if no_room {
            Next::Nap
        } else {
            Next::Sleep
        }
    }

    /// Waits until something comes or is due, at most until the next multiple of `step`.
    async fn sleep(&mut self, step: Duration) {
        let now = self.start.elapsed();
        let deadline = self.shard.next_timeout().min(next_multiple(step, now));
        let mut slept = false;
        if deadline > now {
            self.poller.wake_at(deadline, now).expect(POLL_SET_WORKS);
            self.ports.doorbell().prepare_sleep();
            if self.ports.is_empty() && self.tray.is_empty() {
                poll_fn(|context| {
                    let mut up =
                        self.poller.poll_events(context).map(|polled| polled.expect(POLL_SET_WORKS)).is_ready();
                    if let Poll::Ready(arrived) = self.arriving.poll_recv(context) {
                        // The end of the arrivals is of interest once, when it is the last to come.
                        up |= arrived.is_some() || (self.drained.is_some() && self.shard.connections() == 0);
                        self.arrived = arrived;
                    }
                    up |= self.ration.poll_used_up(context);
                    slept |= !up;
                    if up { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            self.ports.doorbell().awake();
        }
        if !slept {
            // The thread's tasks (accept, door) have their turn between any two of ours.
            yield_now().await;
        }
    }

    // --- taking in ---

    /// Opens connections whose upgrade is done. Returns whether there are more.
    fn take_arrivals(&mut self, now: Now) -> bool {
        for _ in 0..self.sends_max {
            let Some(arrival) = self.arrived.take().or_else(|| self.arriving.try_recv().ok()) else { return false };
            let mut socket = arrival.socket;
            let id = self.shard.opened(now, arrival.opening);
            self.shard.vouched_for(id, arrival.user);
            let watched = self.poller.watch(&mut socket, id.as_index());
            self.sockets.insert(id, socket, arrival.place);
            if watched.is_err() {
                // The kernel has no memory for one more; a socket that is not watched is dead.
                self.lose(now, id);
                continue;
            }
            if !arrival.read_ahead.is_empty() {
                self.scratch[..arrival.read_ahead.len()].copy_from_slice(&arrival.read_ahead);
                self.receive(now, id, arrival.read_ahead.len());
            }
        }
        !self.arriving.is_empty()
    }

    /// Returns whether a lane holds more than one turn takes.
    fn take_lane_messages(&mut self, now: Now) -> bool {
        let mut cut = false;
        for from in self.ports.others() {
            let mut room = limits::TURN_MESSAGES_MAX;
            let mut work = 0;
            while room > 0
                && work < self.bytes_max
                && let Some(message) = self.ports.pop(from)
            {
                let from = shard_id(from);
                match message.continues() {
                    Some(id) => handle_for(&mut self.shard, now, id, |shard| shard.lane_message(now, from, message)),
                    None => self.shard.lane_message(now, from, message),
                }
                room -= 1;
                work += self.shard.take_work();
            }
            cut |= room == 0 || work >= self.bytes_max;
        }
        cut
    }

    /// Returns whether the tray holds more than one turn takes.
    fn take_tray_messages(&mut self, now: Now) -> bool {
        let mut work = 0;
        for _ in 0..limits::TURN_MESSAGES_MAX {
            if work >= self.bytes_max {
                break;
            }
            match self.tray.pop() {
                None => return false,
                Some(TrayMessage::Stop) => self.stopping = true,
                Some(message) => {
                    if let TrayMessage::Drain { .. } = message {
                        self.draining.send_replace(true);
                    }
                    if let TrayMessage::Memory(pressure) = message {
                        self.full.send_replace(pressure.is_high);
                    }
                    match self.shard.continued_by(&message) {
                        Some(id) => handle_for(&mut self.shard, now, id, |shard| shard.tray_message(now, message)),
                        None => self.shard.tray_message(now, message),
                    }
                }
            }
            work += self.shard.take_work();
        }
        true
    }

    // --- doing ---

    /// Returns whether more sockets wait to be closed.
    fn close_sockets(&mut self) -> bool {
        for _ in 0..limits::ENDS_PER_TURN {
            let Some(id) = self.shard.next_finished() else { return false };
            // Closing takes the socket out of the poll set.
            if let Some(socket) = self.sockets.remove(id) {
                socket.end();
            }
        }
        true
    }

    /// Moves what the shard has for the others into their lanes, as far as there is room, and rings
    /// once for all of it.
    fn send_lane_messages(&mut self) {
        for to in self.ports.others() {
            let mut sent = false;
            while !self.ports.is_full(to)
                && let Some(message) = self.shard.next_outgoing(shard_id(to))
            {
                let pushed = self.ports.push(to, message);
                assert!(pushed.is_ok(), "a lane that is not full takes a message");
                sent = true;
            }
            if sent {
                self.ports.ring(to);
            }
        }
    }

    /// Returns whether the workers' queue is full.
    fn submit_jobs(&mut self) -> bool {
        while let Some(job) = self.shard.next_job() {
            if let Err(job) = (self.jobs)(job) {
                self.shard.return_job(job);
                return true;
            }
        }
        false
    }

    /// Wakes the engines once for all of it. Returns whether the queue of one is full.
    fn submit_requests(&mut self) -> bool {
        let (mut submitted, mut is_full) = (false, false);
        while !is_full && let Some(request) = self.shard.next_request() {
            match (self.requests.submit)(request) {
                Ok(()) => submitted = true,
                Err(request) => {
                    self.shard.return_request(request);
                    is_full = true;
                }
            }
        }
        if submitted {
            (self.requests.wake)();
        }
        is_full
    }

    // --- time and truth ---

    fn now(&self) -> Now {
        // A clock before 1970 makes tokens look young, which their expiry check survives.
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: self.start.elapsed(), unix_millis: wall.as_millis() as i64 }
    }

    fn begin_laps(&mut self, now: Now) {
        if let Some(turned_at) = self.turned_at.take() {
            self.metrics.observe_gap(now.monotonic.saturating_sub(turned_at));
        }
        self.lapped_at = now.monotonic;
    }

    /// A stage of the turn is over.
    fn lap(&mut self, stage: Stage) {
        let now = self.start.elapsed();
        self.metrics.observe_stage(stage, now.saturating_sub(self.lapped_at));
        self.lapped_at = now;
    }

    fn report(&mut self, now: Now) {
        let end = self.lapped_at;
        self.metrics.observe_turn(end.saturating_sub(now.monotonic));
        self.metrics.set(Gauge::HeartbeatMs, end.as_millis() as u64);
        // The arrivals end when nobody accepts any more and the last guest has left the door, and
        // that is only ever so in a draining node.
        if self.shard.connections() == 0
            && self.arriving.is_closed()
            && let Some(drained) = self.drained.take()
        {
            drained();
        }
    }
}

/// Lets the shard do something for one connection: bytes that came, or commands that waited for an
/// answer or a job. Whatever goes wrong there is this connection's alone.
fn handle_for(shard: &mut Shard, now: Now, id: ConnectionId, handle: impl FnOnce(&mut Shard)) {
    // Unwind safe: handlers decide first and apply after, and the connection is abandoned.
    if catch_unwind(AssertUnwindSafe(|| handle(shard))).is_err() {
        shard.abandon(now, id);
    }
}

/// The next multiple of `step` after `now`. Sleeps that end on a grid set the alarm once for each
/// of its lines instead of once for each sleep.
fn next_multiple(step: Duration, now: Duration) -> Duration {
    let step = step.as_nanos();
    Duration::from_nanos_u128((now.as_nanos() / step + 1) * step)
}

fn shard_id(index: usize) -> ShardId {
    ShardId(u16::try_from(index).expect("shards are counted in 16 bits"))
}

/// Polling fails only for reasons that are bugs (a closed or foreign descriptor).
const POLL_SET_WORKS: &str = "the shard's poll set works";
