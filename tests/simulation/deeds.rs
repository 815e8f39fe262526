//! What people, backends and machines do while things go wrong.

use super::api::ApiReach;
use super::client::{Client, LinkPhase, Question, Reading, USERS, Wish};
use super::frames;
use super::ledger::Checked;
use super::namespaces::{CHANNELS, ChannelIndex, HOPELESS};
use super::plan::{Deed, choose};
use super::report::Mark;
use super::wire::{self, Position, Request};
use super::world::{CLIENTS, MS, SECOND, World};

type Asks = Vec<(Question, Request)>;

impl World {
    pub fn do_something(&mut self) -> Checked {
        let total: u32 = self.plan.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.u32(..total);
        let deed = self.plan.weights.iter().find_map(|(deed, weight)| match at.checked_sub(*weight) {
            Some(left) => {
                at = left;
                None
            }
            None => Some(*deed),
        });
        let deed = deed.expect("the weights have a sum");
        match deed {
            Deed::ApiPublish => self.api_publishes(1),
            Deed::ApiBurst => {
                let count = self.random.usize(2..20);
                self.api_publishes(count);
            }
            Deed::ApiRepeat => self.api_repeat(),
            Deed::ApiRemove => {
                let channel = self.any_channel();
                self.api_remove_history(channel);
            }
            Deed::ApiQuery => {
                let channel = self.any_channel();
                self.api_presence_or_history(channel);
            }
            Deed::ApiDisconnect => self.api_disconnects(),
            Deed::ApiUnsubscribe => self.api_unsubscribes(),
            Deed::ApiSubscribe => self.api_subscribes(),
            Deed::CutMany => self.cut_many(),
            Deed::StallShard => self.stall_shard(),
            Deed::StallProcess => self.stall_process(),
            Deed::BrokerGoes => self.broker_goes(),
            Deed::PublishElsewhere => {
                let (channel, padding) = (self.any_channel(), self.padding());
                return self.published_elsewhere(channel, padding);
            }
            deed => self.client_does(deed),
        }
        Ok(())
    }

    pub fn drain(&mut self) {
        let Some((_, shard, window)) = self.plan.drain else { return };
        self.note(|| format!("shard {shard} is drained over {window:?}"));
        self.drained = Some(shard);
        self.drained_at = self.patience();
        self.tell_shard(shard, fanfare::shard::TrayMessage::Drain { window });
        self.tally.add(Mark::Drains, 1);
    }

    fn client_does(&mut self, deed: Deed) {
        let client = self.random.usize(..CLIENTS);
        if self.clients[client].link.as_ref().is_none_or(|link| link.phase != LinkPhase::Ready) {
            return;
        }
        let asks = match deed {
            Deed::Publish => {
                let channel = self.any_channel();
                vec![self.publish(client, channel)]
            }
            Deed::PublishBurst => self.publish_burst(client),
            Deed::Subscribe => self.subscribe(client),
            Deed::Unsubscribe => self.unsubscribe(client).into_iter().collect(),
            Deed::Mixture => self.mixture(client),
            Deed::SubRefresh => self.sub_refresh(client).into_iter().collect(),
            Deed::ForeignToken => self.foreign_token(client).into_iter().collect(),
            Deed::History => vec![self.history(client)],
            Deed::Presence => vec![self.presence(client)],
            Deed::PresenceStats => {
                let channel = self.any_channel();
                let request = Request::PresenceStats { channel: CHANNELS[channel].name.to_string() };
                vec![(Question::PresenceStats { channel }, request)]
            }
            Deed::Odd => return self.odd(client),
            Deed::QueryFlood => (0..200).map(|_| self.presence(client)).collect(),
            Deed::Cut => return self.cut(client),
            Deed::Leave => return self.leave(client),
            Deed::StopReading => return self.impair(client, Reading::Stopped, false),
            Deed::ReadSlowly => {
                let (bytes, pause) = (self.random.usize(20..2000), self.random.u64(10 * MS..SECOND));
                return self.impair(client, Reading::Slow { bytes, pause }, false);
            }
            Deed::GoSilent => return self.impair(client, Reading::Prompt, true),
            Deed::Nonsense => return self.nonsense(client),
            _ => unreachable!("not a client's deed: {deed:?}"),
        };
        self.ask(client, asks);
    }

    // --- commands ---

    fn any_channel(&mut self) -> ChannelIndex {
        self.random.usize(..CHANNELS.len())
    }

