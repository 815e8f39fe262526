//! Disks that do not answer: a write or a sync was begun, and does not return.

use super::*;
use crate::engine::disk::job::{Done, Job};
use crate::limits::{DISK_RETRY_INTERVAL, PROBE_INTERVAL};
use crate::telemetry::EngineCounter;

type Answers = Vec<(RequestId, Result<Outcome, ErrorCode>)>;

impl Bench {
    /// Asks, and lets the write for it wait.
    fn begin(&mut self, operations: Vec<(&str, Operation)>) -> Job {
        let mut requests = self.requests(operations);
        let job = self.core.begin(self.now, &mut requests).expect("there is something to write");
        assert!(requests.is_empty());
        job
    }

    /// The write has taken too long.
    fn stall(&mut self) -> Answers {
        let mut words = Vec::new();
        self.core.stall_write(self.now, &mut words);
        self.answers(words)
    }

    /// The write returned.
    fn end(&mut self, done: Done) -> Answers {
        let mut words = Vec::new();
        self.core.end(self.now, Some(done), &mut words);
        self.answers(words)
    }

    fn ask_meanwhile(&mut self, name: &str, operation: Operation) -> Result<Outcome, ErrorCode> {
        let (mut requests, mut words) = (self.requests(vec![(name, operation)]), Vec::new());
        self.core.turn_without_files(self.now, &mut requests, &mut words);
        self.answers(words).pop().expect("an answer").1
    }

    fn texts_meanwhile(&mut self, name: &str) -> Vec<String> {
        let read = Read { retention: RETENTION, after: 0, publications_max: 1000, sent_until: None };
        match self.ask_meanwhile(name, Operation::Read(Box::new(read))) {
            Ok(Outcome::Read(stream)) => texts_of(&stream),
            other => panic!("{other:?}"),
        }
    }
}

fn ready(ack: Ack) -> (Bench, Position) {
    let mut bench = Bench::new(ack);
    let position = bench.publish("a", "1").expect("published").expect("kept");
    bench.ask("a", Operation::Listen).expect("listening");
    assert!(bench.metrics.is_ready());
    (bench, position)
}

fn keyed(text: &str) -> Operation {
    publish_with(text, |publish| publish.idempotency_key = Some("k".into()))
}

fn heard(bench: &Bench) -> usize {
    bench.incoming.len()
}

#[test]
fn a_write_that_does_not_return_is_answered_with_an_error_and_reads_go_on() {
    for ack in [Ack::Memory, Ack::Fsync] {
        let (mut bench, position) = ready(ack);
        let read = Read { retention: RETENTION, after: 0, publications_max: 1000, sent_until: None };
        let job = bench.begin(vec![
            ("a", keyed("2")),
            ("b", publish("1")),
            ("a", Operation::Read(Box::new(read))),
            ("quiet", Operation::Listen),
        ]);
        bench.now += SECOND;
        let answers = bench.stall();
        let refused = answers.iter().filter(|(_, outcome)| matches!(outcome, Err(ErrorCode::Internal))).count();
        assert_eq!((answers.len(), refused), (4, 2), "what needs no file is answered: {answers:?}");
        assert!(!bench.metrics.is_ready() && !bench.metrics.is_up());

        for _ in 0..10_000 {
            assert!(matches!(bench.ask_meanwhile("a", publish("refused")), Err(ErrorCode::Internal)), "at once");
        }
        assert!(matches!(bench.ask_meanwhile("a", Operation::RemoveHistory), Err(ErrorCode::Internal)));
        assert_eq!(bench.texts_meanwhile("a"), ["1"], "what was confirmed is readable");
        assert_eq!(
            position_of(bench.ask_meanwhile("a", publish_with("x", |publish| publish.retention = None))),
            Ok(None)
        );
        assert_eq!(bench.core.next_turn(bench.now), Duration::MAX, "nothing is tried meanwhile");

        let (done, before) = (job.run(), heard(&bench));
        assert!(bench.end(done).is_empty(), "nobody is answered twice");
        assert!(bench.metrics.is_ready());
        assert_eq!(heard(&bench), before + 1, "it has happened after all");
        assert_eq!(bench.texts("a"), ["1", "2"]);
        let second = Ok(Some(Position { offset: 2, ..position }));
        assert_eq!(position_of(bench.ask("a", keyed("again"))), second, "a repeated publish is there once");
        assert_eq!(bench.publish("a", "3"), Ok(Some(Position { offset: 3, ..position })));
        bench.restart();
        assert_eq!(
            (bench.texts("a"), bench.texts("b")),
            (vec!["1".into(), "2".into(), "3".into()], vec!["1".to_owned()])
        );
    }
}

