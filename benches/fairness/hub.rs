//! One shard turned as io turns it, with sinks for sockets: what a system call costs is spun away.
//!
//! Its clock is the CPU time of its thread, so that other programs of the machine do not show: an
//! hour of it is an hour of a core of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fanfare::io::Ready;
use fanfare::limits;
use fanfare::model::{ConnectionId, Format, Now, ShardId};
use fanfare::shard::{LaneMessage, Opening, Options, Shard, Speaks, TrayMessage};
use fanfare::telemetry::ShardMetrics;
use rustix::time::{ClockId, clock_gettime};

use crate::probe::Probe;
use crate::support::masked_text;

/// A send on loopback: 5 to 6 us (docs/performance.md); a close with what the kernel does besides:
/// half of the 12 to 16 us of an accept with its close; a read of a few bytes: chosen.
const SEND: Duration = Duration::from_micros(6);
const CLOSE: Duration = Duration::from_micros(8);
const READ: Duration = Duration::from_micros(2);

/// A shard, and what has come to it and was not taken in yet.
pub struct Hub {
    shard: Shard,
    sockets: Ready<(ConnectionId, Event)>,
    lane: VecDeque<LaneMessage>,
    tray: VecDeque<TrayMessage>,
    /// Whether anything is left to do, as far as the last turn saw.
    has_more: bool,
    pub turns: u64,
    pub longest_turn: Duration,
    /// The longest call of the shard: nothing else happens while it lasts.
    pub longest_call: (Duration, &'static str),
}

/// What a socket brings.
pub enum Event {
    Bytes(Vec<u8>),
    Lost,
    /// Nothing, but commands that came before wait for their turn.
    Yielded,
}

impl Hub {
    pub fn new(options: Options) -> Hub {
        Hub {
            shard: Shard::new(ShardId(0), Arc::new(options), Arc::new(ShardMetrics::default()), 0),
            sockets: Ready::default(),
            lane: VecDeque::new(),
            tray: VecDeque::new(),
            has_more: false,
            turns: 0,
            longest_turn: Duration::ZERO,
            longest_call: (Duration::ZERO, "-"),
        }
    }

    /// A connected client, subscribed to `channel` if there is one. Costs no time of a turn.
    pub fn connect(&mut self, channel: Option<&str>) -> ConnectionId {
        let id = self.shard.opened(now(), Opening { speaks: Speaks::Centrifugo(Format::CentrifugoJson), window: None });
        self.shard.received(now(), id, &mut masked_text(r#"{"id":1,"connect":{}}"#));
        if let Some(channel) = channel {
            self.shard.received(now(), id, &mut masked_text(&subscribe_command(channel)));
        }
        while let Some(dirty) = self.shard.next_dirty() {
            let bytes = self.shard.unsent(dirty).map(|frame| frame.len()).sum();
            self.shard.sent(now(), dirty, bytes);
        }
        id
    }

    /// From here on the figures count.
    pub fn begin(&mut self) {
        (self.turns, self.longest_turn, self.longest_call) = (0, Duration::ZERO, (Duration::ZERO, "-"));
    }

    pub fn push_event(&mut self, id: ConnectionId, event: Event) {
        match event {
            Event::Lost => self.sockets.push_ended((id, event)),
            Event::Bytes(_) | Event::Yielded => self.sockets.push((id, event)),
        }
    }

    pub fn push_lane(&mut self, message: LaneMessage) {
        self.lane.push_back(message);
    }

    pub fn push_tray(&mut self, message: TrayMessage) {
        self.tray.push_back(message);
    }

    /// Whether a turn would do nothing but look at the time.
    pub fn is_idle(&self) -> bool {
        !self.has_more && self.sockets.is_empty() && self.lane.is_empty() && self.tray.is_empty()
    }

    /// As `turn` in src/io/event_loop.rs, with the same bounds; what is written is told to `probe`.
    pub fn turn(&mut self, probe: &mut Probe) {
        let began = clock();
        let now = now();
        self.turns += 1;
        self.read(now);
        let mut work = 0;
        for _ in 0..limits::TURN_MESSAGES_MAX {
            if work >= limits::SLICE_BYTES_MAX {
                break;
            }
            if let Some(message) = self.lane.pop_front() {
                self.time("lane_message", |shard| shard.lane_message(now, OTHER, message));
            }
            if let Some(message) = self.tray.pop_front() {
                self.time("tray_message", |shard| shard.tray_message(now, message));
            }
            work += self.shard.take_work();
        }
        let mut more = false;
        if now.monotonic >= self.shard.next_timeout() {
            more |= self.time("timers", |shard| shard.timers(now));
        }
        more |= self.time("walk", |shard| shard.walk(now));
        more |= self.write(now, probe);
        more |= self.close();
        while let Some(id) = self.shard.next_resumed() {
            self.sockets.push_again((id, Event::Yielded));
        }
        self.has_more = more || self.shard.wants_walk();
        self.longest_turn = self.longest_turn.max(clock() - began);
    }

    fn read(&mut self, now: Now) {
        self.sockets.begin_turn();
        self.shard.take_work();
        let mut work = 0;
        for _ in 0..limits::SLICE_SENDS_MAX {
            if work >= limits::SLICE_BYTES_MAX {
                break;
            }
            let Some((id, event)) = self.sockets.pop() else { break };
            work += self.take_event(now, id, event);
        }
        for _ in 0..limits::ENDS_PER_TURN {
            let Some((id, event)) = self.sockets.pop_ended() else { break };
            self.take_event(now, id, event);
        }
    }

    /// Returns the work it was.
    fn take_event(&mut self, now: Now, id: ConnectionId, event: Event) -> usize {
        spin(READ);
        let bytes = match event {
            Event::Bytes(mut bytes) => {
                self.time("received", |shard| shard.received(now, id, &mut bytes));
                bytes.len()
            }
            Event::Lost => {
                self.time("lost", |shard| shard.lost(now, id));
                0
            }
            Event::Yielded => {
                self.time("go_on", |shard| shard.go_on(now, id));
                0
            }
        };
        bytes + self.shard.take_work()
    }

    fn write(&mut self, now: Now, probe: &mut Probe) -> bool {
        for _ in 0..2 * limits::SLICE_SENDS_MAX {
            let Some(id) = self.shard.next_dirty() else { return false };
            let bytes = self.shard.unsent(id).map(|frame| frame.len()).sum();
            spin(SEND);
            probe.wrote(id, bytes, self.turns);
            self.shard.sent(now, id, bytes);
        }
        true
    }

    fn close(&mut self) -> bool {
        for _ in 0..limits::ENDS_PER_TURN {
            if self.shard.next_finished().is_none() {
                return false;
            }
            spin(CLOSE);
        }
        true
    }

    fn time<T>(&mut self, what: &'static str, call: impl FnOnce(&mut Shard) -> T) -> T {
        let began = clock();
        let result = call(&mut self.shard);
        let took = clock() - began;
        if took > self.longest_call.0 {
            self.longest_call = (took, what);
        }
        result
    }
}

/// Where messages of the lane come from; nothing that is sent here is answered.
const OTHER: ShardId = ShardId(1);

pub fn subscribe_command(channel: &str) -> String {
    format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#)
}

/// CPU time of this thread.
pub fn clock() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn now() -> Now {
    Now { monotonic: clock(), unix_millis: 1_800_000_000_000 }
}

fn spin(time: Duration) {
    let until = clock() + time;
    while clock() < until {
        std::hint::spin_loop();
    }
}
