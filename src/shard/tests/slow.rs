//! Subscribers that take less than comes, in namespaces that drop publications for them.

use super::*;
use crate::access::SlowConsumerPolicy;
use crate::telemetry::{Gauge, Remedy};

const RECOVERABLE: &str = r#","recoverable":true"#;

/// One shard whose channels have `policy`, and outboxes for some publications.
fn bench(policy: SlowConsumerPolicy) -> Bench {
    bench_with(policy, 600)
}

fn bench_with(policy: SlowConsumerPolicy, outbox_bytes_max: usize) -> Bench {
    Bench::with(1, |options| {
        options.outbox_bytes_max = outbox_bytes_max;
        let namespaces = Arc::make_mut(&mut options.namespaces);
        let without = ChannelOptions { join_leave: false, ..(*namespaces.without).clone() };
        namespaces.without = Arc::new(ChannelOptions { slow_consumer_policy: policy, ..without });
    })
}

fn conflate(tag: Option<&str>) -> SlowConsumerPolicy {
    SlowConsumerPolicy::Conflate { tag: tag.map(Into::into), interval_min: Duration::ZERO }
}

impl Bench {
    /// The application publishes, each in a slice of its own.
    fn publish_each(&mut self, channel: &str, numbers: std::ops::Range<u32>) {
        for n in numbers {
            self.publish_tagged(channel, n, "");
            self.walk(0);
        }
    }

    /// The client's socket takes `bytes` of what waits, and no more.
    fn block(&mut self, client: Client, bytes: usize) {
        let now = self.now();
        self.shards[0].sent(now, client.id, bytes);
    }

    /// All has been written: nothing waits for anybody.
    #[track_caller]
    fn check_nothing_waits(&self) {
        assert_eq!(self.metrics[0].gauge(Gauge::OutboxBytes), 0);
    }
}

