//! The log stays small, and loses nothing by it.

use super::*;
use crate::telemetry::EngineCounter;

const SEGMENT: u64 = 4096;

fn bytes_of(bench: &Bench) -> u64 {
    bench.files.disk().segments.values().map(|bytes| bytes.written.len() as u64).sum()
}

/// A payload that says what it is, and takes some room.
fn long(text: &str) -> String {
    format!("{text}{}", " ".repeat(200 - text.len()))
}

fn publish_many(bench: &mut Bench, count: usize) {
    for n in 0..count {
        bench.publish(&format!("hot{}", n % 3), &long(&n.to_string())).expect("published");
        bench.now += Duration::from_millis(1);
        if n % 50 == 0 {
            bench.sync();
        }
    }
}

#[test]
fn a_log_that_is_written_for_ever_keeps_its_size() {
    for ack in [Ack::Memory, Ack::Fsync] {
        let mut bench = Bench::with(ack, SEGMENT, 64 << 20);
        publish_many(&mut bench, 3000);
        let kept = bench.core.memory.bytes() as u64;
        let bound = 2 * kept + 12 * SEGMENT;
        assert!(bytes_of(&bench) <= bound, "{} bytes of log for {kept} of streams", bytes_of(&bench));
        let before: Vec<_> = (0..3).map(|n| bench.texts(&format!("hot{n}"))).collect();
        bench.restart();
        let after: Vec<_> = (0..3).map(|n| bench.texts(&format!("hot{n}"))).collect();
        assert_eq!(before, after);
        assert_eq!(before[0].len(), 10);
    }
}

#[test]
fn what_is_never_written_again_stays() {
    let mut bench = Bench::with(Ack::Memory, SEGMENT, 64 << 20);
    let with_key = |text: &str| {
        publish_with(text, |publish| {
            publish.idempotency_key = Some("k".into());
            publish.version = Some(crate::model::Version { number: 9, epoch: "e".into() });
        })
    };
    let cold = position_of(bench.ask("cold", with_key("1"))).expect("published").expect("kept");
    bench.publish("gone", "1").expect("published");
    bench.ask("gone", Operation::RemoveHistory).expect("removed");
    publish_many(&mut bench, 2000);
    let first = *bench.files.disk().segments.keys().next().expect("a segment");
    assert!(first > 10, "the log went on: {first}");
    bench.restart();
    assert_eq!((bench.texts("cold"), bench.read("cold").position()), (vec!["1".to_owned()], cold));
    assert_eq!(position_of(bench.ask("cold", with_key("2"))), Ok(Some(cold)), "its key is known");
    let older =
        publish_with("3", |publish| publish.version = Some(crate::model::Version { number: 8, epoch: "e".into() }));
    assert_eq!(position_of(bench.ask("cold", older)), Ok(Some(cold)), "and its version");
    assert_eq!(bench.read("gone").position().offset, 0);
}

#[test]
fn streams_that_expire_give_their_room_back() {
    let mut bench = Bench::with(Ack::Memory, SEGMENT, 64 << 20);
    for n in 0..1000 {
        bench.publish(&format!("once{n}"), &long("1")).expect("published");
    }
    assert!(bytes_of(&bench) > 40 * SEGMENT);
    for _ in 0..200 {
        bench.pass(60 * SECOND);
        bench.sync();
    }
    assert!(bytes_of(&bench) < 8 * SEGMENT, "{} bytes", bytes_of(&bench));
}

#[test]
fn the_greatest_size_holds_and_streams_that_have_no_room_begin_anew() {
    let bytes_max = 64 * SEGMENT;
    let mut bench = Bench::with(Ack::Memory, SEGMENT, bytes_max);
    let mut positions = Vec::new();
    for n in 0..5000 {
        let name = format!("once{n}");
        positions.push((name.clone(), bench.publish(&name, &long("1")).expect("published").expect("kept")));
        if n % 20 == 0 {
            bench.sync();
        }
        assert!(bytes_of(&bench) <= bytes_max + 4 * SEGMENT, "{} bytes", bytes_of(&bench));
    }
    bench.restart();
    for (name, position) in positions {
        let again = bench.publish(&name, "2").expect("published").expect("kept");
        assert_ne!(again, position);
    }
}

#[test]
fn starts_do_not_pile_up_segments() {
    let mut bench = Bench::new(Ack::Memory);
    let position = bench.publish("a", "1").expect("published").expect("kept");
    for _ in 0..200 {
        bench.restart();
        for _ in 0..3 {
            bench.pass(SECOND);
            bench.sync();
        }
    }
    assert!(bench.files.disk().segments.len() < 70);
    assert_eq!((bench.read("a").position(), bench.metrics.get(EngineCounter::Foreign)), (position, 0));
}
