//! The world of the pure shards: a cluster in this thread, joined by plain queues.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::config::{self, Flags};
use fanfare::model::{ChannelName, ConnectionId, Homes, Now, ShardId, Version};
use fanfare::shard::{
    Act, Answer, Answerer, Compression, LaneMessage, Opening, Options, Question, ServerPublication, Shard, Speaks,
    Tools, TrayMessage,
};
use fanfare::telemetry::ShardMetrics;
use serde_json::Value;

use super::{Arrival, Dialect, Event, World};

/// Seconds since 1970 when a transcript begins.
const BEGIN: i64 = 1_800_000_000;

/// Decides which channels are at home where, and all that is random.
const SEED: u64 = 7;

/// Above it the shards talk without end.
const ROUNDS_MAX: usize = 10_000;

/// Some shards, driven as `fanfare::shard` says, until nothing more happens by itself.
pub struct Cluster {
    options: Arc<Options>,
    shards: Vec<Shard>,
    /// What is on its way, by the shards it comes from and goes to.
    lanes: BTreeMap<(usize, usize), VecDeque<LaneMessage>>,
    now: Duration,
    sockets: BTreeMap<String, Socket>,
}

struct Socket {
    shard: usize,
    id: ConnectionId,
    /// What the hub has not read yet.
    upstream: Vec<u8>,
    /// What the client has not read yet.
    downstream: Vec<u8>,
    is_reading: bool,
    is_gone: bool,
}

impl Cluster {
    /// A cluster with the options that `config` gives.
    pub fn new(config: &Value, shards: u16) -> Cluster {
        let flags = Flags { address: Some([127, 0, 0, 1].into()), shards: Some(shards), ..Flags::default() };
        let (options, _) = config::read("transcript.json", &config.to_string(), &flags)
            .unwrap_or_else(|error| panic!("the configuration of a transcript: {error}"));
        let options = Arc::new(Options { homes: Homes::new(shards, SEED), ..options.shard });
        let shard = |id| {
            let metrics = Arc::new(ShardMetrics::new(1 + options.namespaces.by_name.len()));
            Shard::new(ShardId(id), Arc::clone(&options), metrics, SEED + u64::from(id))
        };
        let shards = (0..shards).map(shard).collect();
        let lanes = BTreeMap::new();
        Cluster { options: Arc::clone(&options), shards, lanes, now: Duration::ZERO, sockets: BTreeMap::new() }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.now, unix_millis: BEGIN * 1000 + self.now.as_millis() as i64 }
    }

    /// Turns of all shards until none of them does anything.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let acted: Vec<bool> = (0..self.shards.len()).map(|shard| self.turn(shard)).collect();
            if !acted.contains(&true) {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// One turn of one shard. Returns whether anything happened.
    fn turn(&mut self, at: usize) -> bool {
        let now = self.now();
        let mut acted = false;
        for from in 0..self.shards.len() {
            while let Some(message) = self.lanes.get_mut(&(from, at)).and_then(VecDeque::pop_front) {
                self.shards[at].lane_message(now, ShardId(from as u16), message);
                acted = true;
            }
        }
        for socket in self.sockets.values_mut().filter(|socket| socket.shard == at && !socket.is_gone) {
            if !socket.upstream.is_empty() && self.shards[at].wants_reading(socket.id) {
                self.shards[at].received(now, socket.id, &mut std::mem::take(&mut socket.upstream));
                acted = true;
            }
        }
        let shard = &mut self.shards[at];
        if shard.next_timeout() <= now.monotonic {
            acted |= shard.timers(now);
        }
        acted |= shard.walk(now);
        acted | self.take_effects(at)
    }

    /// Does what the shard wants done.
    fn take_effects(&mut self, at: usize) -> bool {
        let now = self.now();
        let mut acted = false;
        while let Some(id) = self.shards[at].next_dirty() {
            self.write(at, id);
            acted = true;
        }
        while let Some(id) = self.shards[at].next_finished() {
            if let Some(socket) = self.find_socket(at, id) {
                socket.is_gone = true;
            }
            acted = true;
        }
        // The sockets that may be read again are looked at in every turn.
        while let Some(id) = self.shards[at].next_resumed() {
            self.shards[at].go_on(now, id);
            acted = true;
        }
        for to in 0..self.shards.len() {
            while let Some(message) = self.shards[at].next_outgoing(ShardId(to as u16)) {
                self.lanes.entry((at, to)).or_default().push_back(message);
                acted = true;
            }
        }
        while let Some(job) = self.shards[at].next_job() {
            let done = job.run(&mut Tools::new(Compression::default()));
            self.shards[at].tray_message(now, TrayMessage::Done(done));
            acted = true;
        }
        acted
    }

    /// Moves what waits for a client into its socket, which takes all or nothing.
    fn write(&mut self, at: usize, id: ConnectionId) {
        let now = self.now();
        let Some(socket) = self.sockets.values_mut().find(|socket| socket.is(at, id)) else { return };
        let shard = &mut self.shards[at];
        if !socket.is_reading {
            return shard.sent(now, id, 0);
        }
        let waiting: Vec<u8> = shard.unsent(id).flat_map(|frame| frame.to_vec()).collect();
        shard.sent(now, id, waiting.len());
        socket.downstream.extend(waiting);
    }

    fn find_socket(&mut self, at: usize, id: ConnectionId) -> Option<&mut Socket> {
        self.sockets.values_mut().find(|socket| socket.is(at, id))
    }

    /// Time passes: each shard is woken when it asked to be.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.shards.iter_mut().map(Shard::next_timeout).min();
            self.now = due.unwrap_or(end).clamp(self.now, end);
            self.settle();
            let is_over = self.shards.iter_mut().map(Shard::next_timeout).all(|due| due > end);
            if self.now == end && is_over {
                return;
            }
        }
    }

    fn publish(&mut self, channel: &str, data: &str, version: u64) {
        let version = (version > 0).then(|| Version { number: version, epoch: "".into() });
        let publication = ServerPublication { version, ..ServerPublication::new(name(channel), data.to_owned()) };
        self.ask_home(channel, Question::Publish(publication));
    }

    fn ask_home(&mut self, channel: &str, question: Question) {
        let home = self.options.homes.home_of(channel).as_index();
        self.ask(std::iter::once(home), &question);
    }

    /// The application asks `shards`, which answer when they have come to rest, if not at once.
    fn ask(&mut self, shards: impl Iterator<Item = usize>, question: &Question) {
        let answers: Arc<Mutex<Vec<Answer>>> = Arc::default();
        let mut asked = 0;
        for shard in shards {
            asked += 1;
            let answered = Arc::clone(&answers);
            let take = move |answer| answered.lock().expect("nobody panics with it").push(answer);
            let (now, question) = (self.now(), question.clone());
            self.shards[shard].tray_message(now, TrayMessage::Ask { question, answerer: Answerer(Box::new(take)) });
        }
        self.settle();
        let answers = answers.lock().expect("nobody panics with it");
        assert!(
            answers.len() == asked && answers.iter().all(Result::is_ok),
            "the application was answered {answers:?}"
        );
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel, 255).expect("a channel's name")
}

