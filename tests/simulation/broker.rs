//! A broker that some namespaces are fed by, other nodes that publish there, and the way between.
//!
//! What is asked for one channel arrives in order, and so does what is published to it; answers go their own
//! way, before or behind. While the broker is away, what is asked fails, what is on its way may be lost either
//! way, and what other nodes publish is heard of only when the channels are named for a recheck.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare::engine::contract::{
    Event as EngineEvent, Incoming, Operation, Outcome, Page, Publish, Published, Read, Request,
};
use fanfare::engine::{Memory, ResultKey, Stream};
use fanfare::model::{
    ChannelName, ClientId, ClientInfo, EngineIndex, ErrorCode, Position, PresenceStats, Publication, ShardId,
};
use fanfare::shard::TrayMessage;

use super::api::name_of;
use super::ledger::{Checked, Fate, Publisher};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::plan::Planted;
use super::report::Mark;
use super::wire;
use super::world::{Event, MS, Micros, World};

/// The only broker, which is a presence manager too.
pub const BROKER: EngineIndex = EngineIndex(1);

pub struct Broker {
    memory: Memory,
    present: HashMap<ChannelName, HashMap<ClientId, (Arc<ClientInfo>, Duration)>>,
    listening: HashMap<ChannelName, ShardId>,
    /// On their way: requests to the broker, events to shards.
    requests: Vec<Option<(ShardId, Request)>>,
    events: Vec<Option<(ShardId, EngineEvent)>>,
    /// When the last request for the channel arrives, and the last that was published to it.
    last_request: HashMap<ChannelName, Micros>,
    last_incoming: HashMap<ChannelName, Micros>,
    /// Counts its outages: what left before the last one is lost.
    life: u32,
    is_away: bool,
    pub outages: u32,
}

impl Broker {
    pub fn new(seed: u64) -> Broker {
        Broker {
            memory: Memory::new(1 << 30, seed),
            present: HashMap::new(),
            listening: HashMap::new(),
            requests: Vec::new(),
            events: Vec::new(),
            last_request: HashMap::new(),
            last_incoming: HashMap::new(),
            life: 0,
            is_away: false,
            outages: 0,
        }
    }

    fn attend(&mut self, channel: ChannelName, clients: Vec<Arc<ClientInfo>>, until: Duration) {
        let present = self.present.entry(channel).or_default();
        present.extend(clients.into_iter().map(|info| (info.client, (info, until))));
    }

    fn presence(&mut self, now: Duration, channel: &ChannelName) -> Vec<Arc<ClientInfo>> {
        let present = self.present.entry(channel.clone()).or_default();
        present.retain(|_, (_, until)| *until > now);
        present.values().map(|(info, _)| Arc::clone(info)).collect()
    }

    fn read(&mut self, now: Duration, channel: &ChannelName, read: &Read) -> Stream {
        self.memory.stream(now, channel, read.retention).newest_after(read.after, read.publications_max)
    }

    /// What is answered, and what is sent to whoever listens.
    fn publish(
        &mut self,
        now: Duration,
        channel: &ChannelName,
        publish: Publish,
    ) -> (Option<Position>, Option<Published>) {
        let Publish { publication, retention, delta, idempotency_key, version, sent_until: _ } = publish;
        let key = idempotency_key.map(|idempotency_key| ResultKey { channel: channel.clone(), idempotency_key });
        if let Some(known) = key.as_ref().and_then(|key| self.memory.results.find(key)) {
            return (known, None);
        }
        if let Some(newer) = version.as_ref().and_then(|version| self.memory.find_newer(channel.as_str(), version)) {
            return (Some(newer), None);
        }
        let (publication, position) = match retention {
            None => (Arc::new(publication), None),
            Some(retention) => {
                let (publication, epoch, _) = self.memory.append(now, channel, retention, publication);
                let position = Position { epoch, offset: publication.offset };
                (publication, Some(position))
            }
        };
        if let Some(version) = version {
            self.memory.remember_version(channel.as_str(), version);
        }
        if let Some(key) = key {
            self.memory.results.remember(now, key, position);
        }
        let epoch = position.map(|position| position.epoch);
        (position, Some(Published::Publication { publication, epoch, delta }))
    }
}

impl World {
    /// Whether the channel is fed by the broker.
    pub fn is_brokered(&self, channel: ChannelIndex) -> bool {
        self.plan.is_brokered(channel)
    }

    /// Whether the broker may have failed somebody in this channel.
    pub fn is_let_down(&self, channel: ChannelIndex) -> bool {
        self.broker.outages > 0 && self.is_brokered(channel)
    }

    /// Takes what the shard asks of the broker. Now and then the queue is full.
    pub fn take_requests(&mut self, shard: usize) {
        while let Some(request) = self.loops[shard].shard.next_request() {
            if self.random.u8(..) < 4 {
                self.loops[shard].shard.return_request(request);
                self.loops[shard].no_room();
                return;
            }
            self.tally.add(Mark::BrokerRequests, 1);
            self.send_request(ShardId(shard as u16), request);
        }
    }

