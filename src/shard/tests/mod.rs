//! What a shard does that no client could tell from its own lines: waiting, loss, leaving.
//!
//! [`Bench`] holds some shards and the lanes between them; nothing moves until the test moves it.

mod admission;
mod closing;
mod deflate;
mod delta;
mod loss;
mod offload;
mod pressure;
mod reach;
mod renewal;
mod server_publish;
mod server_side;
mod slow;
mod survey;
mod tokens;
mod unconnected;
mod waiting;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::connection::TokenPurpose;
use super::{Answerer, LaneMessage, Opening, Options, Question, ServerPublication, Shard, Speaks, TrayMessage};
use crate::access::{ChannelOptions, Claims, Namespaces};
use crate::model::{ConnectionId, Format, Homes, Now, ShardId};
use crate::telemetry::{Counter, ShardMetrics};

/// The default of `client.ping_interval`.
const PING_INTERVAL: Duration = Duration::from_secs(25);

/// Seconds since 1970 when a test begins.
const BEGIN: i64 = 1_800_000_000;

/// Shards whose turns, lanes and sockets the test moves by hand.
struct Bench {
    shards: Vec<Shard>,
    metrics: Vec<Arc<ShardMetrics>>,
    homes: Homes,
    lanes: BTreeMap<(usize, usize), VecDeque<LaneMessage>>,
    now: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    shard: usize,
    id: ConnectionId,
}

impl Bench {
    fn new(shards: u16) -> Bench {
        Bench::with(shards, |_| {})
    }

