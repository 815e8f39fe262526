//! Too little memory in the process: which outboxes go, and whose stay.

use super::*;
use crate::access::SlowConsumerPolicy;
use crate::shard::Pressure;
use crate::telemetry::Gauge;

/// One shard whose channels have `policy` and keep no history.
fn bench(policy: SlowConsumerPolicy) -> Bench {
    Bench::with(1, |options| {
        let namespaces = Arc::make_mut(&mut options.namespaces);
        let without = ChannelOptions { join_leave: false, ..(*namespaces.without).clone() };
        namespaces.without = Arc::new(ChannelOptions { slow_consumer_policy: policy, ..without });
    })
}

impl Bench {
    /// Above its limit, the process wants no more than this in an outbox.
    fn press(&mut self, outbox_bytes_max: usize) {
        let pressure = Pressure { is_high: true, outbox_bytes_max: Some(outbox_bytes_max) };
        let now = self.now();
        self.shards[0].tray_message(now, TrayMessage::Memory(pressure));
        self.walk(0);
    }

    fn publish_many(&mut self, channel: &str, count: u32) {
        for n in 0..count {
            self.publish_tagged(channel, n, "");
            self.walk(0);
        }
    }

    /// The client's socket takes nothing.
    fn stall(&mut self, client: Client) {
        let now = self.now();
        self.shards[0].sent(now, client.id, 0);
    }

    fn waiting_bytes(&self, client: Client) -> usize {
        self.shards[0].unsent(client.id).map(|frame| frame.len()).sum()
    }

    #[track_caller]
    fn check_gauge(&mut self, clients: &[Client]) {
        self.shards[0].next_timeout();
        let waiting: usize = clients.iter().map(|&client| self.waiting_bytes(client)).sum();
        assert_eq!(self.metrics[0].gauge(Gauge::OutboxBytes), waiting as u64);
    }
}

#[test]
fn the_largest_outbox_goes_with_its_connection() {
    let mut bench = bench(SlowConsumerPolicy::Disconnect);
    let (largest, smaller) = (bench.subscribe(0, "much", ""), bench.subscribe(0, "little", ""));
    bench.publish_many("much", 100);
    bench.publish_many("little", 10);
    bench.stall(largest);
    bench.stall(smaller);
    bench.check_gauge(&[largest, smaller]);
    let bytes = bench.waiting_bytes(smaller);
    bench.press(bytes);
    assert_eq!(bench.told(largest), ["close 3008"]);
    assert_eq!(bench.waiting_bytes(smaller), bytes);
    assert_eq!(bench.count(0, Counter::ConnectionsCut), 1);
    bench.press(bytes - 1);
    assert_eq!(bench.told(smaller), ["close 3008"]);
    bench.check_gauge(&[largest, smaller]);
}

#[test]
fn what_this_turn_queued_is_not_held_against_its_reader() {
    let mut bench = bench(SlowConsumerPolicy::Disconnect);
    let quick = bench.subscribe(0, "c", "");
    bench.publish_many("c", 100);
    bench.press(1);
    assert_eq!(data(&bench.told(quick)), (0..100).collect::<Vec<_>>());
    assert_eq!(bench.count(0, Counter::ConnectionsCut), 0);
}

#[test]
fn where_publications_may_be_dropped_their_connection_stays() {
    let mut bench = bench(SlowConsumerPolicy::DropOldest);
    let casual = bench.subscribe(0, "c", "");
    let positioned = bench.subscribe(0, "c", r#","recoverable":true"#);
    bench.publish_many("c", 100);
    bench.stall(casual);
    bench.stall(positioned);
    bench.press(600);
    assert!(bench.waiting_bytes(casual) <= 600);
    bench.check_gauge(&[casual, positioned]);
    let numbers = data(&bench.told(casual));
    // The first is on its way to the socket, and stays.
    assert_eq!((numbers[0], numbers.last()), (0, Some(&99)));
    let told = bench.told(positioned);
    assert!(told.last().is_some_and(|line| line.contains(r#""unsubscribe":{"code":2500"#)), "{told:?}");
    assert_eq!(data(&told), [0], "nothing from behind the gap");
    assert_eq!((bench.count(0, Counter::OutboxesShrunk), bench.count(0, Counter::ConnectionsCut)), (2, 0));
    bench.publish_many("c", 1);
    assert_eq!(data(&bench.told(casual)), [0]);
}

#[test]
fn a_look_is_sliced_and_ends_when_there_is_memory_again() {
    let mut bench = bench(SlowConsumerPolicy::Disconnect);
    let behind = bench.subscribe(0, "c", "");
    let last = (0..crate::limits::CUT_LOOKS_PER_TURN).map(|_| bench.open(0)).last();
    assert!(last.is_some());
    bench.publish_many("c", 100);
    bench.stall(behind);
    let now = bench.now();
    let press = |bench: &mut Bench, outbox_bytes_max| {
        let pressure = Pressure { is_high: true, outbox_bytes_max };
        bench.shards[0].tray_message(now, TrayMessage::Memory(pressure));
    };
    press(&mut bench, Some(1_000_000));
    assert!(bench.shards[0].walk(now), "a turn's share is less than all");
    // Begun anew, it goes on with those that were not looked at, and comes around.
    press(&mut bench, Some(1));
    assert!(bench.shards[0].walk(now));
    press(&mut bench, None);
    assert!(!bench.shards[0].walk(now));
    press(&mut bench, Some(1));
    bench.walk(0);
    assert_eq!(bench.told(behind), ["close 3008"]);
}