    fn send_request(&mut self, from: ShardId, request: Request) {
        let arrives = self.in_order(|broker| &mut broker.last_request, &request.channel);
        let at = self.broker.requests.len();
        self.broker.requests.push(Some((from, request)));
        let life = self.broker.life;
        self.after(arrives - self.now, Event::BrokerAsked { at, life });
    }

    /// Some moment from now on that is not before the last one for the channel.
    fn in_order(
        &mut self,
        last: impl Fn(&mut Broker) -> &mut HashMap<ChannelName, Micros>,
        channel: &ChannelName,
    ) -> Micros {
        let longest = if self.random.u8(..) < 5 { 20 * MS } else { MS };
        let moment = self.now + self.random.u64(1..longest);
        let last = last(&mut self.broker).entry(channel.clone()).or_default();
        *last = moment.max(*last);
        *last
    }

    /// A request arrives, if the broker is there, and was all the time.
    pub fn broker_asked(&mut self, at: usize, life: u32) {
        let Some((from, request)) = self.broker.requests[at].take() else { return };
        let id = request.id;
        let is_answered = request.operation.is_answered();
        let outcome = match self.broker.is_away || life != self.broker.life {
            true => {
                self.tally.add(Mark::BrokerFailed, 1);
                self.fail(&request)
            }
            false => self.execute(from, request),
        };
        if is_answered {
            let delay = self.random.u64(1..2 * MS);
            self.send_event(delay, from, EngineEvent::Done { id, outcome });
        }
    }

    /// The broker is away. That nobody listens any more is known without it.
    fn fail(&mut self, request: &Request) -> Result<Outcome, ErrorCode> {
        match &request.operation {
            Operation::Unlisten | Operation::Listen => drop(self.broker.listening.remove(&request.channel)),
            Operation::Publish(publish) => {
                let number = wire::number_in(&publish.publication.data).expect("the hub passes data on");
                self.ledger.failed(number);
            }
            _ => {}
        }
        Err(ErrorCode::Internal)
    }

    fn execute(&mut self, from: ShardId, request: Request) -> Result<Outcome, ErrorCode> {
        let Request { channel, operation, .. } = request;
        // Who is there is told by shards, and not while they stand still.
        let (now, patience) = (Duration::from_micros(self.now), Duration::from_micros(self.patience()));
        self.broker.memory.expire(now, usize::MAX);
        match operation {
            Operation::Publish(publish) => {
                let (position, published) = self.broker.publish(now, &channel, *publish);
                if let Some(published) = published {
                    self.tell_listener(&channel, published);
                }
                Ok(Outcome::Published(position))
            }
            Operation::Tell(membership, info) => {
                self.tell_listener(&channel, Published::Membership(membership, info));
                Ok(Outcome::Listening)
            }
            Operation::Listen => {
                self.broker.listening.insert(channel, from);
                Ok(Outcome::Listening)
            }
            Operation::Unlisten => {
                self.broker.listening.remove(&channel);
                Ok(Outcome::Listening)
            }
            Operation::Read(read) => Ok(Outcome::Read(self.broker.read(now, &channel, &read))),
            Operation::Page(page) => {
                let Page { retention, request, publications_max, bytes_max } = *page;
                let stream = self.broker.memory.stream(now, &channel, retention);
                let Position { epoch, offset } = stream.position();
                let publications = stream.page(&request, publications_max, bytes_max)?;
                Ok(Outcome::Page(fanfare::model::HistoryResult { publications, epoch, offset }))
            }
            Operation::RemoveHistory => Ok(Outcome::HistoryRemoved(self.broker.memory.remove_history(&channel))),
            Operation::Attend { clients, ttl } => {
                self.broker.attend(channel, clients, patience + ttl);
                Ok(Outcome::Listening)
            }
            Operation::Leave(client) => {
                self.broker.present.entry(channel).or_default().remove(&client);
                Ok(Outcome::Listening)
            }
            Operation::Presence { clients_max } => match self.broker.presence(patience, &channel) {
                present if present.len() > clients_max => Err(ErrorCode::LimitExceeded),
                present => Ok(Outcome::Presence(present)),
            },
            Operation::PresenceStats => {
                let present = self.broker.presence(patience, &channel);
                let users: std::collections::HashSet<&str> = present.iter().map(|info| &*info.user).collect();
                let (clients, users) = (present.len() as u32, users.len() as u32);
                Ok(Outcome::PresenceStats(PresenceStats { clients, users }))
            }
        }
    }

    /// Sends what was published to the shard that listens, once and now and then twice.
    fn tell_listener(&mut self, channel: &ChannelName, what: Published) {
        let Some(home) = self.broker.listening.get(channel).copied() else { return };
        let is_repeatable = matches!(&what, Published::Publication { epoch: Some(_), .. });
        if is_repeatable && self.plan.planted == Planted::BrokerLoses && self.random.u8(..) < 8 {
            return;
        }
        if let (true, 0..5, Published::Publication { publication, epoch, delta }) =
            (is_repeatable, self.random.u8(..), &what)
        {
            let again = Published::Publication { publication: Arc::clone(publication), epoch: *epoch, delta: *delta };
            self.tell_one(home, channel, again);
            self.tally.add(Mark::BrokerRepeated, 1);
        }
        self.tell_one(home, channel, what);
    }

