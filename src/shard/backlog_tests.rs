use super::super::outbox::{Full, Outbox};
use super::*;

const NEWS: u32 = 1;
const PRICES: u32 = 2;

/// An outbox for 12 bytes, with what it dropped.
struct Watched {
    outbox: Outbox,
    dropped: Dropped,
}

/// An outbox whose socket has begun to send "first" and is stuck.
fn behind() -> Watched {
    let mut watched = Watched { outbox: Outbox::default(), dropped: Dropped::default() };
    watched.reply("first").expect("it is empty");
    watched.outbox.took(1);
    watched
}

fn oldest(channel: u32) -> Droppable {
    Droppable { channel, namespace: 0, rule: DropRule::Oldest, is_positioned: false }
}

fn conflate(channel: u32, tag: Option<&str>) -> Droppable {
    Droppable { channel, namespace: 0, rule: DropRule::Conflate { tag: tag.map(Into::into) }, is_positioned: false }
}

fn positioned(droppable: Droppable) -> Droppable {
    Droppable { is_positioned: true, ..droppable }
}

impl Watched {
    fn reply(&mut self, text: &'static str) -> Result<(), Full> {
        self.outbox.push_dropping(Bytes::from_static(text.as_bytes()), 12, self.dropped.of(7))
    }

    fn publish(&mut self, droppable: Droppable, text: &'static str) -> Result<(), Full> {
        self.outbox.push_droppable(Bytes::from_static(text.as_bytes()), droppable, 12, self.dropped.of(7))
    }

    fn count(&self, remedy: Remedy) -> u64 {
        let of_remedy = self.dropped.counts.iter().filter(|(_, counted, _)| *counted == remedy);
        of_remedy.map(|(_, _, count)| count).sum()
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        let frames: Vec<_> = self.outbox.frames().map(|frame| String::from_utf8_lossy(frame)).collect();
        assert_eq!(frames.join("|"), expected);
        let bytes = self.outbox.frames().map(Bytes::len).sum::<usize>();
        assert_eq!(self.outbox.bytes(), bytes, "the sum of what waits");
    }
}

#[test]
fn the_oldest_publications_go_when_there_is_no_room() {
    let mut watched = behind();
    assert_eq!(watched.publish(oldest(NEWS), "n1"), Ok(()));
    assert_eq!(watched.publish(oldest(PRICES), "p1"), Ok(()));
    assert_eq!(watched.publish(oldest(NEWS), "n2"), Ok(()));
    watched.check("irst|n1|p1|n2");
    assert_eq!(watched.publish(oldest(NEWS), "new"), Ok(()));
    watched.check("irst|p1|n2|new");
    assert_eq!((watched.count(Remedy::DropOldest), watched.count(Remedy::Conflate)), (1, 0));
    assert!(watched.dropped.gaps.is_empty(), "nobody has to be told");
}

#[test]
fn what_is_no_publication_stays_and_makes_publications_go() {
    let mut watched = behind();
    assert_eq!(watched.publish(oldest(NEWS), "n1"), Ok(()));
    assert_eq!(watched.reply("r1"), Ok(()));
    assert_eq!(watched.reply("r234"), Ok(()));
    watched.check("irst|n1|r1|r234");
    assert_eq!(watched.reply("r5"), Ok(()));
    watched.check("irst|r1|r234|r5");
    assert_eq!(watched.reply("r"), Err(Full), "nothing is left to drop");
    assert_eq!(watched.publish(oldest(NEWS), "n"), Err(Full), "the newest is not dropped either");
}

#[test]
fn a_positioned_subscription_loses_all_that_waits_behind_its_gap() {
    let mut watched = behind();
    for (channel, text) in [(PRICES, "p1"), (NEWS, "n1"), (PRICES, "p2")] {
        assert_eq!(watched.publish(positioned(oldest(channel)), text), Ok(()));
    }
    assert_eq!(watched.reply("rrr"), Ok(()));
    watched.check("irst|n1|rrr");
    assert_eq!(watched.dropped.gaps, [(7, PRICES)]);
    assert_eq!(watched.count(Remedy::DropOldest), 2);
}

