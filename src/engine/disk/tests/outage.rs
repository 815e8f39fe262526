//! Disks that are full or broken, and the power gone.

use super::*;
use crate::limits::{DISK_RETRY_INTERVAL, PROBE_INTERVAL};

fn ready(ack: Ack) -> (Bench, Position) {
    let mut bench = Bench::new(ack);
    let position = bench.publish("a", "1").expect("published").expect("kept");
    assert!(bench.metrics.is_ready());
    (bench, position)
}

fn later(position: Position, offset: u64) -> Result<Option<Position>, ErrorCode> {
    Ok(Some(Position { offset, ..position }))
}

#[test]
fn a_full_disk_refuses_publishes_that_wait_for_it_until_there_is_room() {
    let (mut bench, position) = ready(Ack::Fsync);
    for room in [0, 1, 50] {
        bench.files.disk().room = Some(room);
        assert_eq!(bench.publish("a", "lost"), Err(ErrorCode::Internal));
        assert!(!bench.metrics.is_ready());
        assert_eq!(bench.publish("b", "lost"), Err(ErrorCode::Internal), "at once");
        assert_eq!((bench.texts("a"), bench.read("a").position()), (vec!["1".to_owned()], position));
        bench.files.disk().room = None;
        bench.pass(DISK_RETRY_INTERVAL);
        assert!(bench.metrics.is_ready());
    }
    assert_eq!(bench.publish("a", "2"), later(position, 2), "nothing that was refused took a place");
    bench.restart();
    assert_eq!((bench.texts("a"), bench.texts("b").len()), (vec!["1".to_owned(), "2".to_owned()], 0));
}

#[test]
fn a_full_disk_does_not_stop_publishes_from_memory() {
    let (mut bench, position) = ready(Ack::Memory);
    bench.files.disk().room = Some(0);
    assert_eq!(bench.publish("a", "2"), later(position, 2));
    assert_eq!(bench.publish("b", "1").map(|position| position.map(|position| position.offset)), Ok(Some(1)));
    assert!(!bench.metrics.is_ready());
    bench.files.disk().room = None;
    bench.pass(DISK_RETRY_INTERVAL);
    assert_eq!(bench.publish("a", "3"), later(position, 3));
    bench.pass(DISK_RETRY_INTERVAL);
    bench.sync();
    bench.restart();
    assert_eq!(
        (bench.texts("a"), bench.read("a").position().epoch),
        (vec!["1".into(), "2".into(), "3".into()], position.epoch)
    );
    assert_eq!(bench.texts("b"), ["1"]);
}

#[test]
fn a_process_that_ends_on_a_full_disk_begins_new_epochs() {
    let (mut bench, position) = ready(Ack::Memory);
    bench.files.disk().room = Some(0);
    assert_eq!(bench.publish("a", "2"), later(position, 2));
    bench.files.disk().room = None;
    bench.restart();
    let stream = bench.read("a");
    assert_eq!((stream.position().offset, texts_of(&stream)), (1, vec!["1".to_owned()]));
    assert_ne!(stream.position().epoch, position.epoch, "offset 2 was given already");
    bench.sync();
    bench.restart();
    assert_eq!(bench.read("a").position(), stream.position(), "it is renewed once");
}

#[test]
fn without_even_a_mark_publishes_are_refused() {
    let (mut bench, position) = ready(Ack::Memory);
    bench.files.disk().marks_fail = true;
    bench.files.disk().room = Some(0);
    assert_eq!(bench.publish("a", "lost"), Err(ErrorCode::Internal));
    assert_eq!(bench.publish("a", "lost"), Err(ErrorCode::Internal));
    assert_eq!(bench.texts("a"), ["1"]);
    bench.files.disk().room = None;
    bench.pass(DISK_RETRY_INTERVAL);
    assert_eq!(bench.publish("a", "2"), later(position, 2));
}

#[test]
fn a_failed_sync_is_never_taken_for_a_success() {
    let (mut bench, position) = ready(Ack::Fsync);
    bench.files.disk().syncs_fail = true;
    assert_eq!(bench.publish("a", "lost"), Err(ErrorCode::Internal));
    bench.files.disk().syncs_fail = false;
    bench.pass(DISK_RETRY_INTERVAL);
    assert_eq!(bench.publish("a", "2"), later(position, 2));
    bench.lose_power();
    assert_eq!((bench.texts("a"), bench.read("a").position().epoch), (vec!["1".into(), "2".into()], position.epoch));
}

