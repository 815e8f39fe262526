//! How connections end, and what they leave to others.

use super::*;
use crate::limits;
use crate::shard::Faults;
use crate::shard::outgoing::Class;
use crate::telemetry::Gauge;

#[test]
fn subscriptions_of_a_closed_connection_are_taken_down_in_slices() {
    let mut bench = Bench::with(1, |options| options.channels_max = 1000);
    let client = bench.connect(0);
    let count = 2 * limits::LEAVES_PER_TURN + 1;
    for n in 0..count {
        bench.say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"c{n}"}}}}"#, n + 2));
    }
    bench.told(client);
    let metrics = Arc::clone(&bench.metrics[0]);
    assert_eq!(metrics.gauge(Gauge::Subscriptions), count as u64);

    bench.cut(client);
    let now = bench.now();
    assert!(bench.is_known(client), "its subscriptions still name it");
    let tenant = bench.open(0);
    assert_ne!(tenant.id.slot, client.id.slot, "its slot is not free");

    assert!(bench.shards[0].walk(now));
    assert_eq!(metrics.gauge(Gauge::Subscriptions), (count - limits::LEAVES_PER_TURN) as u64);
    assert!(bench.shards[0].walk(now));
    assert!(!bench.shards[0].walk(now));
    assert_eq!(metrics.gauge(Gauge::Subscriptions), 0);
    assert!(!bench.is_known(client));
    assert!(bench.shards[0].rooms.is_empty());
}

#[test]
fn leaving_goes_on_only_while_the_lanes_have_room() {
    let mut bench = Bench::with(2, |options| {
        options.channels_max = 1000;
        options.lane_slots = 16;
    });
    let client = bench.connect(0);
    let names: Vec<String> =
        (0..).map(|n| format!("c{n}")).filter(|name| bench.homes.home_of(name).as_index() == 1).take(20).collect();
    for (n, name) in names.iter().enumerate() {
        bench.say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"{name}"}}}}"#, n + 2));
        bench.settle();
    }
    bench.told(client);
    let now = bench.now();
    bench.shards[0].lost(now, client.id);
    assert!(bench.shards[0].walk(now), "a leave and an unlisten for each: two use up their part of the lane");
    assert_eq!(bench.shards[0].outgoing.len(), 4);
    assert!(bench.shards[0].walk(now));
    assert_eq!(bench.shards[0].outgoing.len(), 4);
    for class in [Class::Publish, Class::Delivery] {
        assert!(bench.shards[0].outgoing.has_room(ShardId(1), class), "nobody else's part: {class:?}");
    }
    while bench.shards[0].walk(now) {
        let message = bench.shards[0].next_outgoing(ShardId(1)).expect("the lane is full");
        bench.shards[1].lane_message(now, ShardId(0), message);
    }
    bench.settle();
    assert!(bench.shards[1].rooms.is_empty());
}