impl Socket {
    fn is(&self, shard: usize, id: ConnectionId) -> bool {
        self.shard == shard && self.id == id && !self.is_gone
    }
}

impl World for Cluster {
    fn open(&mut self, client: &str, dialect: Dialect) {
        let speaks = match dialect {
            Dialect::Centrifugo(format) => Speaks::Centrifugo(format),
            Dialect::Echo => Speaks::Echo,
        };
        // Clients take turns, so that they meet across shards.
        let shard = self.sockets.len() % self.shards.len();
        let now = self.now();
        let id = self.shards[shard].opened(now, Opening { speaks, window: None });
        let (upstream, downstream) = (Vec::new(), Vec::new());
        let socket = Socket { shard, id, upstream, downstream, is_reading: true, is_gone: false };
        self.sockets.insert(client.into(), socket);
        self.settle();
    }

    fn send(&mut self, client: &str, bytes: Vec<u8>) {
        let socket = self.sockets.get_mut(client).expect("the client is open");
        socket.upstream.extend(bytes);
        self.settle();
    }

    fn receive(&mut self, client: &str) -> Arrival {
        let socket = self.sockets.get_mut(client).expect("the client is open");
        match socket.downstream.is_empty() {
            false => Arrival::Bytes(std::mem::take(&mut socket.downstream)),
            true if socket.is_gone => Arrival::Gone,
            true => Arrival::Nothing,
        }
    }

    fn happen(&mut self, event: &Event) -> bool {
        let now = self.now();
        match event {
            Event::Advance(time) => self.advance(*time),
            Event::Stall(time) => self.now += *time,
            Event::Cut { client } => {
                let socket = self.sockets.get_mut(client).expect("the client is open");
                self.shards[socket.shard].lost(now, socket.id);
            }
            Event::Read { client, is_reading } => {
                let socket = self.sockets.get_mut(client).expect("the client is open");
                socket.is_reading = *is_reading;
                let (shard, id) = (socket.shard, socket.id);
                self.write(shard, id);
            }
            Event::Publish { channel, data, version } => self.publish(channel, data, *version),
            Event::RemoveHistory { channel } => {
                self.ask_home(channel, Question::HistoryRemove { channel: name(channel) });
            }
            Event::Reach(reach) => {
                let mut reach = reach.clone();
                if let Act::Refresh(refresh) = &mut reach.act {
                    refresh.expire_at = refresh.expire_at.map(|seconds| now.unix_seconds() + seconds);
                }
                if let Act::Subscribe(subscription) = &mut reach.act {
                    let expires_at = &mut subscription.grant.expires_at;
                    *expires_at = expires_at.map(|seconds| now.unix_seconds() + seconds);
                }
                self.ask(0..self.shards.len(), &Question::Reach(Box::new(reach)));
            }
            Event::Drain { window } => {
                for shard in &mut self.shards {
                    shard.tray_message(now, TrayMessage::Drain { window: *window });
                }
            }
        }
        self.settle();
        true
    }

    fn unix_seconds(&self) -> i64 {
        self.now().unix_seconds()
    }

    fn is_settled(&self) -> bool {
        true
    }
}
