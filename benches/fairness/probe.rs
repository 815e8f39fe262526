//! The small room: when its publications were due, and when its members were written to.

use std::time::Duration;

use fanfare::model::ConnectionId;

use crate::hub::{Event, Hub, clock};
use crate::support::{masked_text, publish_command};

const MEMBERS: usize = 10;
const CHANNEL: &str = "small";
const INTERVAL: Duration = Duration::from_millis(10);

/// Clients of one room that is published to at a steady rate, come what may.
pub struct Probe {
    publisher: ConnectionId,
    members: Vec<ConnectionId>,
    command: Vec<u8>,
    /// Bytes of one publication's frame; 0 until the first was written.
    frame_bytes: usize,
    /// When each publication was due, and the turn before it came.
    due: Vec<(Duration, u64)>,
    /// The publication that each member hears next.
    next: Vec<usize>,
    latencies: Vec<Duration>,
    turns: Vec<u64>,
}

/// Delivery latencies of the small room.
pub struct Latencies {
    pub p50: Duration,
    pub p99: Duration,
    pub most: Duration,
    /// Turns until a delivery was written, the one that took it in included.
    pub turns_p99: u64,
}

impl Probe {
    /// Joins the small room, and sees how long its frames are.
    pub fn join(hub: &mut Hub) -> Probe {
        let mut probe = Probe {
            publisher: hub.connect(None),
            members: (0..MEMBERS).map(|_| hub.connect(Some(CHANNEL))).collect(),
            command: masked_text(&publish_command(CHANNEL)),
            frame_bytes: 0,
            due: Vec::new(),
            next: vec![0; MEMBERS],
            latencies: Vec::new(),
            turns: Vec::new(),
        };
        probe.publish(hub, clock());
        while !hub.is_idle() {
            hub.turn(&mut probe);
        }
        assert_eq!(probe.latencies.len(), MEMBERS, "every member hears the first publication");
        probe.latencies.clear();
        probe.turns.clear();
        probe
    }

    /// Publishes what is due. Returns when the next one is.
    pub fn publish_due(&mut self, hub: &mut Hub, began: Duration) -> Duration {
        let next = |probe: &Probe| began + INTERVAL * u32::try_from(probe.due.len()).expect("a short run");
        while next(self) <= clock() {
            let due = next(self);
            self.publish(hub, due);
        }
        next(self)
    }

    fn publish(&mut self, hub: &mut Hub, due: Duration) {
        hub.push_event(self.publisher, Event::Bytes(self.command.clone()));
        self.due.push((due, hub.turns));
    }

    /// A connection was written to; if it is a member of the small room, it heard something.
    pub fn wrote(&mut self, id: ConnectionId, bytes: usize, turn: u64) {
        let Some(member) = self.members.iter().position(|member| *member == id) else { return };
        if self.frame_bytes == 0 {
            self.frame_bytes = bytes;
        }
        // Publications that came together are joined: all but one save their header, for a line break.
        let count = (bytes + self.frame_bytes / 2) / self.frame_bytes;
        let saved = count * self.frame_bytes - bytes;
        assert!(saved <= 4 * count, "members of the small room hear nothing else");
        for _ in 0..count {
            let (due, before) = self.due[self.next[member]];
            self.next[member] += 1;
            self.latencies.push(clock() - due);
            self.turns.push(turn.saturating_sub(before));
        }
    }

    /// Whether every member heard everything.
    pub fn is_done(&self) -> bool {
        self.next.iter().all(|next| *next == self.due.len())
    }

    pub fn latencies(mut self) -> Latencies {
        self.latencies.sort();
        self.turns.sort();
        let at = |share: f64| (self.latencies.len() as f64 * share) as usize;
        Latencies {
            p50: self.latencies[at(0.5)],
            p99: self.latencies[at(0.99)],
            most: *self.latencies.last().expect("the small room was published to"),
            turns_p99: self.turns[at(0.99)],
        }
    }
}
