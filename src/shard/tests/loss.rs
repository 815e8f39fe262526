//! Deliveries that do not arrive, and who is told so.

use super::*;
use crate::limits;
use crate::room::DeliveryKind;

const RECOVERABLE: &str = r#","recoverable":true"#;

/// A lane of eight slots: four for publishes, six for deliveries.
fn with_short_lanes(options: &mut Options) {
    options.lane_slots = 8;
}

impl Bench {
    fn publish(&mut self, client: Client, channel: &str, numbers: std::ops::Range<u32>) {
        for n in numbers {
            self.say(client, &format!(r#"{{"id":{n},"publish":{{"channel":"{channel}","data":{n}}}}}"#));
        }
    }

    /// Loses the first delivery on the way from `from` to `to`, as only a defect could.
    fn lose_delivery(&mut self, from: usize, to: usize) {
        self.collect(from);
        let lane = self.lanes.get_mut(&(from, to)).expect("something is on its way");
        let is_publication = |message: &LaneMessage| matches!(message, LaneMessage::Deliver(delivery) if matches!(delivery.kind, DeliveryKind::Publication(_)));
        let at = lane.iter().position(is_publication).expect("a publication is on its way");
        lane.remove(at);
    }
}

fn insufficient(channel: &str) -> String {
    format!(r#"{{"push":{{"channel":"{channel}","unsubscribe":{{"code":2500,"reason":"insufficient state"}}}}}}"#)
}

#[test]
fn a_shard_behind_a_full_lane_is_told_and_its_members_recover() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let positioned = bench.subscribe(1, &channel, RECOVERABLE);
    let casual = bench.subscribe(1, &channel, "");
    let local = bench.subscribe(0, &channel, RECOVERABLE);
    bench.settle();
    bench.told(positioned);
    bench.told(casual);
    bench.told(local);

    // The lane stands still: `next_outgoing` is not asked.
    bench.publish(publisher, &channel, 1..21);
    assert_eq!(bench.count(0, Counter::DeliveriesLost), 14);
    assert_eq!(data(&bench.told(local)), (1..21).collect::<Vec<_>>(), "at home nothing is lost");

    bench.settle();
    // The word came in the same turn as the six: they are left for the recovery.
    assert_eq!(bench.told(positioned), [insufficient(&channel)]);
    assert_eq!(data(&bench.told(casual)), [1, 2, 3, 4, 5, 6], "without a position it is not told");

    // The one that was told misses nothing, the other one goes on behind the gap.
    bench.say(
        positioned,
        &format!(r#"{{"id":3,"subscribe":{{"channel":"{channel}","recoverable":true,"recover":true,"offset":0}}}}"#),
    );
    bench.settle();
    let recovered = bench.told(positioned);
    assert!(recovered[0].contains(r#""recovered":true"#), "{recovered:?}");
    assert_eq!(recovered[0].matches(r#""data":"#).count(), 20);
    bench.publish(publisher, &channel, 21..22);
    bench.settle();
    assert_eq!(data(&bench.told(positioned)), [21]);
    assert_eq!(data(&bench.told(casual)), [21]);
}

#[test]
fn a_room_is_behind_until_its_lane_has_room() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let positioned = bench.subscribe(1, &channel, RECOVERABLE);
    bench.settle();
    bench.told(positioned);
    bench.publish(publisher, &channel, 1..9);
    // A turn with a lane as full as before: nothing more is added, whatever is published.
    bench.walk(0);
    bench.publish(publisher, &channel, 9..11);
    assert_eq!(bench.shards[0].behind.len(), 1);
    // Room for one: the word "behind" takes it, and what is published later follows.
    let message = bench.shards[0].next_outgoing(ShardId(1)).expect("the lane is full");
    bench.lanes.entry((0, 1)).or_default().push_back(message);
    bench.walk(0);
    assert!(bench.shards[0].behind.is_empty());
    bench.settle();
    assert_eq!(bench.told(positioned), [insufficient(&channel)]);
}

/// Nothing else need happen at the home for the word to leave: it is the last that the lane takes.
#[test]
fn the_word_behind_leaves_with_what_filled_the_lane() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    bench.subscribe(1, &channel, RECOVERABLE);
    bench.settle();
    bench.publish(publisher, &channel, 1..9);
    assert!(bench.shards[0].has_outgoing());
    let mut last = None;
    while let Some(message) = bench.shards[0].next_outgoing(ShardId(1)) {
        last = Some(message);
    }
    assert!(matches!(last, Some(LaneMessage::Behind { .. })), "{last:?}");
    assert!(!bench.shards[0].has_outgoing());
}

/// Whoever drives the shard must not go to sleep on the word that is still owed.
#[test]
fn a_home_is_not_done_while_a_shard_is_behind_untold() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    bench.subscribe(1, &channel, RECOVERABLE);
    bench.settle();
    bench.publish(publisher, &channel, 1..9);
    // The lane has room for just what waits, and none for the word.
    for _ in 0..bench.shards[0].outgoing.len() {
        let message = bench.shards[0].next_outgoing(ShardId(1)).expect("it waits");
        bench.lanes.entry((0, 1)).or_default().push_back(message);
    }
    assert!(bench.shards[0].has_outgoing(), "the lane has taken all, but not the word");
    bench.settle();
    assert!(!bench.shards[0].has_outgoing());
}

#[test]
fn a_subscriber_that_comes_while_its_shard_is_behind_is_spared() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let early = bench.subscribe(1, &channel, RECOVERABLE);
    let late = bench.connect(1);
    bench.settle();
    bench.told(early);
    bench.publish(publisher, &channel, 1..11);
    bench.say(
        late,
        &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}","recoverable":true,"recover":true,"offset":0}}}}"#),
    );
    // The question comes before the home found room to say that it is behind: it says so first.
    let ask = bench.shards[1].next_outgoing(ShardId(0)).expect("the subscribe is on its way");
    let now = bench.now();
    bench.shards[0].lane_message(now, ShardId(1), ask);
    bench.settle();
    assert_eq!(bench.told(early).last(), Some(&insufficient(&channel)));
    let told = bench.told(late);
    assert_eq!(ids(&told), [2]);
    assert_eq!(told[0].matches(r#""data":"#).count(), 10, "all ten are in the answer: {told:?}");
    assert!(!told.contains(&insufficient(&channel)));
    bench.publish(publisher, &channel, 11..12);
    bench.settle();
    assert_eq!(data(&bench.told(late)), [11]);
}

#[test]
fn a_gap_is_seen_at_the_next_publication() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let positioned = bench.subscribe(1, &channel, RECOVERABLE);
    let casual = bench.subscribe(1, &channel, "");
    bench.settle();
    bench.publish(publisher, &channel, 1..4);
    bench.lose_delivery(0, 1);
    bench.settle();
    let told = bench.told(positioned);
    assert_eq!((data(&told), told.last()), (vec![], Some(&insufficient(&channel))));
    assert_eq!(data(&bench.told(casual)), [2, 3]);
    bench.publish(publisher, &channel, 4..5);
    bench.settle();
    assert_eq!(data(&bench.told(casual)), [4]);
}

#[test]
fn a_gap_without_a_next_publication_is_found_by_the_check() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let positioned = bench.subscribe(1, &channel, RECOVERABLE);
    let casual = bench.subscribe(1, &channel, "");
    bench.settle();
    bench.publish(publisher, &channel, 1..2);
    bench.lose_delivery(0, 1);
    bench.settle();
    bench.told(positioned);
    bench.told(casual);
    bench.advance(Duration::from_secs(39));
    bench.settle();
    assert!(!bench.told(positioned).contains(&insufficient(&channel)), "the check comes after 40 s");
    bench.advance(Duration::from_secs(2));
    bench.settle();
    assert!(bench.told(positioned).contains(&insufficient(&channel)));
    assert!(!bench.told(casual).contains(&insufficient(&channel)));
}

#[test]
fn a_check_that_crosses_publications_finds_nothing_wrong() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let positioned = bench.subscribe(1, &channel, RECOVERABLE);
    bench.settle();
    bench.told(positioned);
    bench.publish(publisher, &channel, 1..3);
    bench.advance(Duration::from_secs(41));
    bench.carry(1, 0);
    bench.publish(publisher, &channel, 3..5);
    bench.settle();
    assert_eq!(data(&bench.told(positioned)), [1, 2, 3, 4]);
    assert_eq!(bench.shards[1].metrics.counter(Counter::DeliveriesLost), 0);
    bench.publish(publisher, &channel, 5..6);
    bench.settle();
    assert_eq!(data(&bench.told(positioned)), [5], "it is still subscribed");
}

#[test]
fn a_publish_that_meets_a_full_lane_is_refused() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(1);
    let publisher = bench.connect(0);
    bench.publish(publisher, &channel, 2..8);
    let refused = r#"{"id":6,"error":{"code":111,"message":"too many requests","temporary":true}}"#;
    assert_eq!(bench.told(publisher)[0], refused);
    assert_eq!(bench.count(0, Counter::PublishesRefused), 2);
    bench.settle();
    assert_eq!(ids(&bench.told(publisher)), [2, 3, 4, 5]);
    assert_eq!(bench.count(1, Counter::PublicationsAccepted), 4);
}

