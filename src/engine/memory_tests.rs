use super::*;
use crate::model::{ClientInfo, Since};
use bytes::Bytes;

const SECOND: Duration = Duration::from_secs(1);

const RETENTION: Retention = Retention { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 255).expect("a short name")
}

fn publication(bytes: usize) -> Publication {
    Publication { data: Bytes::from(vec![b'1'; bytes]), ..Publication::default() }
}

fn publish(memory: &mut Memory, now: Duration, name: &str) -> Position {
    let (publication, epoch, _) = memory.append(now, &channel(name), RETENTION, publication(100));
    Position { epoch, offset: publication.offset }
}

#[test]
fn history_expires_before_its_position_does() {
    let mut memory = Memory::new(1 << 20, 1);
    let first = publish(&mut memory, Duration::ZERO, "c");
    assert_eq!(memory.expire(59 * SECOND, 10), 0);
    memory.expire(61 * SECOND, 10);
    let stream = memory.stream(61 * SECOND, &channel("c"), RETENTION);
    assert_eq!((stream.position(), stream.bytes()), (first, 0));
    memory.expire(601 * SECOND, 10);
    assert_eq!(memory.find_position("c"), None);
    assert_eq!((memory.bytes(), memory.next_expiry()), (0, None));
    let again = publish(&mut memory, 602 * SECOND, "c");
    assert_eq!(again.offset, 1);
    assert_ne!(again.epoch, first.epoch, "offset 1 names another publication now");
}

#[test]
fn a_stream_keeps_one_place_in_the_queue_through_many_lives() {
    let mut memory = Memory::new(1 << 20, 1);
    for minute in 0..100 {
        publish(&mut memory, minute * 120 * SECOND, "c");
        memory.expire(minute * 120 * SECOND + 61 * SECOND, 10);
        assert_eq!(memory.expiries.len(), 1);
    }
}

#[test]
fn an_untouched_stream_is_forgotten_and_begun_again_as_the_same() {
    let mut memory = Memory::new(1 << 20, 1);
    let before = memory.stream(SECOND, &channel("c"), RETENTION).position();
    memory.forget_untouched("c");
    assert_eq!(memory.bytes(), 0);
    assert_eq!(memory.stream(SECOND, &channel("c"), RETENTION).position(), before);
    publish(&mut memory, SECOND, "c");
    memory.forget_untouched("c");
    assert_eq!(memory.find_position("c").map(|position| position.offset), Some(1), "touched");
}

/// Streams come to their ends all the time, and with each the next epoch changes: what was begun
/// before must not stay behind.
#[test]
fn an_untouched_stream_is_forgotten_also_when_others_have_ended_since() {
    let mut memory = Memory::new(1 << 20, 1);
    publish(&mut memory, Duration::ZERO, "other");
    let before = memory.stream(Duration::ZERO, &channel("c"), RETENTION).position();
    memory.expire(601 * SECOND, 10);
    assert_eq!(memory.find_position("c"), Some(before), "its subscribers hold that position");
    memory.forget_untouched("c");
    assert_eq!((memory.find_position("c"), memory.bytes()), (None, 0));
    let again = memory.stream(601 * SECOND, &channel("c"), RETENTION).position();
    assert_ne!(again.epoch, before.epoch, "it might be another stream: whoever comes back is told");
}

#[test]
fn memory_is_bounded_by_dropping_what_would_expire_first() {
    let mut memory = Memory::new(10_000, 1);
    let first = publish(&mut memory, Duration::ZERO, "c:0");
    for n in 1..100 {
        publish(&mut memory, n * SECOND, &format!("c:{n}"));
        assert!(memory.bytes() <= 10_000, "{} bytes after {n}", memory.bytes());
    }
    assert_eq!(memory.find_position("c:0"), None);
    assert!(memory.find_position("c:99").is_some());
    // Whoever held a position of the dropped stream is told, never given other publications.
    publish(&mut memory, 100 * SECOND, "c:0");
    let since = Since { offset: 1, epoch: first.epoch.as_str().into() };
    let limits = super::super::RecoveryLimits { publications_max: 10, bytes_max: 1000 };
    assert!(memory.stream(100 * SECOND, &channel("c:0"), RETENTION).recover(&since, limits).is_none());
}

#[test]
fn a_removed_history_begins_again_as_another() {
    let mut memory = Memory::new(1 << 20, 1);
    let untouched = memory.stream(Duration::ZERO, &channel("c"), RETENTION).position();
    assert!(!memory.remove_history(&channel("c")), "nothing is in it");
    let first = publish(&mut memory, Duration::ZERO, "c");
    assert_eq!(first.epoch, untouched.epoch);
    memory.remember_version("c", version(9, ""));
    assert!(memory.remove_history(&channel("c")));
    assert_eq!((memory.bytes(), memory.next_expiry()), (0, None));
    assert!(!memory.remove_history(&channel("c")), "it is gone already");
    let again = publish(&mut memory, Duration::ZERO, "c");
    assert_eq!((again.offset, again.epoch == first.epoch), (1, false));
    assert_eq!(memory.find_newer("c", &version(1, "")), None);
}

fn version(number: u64, epoch: &str) -> Version {
    Version { number, epoch: epoch.into() }
}

#[test]
fn versions_only_grow_within_their_epoch() {
    let mut memory = Memory::new(1 << 20, 1);
    let first = publish(&mut memory, Duration::ZERO, "c");
    assert_eq!(memory.find_newer("c", &version(1, "")), None, "none was published yet");
    memory.remember_version("c", version(5, "a"));
    assert_eq!(memory.find_newer("c", &version(5, "a")), Some(first));
    assert_eq!(memory.find_newer("c", &version(4, "a")), Some(first));
    assert_eq!(memory.find_newer("c", &version(6, "a")), None);
    assert_eq!(memory.find_newer("c", &version(4, "")), Some(first), "an empty epoch is the current one");
    assert_eq!(memory.find_newer("c", &version(1, "b")), None, "another epoch begins anew");
    assert_eq!(memory.find_newer("d", &version(1, "a")), None);
}

#[test]
fn a_version_lives_as_long_as_its_position_and_counts_for_memory() {
    let mut memory = Memory::new(1 << 20, 1);
    publish(&mut memory, Duration::ZERO, "c");
    let before = memory.bytes();
    memory.remember_version("c", version(5, "epoch"));
    assert!(memory.bytes() > before + 5);
    memory.expire(61 * SECOND, 10);
    assert!(memory.find_newer("c", &version(5, "")).is_some(), "the history is gone, the position is not");
    memory.expire(601 * SECOND, 10);
    assert_eq!((memory.find_newer("c", &version(5, "")), memory.bytes()), (None, 0));
}

#[test]
fn presence_of_an_empty_channel_costs_nothing() {
    let mut memory = Memory::new(1 << 20, 1);
    let client = ClientId::from_random([1; 16]);
    let info = Arc::new(ClientInfo { user: "u".into(), client, conn_info: None, chan_info: None });
    let attendee = Attendee { info, is_listed: true, is_told: true };
    memory.join(&channel("c"), attendee, ShardId(0), 60 * SECOND);
    assert_eq!(memory.find_presence(SECOND, "c").map(|presence| presence.stats().clients), Some(1));
    memory.leave("c", client);
    assert!(memory.presence.is_empty());
}
