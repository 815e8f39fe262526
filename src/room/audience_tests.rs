use super::*;
use crate::model::{ChannelName, Format, Frames, Variant};
use crate::room::DeliveryKind;

/// What each slot was given, in order, as text.
type Given = std::collections::BTreeMap<u32, String>;

fn delivery(text: &'static str) -> Arc<Delivery> {
    kind_of_delivery(text, DeliveryKind::Publication(None))
}

fn kind_of_delivery(text: &'static str, kind: DeliveryKind) -> Arc<Delivery> {
    let channel = ChannelName::parse("c", 255).expect("a short name");
    let mut frames = Frames::default();
    frames.push(Encoding::plain(Format::CentrifugoJson), Variant::Ready(Bytes::from_static(text.as_bytes())));
    Arc::new(Delivery { channel, kind, tag: None, frames })
}

/// What protocols do with frames is shown there; here they are letters.
fn concat(_: Encoding, frames: &[&Bytes]) -> Bytes {
    frames.iter().flat_map(|frame| frame.iter()).copied().collect()
}

fn slice(sends: usize) -> Slice {
    Slice { sends, bytes: 1 << 20, visits: 1000 }
}

/// An audience whose shard keeps every member's index as `Moved` tells it.
#[derive(Default)]
struct Watched {
    audience: Audience,
    indexes: std::collections::BTreeMap<u32, MemberIndex>,
    given: Given,
}

impl Watched {
    fn join(&mut self, slot: u32) {
        let index = self.audience.join(slot, Encoding::plain(Format::CentrifugoJson), false, false);
        self.indexes.insert(slot, index);
    }

    fn leave(&mut self, slot: u32) {
        let index = self.indexes.remove(&slot).expect("a member");
        if let Some(Step::Moved { slot, from, to }) = self.audience.leave(index) {
            assert_eq!(self.indexes.insert(slot, to), Some(from));
        }
    }

    fn publish(&mut self, text: &'static str) {
        self.audience.push(delivery(text)).expect("few are pending");
    }

    fn walk(&mut self, sends: usize) {
        let (indexes, given) = (&mut self.indexes, &mut self.given);
        self.audience.walk(&mut slice(sends), concat, |step| match step {
            Step::Give { member, frames, .. } => {
                given.entry(member.slot).or_default().push_str(str::from_utf8(frames).expect("text"));
            }
            Step::Inappropriate { .. } => panic!("all is text"),
            Step::Moved { slot, from, to } => assert_eq!(indexes.insert(slot, to), Some(from)),
        });
    }

    #[track_caller]
    fn check(&self, expected: &[(u32, &str)]) {
        let expected: Given = expected.iter().map(|(slot, text)| (*slot, text.to_string())).collect();
        assert_eq!(self.given, expected);
    }
}

fn watched(slots: std::ops::Range<u32>) -> Watched {
    let mut watched = Watched::default();
    slots.for_each(|slot| watched.join(slot));
    watched
}

#[test]
fn what_is_pending_is_given_as_one_piece() {
    let mut watched = watched(0..2);
    watched.publish("a");
    watched.publish("b");
    watched.walk(2);
    watched.check(&[(0, "ab"), (1, "ab")]);
    assert!(!watched.audience.is_pending());
}

#[test]
fn a_walk_goes_on_where_its_slice_ended() {
    let mut watched = watched(0..5);
    watched.publish("a");
    watched.walk(2);
    watched.check(&[(0, "a"), (1, "a")]);
    watched.publish("b");
    watched.walk(2);
    watched.check(&[(0, "a"), (1, "a"), (2, "a"), (3, "a")]);
    watched.walk(100);
    watched.check(&[(0, "ab"), (1, "ab"), (2, "ab"), (3, "ab"), (4, "ab")]);
}

#[test]
fn a_member_is_given_only_what_came_after_it_joined() {
    let mut watched = watched(0..1);
    watched.publish("a");
    watched.join(1);
    watched.publish("b");
    watched.walk(1);
    watched.join(2);
    watched.publish("c");
    watched.walk(100);
    watched.check(&[(0, "abc"), (1, "bc"), (2, "c")]);
}

#[test]
fn a_member_that_leaves_in_a_walk_moves_nobody_past_the_cursor() {
    let mut watched = watched(0..5);
    watched.publish("a");
    watched.walk(2);
    watched.leave(0);
    watched.leave(3);
    watched.walk(100);
    watched.check(&[(0, "a"), (1, "a"), (2, "a"), (4, "a")]);
    assert_eq!(watched.audience.len(), 3);
    watched.publish("b");
    watched.leave(1);
    watched.walk(100);
    watched.check(&[(0, "a"), (1, "a"), (2, "ab"), (4, "ab")]);
}