    fn publish(&mut self, client: usize, channel: ChannelIndex) -> (Question, Request) {
        let number = self.number_for(client, channel);
        let padding = self.padding();
        let data = wire::payload_of(number, padding);
        (Question::Publish { number }, Request::Publish { channel: CHANNELS[channel].name.to_string(), data })
    }

    fn padding(&mut self) -> usize {
        match self.random.u8(..20) {
            0 => self.random.usize(500..2500),
            _ => self.random.usize(..150),
        }
    }

    /// Mostly to one channel, where they run side by side.
    fn publish_burst(&mut self, client: usize) -> Asks {
        let count = self.random.usize(2..24);
        let channel = self.any_channel();
        let is_scattered = self.random.u8(..4) == 0;
        (0..count)
            .map(|_| {
                let channel = if is_scattered { self.any_channel() } else { channel };
                self.publish(client, channel)
            })
            .collect()
    }

    fn subscribe(&mut self, client: usize) -> Asks {
        if self.random.u8(..12) == 0 {
            let (name, code) = *choose(&mut self.random, &HOPELESS);
            let asked = wire::Subscribe::to(name);
            return vec![(Question::Hopeless { code }, Request::Subscribe(asked))];
        }
        let channel = self.any_channel();
        let wish = Wish::draw(&mut self.random, channel);
        let it = &mut self.clients[client];
        if it.link.as_ref().is_some_and(|link| link.subscriptions[channel].is_some()) {
            // Once more: an error.
            let asked = wire::Subscribe {
                positioned: wish.positioned,
                recoverable: wish.recoverable,
                joins: wish.joins,
                ..wire::Subscribe::to(CHANNELS[channel].name)
            };
            it.ever_asked |= 1 << channel;
            let question = Question::Subscribe { channel, asked: asked.clone(), terms: None };
            return vec![(question, Request::Subscribe(asked))];
        }
        it.wishes[channel] = Some(wish);
        self.ask_for_wish(client, channel).into_iter().collect()
    }

    fn unsubscribe(&mut self, client: usize) -> Option<(Question, Request)> {
        let it: &mut Client = &mut self.clients[client];
        let link = it.link.as_ref()?;
        let inside: Vec<ChannelIndex> =
            (0..CHANNELS.len()).filter(|channel| link.subscriptions[*channel].is_some()).collect();
        let channel = *inside.get(self.random.usize(..inside.len().max(1)))?;
        it.wishes[channel] = None;
        let request = Request::Unsubscribe { channel: CHANNELS[channel].name.to_string() };
        Some((Question::Unsubscribe { channel }, request))
    }

    /// Several commands of different kinds in one message.
    fn mixture(&mut self, client: usize) -> Asks {
        let mut asks = Asks::new();
        for _ in 0..self.random.usize(2..10) {
            match self.random.u8(..7) {
                0 => asks.extend(self.unsubscribe(client)),
                1 => asks.push(self.history(client)),
                2 => asks.push(self.presence(client)),
                3 => asks.push((Question::Hopeless { code: 108 }, Request::Rpc)),
                _ => {
                    let channel = self.any_channel();
                    asks.push(self.publish(client, channel));
                }
            }
        }
        asks
    }

    fn history(&mut self, client: usize) -> (Question, Request) {
        let channel = self.any_channel();
        let link = self.clients[client].link.as_ref().expect("it is ready");
        let seen = link.subscriptions[channel].as_ref().and_then(|subscription| subscription.position);
        let limit = *choose(&mut self.random, &[-1, 0, 1, 3, 10, 1000]);
        let since = seen.or(self.clients[client].held[channel]).filter(|_| self.random.bool());
        let since = since.map(|since| Position { offset: since.offset.saturating_sub(self.random.u64(..6)), ..since });
        let reverse = self.random.bool();
        let request = Request::History { channel: CHANNELS[channel].name.to_string(), limit, since, reverse };
        (Question::History { channel, limit, since, reverse, seen }, request)
    }

    fn presence(&mut self, client: usize) -> (Question, Request) {
        let channel = self.any_channel();
        let link = self.clients[client].link.as_ref().expect("it is ready");
        let was_in = link.subscriptions[channel].is_some();
        (Question::Presence { channel, was_in }, Request::Presence { channel: CHANNELS[channel].name.to_string() })
    }