#[test]
fn the_newest_takes_the_place_of_what_waits() {
    let mut watched = behind();
    for (channel, tag, text) in
        [(NEWS, None, "n1"), (PRICES, Some("a"), "a1"), (PRICES, Some("b"), "b1"), (PRICES, None, "c1")]
    {
        assert_eq!(watched.publish(conflate(channel, tag), text), Ok(()));
    }
    assert_eq!(watched.publish(conflate(PRICES, Some("a")), "a2"), Ok(()));
    assert_eq!(watched.publish(conflate(PRICES, None), "c2"), Ok(()));
    watched.check("irst|n1|a2|b1|c2");
    assert_eq!((watched.count(Remedy::DropOldest), watched.count(Remedy::Conflate)), (0, 2));
    assert_eq!(watched.publish(conflate(PRICES, Some("b")), "b23"), Err(Full), "there is no room for a longer one");
}

#[test]
fn a_socket_that_keeps_up_gets_everything() {
    let mut watched = Watched { outbox: Outbox::default(), dropped: Dropped::default() };
    for text in ["n1", "n2", "n3"] {
        assert_eq!(watched.publish(conflate(NEWS, None), text), Ok(()));
    }
    watched.check("n1|n2|n3");
    // It took the first and no more: the others are outdated by what comes now.
    watched.outbox.took(2);
    watched.check("n2|n3");
    assert_eq!(watched.publish(conflate(NEWS, None), "n4"), Ok(()));
    watched.check("n2|n4");
    watched.outbox.took(4);
    assert_eq!(watched.publish(conflate(NEWS, None), "n5"), Ok(()));
    assert_eq!(watched.publish(conflate(NEWS, None), "n6"), Ok(()));
    watched.check("n5|n6");
    assert_eq!(watched.count(Remedy::Conflate), 1);
}

#[test]
fn what_is_outdated_makes_room() {
    let mut watched = Watched { outbox: Outbox::default(), dropped: Dropped::default() };
    for text in ["first", "n2", "n3", "n4"] {
        assert_eq!(watched.publish(conflate(NEWS, None), text), Ok(()));
    }
    assert_eq!(watched.publish(conflate(NEWS, None), "newest"), Ok(()));
    watched.check("first|newest");
}

#[test]
fn several_that_wait_give_way_to_one() {
    let mut watched = Watched { outbox: Outbox::default(), dropped: Dropped::default() };
    for text in ["n1", "n2", "n3", "n4"] {
        assert_eq!(watched.publish(conflate(NEWS, None), text), Ok(()));
    }
    watched.outbox.took(1);
    assert_eq!(watched.publish(conflate(NEWS, None), "new"), Ok(()));
    watched.check("1|new");
    assert_eq!(watched.count(Remedy::Conflate), 3);
}

#[test]
fn a_positioned_subscription_is_left_for_its_recovery_rather_than_conflated() {
    let mut watched = behind();
    assert_eq!(watched.publish(positioned(conflate(NEWS, None)), "n1"), Ok(()));
    assert_eq!(watched.publish(positioned(conflate(NEWS, None)), "n2"), Ok(()));
    watched.check("irst");
    assert_eq!((watched.count(Remedy::Conflate), &watched.dropped.gaps[..]), (2, &[(7, NEWS)][..]));
}

#[test]
fn what_waits_of_an_ended_subscription_is_sent() {
    let mut watched = behind();
    assert_eq!(watched.publish(conflate(NEWS, None), "n1"), Ok(()));
    assert_eq!(watched.publish(oldest(PRICES), "p1"), Ok(()));
    watched.outbox.keep_channel(NEWS);
    watched.outbox.keep_channel(PRICES);
    assert_eq!(watched.publish(conflate(NEWS, None), "n2"), Ok(()));
    watched.check("irst|n1|p1|n2");
    assert_eq!(watched.reply("rrr"), Err(Full));
    assert!(watched.dropped.counts.is_empty());
}
