//! Flush windows: what is held back comes whole, in order, and to nobody who should not have it.

use super::*;
use crate::access::{Flush, FlushWindow, SlowConsumerPolicy};
use crate::telemetry::Remedy;

const MS: Duration = Duration::from_millis(1);
const WINDOW: Duration = Duration::from_millis(10);

fn bench(shards: u16, window: FlushWindow) -> Bench {
    bench_with(shards, |options| {
        options.flush = Flush { window, batch_max: 5, ..Flush::default() };
        options.join_leave = false;
    })
}

fn bench_with(shards: u16, change: impl FnOnce(&mut ChannelOptions)) -> Bench {
    Bench::with(shards, |options| {
        let namespaces = Arc::make_mut(&mut options.namespaces);
        change(Arc::make_mut(&mut namespaces.without));
    })
}

impl Bench {
    fn publish_all(&mut self, channel: &str, numbers: std::ops::RangeInclusive<u32>) {
        numbers.for_each(|number| self.publish_tagged(channel, number, ""));
    }
}

#[test]
fn what_comes_within_a_window_is_one_send_when_it_is_over() {
    let mut bench = bench(1, FlushWindow::Fixed(WINDOW));
    let client = bench.subscribe(0, "c", "");
    bench.advance(MS);
    bench.publish_all("c", 1..=1);
    assert_eq!(bench.shards[0].next_timeout(), bench.now + WINDOW, "the shard asks to be woken");
    bench.advance(WINDOW - MS);
    bench.publish_all("c", 2..=3);
    assert_eq!(bench.told(client), [""; 0]);
    bench.advance(MS);
    assert_eq!(bench.shards[0].unsent(client.id).count(), 1, "one piece");
    assert_eq!(data(&bench.told(client)), [1, 2, 3]);
    bench.publish_all("c", 4..=4);
    assert_eq!(bench.told(client), [""; 0], "another window");
    bench.advance(WINDOW);
    assert_eq!(data(&bench.told(client)), [4]);
    assert_eq!(bench.count(0, Counter::WindowsOver), 2);
}

#[test]
fn a_full_batch_does_not_wait() {
    let mut bench = bench(1, FlushWindow::Fixed(WINDOW));
    let client = bench.subscribe(0, "c", "");
    bench.publish_all("c", 1..=6);
    assert_eq!(data(&bench.told(client)), [1, 2, 3, 4, 5]);
    bench.advance(WINDOW);
    assert_eq!(data(&bench.told(client)), [6]);
    assert_eq!((bench.count(0, Counter::WindowsFull), bench.count(0, Counter::WindowsOver)), (1, 1));
}