#[test]
fn unsubscribes_leave_the_lanes_to_others_too() {
    let mut bench = Bench::with(2, |options| options.lane_slots = 16);
    let client = bench.connect(0);
    let names: Vec<String> =
        (0..).map(|n| format!("c{n}")).filter(|name| bench.homes.home_of(name).as_index() == 1).take(20).collect();
    for (name, id) in names.iter().zip(2..) {
        bench.say(client, &format!(r#"{{"id":{id},"subscribe":{{"channel":"{name}"}}}}"#));
        bench.settle();
    }
    bench.told(client);
    for (name, id) in names.iter().zip(100..) {
        bench.say(client, &format!(r#"{{"id":{id},"unsubscribe":{{"channel":"{name}"}}}}"#));
    }
    assert_eq!(bench.shards[0].outgoing.len(), 4, "two of them; the others wait");
    while bench.shards[0].has_yielded(client.id) {
        bench.settle();
        bench.go_on_once(client);
        assert!(bench.shards[0].outgoing.len() <= 4);
    }
    assert_eq!(ids(&bench.told(client)), (100..120).collect::<Vec<_>>());
    bench.settle();
    assert!(bench.shards[1].rooms.is_empty());
}

#[test]
fn replies_that_wait_do_not_reach_the_next_in_the_slot() {
    let mut bench = Bench::new(2);
    let there = bench.channel_at(1);
    let client = bench.connect(0);
    bench.say(client, &format!(r#"{{"id":2,"presence_stats":{{"channel":"{there}"}}}}"#));
    bench.collect(0);
    let ask = bench.lanes.get_mut(&(0, 1)).and_then(VecDeque::pop_front).expect("the question is on its way");
    let now = bench.now();
    bench.shards[1].lane_message(now, ShardId(0), ask);
    let answer = bench.shards[1].next_outgoing(ShardId(0)).expect("it is answered");

    bench.shards[0].lane_message(now, ShardId(1), answer);
    bench.cut(client);
    let tenant = bench.open(0);
    assert_eq!(tenant.id.slot, client.id.slot, "its slot is another's");
    assert_eq!(bench.told(tenant), [""; 0]);
}

#[test]
fn a_panic_while_handling_one_connection_closes_that_one() {
    let mut bench = Bench::with(1, |options| options.faults = Faults { panic_on_rpc: true, ..Faults::default() });
    let channel = bench.channel_at(0);
    let watcher = bench.subscribe(0, &channel, r#","join_leave":true"#);
    let client = bench.subscribe(0, &channel, "");
    bench.told(watcher);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        bench.say(client, r#"{"id":3,"rpc":{"method":"fanfare.fault.panic"}}"#);
    }));
    assert!(panicked.is_err());
    let now = bench.now();
    bench.shards[0].abandon(now, client.id);
    assert_eq!(bench.count(0, Counter::Bugs), 1);
    assert_eq!(bench.told(client), ["close 3004"]);
    assert_eq!(bench.shards[0].next_finished(), Some(client.id), "what it sends is not looked at");
    assert!(bench.told(watcher)[0].contains(r#""leave""#));
    // The healthy are served at once.
    let healthy = bench.subscribe(0, &channel, "");
    bench.say(healthy, &format!(r#"{{"id":3,"publish":{{"channel":"{channel}","data":1}}}}"#));
    assert_eq!(data(&bench.told(watcher)), [1]);
    // One that is gone is nothing to abandon.
    bench.shards[0].abandon(now, client.id);
}

#[test]
fn a_slow_consumer_is_sent_the_rest_of_a_frame_and_its_code() {
    let mut bench = Bench::with(1, |options| options.outbox_bytes_max = 500);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    let slow = bench.subscribe(0, &channel, "");
    let publish = format!(r#"{{"id":2,"publish":{{"channel":"{channel}","data":"{}"}}}}"#, "x".repeat(150));
    let now = bench.now();
    bench.say(publisher, &publish);
    bench.collect(0);
    // The socket took one byte, then no more.
    let first: Vec<u8> = bench.shards[0].unsent(slow.id).flat_map(|frame| frame.to_vec()).collect();
    bench.shards[0].sent(now, slow.id, 1);
    bench.say(publisher, &publish);
    bench.collect(0);
    let waiting: Vec<u8> = bench.shards[0].unsent(slow.id).flat_map(|frame| frame.to_vec()).collect();
    assert_eq!(waiting[..first.len() - 1], first[1..]);
    assert_eq!(lines(&waiting[first.len() - 1..]), ["close 3008"]);

    // It has a second for it.
    bench.advance(Duration::from_millis(1200));
    assert_eq!(bench.shards[0].next_finished(), Some(slow.id));
    bench.told(publisher);
    assert_eq!(bench.metrics[0].gauge(Gauge::OutboxBytes), 0, "nothing waits for anybody");
}

#[test]
fn a_slot_is_free_when_io_has_let_go_of_its_socket() {
    let mut bench = Bench::new(1);
    let client = bench.connect(0);
    let now = bench.now();
    bench.shards[0].lost(now, client.id);
    bench.shards[0].lost(now, client.id);
    assert_ne!(bench.open(0).id.slot, client.id.slot);
    assert_eq!(bench.shards[0].next_finished(), Some(client.id));
    assert_eq!(bench.shards[0].next_finished(), None);
    assert_eq!(bench.open(0).id.slot, client.id.slot);
    assert_eq!(bench.shards[0].connections(), 2);
}

#[test]
fn a_drain_is_spread_evenly_over_its_window() {
    let mut bench = Bench::new(1);
    let clients: Vec<Client> = (0..100).map(|_| bench.connect(0)).collect();
    let now = bench.now();
    bench.shards[0].tray_message(now, TrayMessage::Drain { window: Duration::from_secs(10) });
    let mut closed = 0;
    for seconds in 0..10 {
        let told = clients.iter().filter(|client| bench.told(**client) == ["close 3001"]).count();
        closed += told;
        assert!((1..=11).contains(&(closed - seconds * 10)), "{closed} after {seconds} s");
        bench.advance(Duration::from_secs(1));
    }
    assert_eq!(closed + clients.iter().filter(|client| bench.told(**client) == ["close 3001"]).count(), 100);
}

#[test]
fn first_pings_are_spread_over_half_an_interval() {
    let mut bench = Bench::with(1, |options| options.ping_interval = PING_INTERVAL);
    let clients: Vec<Client> = (0..200).map(|_| bench.connect(0)).collect();
    bench.advance(Duration::from_millis(12_400));
    let mut pinged = Vec::new();
    for _ in 0..5 {
        let told = clients.iter().filter(|client| bench.told(**client).contains(&"{}".to_owned())).count();
        pinged.push(told);
        bench.advance(Duration::from_millis(3_200));
    }
    assert_eq!(pinged[0], 0, "none in the first half");
    assert_eq!(pinged.iter().sum::<usize>(), 200, "all by its end");
    assert!(pinged[1..].iter().all(|count| (30..70).contains(count)), "{pinged:?}");
}

/// Also when nothing is published any more: streams come with subscribers and go with time.
#[test]
fn the_gauge_of_stream_bytes_follows_every_change() {
    let mut bench = Bench::new(1);
    let metrics = Arc::clone(&bench.metrics[0]);
    let client = bench.subscribe(0, "c", r#","positioned":true"#);
    let untouched = metrics.gauge(Gauge::StreamBytes);
    assert!(untouched > 0, "it holds a position");
    bench.say(client, r#"{"id":3,"publish":{"channel":"c","data":1}}"#);
    bench.told(client);
    assert!(metrics.gauge(Gauge::StreamBytes) > untouched);
    bench.cut(client);
    bench.advance(Duration::from_secs(601));
    bench.shards[0].next_timeout();
    assert_eq!(metrics.gauge(Gauge::StreamBytes), 0, "history and position have expired");
}

/// A write may find that the connection is lost, and it comes after the walk of its turn.
#[test]
fn a_connection_lost_after_the_walk_asks_for_another() {
    let mut bench = Bench::new(1);
    let neighbour = bench.subscribe(0, "c", r#","join_leave":true"#);
    let client = bench.subscribe(0, "c", "");
    bench.told(neighbour);
    assert!(!bench.shards[0].wants_walk());
    bench.cut(client);
    assert!(bench.shards[0].wants_walk(), "its subscription is to be taken down");
    let told = bench.told(neighbour);
    assert!(told[0].contains(r#""leave":"#), "{told:?}");
    assert!(!bench.shards[0].wants_walk());
}
