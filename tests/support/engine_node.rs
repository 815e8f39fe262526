//! A node as an engine sees it: shards that ask and hear.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::engine::contract::{
    Engine, Event, Incoming, Operation, Outcome, Publish, Published, Read, Request, RequestId,
};
use fanfare::engine::outlet::Outlet;
use fanfare::engine::{Retention, Stream};
use fanfare::model::{
    ChannelName, ClientId, ClientInfo, EngineIndex, Epoch, ErrorCode, Homes, Position, Publication, Version,
};
use fanfare::telemetry::EngineMetrics;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const RETENTION: Retention =
    Retention { size: 100, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };

/// Longer than any engine may take; a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct EngineNode {
    engine: Arc<dyn Engine>,
    pub metrics: Arc<EngineMetrics>,
    homes: Homes,
    events: mpsc::UnboundedReceiver<Event>,
    answers: HashMap<RequestId, Result<Outcome, ErrorCode>>,
    heard: VecDeque<Incoming>,
    rechecked: VecDeque<ChannelName>,
    next_id: AtomicU64,
}

impl EngineNode {
    pub fn start(start: impl FnOnce(Outlet, Arc<EngineMetrics>) -> Arc<dyn Engine>) -> EngineNode {
        let (sender, events) = mpsc::unbounded_channel();
        let homes = Homes::new(2, 7);
        let post = move |_, event| sender.send(event).map_err(|refused| refused.0);
        let outlet = Outlet::new(EngineIndex(1), homes.clone(), Arc::new(post));
        let metrics = Arc::new(EngineMetrics::default());
        let engine = start(outlet, Arc::clone(&metrics));
        let (answers, heard, rechecked) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        EngineNode { engine, metrics, homes, events, answers, heard, rechecked, next_id: AtomicU64::new(1) }
    }

    /// Until the engine has proven its connection.
    pub async fn ready(&self) {
        wait_until("the engine is ready", || self.metrics.is_ready()).await;
    }

    pub fn submit(&self, name: &str, operation: Operation) -> RequestId {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let request = Request { engine: EngineIndex(1), id, channel: channel(name), operation };
        assert!(self.engine.submit(self.homes.home_of(name), request).is_ok(), "the engine has room");
        id
    }

    pub async fn ask(&mut self, name: &str, operation: Operation) -> Result<Outcome, ErrorCode> {
        let id = self.submit(name, operation);
        self.answer_to(id).await
    }

    pub async fn answer_to(&mut self, wanted: RequestId) -> Result<Outcome, ErrorCode> {
        loop {
            if let Some(outcome) = self.answers.remove(&wanted) {
                return outcome;
            }
            self.next_event("an answer").await;
        }
    }

    async fn next_event(&mut self, awaited: &str) {
        let event = timeout(PATIENCE, self.events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("{awaited} does not come"));
        self.take(event.expect("the engine lives"));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Done { id, outcome } => drop(self.answers.insert(id, outcome)),
            Event::Incoming(incoming) => self.heard.push_back(*incoming),
            Event::Recheck { channels, .. } => self.rechecked.extend(channels),
        }
    }

    /// The next that is heard.
    pub async fn incoming(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.heard.pop_front() {
                return incoming;
            }
            self.next_event("a publication").await;
        }
    }

    /// The next publication that is heard: channel, text and place.
    pub async fn publication(&mut self) -> (String, String, Option<Position>) {
        loop {
            let Incoming { channel, what, .. } = self.incoming().await;
            if let Published::Publication { publication, epoch, .. } = what {
                let position = epoch.map(|epoch| Position { epoch, offset: publication.offset });
                return (channel.to_string(), text(&publication), position);
            }
        }
    }

    /// The next channel that has to be checked.
    pub async fn recheck(&mut self) -> ChannelName {
        loop {
            if let Some(channel) = self.rechecked.pop_front() {
                return channel;
            }
            self.next_event("a recheck").await;
        }
    }

    /// Whether a channel had to be checked up to now.
    pub fn was_rechecked(&mut self) -> bool {
        self.has_heard_nothing();
        !self.rechecked.is_empty()
    }

    pub fn has_heard_nothing(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        self.heard.is_empty()
    }

    pub async fn listen(&mut self, name: &str) {
        let outcome = self.ask(name, Operation::Listen).await;
        assert!(matches!(outcome, Ok(Outcome::Listening)), "{outcome:?}");
    }

    pub async fn publish(&mut self, name: &str, publish: Publish) -> Result<Option<Position>, ErrorCode> {
        match self.ask(name, Operation::Publish(Box::new(publish))).await? {
            Outcome::Published(position) => Ok(position),
            other => panic!("{other:?} is no answer to a publish"),
        }
    }

    /// Publishes to a channel with history.
    pub async fn append(&mut self, name: &str, text: &str) -> Position {
        let position = self.publish(name, kept(text)).await.expect("appended");
        position.expect("it has a place")
    }

    pub async fn read(&mut self, name: &str, after: u64, sent_until: Option<Position>) -> Stream {
        self.try_read(name, after, sent_until).await.expect("a stream")
    }

    pub async fn try_read(
        &mut self,
        name: &str,
        after: u64,
        sent_until: Option<Position>,
    ) -> Result<Stream, ErrorCode> {
        let read = Read { retention: RETENTION, after, publications_max: 1000, sent_until };
        match self.ask(name, Operation::Read(Box::new(read))).await? {
            Outcome::Read(stream) => Ok(stream),
            other => panic!("{other:?} is no stream"),
        }
    }
}

/// All that a stream holds after an offset.
pub fn texts(stream: &Stream, after: u64) -> Vec<String> {
    let kept = stream.after(after).expect("kept");
    kept.map(|publication| text(publication)).collect()
}

pub fn text(publication: &Publication) -> String {
    String::from_utf8_lossy(&publication.data).into_owned()
}

pub fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 255).expect("a name")
}

/// A publication that nobody keeps.
pub fn passing(text: &str) -> Publish {
    let publication = Publication { data: Bytes::copy_from_slice(text.as_bytes()), ..Publication::default() };
    Publish { publication, retention: None, delta: false, idempotency_key: None, version: None, sent_until: None }
}

pub fn kept(text: &str) -> Publish {
    Publish { retention: Some(RETENTION), ..passing(text) }
}

pub fn keyed(text: &str, key: &str) -> Publish {
    Publish { idempotency_key: Some(key.into()), ..kept(text) }
}

pub fn versioned(text: &str, number: u64) -> Publish {
    Publish { version: Some(Version { number, epoch: "".into() }), ..kept(text) }
}

pub fn client(user: &str, n: u8) -> Arc<ClientInfo> {
    let client = ClientId::from_random([n; 16]);
    Arc::new(ClientInfo { user: user.into(), client, conn_info: None, chan_info: None })
}

pub fn at(epoch: Epoch, offset: u64) -> Position {
    Position { epoch, offset }
}

/// Looks again and again; the time between says nothing.
pub async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