#[test]
fn who_joins_or_leaves_in_a_window_gets_what_is_his() {
    let mut bench = bench(1, FlushWindow::Fixed(WINDOW));
    let first = bench.subscribe(0, "c", "");
    bench.publish_all("c", 1..=1);
    let second = bench.subscribe(0, "c", "");
    let third = bench.subscribe(0, "c", "");
    bench.publish_all("c", 2..=2);
    bench.say(third, r#"{"id":3,"unsubscribe":{"channel":"c"}}"#);
    bench.say(third, r#"{"id":4,"subscribe":{"channel":"c"}}"#);
    bench.told(third);
    bench.publish_all("c", 3..=3);
    bench.cut(first);
    bench.advance(WINDOW);
    assert_eq!(data(&bench.told(second)), [2, 3]);
    assert_eq!(data(&bench.told(third)), [3], "nothing of the subscription before");
}

/// The channel's slot is another's while the window of the one before it would still run.
#[test]
fn a_channel_that_everybody_left_holds_nothing_for_the_next() {
    let mut bench = bench(1, FlushWindow::Fixed(WINDOW));
    let client = bench.subscribe(0, "c", "");
    bench.publish_all("c", 1..=1);
    bench.say(client, r#"{"id":3,"unsubscribe":{"channel":"c"}}"#);
    bench.told(client);
    bench.say(client, r#"{"id":4,"subscribe":{"channel":"other"}}"#);
    bench.told(client);
    bench.advance(5 * MS);
    bench.publish_all("other", 2..=2);
    bench.advance(5 * MS);
    assert_eq!(bench.told(client), [""; 0]);
    bench.advance(5 * MS);
    assert_eq!(data(&bench.told(client)), [2]);
}

#[test]
fn joins_wait_with_the_publications_among_them() {
    let mut bench = bench_with(1, |options| options.flush.window = FlushWindow::Fixed(WINDOW));
    let client = bench.subscribe(0, "c", r#","join_leave":true"#);
    bench.advance(WINDOW);
    bench.told(client);
    bench.publish_all("c", 1..=1);
    bench.subscribe(0, "c", "");
    bench.publish_all("c", 2..=2);
    bench.advance(WINDOW);
    let told = bench.told(client);
    let kinds: Vec<bool> = told.iter().map(|line| line.contains(r#""join""#)).collect();
    assert_eq!(kinds, [false, true, false], "{told:?}");
}

#[test]
fn whoever_missed_something_is_told_without_waiting_for_the_window() {
    let mut bench = bench(2, FlushWindow::Fixed(WINDOW));
    let there = bench.channel_at(1);
    let client = bench.subscribe(0, &there, r#","recoverable":true"#);
    let casual = bench.subscribe(0, &there, "");
    bench.publish_tagged(&there, 1, "");
    bench.settle();
    bench.publish_tagged(&there, 2, "");
    bench.collect(1);
    bench.lanes.clear();
    bench.publish_tagged(&there, 3, "");
    bench.settle();
    let told = bench.told(client);
    assert!(told[0].contains(r#""code":2500"#), "{told:?}");
    bench.say(client, &format!(r#"{{"id":3,"subscribe":{{"channel":"{there}","recoverable":true,"recover":true}}}}"#));
    bench.settle();
    assert!(bench.told(client)[0].contains(r#""recovered":true"#), "it has all, and waits for no window");
    bench.advance(WINDOW);
    assert_eq!(bench.told(client), [""; 0], "nothing twice");
    assert_eq!(data(&bench.told(casual)), [1, 3]);
}

#[test]
fn a_drain_hands_over_what_is_held_back() {
    let mut bench = bench(1, FlushWindow::Fixed(WINDOW));
    let client = bench.subscribe(0, "c", "");
    let stays = bench.subscribe(0, "c", "");
    bench.publish_all("c", 1..=2);
    let now = bench.now();
    bench.shards[0].tray_message(now, TrayMessage::Drain { window: Duration::from_secs(10) });
    let told = bench.told(client);
    assert_eq!((data(&told), &*told[2]), (vec![1, 2], "close 3001"));
    assert_eq!(data(&bench.told(stays)), [1, 2]);
    bench.publish_all("c", 3..=3);
    assert_eq!(data(&bench.told(stays)), [3], "nothing is held back any more");
}

#[test]
fn an_adaptive_window_opens_under_load_and_closes_after_it() {
    let budget = 4 * MS;
    let mut bench = Bench::with(1, |options| {
        options.adaptive_sends_min = 1000;
        let namespaces = Arc::make_mut(&mut options.namespaces);
        let without = Arc::make_mut(&mut namespaces.without);
        without.flush.window = FlushWindow::Adaptive { budget };
        without.join_leave = false;
    });
    let clients = [bench.subscribe(0, "c", ""), bench.subscribe(0, "c", "")];
    let mut sends = 0;
    for n in 1..=400 {
        bench.publish_all("c", n..=n);
        bench.walk(0);
        sends += bench.shards[0].unsent(clients[0].id).count();
        assert!(n > 100 || data(&bench.told(clients[0])) == [n], "no delay before the load is known");
        bench.told(clients[0]);
        bench.advance(MS);
    }
    assert!((150..250).contains(&sends), "every fourth millisecond one send: {sends}");
    bench.advance(Duration::from_secs(1));
    bench.told(clients[0]);
    bench.publish_all("c", 401..=401);
    assert_eq!(data(&bench.told(clients[0])), [401]);
    assert_eq!(data(&bench.told(clients[1])), (1..=401).collect::<Vec<_>>());
}

#[test]
fn slow_consumers_are_dropped_by_what_was_joined() {
    for policy in [SlowConsumerPolicy::Disconnect, SlowConsumerPolicy::DropOldest] {
        let drops = policy.may_drop();
        let mut bench = Bench::with(1, |options| {
            options.outbox_bytes_max = 400;
            let namespaces = Arc::make_mut(&mut options.namespaces);
            let without = Arc::make_mut(&mut namespaces.without);
            without.slow_consumer_policy = policy;
            without.join_leave = false;
            without.flush.window = FlushWindow::Fixed(WINDOW);
        });
        let slow = bench.subscribe(0, "c", "");
        for round in 0..8 {
            bench.publish_all("c", 4 * round + 1..=4 * round + 4);
            bench.advance(WINDOW);
            let now = bench.now();
            bench.shards[0].sent(now, slow.id, 0);
        }
        let told = bench.told(slow);
        match drops {
            true => assert_eq!(data(&told).last(), Some(&32), "{told:?}"),
            false => assert_eq!(told.last().map(String::as_str), Some("close 3008")),
        }
    }
}

/// What has not been handed over when a newer one comes gives its place and its time to it.
#[test]
fn the_newest_does_not_wait_where_an_older_one_would_not() {
    let mut bench = paced(None);
    let client = bench.subscribe(0, "c", "");
    bench.publish_all("c", 1..=3);
    assert_eq!(data(&bench.told(client)), [3]);
    bench.publish_all("c", 4..=5);
    assert_eq!(bench.told(client), [""; 0]);
    bench.advance(100 * MS);
    assert_eq!(data(&bench.told(client)), [5]);
}

/// Channels whose subscribers are given ten publications a second.
fn paced(tag: Option<&str>) -> Bench {
    bench_with(1, |options| {
        let interval_min = 100 * MS;
        options.slow_consumer_policy = SlowConsumerPolicy::Conflate { tag: tag.map(Into::into), interval_min };
        options.join_leave = false;
    })
}

#[test]
fn a_subscriber_is_given_the_newest_at_its_rate() {
    let mut bench = paced(None);
    let client = bench.subscribe(0, "c", "");
    let mut given = Vec::new();
    // A thousand a second for two seconds, and far more of them than may be pending.
    for n in 1..=2000 {
        bench.publish_all("c", n..=n);
        given.extend(data(&bench.told(client)));
        bench.advance(MS);
    }
    bench.advance(100 * MS);
    given.extend(data(&bench.told(client)));
    assert_eq!((given.len(), given[0], given[20]), (21, 1, 2000), "{given:?}");
    assert!(given.windows(2).all(|pair| (99..=101).contains(&(pair[1] - pair[0]))), "{given:?}");
    assert_eq!(bench.metrics[0].remedied(Remedy::MaxRate), 2000 - 21);
    assert_eq!(bench.count(0, Counter::DeliveriesLost), 0);
    bench.advance(Duration::from_secs(1));
    bench.publish_all("c", 2001..=2001);
    assert_eq!(data(&bench.told(client)), [2001], "at once");
}

#[test]
fn each_tag_has_its_rate() {
    let mut bench = paced(Some("symbol"));
    let client = bench.subscribe(0, "c", "");
    bench.publish_tagged("c", 1, "a");
    assert_eq!(data(&bench.told(client)), [1]);
    for (number, symbol) in [(2, "a"), (3, "b"), (4, ""), (5, "a"), (6, "")] {
        bench.publish_tagged("c", number, symbol);
    }
    assert_eq!(bench.told(client), [""; 0]);
    bench.advance(100 * MS);
    assert_eq!(data(&bench.told(client)), [3, 5, 6]);
}

#[test]
fn who_joins_between_gets_only_what_is_newer() {
    let mut bench = paced(Some("symbol"));
    let first = bench.subscribe(0, "c", "");
    bench.publish_tagged("c", 1, "a");
    bench.walk(0);
    bench.publish_tagged("c", 2, "a");
    bench.publish_tagged("c", 3, "b");
    let second = bench.subscribe(0, "c", "");
    bench.publish_tagged("c", 4, "a");
    let third = bench.subscribe(0, "c", "");
    bench.advance(100 * MS);
    assert_eq!(data(&bench.told(first)), [1, 3, 4]);
    assert_eq!(data(&bench.told(second)), [4], "3 came before it did, and where 2 was stands no gap");
    assert_eq!(bench.told(third), [""; 0]);
}

#[test]
fn a_positioned_subscriber_is_told_of_what_is_left_out() {
    let mut bench = paced(None);
    let client = bench.subscribe(0, "c", r#","recoverable":true"#);
    bench.publish_all("c", 1..=1);
    assert_eq!(data(&bench.told(client)), [1]);
    bench.publish_all("c", 2..=3);
    let told = bench.told(client);
    assert!(told[0].contains(r#""code":2500"#), "{told:?}");
    bench.say(client, r#"{"id":3,"subscribe":{"channel":"c","recoverable":true,"recover":true,"offset":1}}"#);
    let told = bench.told(client);
    assert!(told[0].contains(r#""recovered":true"#) && told[0].contains(r#""data":3"#), "{told:?}");
    bench.advance(100 * MS);
    assert_eq!(bench.told(client), [""; 0], "nothing twice");
}
