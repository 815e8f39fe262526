//! What happens by itself: pings, time-outs, expiry, position checks, presence.

use std::time::Duration;

use super::Shard;
use super::connection::{Clock, NO_TICK, Phase};
use super::events::LaneMessage;
use super::outgoing::Class;
use super::timers::Appointment;
use crate::limits;
use crate::model::{DisconnectCode, Now, UnsubscribeCode};
use crate::telemetry::Gauge;

impl Shard {
    /// Does what is due by `now`. Returns whether more is due than one turn's share.
    pub fn timers(&mut self, now: Now) -> bool {
        self.tell_time(now);
        let now = self.time.now();
        self.drain_some();
        let mut left = limits::TIMERS_PER_TURN;
        while left > 0
            && let Some((slot, tick)) = self.wheel.pop(now)
        {
            left -= 1;
            self.connection_due(slot, tick);
        }
        while left > 0
            && let Some(appointment) = self.agenda.pop(now)
        {
            left -= 1;
            self.keep(appointment);
        }
        while left > 0
            && let Some((slot, channel)) = self.terms.find_ended(now)
        {
            left -= 1;
            self.subscription_due(slot, channel);
        }
        while left > 0 && self.feed_due(now) {
            left -= 1;
        }
        left -= self.memory.expire(now, left);
        self.flush_replies();
        left == 0
    }

    /// Tells what is held by now.
    pub(super) fn set_gauges(&self) {
        self.metrics.set(Gauge::OutboxBytes, self.outbox_bytes as u64);
        self.metrics.set(Gauge::LaneDepth, self.outgoing.len() as u64);
        self.metrics.set(Gauge::StreamBytes, self.memory.bytes() as u64);
        self.metrics.set(Gauge::IdempotencyKeys, self.memory.results.count() as u64);
        self.metrics.set(Gauge::JobsHeld, self.jobs.len() as u64);
        self.metrics.set(Gauge::LineBytes, self.lines.bytes() as u64);
        self.metrics.set(Gauge::EngineRequests, self.requests.count() as u64);
    }

    fn connection_due(&mut self, slot: u32, tick: u64) {
        let now = self.time.now();
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.tick != tick || connection.is_finished {
            return;
        }
        connection.tick = NO_TICK;
        if connection.due() > now {
            return self.remind(slot);
        }
        if now < self.time.lenient_until() && connection.is_open() && connection.clock != Clock::Ping {
            connection.tick = self.wheel.insert(slot, self.time.lenient_until());
            return;
        }
        // With a job pending it may be that its new token is being verified.
        if connection.expires <= now && connection.is_open() && !connection.has_job() {
            return self.disconnect(slot, DisconnectCode::Expired);
        }
        if connection.is_unread() && !connection.waits_for_its_reader() && connection.clock != Clock::Ping {
            // What it is waited for can't be seen; the time is made up for when it is read again.
            connection.tick = self.wheel.insert(slot, now + limits::UNREAD_LOOK);
            return;
        }
        match (connection.clock, connection.phase) {
            (Clock::Drop, _) => self.finish(slot),
            (Clock::Stale, Phase::Fresh) => self.disconnect(slot, DisconnectCode::Stale),
            (Clock::Ping, Phase::Ready) => self.ping_due(slot),
            (Clock::Pong, Phase::Ready) => self.disconnect(slot, DisconnectCode::NoPong),
            (Clock::Stale | Clock::Ping | Clock::Pong, _) => {}
        }
    }

    /// The time to refresh a subscription is over.
    fn subscription_due(&mut self, slot: u32, channel: u32) {
        let now = self.time.now();
        let subscription = self.connections.at(slot).and_then(|connection| connection.find_subscription(channel));
        let (Some(subscription), Some(local)) = (subscription.copied(), self.channels.at(channel)) else {
            return drop(self.terms.remove(slot, channel));
        };
        let name = local.name.clone();
        let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_open()) else {
            return self.terms.set_end(slot, channel, Duration::MAX);
        };
        // With a job pending it may be that its new token is being verified.
        if now < self.time.lenient_until() || connection.has_job() {
            return self.terms.set_end(slot, channel, self.time.lenient_until().max(now + limits::UNREAD_LOOK));
        }
        if subscription.is_server_side() {
            return self.disconnect(slot, DisconnectCode::SubscriptionExpired);
        }
        self.end_subscription(slot, channel, &name, UnsubscribeCode::Expired);
    }

    fn ping_due(&mut self, slot: u32) {
        self.ping(slot);
        let now = self.time.now();
        let (clock, deadline) = match self.options.pong_timeout.is_zero() {
            true => (Clock::Ping, now + self.options.ping_interval),
            false => (Clock::Pong, now + self.options.pong_timeout),
        };
        if let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_open()) {
            connection.clock = clock;
            connection.deadline = deadline;
            self.remind(slot);
        }
    }

    fn keep(&mut self, appointment: Appointment) {
        let now = self.time.now();
        match appointment {
            Appointment::CheckPosition { channel: slot, generation } => {
                let Some(channel) = self.channels.at_generation(slot, generation) else { return };
                channel.has_check = channel.positioned > 0;
                if !channel.has_check {
                    return;
                }
                let (home, name) = (channel.home, channel.name.clone());
                self.agenda.insert(now + self.options.position_check_delay, appointment);
                if home == self.id {
                    if let Some(position) = self.checked_position_of(&name) {
                        self.position_told(name.as_str(), position);
                    }
                } else if self.outgoing.has_room(home, Class::Delivery) {
                    // Where there is no room now, the next check will find some.
                    self.outgoing.push(home, LaneMessage::CheckPosition { channel: name });
                }
            }
            Appointment::KeepAlive { channel: slot, generation } => {
                let Some(channel) = self.channels.at_generation(slot, generation) else { return };
                let (home, name) = (channel.home, channel.name.clone());
                let mut again = now + self.options.presence_update_interval;
                if home == self.id {
                    self.home_keep_alive(home, &name);
                } else if self.outgoing.has_room(home, Class::Delivery) {
                    self.outgoing.push(home, LaneMessage::KeepAlive { channel: name });
                } else {
                    // The home forgets a shard that is silent for long.
                    again = now + limits::HEARTBEAT_INTERVAL;
                }
                self.agenda.insert(again, appointment);
            }
        }
    }

    /// Puts the connection on the wheel for what it has due.
    pub(super) fn remind(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        let due = connection.due();
        if due != Duration::MAX {
            connection.tick = self.wheel.insert(slot, due);
        }
    }

    /// Gives the connection something to do at `deadline`.
    pub(super) fn set_clock(&mut self, slot: u32, clock: Clock, deadline: Duration) {
        let Some(connection) = self.connections.at(slot) else { return };
        let was_due = connection.due();
        connection.clock = clock;
        connection.deadline = deadline;
        // A later deadline is found when the queued one comes; only an earlier one can't wait.
        if connection.due() < was_due || connection.tick == NO_TICK {
            self.remind(slot);
        }
    }
}