#[test]
fn joins_are_given_to_those_who_want_them() {
    let mut audience = Audience::default();
    audience.join(0, Encoding::plain(Format::CentrifugoJson), true, false);
    audience.join(1, Encoding::plain(Format::CentrifugoJson), false, false);
    audience.push(kind_of_delivery("j", DeliveryKind::Join)).expect("room");
    audience.push(delivery("p")).expect("room");
    let mut given = Given::new();
    audience.walk(&mut slice(100), concat, |step| {
        if let Step::Give { member, frames, counts, .. } = step {
            assert_eq!(counts.publications, 1);
            given.insert(member.slot, String::from_utf8_lossy(frames).into_owned());
        }
    });
    assert_eq!(given.into_values().collect::<Vec<_>>(), ["jp", "p"]);
}

#[test]
fn pending_is_bounded() {
    let mut watched = watched(0..1);
    for _ in 0..limits::AUDIENCE_PENDING_MAX {
        watched.publish("a");
    }
    assert_eq!(watched.audience.push(delivery("b")), Err(Full));
    watched.walk(100);
    watched.check(&[(0, &"a".repeat(limits::AUDIENCE_PENDING_MAX))]);
}

#[test]
fn a_patch_is_given_to_those_who_have_its_base() {
    let reads = Encoding::new(Format::CentrifugoJson, true, None);
    let publish = |audience: &mut Audience, full: &'static str, patch: &'static str| {
        audience.push(delta(reads, full, patch)).expect("few are pending");
    };
    let mut given = Given::new();
    let mut walk = |audience: &mut Audience| {
        audience.walk(&mut slice(100), concat, |step| {
            if let Step::Give { member, frames, .. } = step {
                given.entry(member.slot).or_default().push_str(str::from_utf8(frames).expect("text"));
            }
        });
    };
    let mut audience = Audience::default();
    audience.join(0, reads, false, false);
    publish(&mut audience, "A", "a");
    audience.join(1, reads, false, false);
    publish(&mut audience, "B", "b");
    walk(&mut audience);
    audience.join(2, reads, false, false);
    audience.push(kind_of_delivery("", DeliveryKind::Leave)).expect("few are pending");
    audience.join(3, reads, false, false);
    publish(&mut audience, "C", "c");
    walk(&mut audience);
    publish(&mut audience, "D", "d");
    audience.break_chain();
    publish(&mut audience, "E", "e");
    publish(&mut audience, "F", "f");
    walk(&mut audience);
    assert_eq!(given.into_values().collect::<Vec<_>>(), ["AbcdEf", "BcdEf", "CdEf", "CdEf"]);
}

#[test]
fn a_member_may_come_with_the_base_of_what_comes_next() {
    let reads = Encoding::new(Format::CentrifugoJson, true, None);
    let mut audience = Audience::default();
    let mut given = Given::new();
    let mut step = |audience: &mut Audience, texts: &[(&'static str, &'static str)]| {
        for (full, patch) in texts {
            audience.push(delta(reads, full, patch)).expect("few are pending");
        }
        audience.walk(&mut slice(100), concat, |step| {
            if let Step::Give { member, frames, .. } = step {
                given.entry(member.slot).or_default().push_str(str::from_utf8(frames).expect("text"));
            }
        });
    };
    let primed = audience.join(0, reads, false, true);
    audience.give_base(primed);
    audience.join(1, reads, false, true);
    step(&mut audience, &[("A", "a"), ("B", "b")]);
    // In the middle of what is pending, and before anything came behind the break.
    audience.push(delta(reads, "C", "c")).expect("few are pending");
    let primed = audience.join(2, reads, false, true);
    audience.give_base(primed);
    step(&mut audience, &[("D", "d")]);
    let primed = audience.join(3, reads, false, true);
    audience.give_base(primed);
    audience.break_chain();
    step(&mut audience, &[("E", "e"), ("F", "f")]);
    assert_eq!(given.into_values().collect::<Vec<_>>(), ["abcdEf", "AbcdEf", "dEf", "Ef"]);
}

fn delta(reads: Encoding, full: &'static str, patch: &'static str) -> Arc<Delivery> {
    let mut frames = Frames::default();
    let [full, patch] = [full, patch].map(|text| Bytes::from_static(text.as_bytes()));
    frames.push(reads, Variant::Delta { full, patch });
    let channel = ChannelName::parse("c", 255).expect("a short name");
    Arc::new(Delivery { channel, kind: DeliveryKind::Publication(None), tag: None, frames })
}
