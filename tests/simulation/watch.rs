//! Bounds that hold at any time: what waits is little, and nobody waits long.

use fanfare::limits;
use fanfare::telemetry::{Counter, Gauge};

use super::client::{Link, LinkPhase, Reading};
use super::ledger::{Checked, Promise, violated};
use super::namespaces::CHANNELS;
use super::report::Worst;
use super::world::{CLIENTS, Event, MS, Micros, SECOND, World};

/// How long a client that is well may wait for a reply, or be behind another in a stream without
/// being told. Chosen: far above what a step, a lane and a network take here, and far below the
/// second after which an idle shard wakes by itself.
pub const REPLY_BOUND: Micros = 300 * MS;

/// What timers are late by at most: a tick of the wheel, and the network.
pub const TIMER_SLACK: Micros = 500 * MS;

const WATCH_INTERVAL: Micros = 100 * MS;

impl World {
    pub fn watch(&mut self) -> Checked {
        for client in 0..CLIENTS {
            if let Some(link) = &self.clients[client].link {
                self.watch_link(client, link)?;
            }
        }
        if self.api.oldest().is_some_and(|since| self.age(since) > REPLY_BOUND) {
            return violated(Promise::I5, "the API waits for an answer");
        }
        self.watch_shards()?;
        if !self.is_done {
            self.after(WATCH_INTERVAL, Event::Watch);
        }
        Ok(())
    }

    fn age(&self, since: Micros) -> Micros {
        self.patience().saturating_sub(since)
    }

    fn watch_link(&self, client: usize, link: &Link) -> Checked {
        let options = &self.plan.options;
        let late = |what: &str| violated(Promise::I5, format!("client {client} {what}"));
        let close_bound = limits::CLOSE_HANDSHAKE_TIMEOUT.as_micros() as Micros + SECOND;
        let unread_look = limits::UNREAD_LOOK.as_micros() as Micros;
        let ping_bound = (options.ping_interval.as_micros() as Micros) + TIMER_SLACK + unread_look;
        let pong_bound = ping_bound + options.pong_timeout.as_micros() as Micros + TIMER_SLACK + close_bound;
        if link.is_well {
            if let Some(asked) = link.asked.front().filter(|asked| self.age(asked.since) > REPLY_BOUND) {
                return late(&format!("waits for the reply to {}: {:?}", asked.id, asked.question));
            }
            if link.phase == LinkPhase::Ready && self.age(link.last_ping) > ping_bound {
                return late(&format!("is not pinged for {} ms", self.age(link.last_ping) / MS));
            }
            for subscription in link.subscriptions.iter().flatten() {
                if let Some(end) = subscription.end.filter(|end| self.patience() > end.by) {
                    let name = CHANNELS[subscription.channel].name;
                    return late(&format!("is still in {name}, which was to end: {end:?}"));
                }
                let before = self.patience().saturating_sub(REPLY_BOUND);
                if let Some(position) = subscription.is_late(before, &self.ledger) {
                    let name = CHANNELS[subscription.channel].name;
                    return late(&format!("was not told of {position:?} in {name}"));
                }
            }
        }
        let bound = match link.phase {
            LinkPhase::Connecting | LinkPhase::Ready if link.is_silent || link.reading == Reading::Stopped => {
                pong_bound
            }
            LinkPhase::Connecting | LinkPhase::Ready => return Ok(()),
            // The close frame stands behind commands that are not read until their answers are.
            LinkPhase::Closing if link.reading != Reading::Prompt => pong_bound,
            LinkPhase::Refused | LinkPhase::Closing | LinkPhase::Closed => close_bound,
        };
        if self.age(link.since) > bound && !self.sockets[link.socket].is_closed {
            return late(&format!("is still connected, {:?} and {:?}", link.phase, link.reading));
        }
        Ok(())
    }

    fn watch_shards(&mut self) -> Checked {
        let options = &self.plan.options;
        let shards = self.plan.shards as u64;
        // Questions and answers pass the slots: one of each for a connection, some for a channel.
        let lane_bound = options.lane_slots as u64 * (shards - 1) + 3 * CLIENTS as u64 + 4 * CHANNELS.len() as u64;
        let outbox_bound = (options.outbox_bytes_max + 64 * 1024) as u64 * 2 * CLIENTS as u64;
        let (mut deepest, mut fullest) = (0, 0);
        for it in &self.loops {
            deepest = deepest.max(it.metrics.gauge(Gauge::LaneDepth));
            fullest = fullest.max(it.metrics.gauge(Gauge::OutboxBytes));
        }
        self.tally.worst(Worst::LaneDepth, deepest);
        self.tally.worst(Worst::OutboxBytes, fullest);
        if deepest > lane_bound {
            return violated(Promise::I5, format!("{deepest} messages wait for lanes, the bound is {lane_bound}"));
        }
        if fullest > outbox_bound {
            return violated(Promise::I5, format!("{fullest} bytes wait in outboxes, the bound is {outbox_bound}"));
        }
        if self.count(Counter::Bugs) > 0 {
            return violated(Promise::I5, "a shard counted a bug");
        }
        if let (Some(drained), Some((_, _, window))) = (self.drained, self.plan.drain) {
            let bound = window + limits::CLOSE_HANDSHAKE_TIMEOUT;
            let is_due = self.age(self.drained_at) > bound.as_micros() as Micros + 2 * TIMER_SLACK;
            let left = self.loops[drained].shard.connections();
            if is_due && left > 0 {
                return violated(Promise::I5, format!("a drained shard still has {left} connections"));
            }
        }
        Ok(())
    }
}
