//! What the contract asks, in one run and over restarts.

use super::*;
use crate::engine::contract::{Page, Published};
use crate::model::{HistoryRequest, Since, Version};

fn version(number: u64) -> Option<Version> {
    Some(Version { number, epoch: "".into() })
}

fn offset(position: Result<Option<Position>, ErrorCode>) -> u64 {
    position.expect("published").expect("kept").offset
}

#[test]
fn what_was_confirmed_is_there_after_a_kill_under_the_same_position() {
    for ack in [Ack::Memory, Ack::Fsync] {
        let mut bench = Bench::new(ack);
        for n in 1..=12 {
            assert_eq!(offset(bench.publish("a", &n.to_string())), n);
        }
        let untouched = bench.read("quiet").position();
        let before = bench.read("a");
        bench.restart();
        let after = bench.read("a");
        assert_eq!((after.position(), texts_of(&after)), (before.position(), texts_of(&before)));
        assert_eq!(texts_of(&after).len(), 10);
        assert_eq!(bench.read("quiet").position(), untouched, "nothing was lost there either");
        assert_eq!(bench.publish("a", "next"), Ok(Some(Position { offset: 13, ..before.position() })));
    }
}

#[test]
fn a_batch_sees_what_it_planned_itself() {
    let mut bench = Bench::new(Ack::Fsync);
    let keyed = |text| ("a", publish_with(text, |publish| publish.idempotency_key = Some("k".into())));
    let versioned = |text, number| ("a", publish_with(text, |publish| publish.version = version(number)));
    let answers = bench.ask_all(vec![
        ("a", publish("1")),
        keyed("2"),
        keyed("again"),
        versioned("3", 7),
        versioned("old", 7),
        ("b", publish("1")),
        ("a", Operation::RemoveHistory),
        ("a", publish("new life")),
    ]);
    let offsets: Vec<_> = answers
        .into_iter()
        .map(|answer| match answer {
            Ok(Outcome::Published(position)) => position.expect("kept").offset,
            Ok(Outcome::HistoryRemoved(true)) => 0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, [1, 2, 2, 3, 3, 1, 0, 1]);
    assert_eq!(bench.texts("a"), ["new life"]);
    let before = bench.read("a").position();
    bench.restart();
    assert_eq!((bench.texts("a"), bench.read("a").position()), (vec!["new life".to_owned()], before));
}

#[test]
fn keys_and_versions_survive() {
    let mut bench = Bench::new(Ack::Memory);
    let keyed = |text: &str| publish_with(text, |publish| publish.idempotency_key = Some("k".into()));
    let passing = |text: &str| {
        publish_with(text, |publish| {
            publish.retention = None;
            publish.idempotency_key = Some("p".into());
        })
    };
    let first = position_of(bench.ask("a", keyed("1")));
    assert_eq!(position_of(bench.ask("b", passing("1"))), Ok(None));
    bench.ask("v", publish_with("7", |publish| publish.version = version(7))).expect("published");
    bench.publish("v", "without").expect("published");
    bench.restart();
    bench.ask_all(vec![("b", Operation::Listen)]);
    assert_eq!(position_of(bench.ask("a", keyed("2"))), first);
    assert_eq!(position_of(bench.ask("b", passing("2"))), Ok(None));
    assert!(bench.incoming.is_empty(), "the first one was the only one");
    assert_eq!(offset(position_of(bench.ask("v", publish_with("6", |publish| publish.version = version(6))))), 2);
    assert_eq!(bench.texts("v"), ["7", "without"]);
    bench.pass(301 * SECOND);
    bench.restart();
    assert_eq!(offset(position_of(bench.ask("a", keyed("3")))), 2, "five minutes are over");
}

#[test]
fn a_home_hears_what_it_listens_to_in_order() {
    let mut bench = Bench::new(Ack::Memory);
    bench.publish("a", "unheard").expect("published");
    bench.ask_all(vec![("a", Operation::Listen), ("a", publish("1")), ("b", publish("elsewhere"))]);
    bench.ask_all(vec![("a", publish_with("2", |publish| publish.retention = None)), ("a", publish("3"))]);
    bench.ask_all(vec![("a", Operation::Unlisten), ("a", publish("4"))]);
    let heard: Vec<_> = bench
        .incoming
        .iter()
        .map(|incoming| match &incoming.what {
            Published::Publication { publication, epoch, .. } => {
                (text_of(publication), publication.offset, epoch.is_some())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(heard, [("1".into(), 2, true), ("2".into(), 0, false), ("3".into(), 3, true)]);
}

#[test]
fn reads_and_pages_give_what_they_are_asked_for() {
    let mut bench = Bench::new(Ack::Memory);
    (1..=6).for_each(|n| assert!(bench.publish("a", &n.to_string()).is_ok()));
    let mut read = |after, publications_max| {
        let read = Read { retention: RETENTION, after, publications_max, sent_until: None };
        match bench.ask("a", Operation::Read(Box::new(read))) {
            Ok(Outcome::Read(stream)) => (stream.position().offset, texts_of(&stream).join(",")),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(0, 100), (6, "1,2,3,4,5,6".into()));
    assert_eq!(read(4, 100), (6, "5,6".into()));
    assert_eq!(read(0, 2), (6, "5,6".into()));
    assert_eq!(read(u64::MAX, 100), (6, String::new()));
    let request = HistoryRequest { channel: "a".into(), limit: 2, since: Some(Since::default()), reverse: false };
    let page = Page { retention: RETENTION, request, publications_max: 100, bytes_max: 1000 };
    let Ok(Outcome::Page(result)) = bench.ask("a", Operation::Page(Box::new(page))) else { panic!("a page") };
    assert_eq!((result.offset, result.publications.len()), (6, 2));
}

#[test]
fn a_stream_that_ends_before_what_its_room_was_sent_begins_anew() {
    let mut bench = Bench::new(Ack::Memory);
    let position = bench.publish("a", "1").expect("published").expect("kept");
    let sent_until = Some(Position { offset: 2, ..position });
    let read = Read { retention: RETENTION, after: 0, publications_max: 10, sent_until };
    let Ok(Outcome::Read(stream)) = bench.ask("a", Operation::Read(Box::new(read))) else { panic!("a stream") };
    assert_eq!(stream.position().offset, 0);
    assert_ne!(stream.position().epoch, position.epoch);
    bench.restart();
    assert_eq!(bench.texts("a"), Vec::<String>::new());
}

#[test]
fn what_expired_while_nobody_ran_is_gone() {
    let mut bench = Bench::new(Ack::Memory);
    let position = bench.publish("a", "1").expect("published").expect("kept");
    bench.now += 601 * SECOND;
    bench.restart();
    let stream = bench.read("a");
    assert_eq!((stream.position(), texts_of(&stream).len()), (position, 0), "the position outlives the history");
    bench.now += 6000 * SECOND;
    bench.restart();
    let again = bench.publish("a", "2").expect("published").expect("kept");
    assert_eq!(again.offset, 1);
    assert_ne!(again.epoch, position.epoch);
}

#[test]
fn presence_is_another_engines() {
    let mut bench = Bench::new(Ack::Memory);
    let answers = bench.ask_all(vec![("a", Operation::PresenceStats), ("a", Operation::Presence { clients_max: 1 })]);
    assert!(answers.iter().all(|answer| matches!(answer, Err(ErrorCode::NotAvailable))), "{answers:?}");
}