#[test]
fn a_write_that_fails_in_the_end_has_not_happened() {
    for ack in [Ack::Memory, Ack::Fsync] {
        let (mut bench, position) = ready(ack);
        let job = bench.begin(vec![("a", publish("lost"))]);
        bench.stall();
        bench.files.disk().room = Some(0);
        let done = job.run();
        assert!(bench.end(done).is_empty());
        assert!(!bench.metrics.is_ready());
        assert_eq!(bench.texts("a"), ["1"]);
        bench.files.disk().room = None;
        bench.pass(DISK_RETRY_INTERVAL);
        assert!(bench.metrics.is_ready());
        assert_eq!(bench.publish("a", "2"), Ok(Some(Position { offset: 2, ..position })));
    }
}

#[test]
fn a_kill_meanwhile_loses_nothing_confirmed() {
    let (mut bench, position) = ready(Ack::Memory);
    let job = bench.begin(vec![("a", publish("perhaps"))]);
    bench.stall();
    drop(job);
    bench.restart();
    assert_eq!((bench.texts("a"), bench.read("a").position()), (vec!["1".to_owned()], position));
}

#[test]
fn what_expires_meanwhile_expires_afterwards() {
    let (mut bench, position) = ready(Ack::Fsync);
    let job = bench.begin(vec![("a", publish("2"))]);
    bench.stall();
    bench.now += 10_000 * SECOND;
    assert_eq!(bench.texts_meanwhile("a"), ["1"]);
    let done = job.run();
    bench.end(done);
    bench.pass(SECOND);
    assert_ne!(bench.read("a").position().epoch, position.epoch, "it was past its time");
}

#[test]
fn a_probe_that_does_not_return_is_known() {
    let (mut bench, _) = ready(Ack::Memory);
    bench.now += PROBE_INTERVAL;
    let job = bench.begin(vec![]);
    assert!(bench.stall().is_empty());
    assert!(!bench.metrics.is_ready());
    let done = job.run();
    bench.end(done);
    assert!(bench.metrics.is_ready());
}

#[test]
fn a_background_sync_that_does_not_return_stops_publishes() {
    let (mut bench, position) = ready(Ack::Memory);
    let job = bench.core.begin_sync().expect("something is not safe");
    bench.publish("a", "2").expect("published");
    bench.core.stall_sync();
    assert!(!bench.metrics.is_ready());
    assert_eq!(bench.publish("a", "refused"), Err(ErrorCode::Internal));
    assert_eq!(bench.texts("a"), ["1", "2"]);
    let written = bench.metrics.get(EngineCounter::Writes);
    bench.pass(10 * PROBE_INTERVAL);
    assert_eq!(bench.metrics.get(EngineCounter::Writes), written, "nothing is written to such a disk");
    bench.core.end_sync(bench.now, job.run());
    bench.pass(Duration::ZERO);
    assert!(bench.metrics.is_ready());
    assert_eq!(bench.publish("a", "3"), Ok(Some(Position { offset: 3, ..position })));
}

#[test]
fn a_background_sync_that_fails_in_the_end_is_a_failed_one() {
    let (mut bench, _) = ready(Ack::Memory);
    let job = bench.core.begin_sync().expect("something is not safe");
    bench.core.stall_sync();
    bench.files.disk().syncs_fail = true;
    bench.core.end_sync(bench.now, job.run());
    assert!(!bench.metrics.is_ready());
    bench.files.disk().syncs_fail = false;
    for _ in 0..4 {
        bench.pass(DISK_RETRY_INTERVAL);
        bench.sync();
    }
    assert!(bench.metrics.is_ready());
    bench.lose_power();
    assert_eq!(bench.texts("a"), ["1"]);
}