#[test]
fn an_audience_that_falls_behind_its_walk_is_told() {
    let mut bench = Bench::new(1);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let positioned = bench.subscribe(0, &channel, RECOVERABLE);
    let casual = bench.subscribe(0, &channel, "");
    bench.told(positioned);
    bench.told(casual);
    // No walk takes place in all that time.
    let most = limits::AUDIENCE_PENDING_MAX as u32;
    bench.publish(publisher, &channel, 2..most + 3);
    assert_eq!(bench.count(0, Counter::DeliveriesLost), 1, "the publication");
    assert_eq!(bench.told(positioned), [insufficient(&channel)], "it recovers from where it stands");
    assert_eq!(data(&bench.told(casual)), (2..most + 2).collect::<Vec<_>>());
}

#[test]
fn whoever_is_gone_before_the_answer_leaves_nothing_behind() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(0);
    let watcher = bench.subscribe(0, &channel, r#","join_leave":true"#);
    bench.told(watcher);
    let client = bench.connect(1);
    bench.say(client, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
    bench.carry(1, 0);
    bench.cut(client);
    let tenant = bench.open(1);
    bench.settle();
    let told = bench.told(watcher);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(r#""join""#) && told[1].contains(r#""leave""#), "{told:?}");
    assert_eq!(bench.told(tenant), [""; 0], "the answer is not for the next in its slot");
    bench.say(watcher, &format!(r#"{{"id":3,"unsubscribe":{{"channel":"{channel}"}}}}"#));
    bench.settle();
    assert!(bench.shards[0].rooms.is_empty());
    assert!(bench.shards[1].channels.find(&channel).is_none());
}

#[test]
fn refused_recoveries_of_ever_new_names_cost_nothing() {
    let mut bench = Bench::new(1);
    let client = bench.connect(0);
    for n in 0..100 {
        let fields = format!(r#""channel":"new{n}","recoverable":true,"recover":true,"offset":9,"flag":2"#);
        bench.say(client, &format!(r#"{{"id":{},"subscribe":{{{fields}}}}}"#, n + 2));
    }
    let told = bench.told(client);
    assert!(told.len() == 100 && told.iter().all(|line| line.contains("112")), "{told:?}");
    assert_eq!(bench.shards[0].memory.bytes(), 0);
    assert!(bench.shards[0].rooms.is_empty());
}

#[test]
fn a_lost_join_is_no_reason_to_recover() {
    let mut bench = Bench::with(2, with_short_lanes);
    let channel = bench.channel_at(0);
    let positioned = bench.subscribe(1, &channel, r#","recoverable":true,"join_leave":true"#);
    bench.settle();
    bench.told(positioned);
    let guests: Vec<Client> = (0..10).map(|_| bench.connect(0)).collect();
    for guest in &guests {
        bench.say(*guest, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
    }
    assert_eq!(bench.count(0, Counter::DeliveriesLost), 4);
    bench.settle();
    assert_eq!(bench.told(positioned).iter().filter(|line| line.contains(r#""join""#)).count(), 6);
    bench.publish(guests[0], &channel, 3..4);
    bench.settle();
    assert_eq!(data(&bench.told(positioned)), [3]);
}

/// A whole room that has to recover is told in slices; who closes or leaves meanwhile is not told.
#[test]
fn a_room_that_fell_behind_is_told_in_slices() {
    let mut bench = Bench::with(1, |options| options.slice_sends_max = 4);
    let channel = bench.channel_at(0);
    let clients: Vec<Client> = (0..9).map(|_| bench.subscribe(0, &channel, RECOVERABLE)).collect();
    bench.settle();
    clients.iter().for_each(|client| drop(bench.told(*client)));
    let now = bench.now();
    let behind = LaneMessage::Behind { channel: crate::model::ChannelName::parse(&channel, 255).expect("short") };
    bench.shards[0].lane_message(now, ShardId(0), behind);
    assert!(bench.shards[0].wants_walk());

    assert!(bench.shards[0].walk(now));
    assert_eq!(bench.count(0, Counter::OtherPushesSent), 2, "half a slice");
    bench.cut(clients[0]);
    bench.say(clients[1], &format!(r#"{{"id":9,"unsubscribe":{{"channel":"{channel}"}}}}"#));
    // What is published now is behind the gap.
    bench.publish_tagged(&channel, 1, "");
    let told: Vec<Vec<String>> = clients[1..].iter().map(|client| bench.told(*client)).collect();
    assert!(told[0].iter().all(|line| line == r#"{"id":9,"unsubscribe":{}}"#), "{told:?}");
    for lines in &told[1..] {
        assert_eq!(*lines, [insufficient(&channel)]);
    }
    assert!(!bench.shards[0].wants_walk());
}
