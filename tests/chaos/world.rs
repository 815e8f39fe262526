//! Hubs with an engine, readers that come back, publishers that repeat, and their journal.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::rig::balancer::Balancer;
use crate::rig::checker::{Losses, Rules, Summary, check};
use crate::rig::engine::Engine;
use crate::rig::hub::{HISTORY_SIZE, Hub, Launch};
use crate::rig::journal::{Entry, Event, Journal, Message, Position, Seat, Standing};
use crate::rig::namespace::{Inside, Namespace};
use crate::rig::proxy::Proxy;
use crate::rig::publisher::{Load, Publisher, Retry};
use crate::rig::reader::Reader;
use crate::rig::{PATIENCE, until};

/// Where each reader is listed; nothing is published to it.
pub const ROOM: &str = "listed:all";

/// A channel that promises nothing.
pub const PLAIN: &str = "plain:all";

/// How much goes on.
#[derive(Clone, Debug)]
pub struct Plan {
    pub hubs: usize,
    pub readers: u32,
    /// Stream channels; each has a publisher, and each reader is in all of them.
    pub streams: u32,
    /// Time from one message of a publisher to the next.
    pub every: Duration,
    pub proxied: Proxied,
    /// The last hub is in a network of its own, with a line to the broker and one to clients.
    pub has_namespace: bool,
    /// How long a hub that ends is not ready before it closes anything.
    pub grace: Duration,
    pub launch: Launch,
    pub seed: u64,
}

/// Where there are proxies, one for each hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    Nothing,
    /// Between each hub and the broker.
    Broker,
    /// Between each hub and all who talk to it.
    Clients,
}

impl Plan {
    /// What a scenario has unless it says otherwise: 3 x 100 publications a second, to 24 readers.
    pub fn new(hubs: usize, seed: u64) -> Plan {
        let every = Duration::from_millis(10);
        let (proxied, has_namespace, launch) = (Proxied::Nothing, false, Launch::default());
        let grace = Duration::from_millis(500);
        Plan { hubs, readers: 24, streams: 3, every, proxied, has_namespace, grace, launch, seed }
    }
}

pub struct World {
    pub engine: Engine,
    pub proxies: Vec<Proxy>,
    pub namespace: Option<Namespace>,
    pub hubs: Vec<Hub>,
    pub balancer: Balancer,
    pub journal: Journal,
    pub streams: Vec<String>,
    pub readers: Vec<Reader>,
    publishers: Vec<Publisher>,
    /// Who may not read what any more.
    withdrawn: HashSet<Seat>,
}

impl World {
    /// Starts everything, and waits until publications flow.
    pub async fn start(engine: Engine, plan: Plan) -> World {
        let behind = if plan.proxied == Proxied::Broker { vec![engine.servers[0].address; plan.hubs] } else { vec![] };
        let mut proxies = start_proxies(&behind, plan.seed).await;
        let namespace = if plan.has_namespace { Some(Namespace::start().await) } else { None };
        if let Some(namespace) = &namespace {
            engine.servers[0].also_at(namespace.to_broker.outside).await;
        }
        let namespace_of = |number: usize| namespace.as_ref().filter(|_| number + 1 == plan.hubs);
        let broker_of = |number: usize| match (proxies.get(number), namespace_of(number)) {
            (Some(proxy), _) => Some(proxy.address),
            (None, Some(namespace)) => {
                Some(SocketAddr::from((namespace.to_broker.outside, engine.servers[0].address.port())))
            }
            (None, None) => None,
        };
        let config = |number: usize| {
            let mut config =
                broker_of(number).map_or_else(|| engine.config.clone(), |address| engine.config_at(address));
            // So that whoever is cut off is noticed while the scenario lasts.
            config["client"] = json!({"ping_interval": "2s", "pong_timeout": "1s"});
            config["shutdown"] = json!({"grace": format!("{}ms", plan.grace.as_millis())});
            config
        };
        let launch = |number| Launch { inside: namespace_of(number).map(Inside::from), ..plan.launch.clone() };
        let starts: Vec<_> = (0..plan.hubs).map(|number| (config(number), launch(number))).collect();
        let hubs = join_all(starts.iter().map(|(config, launch)| Hub::start_with(config, launch.clone()))).await;
        let mut addresses: Vec<SocketAddr> = hubs.iter().map(|hub| hub.address).collect();
        if plan.proxied == Proxied::Clients {
            proxies = start_proxies(&addresses, plan.seed).await;
            addresses = proxies.iter().map(|proxy| proxy.address).collect();
        }
        let (balancer, journal) = (Balancer::new(&addresses), Journal::default());
        let streams = (0..plan.streams).map(|number| format!("stream:{number}")).collect();
        let (readers, publishers, withdrawn) = (Vec::new(), Vec::new(), HashSet::new());
        let mut world =
            World { engine, proxies, namespace, hubs, balancer, journal, streams, readers, publishers, withdrawn };
        world.add_readers(plan.readers).await;
        world.start_publishers(plan.every);
        world.flow(Duration::from_millis(200)).await;
        world
    }