    fn tell_one(&mut self, home: ShardId, channel: &ChannelName, what: Published) {
        let comes = self.in_order(|broker| &mut broker.last_incoming, channel);
        let incoming = Incoming { engine: BROKER, channel: channel.clone(), what };
        self.send_event(comes - self.now, home, EngineEvent::Incoming(Box::new(incoming)));
    }

    fn send_event(&mut self, delay: Micros, to: ShardId, event: EngineEvent) {
        let at = self.broker.events.len();
        self.broker.events.push(Some((to, event)));
        let life = self.broker.life;
        self.after(delay, Event::BrokerTells { at, life });
    }

    /// An event arrives. Answers whose broker went away meanwhile say that they failed; the rest is lost.
    pub fn broker_tells(&mut self, at: usize, life: u32) {
        let Some((to, event)) = self.broker.events[at].take() else { return };
        let is_lost = life != self.broker.life;
        let event = match event {
            EngineEvent::Done { id, .. } if is_lost => EngineEvent::Done { id, outcome: Err(ErrorCode::Internal) },
            EngineEvent::Done { .. } => event,
            EngineEvent::Incoming(_) | EngineEvent::Recheck { .. } if is_lost => {
                return self.tally.add(Mark::BrokerLost, 1);
            }
            event => event,
        };
        self.tell_shard(to.as_index(), TrayMessage::Engine(event));
    }

    // --- faults ---

    /// The broker is away for some time; other nodes are not.
    pub fn broker_goes(&mut self) {
        if self.broker.is_away || !self.is_faulty || self.plan.brokered == 0 {
            return;
        }
        let time = self.random.u64(20 * MS..1500 * MS);
        self.note(|| format!("the broker is away for {} ms", time / MS));
        self.tally.add(Mark::BrokerOutages, 1);
        (self.broker.is_away, self.broker.life, self.broker.outages) =
            (true, self.broker.life + 1, self.broker.outages + 1);
        self.stall(time + 100 * MS);
        self.after(time, Event::BrokerBack);
    }

    pub fn broker_back(&mut self) {
        self.broker.is_away = false;
        self.note(|| "the broker is back".to_string());
        let mut of_shard: HashMap<ShardId, Vec<ChannelName>> = HashMap::new();
        let mut listening: Vec<_> = self.broker.listening.iter().map(|(name, home)| (name.clone(), *home)).collect();
        listening.sort();
        for (channel, home) in listening {
            of_shard.entry(home).or_default().push(channel);
        }
        if self.plan.planted == Planted::NoRecheck {
            return;
        }
        let mut of_shard: Vec<_> = of_shard.into_iter().collect();
        of_shard.sort();
        for (home, channels) in of_shard {
            let delay = self.random.u64(1..5 * MS);
            self.send_event(delay, home, EngineEvent::Recheck { engine: BROKER, channels });
        }
    }

    /// Another node publishes, whether this one hears the broker or not.
    pub fn published_elsewhere(&mut self, channel: ChannelIndex, padding: usize) -> Checked {
        if !self.is_brokered(channel) {
            return Ok(());
        }
        let number = self.ledger.publish(channel, Publisher::Elsewhere, None, false);
        self.note(|| format!("another node publishes {number} in {}", CHANNELS[channel].name));
        let options = self.plan.options.namespaces.find_options(CHANNELS[channel].name).expect("it is brokered");
        let retention = options.has_history().then(|| fanfare::engine::Retention {
            size: options.history_size,
            ttl: options.history_ttl,
            meta_ttl: options.history_meta_ttl,
        });
        let publication = Publication { data: wire::payload_of(number, padding).into(), ..Publication::default() };
        let delta = options.delta_publish;
        let publish = Publish { publication, retention, delta, idempotency_key: None, version: None, sent_until: None };
        let now = Duration::from_micros(self.now);
        self.broker.memory.expire(now, usize::MAX);
        let (position, published) = self.broker.publish(now, &name_of(channel), publish);
        self.ledger.decide(number, Fate::Confirmed)?;
        if let Some(position) = position {
            // Its publisher is told so, and whoever holds a position here is owed it from now on.
            let epoch = wire::epoch_of(position.epoch.as_str()).expect("the broker's epochs have 8 letters");
            let (now, position) = (self.patience(), wire::Position { epoch, offset: position.offset });
            self.ledger.saw_at(now, channel, position, number)?;
        }
        self.tally.add(Mark::PublishedElsewhere, 1);
        if let (false, Some(published)) = (self.broker.is_away, published) {
            self.tell_listener(&name_of(channel), published);
        }
        Ok(())
    }
}
