//! Rooms that are published to by the clock, and how soon their members have it.
//!
//! Open loop: a publication is due at its time, whether the server is done with those before or not,
//! and its latency counts from when it was due. So a server that stalls can't hide it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::dialect::{Dialect, Role};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::ledger::{Faults, Ledger, Receipt};
use crate::publisher::FIRST_PUBLISH_ID;
use crate::report::Percentiles;
use crate::server_options::ServerOptions;
use crate::stamp::{self, Filling, StampReader};

/// Publications of a room whose time is remembered. Chosen: seconds of any rate that is measured.
const REMEMBERED_MAX: usize = 16_384;

/// What is published, where and when.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The rooms' names begin with it; a single room's is just this.
    pub channel: String,
    pub rooms: usize,
    pub members_of_room: usize,
    pub payload_bytes: usize,
    /// Publications a second, of all rooms in turn.
    pub rate: f64,
    /// So many publications, then a pause until every member has them.
    pub burst: Option<u64>,
}

impl Plan {
    /// The name of a room.
    pub fn channel_of(&self, room: usize) -> String {
        match self.rooms {
            1 => self.channel.clone(),
            _ => format!("{}-{room}", self.channel),
        }
    }
}

/// How long a burst waits after the one before.
const BURST_PAUSE: Duration = Duration::from_millis(10);

pub struct Traffic {
    plan: Plan,
    dialect: Dialect,
    rooms: Vec<Room>,
    first_member: usize,
    ledger: Ledger,
    stamp: StampReader,
    latency_us: Histogram<u64>,
    next_due: Instant,
    published_of_burst: u64,
    /// Of all time; the next publication belongs to room `published mod rooms`.
    published: u64,
    received: u64,
    /// Both at the start of the phase.
    published_before: u64,
    received_before: u64,
    pub line_bytes: usize,
}

#[derive(Debug)]
struct Room {
    channel: String,
    publisher: usize,
    published: u64,
    /// When the last publications were due, the newest last.
    due: VecDeque<Instant>,
}

impl Traffic {
    /// Opens the members, room by room, then a publisher for each room.
    pub fn open(plan: Plan, server: &ServerOptions, fleet: &mut Fleet) -> Result<Traffic, Failure> {
        let channel = |room: usize| plan.channel_of(room);
        let members = plan.rooms * plan.members_of_room;
        let first_member =
            server.open(fleet, members, Role::Member, |number| channel(number / plan.members_of_room))?.start;
        let publishers = server.open(fleet, plan.rooms, Role::Publisher, channel)?;
        let rooms = publishers.enumerate().map(|(room, publisher)| Room {
            channel: channel(room),
            publisher,
            published: 0,
            due: VecDeque::new(),
        });
        Ok(Traffic {
            dialect: server.dialect,
            rooms: rooms.collect(),
            first_member,
            ledger: Ledger::new(members),
            stamp: StampReader::default(),
            latency_us: Histogram::new_with_max(60_000_000, 3).expect("constant bounds are valid"),
            next_due: Instant::now(),
            published_of_burst: 0,
            published: 0,
            received: 0,
            published_before: 0,
            received_before: 0,
            line_bytes: 0,
            plan,
        })
    }

    /// Forgets the latencies so far and begins to count anew; what was due meanwhile is not.
    pub fn begin_phase(&mut self) {
        self.latency_us.reset();
        self.next_due = Instant::now();
        (self.published_before, self.received_before) = (self.published, self.received);
    }

    /// Publishes what is due.
    pub fn publish_due(&mut self, fleet: &mut Fleet) -> Result<(), Failure> {
        let interval = Duration::from_secs_f64(1.0 / self.plan.rate);
        let now = Instant::now();
        while self.next_due <= now {
            if self.plan.burst == Some(self.published_of_burst) {
                if self.is_complete() {
                    self.published_of_burst = 0;
                    self.next_due = now + BURST_PAUSE;
                }
                return Ok(());
            }
            self.publish(fleet)?;
            self.published_of_burst += 1;
            self.next_due += interval;
        }
        Ok(())
    }

    fn publish(&mut self, fleet: &mut Fleet) -> Result<(), Failure> {
        let room = (self.published % self.rooms.len() as u64) as usize;
        let room = &mut self.rooms[room];
        room.published += 1;
        room.due.push_back(self.next_due);
        if room.due.len() > REMEMBERED_MAX {
            room.due.pop_front();
        }
        self.published += 1;
        let data = stamp::payload(room.published, self.plan.payload_bytes, Filling::Plain);
        let mut frames = Vec::new();
        fleet.dialect().publish(&mut frames, FIRST_PUBLISH_ID + room.published, &room.channel, &data);
        fleet.send(room.publisher, &frames)
    }

    /// When the next publication is due; a while from now when a burst waits for its receipts.
    pub fn next_due(&self) -> Instant {
        match self.plan.burst == Some(self.published_of_burst) {
            true => Instant::now() + BURST_PAUSE,
            false => self.next_due,
        }
    }

    /// Whether link `number` is a member or a publisher of these rooms.
    pub fn owns(&self, number: usize) -> bool {
        number.wrapping_sub(self.first_member) < self.rooms.len() * (self.plan.members_of_room + 1)
    }

    /// Enters a line of one of its links into the books.
    pub fn receive(&mut self, number: usize, at: Instant, line: &[u8]) -> Result<(), Failure> {
        let Some(sequence) = self.stamp.read(line) else { return self.dialect.hear(line).map(drop) };
        let member = number - self.first_member;
        let room = self.rooms.get(member / self.plan.members_of_room);
        let room = room.filter(|room| (1..=room.published).contains(&sequence));
        let room = room.ok_or_else(|| {
            let what =
                format!("the server delivered publication {sequence} to connection {number}, where it does not belong");
            Failure::new(what)
        })?;
        self.line_bytes = line.len();
        if self.ledger.receive(member, sequence) == Receipt::Again {
            return Ok(());
        }
        self.received += 1;
        let age = (room.published - sequence) as usize;
        if let Some(index) = room.due.len().checked_sub(age + 1) {
            let latency = at.saturating_duration_since(room.due[index]);
            self.latency_us.saturating_record(latency.as_micros() as u64);
        }
        Ok(())
    }

    /// Whether every member has everything.
    pub fn is_complete(&self) -> bool {
        self.received == self.published * self.plan.members_of_room as u64
    }

    /// Publications since the phase began.
    pub fn publications(&self) -> u64 {
        self.published - self.published_before
    }

    /// Deliveries since the phase began.
    pub fn deliveries(&self) -> u64 {
        self.received - self.received_before
    }

    pub fn latency_us(&self) -> Percentiles {
        Percentiles::from(&self.latency_us)
    }

    /// Closes the books.
    pub fn close(self) -> Faults {
        let published: Vec<u64> = self.rooms.iter().map(|room| room.published).collect();
        self.ledger.close_each(|member| published[member / self.plan.members_of_room])
    }
}
