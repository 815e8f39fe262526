//! Logs that were cut or changed, at every byte.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::engine::disk::format::HEADER_BYTES;
use crate::model::Version;
use crate::telemetry::EngineCounter;

const CHANNELS: [&str; 4] = ["a", "b", "c", "removed"];

/// What stood at each position, and where each channel stood.
struct Truth {
    published: HashMap<(String, String, u64), String>,
    tops: HashMap<String, Position>,
}

/// A log of two segments with records of each kind.
fn small_log() -> (Bench, Truth) {
    let mut bench = Bench::new(Ack::Fsync);
    let mut truth = Truth { published: HashMap::new(), tops: HashMap::new() };
    for n in 0..4 {
        for name in CHANNELS {
            let operation = publish_with(&format!("{name}{n}"), |publish| {
                publish.idempotency_key = (n == 1).then(|| "k".into());
                publish.version = (n == 2).then(|| Version { number: 5, epoch: "v".into() });
            });
            let position = position_of(bench.ask(name, operation)).expect("published").expect("kept");
            let place = (name.to_owned(), position.epoch.as_str().to_owned(), position.offset);
            truth.published.insert(place, format!("{name}{n}"));
            truth.tops.insert(name.to_owned(), position);
        }
        if n == 1 {
            bench.restart();
        }
    }
    bench.ask("removed", Operation::RemoveHistory).expect("removed");
    (bench, truth)
}

/// Opens the log with the bytes of one segment changed.
fn open_changed(bench: &Bench, number: u64, change: impl FnOnce(&mut Vec<u8>)) -> Bench {
    let files = Simulated::default();
    {
        let (mut to, from) = (files.disk(), bench.files.disk());
        to.segments = from.segments.clone();
        change(&mut to.segments.get_mut(&number).expect("it is there").written);
    }
    let mark = Mark::of_boot("1", Ack::Fsync);
    mark.write(&files).expect("simulated");
    let options = CoreOptions { seed: fastrand::u64(..), ..bench.options.clone() };
    Bench::of_files(files, options, bench.now)
}

/// Nothing wrong is served, and no position is given to another publication.
fn check_truthful(bench: &mut Bench, truth: &Truth) {
    let mut given = HashSet::new();
    for round in 0..2 {
        for name in CHANNELS {
            let stream = bench.read(name);
            let epoch = stream.position().epoch.as_str().to_owned();
            for publication in stream.publications() {
                let place = (name.to_owned(), epoch.clone(), publication.offset);
                let text = text_of(publication);
                match truth.published.get(&place) {
                    Some(expected) => assert_eq!(text, *expected, "{place:?}"),
                    None => assert!(text.starts_with(name), "{text} in {name}"),
                }
            }
            let position = bench.publish(name, &format!("{name} later")).expect("published").expect("kept");
            let place = (name.to_owned(), position.epoch.as_str().to_owned(), position.offset);
            assert!(!truth.published.contains_key(&place), "{place:?} was given before");
            assert!(given.insert(place.clone()), "{place:?} is given twice");
            assert_eq!(position.offset, stream.position().offset + 1);
        }
        if round == 0 {
            bench.restart();
        }
    }
}

fn segments_of(bench: &Bench) -> Vec<(u64, usize)> {
    bench.files.disk().segments.iter().map(|(number, bytes)| (*number, bytes.written.len())).collect()
}

#[test]
fn a_flipped_bit_anywhere_makes_nothing_wrong() {
    let (bench, truth) = small_log();
    for (number, bytes) in segments_of(&bench) {
        for at in 0..bytes {
            let mut changed = open_changed(&bench, number, |bytes| bytes[at] ^= 1 << (at % 8));
            assert!(changed.metrics.get(EngineCounter::Foreign) > 0, "flipped at {at} of {number}, unnoticed");
            check_truthful(&mut changed, &truth);
        }
    }
}

#[test]
fn a_log_cut_anywhere_is_served_up_to_there() {
    let (bench, truth) = small_log();
    let (last, bytes) = *segments_of(&bench).last().expect("a segment");
    let mut tops_before = 0;
    for end in 0..=bytes {
        let mut cut = open_changed(&bench, last, |bytes| bytes.truncate(end));
        assert_eq!(cut.metrics.get(EngineCounter::Foreign), 0, "a torn end at {end} is no damage");
        let tops: u64 = ["a", "b", "c"].iter().map(|name| cut.read(name).position().offset).sum();
        assert!(tops >= tops_before, "cut at {end}");
        tops_before = tops;
        for name in ["a", "b", "c"] {
            let stream = cut.read(name);
            assert_eq!(stream.position().epoch, truth.tops[name].epoch);
            let expected: Vec<String> = (0..stream.position().offset).map(|n| format!("{name}{n}")).collect();
            assert_eq!(texts_of(&stream), expected);
        }
        cut.restart();
        assert_eq!(cut.metrics.get(EngineCounter::Foreign), 0, "the torn end at {end} is not read again");
    }
    assert_eq!(tops_before, 12);
}

#[test]
fn a_sealed_segment_that_is_cut_is_damage() {
    let (bench, truth) = small_log();
    let (first, bytes) = segments_of(&bench)[0];
    for end in 0..bytes {
        let mut cut = open_changed(&bench, first, |bytes| bytes.truncate(end));
        assert!(cut.metrics.get(EngineCounter::Foreign) > 0, "cut at {end}, unnoticed");
        check_truthful(&mut cut, &truth);
    }
}

#[test]
fn a_damaged_payload_costs_its_own_channel_only() {
    let (bench, truth) = small_log();
    let (last, _) = *segments_of(&bench).last().expect("a segment");
    let find =
        |bytes: &[u8], text: &str| bytes.windows(2).rposition(|two| two == text.as_bytes()).expect("it is there");
    let mut changed = open_changed(&bench, last, |bytes| {
        let at = find(bytes, "b3");
        bytes[at] ^= 1;
    });
    assert_eq!(changed.metrics.get(EngineCounter::EpochsLost), 1);
    for name in ["a", "c"] {
        assert_eq!(changed.read(name).position(), truth.tops[name]);
    }
    let renewed = changed.read("b");
    assert_ne!(renewed.position().epoch, truth.tops["b"].epoch, "its last offset was given");
    assert_eq!(texts_of(&renewed), ["b0", "b1", "b2"], "what came before is still to be read");
    changed.restart();
    assert_eq!(changed.read("b").position(), renewed.position(), "it is renewed once");
    // What comes later proves where the stream stands: then it only lost a part of its history.
    let mut changed = open_changed(&bench, last, |bytes| {
        let at = find(bytes, "b2");
        bytes[at] ^= 1;
    });
    assert_eq!((changed.read("b").position(), changed.texts("b")), (truth.tops["b"], vec!["b3".to_owned()]));
}

#[test]
fn a_payload_that_looks_like_a_record_is_none() {
    let mut bench = Bench::new(Ack::Fsync);
    bench.publish("a", "1").expect("published");
    let record = bench.files.disk().segments[&1].written[HEADER_BYTES..].to_vec();
    let forged = Publication { data: record.into(), ..Publication::default() };
    bench.ask("b", publish_with("", |publish| publish.publication = forged)).expect("published");
    bench.publish("a", "2").expect("published");
    for at in HEADER_BYTES..segments_of(&bench)[0].1 {
        let mut changed = open_changed(&bench, 1, |bytes| bytes[at] ^= 1);
        let texts = changed.texts("a");
        assert!(["1", "2", "1 2", ""].contains(&texts.join(" ").as_str()), "{texts:?} of a log flipped at {at}");
        assert!(changed.read("a").position().offset <= 2);
    }
}
