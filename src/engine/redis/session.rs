//! One connection that hears: subscribes in batches, reads messages, proves that it hears.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, split};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::cluster::{Redirection, Returned};
use super::dial::Connection;
use super::link::{READ_BYTES, Work, write_some};
use super::listener::{Listener, Order};
use super::reconnect::Place;
use super::resp::{self, Commands, Reply};
use crate::limits::{PROBE_INTERVAL, REDIS_LOOK, REDIS_SUBSCRIBE_BATCH_MAX, REDIS_SUBSCRIBES_MAX};
use crate::model::ChannelName;

pub enum Ended {
    Unneeded,
    Broken(String),
}

/// One connection's life.
pub struct Session<'a> {
    listener: &'a mut Listener,
    output: Commands,
    needs_flush: bool,
    input: BytesMut,
    /// Topics besides channels that the server has not confirmed yet.
    stations_left: usize,
    heard_at: Instant,
}

impl<'a> Session<'a> {
    pub fn new(listener: &'a mut Listener) -> Session<'a> {
        let (output, input) = (Commands::default(), BytesMut::new());
        Session { listener, output, needs_flush: false, input, stations_left: 0, heard_at: Instant::now() }
    }

    pub async fn serve(
        mut self,
        connection: Connection,
        place: &mut Place,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Ended {
        let (mut reader, mut writer) = split(connection.io);
        let mut look = interval(REDIS_LOOK);
        let mut probe = interval(PROBE_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.listener.station.probe.forget();
        self.subscribe_stations();
        loop {
            self.subscribe();
            let has_output = !self.output.is_empty() || self.needs_flush;
            let done = tokio::select! {
                read = reader.read_buf(&mut self.input) => match read {
                    Ok(0) => Err(broken("the server closed it")),
                    Ok(_) => self.take_replies().await,
                    Err(error) => Err(broken(&error.to_string())),
                },
                written = write_some(&mut writer, &mut self.output, &mut self.needs_flush), if has_output => {
                    written.map_err(|error| broken(&error.to_string()))
                }
                order = orders.recv() => match order {
                    Some(order) => {
                        self.obey(order).await;
                        Ok(())
                    }
                    None => Err(Ended::Unneeded),
                },
                _ = look.tick() => self.look(place).await,
                _ = probe.tick() => self.probe(),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    fn subscribe_stations(&mut self) {
        let station = &self.listener.station;
        let control = station.control.iter().flat_map(|(topics, _)| topics);
        for topic in control.chain([station.probe.topic()]) {
            // Also in a cluster: all its servers pass it on, so it does not matter which of them is asked.
            self.output.command(&[b"SUBSCRIBE", topic.as_bytes()]);
            self.stations_left += 1;
        }
    }

    fn verb(&self, verb: Verb) -> &'static [u8] {
        match (verb, self.listener.shared.returns.is_some()) {
            (Verb::Subscribe, false) => b"SUBSCRIBE",
            (Verb::Subscribe, true) => b"SSUBSCRIBE",
            (Verb::Unsubscribe, false) => b"UNSUBSCRIBE",
            (Verb::Unsubscribe, true) => b"SUNSUBSCRIBE",
        }
    }

    /// Sends the next commands, as far as not too much is unconfirmed. A cluster wants one for each slot.
    fn subscribe(&mut self) {
        let is_cluster = self.listener.shared.returns.is_some();
        let batch_max = if is_cluster { 1 } else { REDIS_SUBSCRIBE_BATCH_MAX };
        while self.listener.table.unconfirmed() < REDIS_SUBSCRIBES_MAX {
            let batch = self.listener.table.next_batch(batch_max);
            if batch.is_empty() {
                return;
            }
            self.name(Verb::Subscribe, &batch);
        }
    }

    fn name(&mut self, verb: Verb, channels: &[ChannelName]) {
        self.output.begin(1 + channels.len());
        self.output.text(self.verb(verb));
        let names = &self.listener.shared.names;
        channels.iter().for_each(|channel| names.write_topic(&mut self.output, channel.as_str()));
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Listen { channel, waiter, until } => {
                let heard = self.listener.table.listen(channel, waiter, until);
                self.listener.confirm(heard.into_iter().collect()).await;
            }
            Order::Unlisten { channel } => {
                let unlistened = self.listener.table.unlisten(channel.as_str());
                if unlistened.is_sent {
                    self.name(Verb::Unsubscribe, &[channel]);
                }
                self.listener.refuse(unlistened.waiters).await;
            }
            Order::TakeOver(moved) => moved.into_iter().for_each(|moved| self.listener.table.take_over(moved)),
            Order::Yield(map, address) => self.listener.give_back(&map, &address).await,
        }
    }

    async fn take_replies(&mut self) -> Result<(), Ended> {
        self.heard_at = Instant::now();
        while let Some(reply) = resp::next_reply(&mut self.input).map_err(|_| broken("what it says is no RESP"))? {
            self.take(&reply).await?;
        }
        self.input.reserve(READ_BYTES);
        // A shard may have had to be waited for: that is no silence of the server.
        self.heard_at = Instant::now();
        if self.listener.table.is_settled() || self.listener.rechecks.len() >= RECHECKS_MAX {
            self.listener.recheck().await;
        }
        Ok(())
    }

    async fn take(&mut self, reply: &Reply) -> Result<(), Ended> {
        if let Reply::Error(words) = reply {
            return self.take_error(&String::from_utf8_lossy(words)).await;
        }
        let Some([Reply::Text(kind), rest @ ..]) = reply.as_array() else { return Ok(()) };
        let topic = rest.first().and_then(Reply::as_str).unwrap_or_default();
        match (kind.as_ref(), rest) {
            (b"message" | b"smessage", [_, Reply::Text(message)]) => self.take_message(topic, message).await,
            (b"subscribe" | b"ssubscribe", _) => return self.confirm(topic).await,
            (b"unsubscribe" | b"sunsubscribe", _) => self.take_unsubscribed(topic),
            // Such as the answer to a ping.
            _ => (),
        }
        Ok(())
    }

    async fn take_message(&mut self, topic: &str, message: &Bytes) {
        let listener = &mut *self.listener;
        let shared = Arc::clone(&listener.shared);
        if let Some(channel) = shared.names.channel_of(topic) {
            return listener.deliver(channel, message).await;
        }
        if topic == listener.station.probe.topic() {
            if let Some(delay) = listener.station.probe.came_back(message) {
                listener.health.probed(Some(delay));
            }
        } else if let Some((_, taker)) = &listener.station.control {
            // At most once: a node that has too much to do misses some.
            let _ = taker.try_send(Bytes::copy_from_slice(message));
        }
    }

    async fn confirm(&mut self, topic: &str) -> Result<(), Ended> {
        let shared = Arc::clone(&self.listener.shared);
        let Some(channel) = shared.names.channel_of(topic) else {
            self.stations_left = self.stations_left.saturating_sub(1);
            if self.stations_left == 0 {
                self.listener.health.set_up(true);
                self.probe()?;
            }
            return Ok(());
        };
        let confirmed = self.listener.table.confirm(channel);
        let (waiters, has_gap) = confirmed.ok_or_else(|| broken("it confirms what was not asked"))?;
        if has_gap {
            self.listener.rechecks.extend(self.listener.table.find(channel).cloned());
        }
        self.listener.confirm(waiters).await;
        Ok(())
    }

    /// A cluster that moves a slot ends the subscriptions in it.
    fn take_unsubscribed(&mut self, topic: &str) {
        if let Some(channel) = self.listener.shared.names.channel_of(topic) {
            self.listener.table.dropped(channel);
        }
    }

    async fn take_error(&mut self, words: &str) -> Result<(), Ended> {
        if self.stations_left > 0 {
            return Err(broken(words));
        }
        let refused = self.listener.table.refused();
        match (&self.listener.shared.returns, Redirection::parse(words)) {
            (Some(returns), Some(to)) => {
                let _ = returns.send(Returned::Channels { moved: refused, to }).await;
                Ok(())
            }
            _ => {
                let has_gap = refused.iter().any(|moved| moved.has_gap);
                let waiters = refused.into_iter().flat_map(|moved| moved.waiters).collect();
                self.listener.refuse(waiters).await;
                // What was heard before has to be heard again: by another connection, then.
                if has_gap { Err(broken(words)) } else { Ok(()) }
            }
        }
    }

    async fn look(&mut self, place: &mut Place) -> Result<(), Ended> {
        if place.has_changed().unwrap_or(true) {
            return Err(broken("another server has its place"));
        }
        for moved in self.listener.table.expire(Instant::now()) {
            self.listener.refuse(moved.waiters).await;
            self.name(Verb::Unsubscribe, &[moved.channel]);
        }
        match self.heard_at.elapsed() > self.listener.shared.io_timeout {
            true => Err(broken("the server says nothing")),
            false => Ok(()),
        }
    }

    /// Sends the next probe; and a ping, which shows whether the connection is any good still.
    fn probe(&mut self) -> Result<(), Ended> {
        if self.stations_left > 0 {
            return Ok(());
        }
        self.output.command(&[b"PING"]);
        let Listener { station, health, shared, .. } = &mut *self.listener;
        let (message, waited) = station.probe.next();
        if waited > PROBE_INTERVAL / 2 {
            health.probed(None);
        }
        let work = Work::Send { topic: station.probe.topic().to_owned(), message };
        // Full: then it is not heard in time, and that is what it is for.
        let _ = station.work.try_send(work);
        match waited > shared.io_timeout * 2 {
            true => Err(broken("it does not hear its own messages")),
            false => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Subscribe,
    Unsubscribe,
}

fn broken(reason: &str) -> Ended {
    Ended::Broken(reason.to_owned())
}

/// Chosen: a thousand reads of streams are under way while further channels are subscribed.
const RECHECKS_MAX: usize = 1024;
