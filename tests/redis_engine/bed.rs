//! An engine, and a node of two shards that asks it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::engine::Retention;
use fanfare::engine::Stream;
use fanfare::engine::contract::{
    Engine, Event, Incoming, Operation, Outcome, Page, Publish, Published, Read, Request, RequestId,
};
use fanfare::engine::outlet::Outlet;
use fanfare::engine::redis::{Deployment, Options, start};
use fanfare::model::{
    ChannelName, EngineIndex, ErrorCode, HistoryRequest, HistoryResult, Homes, Position, Publication, ShardId, Since,
};
use fanfare::telemetry::{EngineCounter, EngineMetrics};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub const RETENTION: Retention =
    Retention { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };

/// A test that takes longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Result<Outcome, ErrorCode>;
type Answers = Mutex<HashMap<RequestId, oneshot::Sender<Answer>>>;

pub struct Bed {
    engine: Arc<dyn Engine>,
    pub metrics: Arc<EngineMetrics>,
    homes: Homes,
    answers: Arc<Answers>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    rechecks: mpsc::UnboundedReceiver<Vec<ChannelName>>,
    next_id: AtomicU64,
    /// Whether the shards take what is published.
    pub takes: Arc<AtomicBool>,
}

impl Bed {
    pub fn start(options: &Options) -> Bed {
        let homes = Homes::new(2, 7);
        let answers: Arc<Answers> = Arc::default();
        let (heard, incoming) = mpsc::unbounded_channel();
        let (told, rechecks) = mpsc::unbounded_channel();
        let waiting = Arc::clone(&answers);
        let takes = Arc::new(AtomicBool::new(true));
        let is_taken = Arc::clone(&takes);
        let post = move |_: ShardId, event: Event| {
            match event {
                Event::Incoming(_) if !is_taken.load(Ordering::Relaxed) => return Err(event),
                Event::Done { id, outcome } => {
                    let waiter = waiting.lock().expect("no test panics with it").remove(&id);
                    let waiter = waiter.expect("each request is answered once");
                    let _ = waiter.send(outcome);
                }
                Event::Incoming(incoming) => drop(heard.send(*incoming)),
                Event::Recheck { channels, .. } => drop(told.send(channels)),
            }
            Ok(())
        };
        let outlet = Outlet::new(EngineIndex(1), homes.clone(), Arc::new(post));
        let metrics = Arc::<EngineMetrics>::default();
        let engine = start(options, &outlet, Arc::clone(&metrics));
        Bed { engine, metrics, homes, answers, incoming, rechecks, next_id: AtomicU64::new(1), takes }
    }

    /// On one deployment, once it is ready.
    pub async fn ready(deployment: Deployment) -> Bed {
        let bed = Bed::start(&Options::new(vec![deployment]));
        bed.until(|bed| bed.metrics.is_ready()).await;
        bed
    }

    /// Waits until `condition` holds.
    pub async fn until(&self, condition: impl Fn(&Bed) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < PATIENCE, "that takes too long");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn count(&self, counter: EngineCounter) -> u64 {
        self.metrics.get(counter)
    }

    /// Asks, and does not wait yet.
    pub fn submit(&self, channel: &str, operation: Operation) -> oneshot::Receiver<Answer> {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        if operation.is_answered() {
            self.answers.lock().expect("no test panics with it").insert(id, sender);
        }
        let request = Request { engine: EngineIndex(1), id, channel: name(channel), operation };
        self.engine.submit(self.homes.home_of(channel), request).expect("there is room");
        answer
    }

    pub async fn ask(&self, channel: &str, operation: Operation) -> Answer {
        let answer = self.submit(channel, operation);
        timeout(PATIENCE, answer).await.expect("each request is answered").expect("it is answered once")
    }