    /// Adds readers of every channel, and waits until they are subscribed.
    pub async fn add_readers(&mut self, count: u32) {
        let mut channels: Vec<&str> = self.streams.iter().map(String::as_str).collect();
        channels.extend([ROOM, PLAIN]);
        for number in 0..count {
            let number = number + u32::try_from(self.readers.len()).expect("there are few");
            let reader = Reader::start(number, &self.balancer, &channels, &self.journal);
            self.readers.push(reader);
        }
        let (expected, mut standing) = (self.readers.len(), Standing::of(&self.journal));
        for channel in channels {
            let what = format!("{expected} readers of {channel}");
            until(&what, PATIENCE, async || (standing.count(channel, |_| true) == expected).then_some(())).await;
        }
    }

    fn start_publishers(&mut self, every: Duration) {
        let streams = self.streams.iter().map(|channel| (channel.clone(), Retry::UntilConfirmed));
        let channels = streams.chain([(PLAIN.to_owned(), Retry::Never)]);
        for (number, (channel, retry)) in channels.enumerate() {
            let publisher = u32::try_from(number).expect("there are few");
            let load = Load { publisher, channel, every, retry };
            self.publishers.push(Publisher::start(load, &self.balancer, &self.journal));
        }
    }

    /// Lets publications flow for so long.
    pub async fn flow(&self, time: Duration) {
        let began = Instant::now();
        until("publications to flow", PATIENCE, async || {
            let is_flowing = self.journal.count_after(began, |event| matches!(event, Event::Confirmed { .. })) > 0;
            (is_flowing && began.elapsed() >= time).then_some(())
        })
        .await;
    }

    /// Waits until each stream has confirmed a message that was sent after `since`; gives how long after it the last
    /// one was, and where these messages are.
    pub async fn published_after(&self, since: Instant) -> (Duration, Vec<(String, Position)>) {
        let look = async || {
            let entries = self.journal.entries_after(since);
            self.streams.iter().map(|channel| first_sent_and_confirmed(&entries, channel)).collect::<Option<Vec<_>>>()
        };
        let (found, _) = until("publishing to go on", PATIENCE, look).await;
        let last = found.iter().map(|(at, _)| *at).max().expect("there are streams");
        let places = self.streams.iter().cloned().zip(found.into_iter().map(|(_, place)| place)).collect();
        (last - since, places)
    }

    /// Waits until every reader stands at these positions or past them; gives how long after `since` that was.
    pub async fn current_after(&self, since: Instant, places: &[(String, Position)]) -> Duration {
        let mut standing = Standing::of(&self.journal);
        for (channel, goal) in places {
            standing.reaches(channel, goal, self.expected(channel), PATIENCE).await;
        }
        since.elapsed()
    }

    /// `kill -9` of a hub; waits until all its readers have noticed, and gives when it was killed.
    pub async fn kill_hub(&mut self, hub: usize) -> Instant {
        let subscriptions = self.hubs[hub].api.metric("fanfare_subscriptions").await as usize;
        let since = Instant::now();
        self.hubs[hub].kill().await;
        let have_noticed = async || (self.cut_after(since) >= subscriptions).then_some(());
        until("the hub's readers to notice its end", PATIENCE, have_noticed).await;
        since
    }

    /// Waits until every reader is subscribed to every stream; gives how long after `since` that was.
    pub async fn all_back_after(&self, since: Instant) -> Duration {
        let mut standing = Standing::of(&self.journal);
        for channel in &self.streams {
            let count = self.expected(channel);
            let what = format!("{count} readers to be back in {channel}");
            until(&what, PATIENCE, async || (standing.count(channel, |_| true) == count).then_some(())).await;
        }
        since.elapsed()
    }

    /// Waits until the hub lists exactly as many as there are readers; gives how long after `since` that was.
    pub async fn presence_clean_after(&self, hub: usize, since: Instant) -> Duration {
        let listed = async || self.hubs[hub].api.presence(ROOM).await.ok().map(|clients| clients.len());
        let look = async || (listed().await == Some(self.readers.len())).then_some(());
        until("presence to be clean", PATIENCE, look).await;
        since.elapsed()
    }

    /// Takes a channel from a reader, by the API of a hub, which need not be the reader's.
    pub async fn withdraw(&mut self, hub: usize, reader: u32, channel: &str) {
        let params = json!({"user": Reader::user(reader), "channel": channel});
        self.hubs[hub].api.call("unsubscribe", params).await.expect("it is answered");
        self.journal.write(Event::Revoked { reader, channel: channel.to_owned() });
        self.withdrawn.insert((reader, channel.to_owned()));
    }