    /// Everything is allowed to everybody, in channels with history, presence and joins.
    fn with(shards: u16, change: impl FnOnce(&mut Options)) -> Bench {
        let channel = ChannelOptions {
            presence: true,
            join_leave: true,
            history_size: 1000,
            history_ttl: Duration::from_secs(600),
            history_meta_ttl: Duration::from_secs(600),
            allow_recovery: true,
            allow_positioning: true,
            allow_subscribe_for_client: true,
            allow_subscribe_for_anonymous: true,
            allow_publish_for_client: true,
            allow_publish_for_anonymous: true,
            allow_presence_for_client: true,
            allow_presence_for_anonymous: true,
            ..ChannelOptions::default()
        };
        let namespaces = Namespaces { without: Arc::new(channel), ..Namespaces::default() };
        let homes = Homes::new(shards, 7);
        let mut options = Options {
            homes: homes.clone(),
            namespaces: Arc::new(namespaces),
            allow_anonymous_connect: true,
            // Longer than tests last; those about pings say otherwise.
            ping_interval: Duration::from_secs(3600),
            ..Options::default()
        };
        change(&mut options);
        let options = Arc::new(options);
        let metrics: Vec<Arc<ShardMetrics>> = (0..shards).map(|_| Arc::default()).collect();
        let shards = (0..shards)
            .zip(&metrics)
            .map(|(id, metrics)| Shard::new(ShardId(id), Arc::clone(&options), Arc::clone(metrics), 1 + u64::from(id)));
        Bench { shards: shards.collect(), metrics, homes, lanes: BTreeMap::new(), now: Duration::ZERO }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.now, unix_millis: BEGIN * 1000 + self.now.as_millis() as i64 }
    }

    /// A channel's name whose home is `shard`.
    fn channel_at(&self, shard: usize) -> String {
        let names = (0..).map(|n| format!("c{n}"));
        names.into_iter().find(|name| self.homes.home_of(name).as_index() == shard).expect("names are many")
    }

    fn open(&mut self, shard: usize) -> Client {
        let now = self.now();
        let speaks = Speaks::Centrifugo(Format::CentrifugoJson);
        Client { shard, id: self.shards[shard].opened(now, Opening { speaks, window: None }) }
    }

    /// A client that is connected.
    fn connect(&mut self, shard: usize) -> Client {
        let client = self.open(shard);
        self.say(client, r#"{"id":1,"connect":{}}"#);
        self.settle();
        assert_eq!(self.told(client).len(), 1, "it is connected");
        client
    }

    /// A client that is connected, with a token of `user`.
    fn connect_as(&mut self, shard: usize, user: &str) -> Client {
        let client = self.begin_connect_as(shard, user);
        self.settle();
        assert_eq!(ids(&self.told(client)), [1], "it is connected");
        client
    }

    /// A client whose token was verified this moment.
    fn begin_connect_as(&mut self, shard: usize, user: &str) -> Client {
        let client = self.open(shard);
        let claims = Claims { user: user.into(), ..Claims::default() };
        self.shards[shard].token_verified(client.id, 1, TokenPurpose::Connect(Default::default()), Ok(claims));
        client
    }

    /// A client that is connected and subscribed to `channel`, and has heard so.
    fn subscribe(&mut self, shard: usize, channel: &str, fields: &str) -> Client {
        let client = self.connect(shard);
        self.say(client, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"{fields}}}}}"#));
        self.settle();
        assert!(self.told(client)[0].starts_with(r#"{"id":2,"subscribe":"#), "it is subscribed");
        client
    }

    /// One message of the client, read by its shard.
    fn say(&mut self, client: Client, text: &str) {
        let now = self.now();
        self.shards[client.shard].received(now, client.id, &mut masked(text));
    }

    /// Says the same command with ids from `first` on, a frame for each.
    fn say_many(&mut self, client: Client, first: u32, count: u32, command: &str) {
        for id in first..first + count {
            self.say(client, &format!(r#"{{"id":{id},{command}}}"#));
        }
    }

    /// The application publishes a number, at the channel's home; with a `symbol` as a tag, if it has any.
    fn publish_tagged(&mut self, channel: &str, number: u32, symbol: &str) {
        let tags = (!symbol.is_empty()).then(|| Box::new([("symbol".to_owned(), symbol.to_owned())].into()));
        let home = self.homes.home_of(channel).as_index();
        let channel = crate::model::ChannelName::parse(channel, 255).expect("a short name");
        let publication = ServerPublication { tags, ..ServerPublication::new(channel, format!("{number}")) };
        let answerer = Answerer(Box::new(|answer| assert!(answer.is_ok())));
        let now = self.now();
        self.shards[home].tray_message(now, TrayMessage::Ask { question: Question::Publish(publication), answerer });
    }

    /// What waits for the client is written; each line of it, closes as `close 3501`.
    fn told(&mut self, client: Client) -> Vec<String> {
        let now = self.now();
        let shard = &mut self.shards[client.shard];
        // Leaves wait for room in the lanes.
        while shard.walk(now) && shard.outgoing.has_room_for_leaves() {}
        while shard.next_dirty().is_some() {}
        let waiting: Vec<u8> = shard.unsent(client.id).flat_map(|frame| frame.to_vec()).collect();
        shard.sent(now, client.id, waiting.len());
        shard.next_timeout();
        lines(&waiting)
    }

    /// All slices of a turn. The lanes have no room.
    fn walk(&mut self, shard: usize) {
        let now = self.now();
        let shard = &mut self.shards[shard];
        while shard.walk(now) && shard.outgoing.has_room_for_leaves() {}
    }

    /// Turns until nothing that the client said waits for one.
    fn go_on(&mut self, client: Client) {
        while self.shards[client.shard].has_yielded(client.id) {
            self.go_on_once(client);
        }
    }

    /// One more turn for what the client said.
    fn go_on_once(&mut self, client: Client) {
        let now = self.now();
        self.shards[client.shard].go_on(now, client.id);
    }

    /// The client's socket breaks, and io lets go of it.
    fn cut(&mut self, client: Client) {
        let now = self.now();
        self.shards[client.shard].lost(now, client.id);
        assert_eq!(self.shards[client.shard].next_finished(), Some(client.id));
    }

    /// Moves what `from` has for `to` by now; the turn of `to` is over after it.
    fn carry(&mut self, from: usize, to: usize) {
        self.collect(from);
        for message in self.lanes.remove(&(from, to)).unwrap_or_default() {
            let now = self.now();
            self.shards[to].lane_message(now, ShardId(from as u16), message);
        }
        self.collect(to);
    }

    /// Takes what a shard has for the lanes, which have room.
    fn collect(&mut self, shard: usize) {
        self.walk(shard);
        for to in 0..self.shards.len() {
            while let Some(message) = self.shards[shard].next_outgoing(ShardId(to as u16)) {
                self.lanes.entry((shard, to)).or_default().push_back(message);
            }
        }
    }

    /// Moves everything until nothing moves.
    fn settle(&mut self) {
        loop {
            (0..self.shards.len()).for_each(|shard| self.collect(shard));
            let Some((from, to)) = self.lanes.iter().find(|(_, lane)| !lane.is_empty()).map(|(ends, _)| *ends) else {
                return;
            };
            self.carry(from, to);
        }
    }

    /// Time passes, with every shard awake when it asked to be. The lanes stand still.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let due = self.shards.iter_mut().map(Shard::next_timeout).min();
            self.now = due.unwrap_or(end).clamp(self.now + Duration::from_millis(1), end);
            let now = self.now();
            for shard in &mut self.shards {
                while (shard.timers(now) || shard.walk(now)) && shard.outgoing.has_room_for_leaves() {}
            }
        }
    }

    fn count(&self, shard: usize, counter: Counter) -> u64 {
        self.metrics[shard].counter(counter)
    }

    fn is_known(&self, client: Client) -> bool {
        self.shards[client.shard].connections.find(client.id).is_some()
    }
}

/// A text frame of a client. The mask is four zeros.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ ..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("frames of tests are short").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The lines in the frames of a shard.
fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => {
                let (length, rest) = rest.split_first_chunk().expect("eight bytes of length");
                (u64::from_be_bytes(*length) as usize, rest)
            }
            length => (usize::from(*length), rest),
        };
        let (payload, after) = rest.split_at(length);
        match first & 0x0f {
            0x8 => lines.push(format!("close {}", u16::from_be_bytes([payload[0], payload[1]]))),
            _ => lines.extend(String::from_utf8_lossy(payload).split('\n').map(str::to_owned)),
        }
        bytes = after;
    }
    lines
}

/// The ids of replies, in order.
fn ids(lines: &[String]) -> Vec<u32> {
    let id = |line: &String| line.strip_prefix(r#"{"id":"#)?.split([',', '}']).next()?.parse().ok();
    lines.iter().filter_map(id).collect()
}

/// The `data` of publications, which are numbers, in order.
fn data(lines: &[String]) -> Vec<u32> {
    let data = |line: &String| line.split_once(r#""pub":{"data":"#)?.1.split([',', '}']).next()?.parse().ok();
    lines.iter().filter_map(data).collect()
}