#[test]
fn what_a_failed_background_sync_was_for_is_written_anew() {
    let (mut bench, _) = ready(Ack::Memory);
    bench.sync();
    (2..=5).for_each(|n| assert!(bench.publish("a", &n.to_string()).is_ok()));
    bench.files.disk().syncs_fail = true;
    bench.sync();
    assert!(!bench.metrics.is_up());
    bench.files.disk().syncs_fail = false;
    for _ in 0..4 {
        bench.pass(DISK_RETRY_INTERVAL);
        bench.sync();
    }
    assert!(bench.metrics.is_ready());
    bench.lose_power();
    assert_eq!(bench.texts("a"), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_torn_write_that_can_not_be_undone_ends_its_segment() {
    let (mut bench, position) = ready(Ack::Fsync);
    (bench.files.disk().room, bench.files.disk().truncates_fail) = (Some(60), true);
    assert_eq!(bench.publish("a", "lost"), Err(ErrorCode::Internal));
    (bench.files.disk().room, bench.files.disk().truncates_fail) = (None, false);
    bench.pass(DISK_RETRY_INTERVAL);
    assert_eq!(bench.publish("a", "2"), later(position, 2));
    bench.restart();
    assert_eq!(bench.metrics.get(crate::telemetry::EngineCounter::Foreign), 0);
    assert_eq!(bench.texts("a"), ["1", "2"]);
}

#[test]
fn a_start_on_a_full_disk_serves_what_there_is() {
    let (mut bench, position) = ready(Ack::Fsync);
    bench.files.disk().room = Some(0);
    bench.restart();
    assert_eq!((bench.texts("a"), bench.read("a").position()), (vec!["1".to_owned()], position));
    assert_eq!(bench.publish("a", "lost"), Err(ErrorCode::Internal));
    bench.files.disk().room = None;
    bench.pass(DISK_RETRY_INTERVAL);
    assert_eq!(bench.publish("a", "2"), later(position, 2));
}

#[test]
fn a_loss_of_power_costs_nothing_that_waited_for_the_disk() {
    let (mut bench, position) = ready(Ack::Fsync);
    bench.publish("a", "2").expect("published");
    bench.lose_power();
    assert_eq!((bench.texts("a"), bench.read("a").position().epoch), (vec!["1".into(), "2".into()], position.epoch));
}

#[test]
fn a_loss_of_power_costs_what_was_not_synced_and_that_is_told() {
    let (mut bench, position) = ready(Ack::Memory);
    bench.sync();
    (2..=5).for_each(|n| assert!(bench.publish("a", &n.to_string()).is_ok()));
    bench.lose_power();
    let stream = bench.read("a");
    assert_ne!(stream.position().epoch, position.epoch);
    let texts = texts_of(&stream);
    let all = ["1", "2", "3", "4", "5"];
    assert_eq!(texts, all[..texts.len()], "what is there is in order");
    assert!(!texts.is_empty(), "what was synced is there");
}

#[test]
fn a_clean_end_costs_nothing_whatever_happens_then() {
    let (mut bench, position) = ready(Ack::Memory);
    bench.core.close();
    bench.lose_power();
    assert_eq!((bench.texts("a"), bench.read("a").position()), (vec!["1".to_owned()], position));
}

#[test]
fn an_idle_log_is_probed() {
    let (mut bench, _) = ready(Ack::Memory);
    let bytes = |bench: &Bench| bench.files.disk().segments.values().map(|bytes| bytes.written.len()).sum::<usize>();
    let before = bytes(&bench);
    bench.pass(PROBE_INTERVAL / 2);
    assert_eq!(bytes(&bench), before);
    bench.pass(PROBE_INTERVAL);
    assert!(bytes(&bench) > before);
    bench.files.disk().room = Some(0);
    bench.pass(PROBE_INTERVAL);
    assert!(!bench.metrics.is_ready(), "nobody published, and it is known");
}