    /// Readers that should be in a channel.
    fn expected(&self, channel: &str) -> usize {
        self.readers.len() - self.withdrawn.iter().filter(|(_, of)| of == channel).count()
    }

    /// Ends everything and holds the journal against the promises.
    pub async fn finish(self, losses: Losses) -> Summary {
        let expected: HashMap<&String, usize> =
            self.streams.iter().map(|channel| (channel, self.expected(channel))).collect();
        join_all(self.publishers.into_iter().map(Publisher::stop)).await;
        let mut standing = Standing::of(&self.journal);
        for channel in &self.streams {
            let mut tops = Vec::new();
            for hub in &self.hubs {
                // Its readers may be current before it can ask the broker again.
                hub.ready().await;
                tops.push(self.journal.read_history(&hub.api, channel).await);
            }
            let top = tops.remove(0);
            standing.reaches(channel, &top, expected[channel], PATIENCE).await;
        }
        for reader in self.readers {
            reader.stop().await;
        }
        let entries = self.journal.entries();
        let summary = check(&entries, Rules { losses, history_size: HISTORY_SIZE }).unwrap_or_else(|violations| {
            let logs: Vec<String> = self.hubs.iter().map(Hub::log).collect();
            panic!("{violations:#?}\n{}", logs.join("\n---\n"))
        });
        assert!(summary.confirmed > 0 && summary.received > summary.confirmed, "there was load: {summary:?}");
        summary
    }
}

/// What the journal says of a time.
impl World {
    /// The longest that a publisher waited for an error, of messages sent after `since`.
    pub fn longest_refusal(&self, since: Instant) -> Duration {
        let mut sent = HashMap::new();
        let mut longest = Duration::ZERO;
        for Entry { at, event } in self.journal.entries_after(since) {
            match event {
                Event::Sent { channel, message } => drop(sent.insert((channel, message), at)),
                Event::Unconfirmed { channel, message, .. } => {
                    let waited = sent.get(&(channel, message)).map_or(Duration::ZERO, |sent| at - *sent);
                    longest = longest.max(waited);
                }
                _ => {}
            }
        }
        longest
    }

    /// How soon these readers had what was published after `since`: 99 of 100 deliveries.
    pub fn delivery_p99(&self, since: Instant, is_counted: impl Fn(u32) -> bool) -> Duration {
        let mut sent = HashMap::new();
        let mut took = Vec::new();
        for Entry { at, event } in self.journal.entries_after(since) {
            match event {
                Event::Sent { channel, message } => drop(sent.entry((channel, message)).or_insert(at)),
                Event::Received { reader, channel, message, .. } if is_counted(reader) => {
                    took.extend(sent.get(&(channel, message)).map(|sent| at - *sent));
                }
                _ => {}
            }
        }
        took.sort();
        took.get(took.len().saturating_sub(1) * 99 / 100).copied().expect("something was delivered")
    }

    /// Subscriptions that ended after `since`.
    pub fn ended_after(&self, since: Instant) -> usize {
        self.journal.count_after(since, |event| matches!(event, Event::Ended { .. }))
    }

    /// Subscriptions that ended because their connection did.
    pub fn cut_after(&self, since: Instant) -> usize {
        let is_cut =
            |event: &Event| matches!(event, Event::Ended { reason, .. } if !reason.starts_with("unsubscribed"));
        self.journal.count_after(since, is_cut)
    }

    /// Messages that somebody had before their publisher, who was told nothing, sent them again.
    pub fn published_and_not_answered(&self, since: Instant) -> Vec<Message> {
        let (mut received, mut found) = (HashSet::new(), Vec::new());
        for Entry { event, .. } in self.journal.entries_after(since) {
            match event {
                Event::Received { channel, message, .. } => drop(received.insert((channel, message))),
                Event::Unconfirmed { channel, message, reason } if reason.starts_with("no answer") => {
                    found.extend(received.contains(&(channel, message)).then_some(message));
                }
                _ => {}
            }
        }
        found
    }
}

async fn start_proxies(servers: &[SocketAddr], seed: u64) -> Vec<Proxy> {
    let starting =
        servers.iter().enumerate().map(|(number, server)| Proxy::start(*server, seed.wrapping_add(number as u64)));
    join_all(starting).await
}

/// When the first message of a channel that was sent in `entries` was confirmed, and where it is.
fn first_sent_and_confirmed(entries: &[Entry], channel: &str) -> Option<(Instant, Position)> {
    let mut sent: Vec<Message> = Vec::new();
    entries.iter().find_map(|entry| match &entry.event {
        Event::Sent { channel: of, message } if of == channel => {
            sent.push(*message);
            None
        }
        Event::Confirmed { channel: of, message, position } if of == channel && sent.contains(message) => {
            Some((entry.at, position.clone()?))
        }
        _ => None,
    })
}
