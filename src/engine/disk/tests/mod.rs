//! The engine without its thread, over simulated files. What every test shares.

mod compaction;
mod damage;
mod model;
mod outage;
mod requests;
mod simulated;
mod stall;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Ack;
use super::core::{Core, CoreOptions, Word};
use super::mark::Mark;
use crate::engine::contract::{Event, Incoming, Operation, Outcome, Publish, Read, Request, RequestId};
use crate::engine::{Retention, Stream};
use crate::model::{ChannelName, EngineIndex, ErrorCode, Position, Publication, ShardId};
use crate::telemetry::EngineMetrics;
use simulated::Simulated;

const SECOND: Duration = Duration::from_secs(1);
const RETENTION: Retention = Retention { size: 10, ttl: Duration::from_secs(600), meta_ttl: Duration::from_secs(6000) };

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 255).expect("a short name")
}

/// One machine with one engine.
struct Bench {
    files: Simulated,
    boot: u32,
    options: CoreOptions,
    core: Core,
    metrics: Arc<EngineMetrics>,
    now: Duration,
    next_id: u64,
    incoming: Vec<Incoming>,
    random: fastrand::Rng,
}

impl Bench {
    fn new(ack: Ack) -> Bench {
        Bench::with(ack, 1 << 20, 64 << 20)
    }

    fn with(ack: Ack, segment_bytes: u64, bytes_max: u64) -> Bench {
        let options = CoreOptions { engine: EngineIndex(1), ack, segment_bytes, bytes_max, seed: 1 };
        Bench::of_files(Simulated::default(), options, Duration::from_secs(1_700_000_000))
    }

    fn of_files(files: Simulated, options: CoreOptions, now: Duration) -> Bench {
        let metrics = Arc::new(EngineMetrics::default());
        let core = open(&files, &options, 1, now, &metrics);
        let random = fastrand::Rng::with_seed(options.seed);
        Bench { files, boot: 1, options, core, metrics, now, next_id: 0, incoming: Vec::new(), random }
    }

    /// The process is killed and started again, on a disk that may be full but answers.
    fn restart(&mut self) {
        self.files.disk().answer();
        self.options.seed += 1;
        self.metrics = Arc::new(EngineMetrics::default());
        self.core = open(&self.files, &self.options, self.boot, self.now, &self.metrics);
        self.turn(VecDeque::new());
    }

    fn lose_power(&mut self) {
        self.files.lose_power(&mut self.random);
        self.boot += 1;
        self.restart();
    }

    /// Passes time, with what happens by itself.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.turn(VecDeque::new());
    }

    fn sync(&mut self) {
        if let Some(job) = self.core.begin_sync() {
            self.core.end_sync(self.now, job.run());
        }
    }

    fn turn(&mut self, mut requests: VecDeque<(ShardId, Request)>) -> Vec<(RequestId, Result<Outcome, ErrorCode>)> {
        let mut words = Vec::new();
        loop {
            self.core.turn(self.now, &mut requests, &mut words);
            if requests.is_empty() {
                break;
            }
        }
        self.answers(words)
    }

    /// Takes what was said to shards; what was published is kept.
    fn answers(&mut self, words: Vec<Word>) -> Vec<(RequestId, Result<Outcome, ErrorCode>)> {
        let mut done = Vec::new();
        for word in words {
            match word {
                Word::To(_, Event::Done { id, outcome }) => done.push((id, outcome)),
                Word::Home(incoming) => self.incoming.push(incoming),
                Word::To(_, other) => panic!("{other:?}"),
            }
        }
        done
    }

    /// Asks all that in one batch; the answers of those that are answered, in order.
    fn ask_all(&mut self, operations: Vec<(&str, Operation)>) -> Vec<Result<Outcome, ErrorCode>> {
        let requests = self.requests(operations);
        let mut done = self.turn(requests);
        done.sort_by_key(|(id, _)| id.0);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn requests(&mut self, operations: Vec<(&str, Operation)>) -> VecDeque<(ShardId, Request)> {
        let mut requests = VecDeque::new();
        for (name, operation) in operations {
            self.next_id += 1;
            let id = RequestId(self.next_id);
            requests.push_back((ShardId(0), Request { engine: EngineIndex(1), id, channel: channel(name), operation }));
        }
        requests
    }

    fn ask(&mut self, name: &str, operation: Operation) -> Result<Outcome, ErrorCode> {
        self.ask_all(vec![(name, operation)]).pop().expect("an answer")
    }

    fn publish(&mut self, name: &str, text: &str) -> Result<Option<Position>, ErrorCode> {
        position_of(self.ask(name, publish(text)))
    }

    fn read(&mut self, name: &str) -> Stream {
        let read = Read { retention: RETENTION, after: 0, publications_max: 1000, sent_until: None };
        match self.ask(name, Operation::Read(Box::new(read))) {
            Ok(Outcome::Read(stream)) => stream,
            other => panic!("{other:?}"),
        }
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        texts_of(&self.read(name))
    }
}

fn open(files: &Simulated, options: &CoreOptions, boot: u32, now: Duration, metrics: &Arc<EngineMetrics>) -> Core {
    let mark = Mark::of_boot(&boot.to_string(), options.ack);
    Core::open(options.clone(), Arc::new(files.clone()), mark, now, Arc::clone(metrics)).expect("the log is readable")
}

fn texts_of(stream: &Stream) -> Vec<String> {
    stream.publications().map(|publication| text_of(publication)).collect()
}

fn text_of(publication: &Publication) -> String {
    String::from_utf8(publication.data.to_vec()).expect("tests publish text")
}

fn publish(text: &str) -> Operation {
    publish_with(text, |_| ())
}

fn publish_with(text: &str, change: impl FnOnce(&mut Publish)) -> Operation {
    let publication = Publication { data: text.to_owned().into(), ..Publication::default() };
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

#[track_caller]
fn position_of(outcome: Result<Outcome, ErrorCode>) -> Result<Option<Position>, ErrorCode> {
    match outcome? {
        Outcome::Published(position) => Ok(position),
        other => panic!("{other:?}"),
    }
}