    /// Asks again while the answer is an error: the broker comes back.
    pub async fn insist(&self, channel: &str, operation: impl Fn() -> Operation) -> Outcome {
        let begun = Instant::now();
        loop {
            match self.ask(channel, operation()).await {
                Ok(outcome) => return outcome,
                Err(code) => assert_eq!(code, ErrorCode::Internal),
            }
            assert!(begun.elapsed() < PATIENCE, "it does not come back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn publish(&self, channel: &str, text: &str) -> Position {
        let outcome = self.ask(channel, publish(text, |_| ())).await;
        position(outcome.expect("published")).expect("it is kept")
    }

    pub async fn listen(&self, channel: &str) {
        assert!(matches!(self.ask(channel, Operation::Listen).await, Ok(Outcome::Listening)));
    }

    pub async fn read(&self, channel: &str, after: u64, sent_until: Option<Position>) -> Stream {
        match self.ask(channel, read(after, sent_until)).await {
            Ok(Outcome::Read(stream)) => stream,
            other => panic!("{other:?}"),
        }
    }

    pub async fn page(
        &self,
        channel: &str,
        limit: i32,
        since: Option<Since>,
        reverse: bool,
    ) -> Result<HistoryResult, ErrorCode> {
        let request = HistoryRequest { channel: channel.into(), limit, since, reverse };
        let page = Page { retention: RETENTION, request, publications_max: 300, bytes_max: 1 << 20 };
        match self.ask(channel, Operation::Page(Box::new(page))).await? {
            Outcome::Page(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    pub async fn next_incoming(&mut self) -> Incoming {
        timeout(PATIENCE, self.incoming.recv()).await.expect("something comes").expect("the engine runs")
    }

    /// Channel, offset and text of the next publication that comes.
    pub async fn next_publication(&mut self) -> (String, u64, String) {
        parts_of(self.next_incoming().await)
    }

    /// The same of one that came already.
    pub fn heard_publication(&mut self) -> Option<(String, u64, String)> {
        self.incoming.try_recv().ok().map(parts_of)
    }

    /// Waits until all of these are named, in whatever pieces.
    pub async fn wait_for_recheck(&mut self, channels: &[&str]) {
        let mut missing: HashSet<ChannelName> = channels.iter().map(|channel| name(channel)).collect();
        while !missing.is_empty() {
            let named =
                timeout(PATIENCE, self.rechecks.recv()).await.expect("they are named").expect("the engine runs");
            for channel in named {
                missing.remove(&channel);
            }
        }
    }
}

fn parts_of(incoming: Incoming) -> (String, u64, String) {
    match incoming.what {
        Published::Publication { publication, .. } => {
            (incoming.channel.to_string(), publication.offset, text_of(&publication))
        }
        Published::Membership(..) => panic!("a publication was expected"),
    }
}

pub fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel, 255).expect("a short name")
}

/// A publish with history, changed by `change`.
pub fn publish(text: &str, change: impl FnOnce(&mut Publish)) -> Operation {
    let publication = Publication { data: Bytes::copy_from_slice(text.as_bytes()), ..Publication::default() };
    let mut publish = Publish {
        publication,
        retention: Some(RETENTION),
        delta: false,
        idempotency_key: None,
        version: None,
        sent_until: None,
    };
    change(&mut publish);
    Operation::Publish(Box::new(publish))
}

pub fn read(after: u64, sent_until: Option<Position>) -> Operation {
    Operation::Read(Box::new(Read { retention: RETENTION, after, publications_max: 300, sent_until }))
}

pub fn position(outcome: Outcome) -> Option<Position> {
    match outcome {
        Outcome::Published(position) => position,
        other => panic!("{other:?}"),
    }
}

pub fn text_of(publication: &Publication) -> String {
    String::from_utf8_lossy(&publication.data).into_owned()
}

/// Offset and text of each that is kept.
pub fn kept(stream: &Stream) -> Vec<(u64, String)> {
    let whole = (0..=stream.position().offset).find_map(|after| stream.after(after));
    let kept = whole.expect("after its newest nothing is missing");
    kept.map(|publication| (publication.offset, text_of(publication))).collect()
}