    /// Commands that get an error whoever sends them, and pings of the WebSocket kind.
    fn odd(&mut self, client: usize) {
        let (name, code) = *choose(&mut self.random, &HOPELESS[..2]);
        let channel = name.to_string();
        let request = match self.random.u8(..5) {
            0 => return self.send_frame(client, frames::PING, b"are you there"),
            1 => Request::Presence { channel },
            2 => Request::History { channel, limit: 1, since: None, reverse: false },
            3 => Request::Publish { channel, data: "{}".to_string() },
            _ => {
                let asks = vec![(Question::Hopeless { code: 108 }, Request::Rpc)];
                return self.ask(client, asks);
            }
        };
        self.ask(client, vec![(Question::Hopeless { code }, request)]);
    }

    // --- misery of one client ---

    fn impair(&mut self, client: usize, reading: Reading, is_silent: bool) {
        let since = self.patience();
        let link = self.link(client);
        if !link.is_well {
            return;
        }
        (link.reading, link.is_silent, link.is_well, link.since) = (reading, is_silent, false, since);
        self.note(|| format!("client {client}: {reading:?}, silent: {is_silent}"));
        let mark = match reading {
            Reading::Stopped => Mark::StoppedReading,
            Reading::Slow { .. } => Mark::SlowReading,
            Reading::Prompt => Mark::WentSilent,
        };
        self.tally.add(mark, 1);
    }

    fn nonsense(&mut self, client: usize) {
        let link = self.link(client);
        (link.is_well, link.has_misbehaved) = (false, true);
        self.tally.add(Mark::Nonsense, 1);
        match self.random.u8(..4) {
            0 => self.send_message(client, b"{\"id\":1,"),
            1 => self.send_message(client, b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
            2 => {
                let socket = self.link(client).socket;
                // Not masked.
                self.send_bytes(socket, Some(vec![0x81, 2, b'{', b'}']));
            }
            // A pong that nobody asked for, unless a ping is on its way.
            _ => (0..2).for_each(|_| self.send_message(client, b"{}")),
        }
    }

    // --- backend and machine ---

    fn api_publishes(&mut self, count: usize) {
        let channel = self.any_channel();
        for _ in 0..count {
            let padding = self.padding();
            let skips_history = self.random.u8(..20) == 0;
            match self.random.u8(..4) {
                0 => self.api_publish_keyed(channel, padding, skips_history),
                1 if CHANNELS[channel].kind.has_history() => self.api_publish_version(channel, padding),
                _ => {
                    self.api_publish(channel, padding, skips_history);
                }
            }
        }
    }

    fn api_disconnects(&mut self) {
        let user = self.random.u32(..USERS);
        self.api_reach(user, ApiReach::Disconnect);
    }

    fn api_unsubscribes(&mut self) {
        let user = self.random.u32(..USERS);
        let channel = (self.random.u8(..4) > 0).then(|| self.any_channel());
        self.api_reach(user, ApiReach::Unsubscribe { channel });
    }

    fn api_presence_or_history(&mut self, channel: ChannelIndex) {
        let kind = CHANNELS[channel].kind;
        if kind.has_presence && self.random.bool() {
            self.api_presence(channel);
        } else if kind.has_history() {
            let limit = *choose(&mut self.random, &[0, 5, 100]);
            self.api_history(channel, limit, None);
        }
    }

    /// The network of many is gone at once; they come back together.
    fn cut_many(&mut self) {
        let one_in = self.random.u32(1..4);
        for client in 0..CLIENTS {
            if self.clients[client].link.as_ref().is_some_and(|link| link.phase == LinkPhase::Ready)
                && self.chance(one_in)
            {
                self.cut(client);
            }
        }
        self.tally.add(Mark::CutMany, 1);
    }

    /// One thread gets no CPU for a while.
    fn stall_shard(&mut self) {
        let shard = self.random.usize(..self.plan.shards);
        let time = self.random.u64(10 * MS..2 * SECOND);
        self.note(|| format!("shard {shard} stands still for {} ms", time / MS));
        self.loops[shard].frozen_until = self.loops[shard].frozen_until.max(self.now + time);
        self.stall(time);
        self.tally.add(Mark::StallShard, 1);
    }

    /// The whole process is stopped for a while.
    fn stall_process(&mut self) {
        let time = self.random.u64(SECOND..20 * SECOND);
        self.note(|| format!("the process stands still for {} ms", time / MS));
        for it in &mut self.loops {
            it.frozen_until = it.frozen_until.max(self.now + time);
        }
        self.stall(time);
        self.tally.add(Mark::StallProcess, 1);
    }
}