fn insufficient(channel: &str) -> String {
    format!(r#"{{"push":{{"channel":"{channel}","unsubscribe":{{"code":2500,"reason":"insufficient state"}}}}}}"#)
}

#[test]
fn what_found_no_room_is_counted_where_it_was_published() {
    let mut bench = bench(SlowConsumerPolicy::Disconnect);
    let slow = bench.subscribe(0, "c", "");
    bench.publish_each("c", 1..2);
    bench.block(slow, 0);
    for n in 2..40 {
        bench.publish_tagged("c", n, "");
    }
    bench.walk(0);
    assert_eq!(bench.told(slow), ["close 3008"]);
    assert_eq!(bench.metrics[0].remedied(Remedy::Disconnect), 1);
}

#[test]
fn the_oldest_are_dropped_for_whoever_has_no_position() {
    let mut bench = bench(SlowConsumerPolicy::DropOldest);
    let slow = bench.subscribe(0, "c", "");
    bench.publish_each("c", 1..2);
    bench.block(slow, 1);
    bench.publish_each("c", 2..40);
    // A ping needs room as well, and gets it.
    bench.say(slow, r#"{"id":3,"presence_stats":{"channel":"c"}}"#);
    bench.walk(0);
    let now = bench.now();
    let waiting: Vec<u8> = bench.shards[0].unsent(slow.id).flat_map(|frame| frame.to_vec()).collect();
    assert!(waiting.len() <= 600);
    bench.shards[0].sent(now, slow.id, waiting.len());
    // The first byte of the first frame is gone; its other header byte is its length.
    let rest = lines(&waiting[1 + usize::from(waiting[0])..]);
    let numbers = data(&rest);
    assert_eq!(numbers, (40 - numbers.len() as u32..40).collect::<Vec<_>>(), "the newest");
    assert!(numbers.len() > 5, "{numbers:?}");
    assert_eq!(ids(&rest), [3]);
    assert_eq!(bench.metrics[0].remedied(Remedy::DropOldest), 38 - numbers.len() as u64);
    bench.publish_each("c", 40..41);
    assert_eq!(data(&bench.told(slow)), [40], "it is still subscribed");
    bench.check_nothing_waits();
}

#[test]
fn a_positioned_subscriber_is_told_and_recovers_all() {
    for policy in [SlowConsumerPolicy::DropOldest, conflate(None)] {
        let mut bench = bench(policy);
        let slow = bench.subscribe(0, "c", RECOVERABLE);
        bench.publish_each("c", 1..2);
        bench.block(slow, 0);
        bench.publish_each("c", 2..20);
        let told = bench.told(slow);
        assert_eq!((data(&told), told.last()), (vec![1], Some(&insufficient("c"))), "nothing from behind the gap");
        bench.publish_each("c", 20..21);
        assert_eq!(bench.told(slow), [""; 0]);
        let again = r#"{"id":3,"subscribe":{"channel":"c","recoverable":true,"recover":true,"offset":1}}"#;
        bench.say(slow, again);
        let recovered = bench.told(slow);
        assert!(recovered[0].contains(r#""recovered":true"#), "{recovered:?}");
        bench.check_nothing_waits();
    }
}

/// A slice may hand over what comes behind a gap before the subscriber is told of the gap.
#[test]
fn nothing_follows_a_gap_within_one_slice() {
    let mut bench = bench(conflate(None));
    let slow = bench.subscribe(0, "c", RECOVERABLE);
    bench.publish_each("c", 1..2);
    bench.block(slow, 0);
    for n in 2..7 {
        bench.publish_tagged("c", n, "");
    }
    bench.walk(0);
    let told = bench.told(slow);
    assert_eq!((data(&told), told.last()), (vec![1], Some(&insufficient("c"))));
    assert_eq!(bench.metrics[0].remedied(Remedy::Conflate), 5);
    bench.check_nothing_waits();
}

#[test]
fn only_the_newest_waits_for_a_socket_that_is_behind() {
    let mut bench = bench(conflate(None));
    let slow = bench.subscribe(0, "c", "");
    let quick = bench.subscribe(0, "c", "");
    bench.publish_each("c", 1..2);
    bench.block(slow, 0);
    bench.publish_each("c", 2..5);
    for n in 5..8 {
        bench.publish_tagged("c", n, "");
    }
    bench.walk(0);
    assert_eq!(data(&bench.told(quick)), (1..8).collect::<Vec<_>>(), "it is not behind");
    assert_eq!(data(&bench.told(slow)), [1, 7]);
    assert_eq!(bench.metrics[0].remedied(Remedy::Conflate), 5);
    bench.check_nothing_waits();
}

#[test]
fn the_newest_of_each_tag_waits() {
    let mut bench = bench(conflate(Some("symbol")));
    let slow = bench.subscribe(0, "c", "");
    bench.publish_each("c", 1..2);
    bench.block(slow, 0);
    for (n, symbol) in [(2, "a"), (3, "b"), (4, ""), (5, "a"), (6, "a"), (7, "")] {
        bench.publish_tagged("c", n, symbol);
        bench.walk(0);
    }
    assert_eq!(data(&bench.told(slow)), [1, 6, 3, 7]);
    bench.check_nothing_waits();
}

#[test]
fn a_subscription_begun_again_is_not_mixed_with_the_one_before() {
    let mut bench = bench(conflate(None));
    let slow = bench.subscribe(0, "c", "");
    bench.publish_each("c", 1..2);
    bench.block(slow, 0);
    bench.publish_each("c", 2..3);
    bench.say(slow, r#"{"id":3,"unsubscribe":{"channel":"c"}}"#);
    bench.say(slow, r#"{"id":4,"subscribe":{"channel":"c"}}"#);
    bench.publish_each("c", 3..5);
    let told = bench.told(slow);
    assert_eq!(data(&told), [1, 2, 4]);
    let answered = told.iter().position(|line| line.starts_with(r#"{"id":4"#)).expect("it is subscribed");
    assert!(told[answered + 1].contains(r#""data":4"#), "behind the answer: {told:?}");
}

/// The `offset` of publications, in order.
fn offsets(line: &str) -> Vec<u64> {
    let number = |text: &str| text.split([',', '}']).next().and_then(|number| number.parse().ok());
    line.split(r#""offset":"#).skip(1).filter_map(number).collect()
}

/// A socket that takes what it likes, and a client that recovers when it is told to.
#[test]
fn no_gap_is_silent_however_a_socket_behaves() {
    for (seed, policy) in [(1, SlowConsumerPolicy::DropOldest), (2, conflate(None)), (3, conflate(Some("symbol")))] {
        let mut random = fastrand::Rng::with_seed(seed);
        // Room for a round's publications, twice.
        let mut bench = bench_with(policy, 1200);
        let client = bench.subscribe(0, "c", RECOVERABLE);
        bench.say(client, r#"{"id":3,"subscribe":{"channel":"casual"}}"#);
        bench.told(client);
        let (mut last, mut recoveries, mut next_id) = (0, 0, 4);
        let (mut taken, mut is_recovering) = (Vec::new(), false);
        for round in 0..3000 {
            // What is recovered can't be dropped, and may fill the outbox by itself.
            let publications = if is_recovering { 0 } else { random.usize(..5) };
            for _ in 0..publications {
                bench.publish_tagged("c", round, if random.bool() { "a" } else { "b" });
                if random.bool() {
                    bench.publish_tagged("casual", round, "");
                }
                if random.bool() {
                    bench.walk(0);
                }
            }
            bench.walk(0);
            let waiting: Vec<u8> = bench.shards[0].unsent(client.id).flat_map(|frame| frame.to_vec()).collect();
            let takes_all = is_recovering || random.u8(..8) == 0;
            let count = match random.u8(..4) {
                _ if takes_all => waiting.len(),
                0 => random.usize(..=waiting.len()),
                _ => 0,
            };
            bench.block(client, count);
            taken.extend(&waiting[..count]);
            if !takes_all {
                continue;
            }
            is_recovering = false;
            for line in lines(&std::mem::take(&mut taken)) {
                assert!(!line.starts_with("close"), "{line} in round {round}");
                if line.contains(r#""channel":"casual""#) {
                    continue;
                } else if line == insufficient("c") {
                    (recoveries, is_recovering) = (recoveries + 1, true);
                    next_id += 1;
                    let fields = format!(r#""channel":"c","recoverable":true,"recover":true,"offset":{last}"#);
                    bench.say(client, &format!(r#"{{"id":{next_id},"subscribe":{{{fields}}}}}"#));
                } else if line.starts_with(r#"{"id""#) && !line.contains(r#""recovered":true"#) {
                    // Too much to recover at once: the client was told so.
                    last = offsets(&line).last().copied().unwrap_or(last);
                } else {
                    // Behind the list stands where it was recovered from.
                    let publications = line.rsplit_once(']').map_or(&*line, |(publications, _)| publications);
                    for offset in offsets(publications) {
                        assert_eq!(offset, last + 1, "round {round}: {line}");
                        last = offset;
                    }
                }
            }
        }
        assert!(recoveries > 20 && last > 1000, "{recoveries} recoveries up to {last}");
    }
}
