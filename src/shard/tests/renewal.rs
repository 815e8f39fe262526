//! A reload: who is subscribed already, and what the new options are for them.

use super::*;
use crate::access::{Flush, FlushWindow, SlowConsumerPolicy};
use crate::limits;

const MS: Duration = Duration::from_millis(1);

impl Bench {
    /// Every shard is told of these options; the audiences follow in the turns after.
    fn tell_options(&mut self, change: impl FnOnce(&mut Options)) {
        let mut options = (*self.shards[0].options).clone();
        change(&mut options);
        let (now, options) = (self.now(), Arc::new(options));
        for shard in &mut self.shards {
            shard.tray_message(now, TrayMessage::Options(Arc::clone(&options)));
        }
    }

    fn reload(&mut self, change: impl FnOnce(&mut ChannelOptions)) {
        self.tell_options(|options| change_channel(options, change));
        (0..self.shards.len()).for_each(|shard| self.walk(shard));
        self.settle();
    }

    fn ask(&mut self, client: Client, command: &str) -> String {
        self.say(client, &format!(r#"{{"id":9,{command}}}"#));
        self.settle();
        self.told(client).into_iter().find(|line| line.starts_with(r#"{"id":9,"#)).expect("an answer")
    }
}

fn change_channel(options: &mut Options, change: impl FnOnce(&mut ChannelOptions)) {
    let namespaces = Arc::make_mut(&mut options.namespaces);
    change(Arc::make_mut(&mut namespaces.without));
}

fn bench(shards: u16, change: impl FnOnce(&mut ChannelOptions)) -> Bench {
    Bench::with(shards, |options| change_channel(options, change))
}

fn conflate() -> SlowConsumerPolicy {
    SlowConsumerPolicy::Conflate { tag: None, interval_min: Duration::ZERO }
}

#[test]
fn permissions_and_limits_are_new_from_the_next_command_on() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(1);
    let client = bench.subscribe(0, &channel, "");
    let publish = format!(r#""publish":{{"channel":"{channel}","data":1}}"#);
    assert!(bench.ask(client, &publish).contains(r#""publish":{}"#));
    bench.reload(|channel| channel.allow_publish_for_client = false);
    bench.reload(|channel| channel.allow_publish_for_anonymous = false);
    assert!(bench.ask(client, &publish).contains(r#""code":103"#));
    bench.tell_options(|options| options.channels_max = 1);
    assert!(bench.ask(client, r#""subscribe":{"channel":"another"}"#).contains(r#""code":106"#));
}

#[test]
fn what_clients_were_told_stays() {
    let running = Options::default();
    let new = Options {
        homes: Homes::new(4, 1),
        ping_interval: Duration::from_secs(1),
        outbox_bytes_max: 1,
        channels_max: 7,
        ..Options::default()
    };
    let renewed = running.renewed_by(&new);
    assert_eq!((renewed.homes.shards(), renewed.ping_interval), (1, running.ping_interval));
    assert_eq!((renewed.outbox_bytes_max, renewed.channels_max), (running.outbox_bytes_max, 7));
}

#[test]
fn windows_begin_and_end_for_those_who_are_there() {
    let fixed = |window| Flush { window, ..Flush::default() };
    let mut bench = bench(2, |channel| channel.join_leave = false);
    let channel = bench.channel_at(0);
    let client = bench.subscribe(1, &channel, "");
    bench.reload(|channel| channel.flush = fixed(FlushWindow::Fixed(100 * MS)));
    (1..=2).for_each(|number| bench.publish_tagged(&channel, number, ""));
    bench.settle();
    assert_eq!(bench.told(client), [""; 0], "they are held back");
    bench.reload(|channel| channel.flush = fixed(FlushWindow::Off));
    bench.publish_tagged(&channel, 3, "");
    bench.settle();
    assert_eq!(data(&bench.told(client)), [1, 2, 3], "in their order");
    bench.advance(200 * MS);
    assert_eq!(bench.told(client), [""; 0]);
}

/// What could be dropped while it waited must not be mistaken for a part of a later subscription.
#[test]
fn what_waits_when_dropping_ends_is_sent() {
    let mut bench = bench(1, |channel| {
        channel.slow_consumer_policy = conflate();
        channel.join_leave = false;
    });
    let slow = bench.subscribe(0, "c", "");
    let now = bench.now();
    for number in 1..=2 {
        bench.publish_tagged("c", number, "");
        bench.walk(0);
        bench.shards[0].sent(now, slow.id, 0);
    }
    bench.reload(|channel| channel.slow_consumer_policy = SlowConsumerPolicy::Disconnect);
    bench.say(slow, r#"{"id":3,"unsubscribe":{"channel":"c"}}"#);
    bench.say(slow, r#"{"id":4,"subscribe":{"channel":"c"}}"#);
    bench.reload(|channel| channel.slow_consumer_policy = conflate());
    bench.publish_tagged("c", 3, "");
    assert_eq!(data(&bench.told(slow)), [1, 2, 3]);
}

#[test]
fn who_was_present_leaves_also_when_presence_went_meanwhile() {
    let mut bench = Bench::new(2);
    let channel = bench.channel_at(0);
    let (gone, left) = (bench.subscribe(1, &channel, ""), bench.subscribe(1, &channel, ""));
    let off = |channel: &mut ChannelOptions| (channel.presence, channel.join_leave) = (false, false);
    bench.reload(off);
    let stats = format!(r#""presence_stats":{{"channel":"{channel}"}}"#);
    assert!(bench.ask(left, &stats).contains(r#""code":108"#), "it is not available");
    bench.cut(gone);
    bench.walk(1);
    bench.settle();
    bench.reload(|channel| channel.presence = true);
    assert!(bench.ask(left, &stats).contains(r#""num_clients":1"#), "whoever left is not there");
}

#[test]
fn an_audience_that_reads_deltas_drops_nothing_while_it_lasts() {
    let mut bench = bench(1, |channel| channel.allows_delta = true);
    let client = bench.subscribe(0, "c", r#","delta":"fossil""#);
    let policy = |bench: &mut Bench| {
        let slot = bench.shards[0].channels.find("c").expect("somebody is subscribed");
        bench.shards[0].channels.at(slot).expect("it is there").options.slow_consumer_policy.may_drop()
    };
    let drops = |channel: &mut ChannelOptions| {
        channel.allows_delta = false;
        channel.slow_consumer_policy = conflate();
    };
    bench.reload(drops);
    assert!(!policy(&mut bench));
    bench.cut(client);
    bench.walk(0);
    bench.subscribe(0, "c", "");
    assert!(policy(&mut bench), "the next audience is a new one");
}

/// What a home kept from before deltas were off is not what subscribers were given last.
#[test]
fn deltas_that_come_back_begin_with_the_whole() {
    let mut bench = bench(1, |channel| (channel.allows_delta, channel.delta_publish) = (true, true));
    let client = bench.subscribe(0, "c", r#","delta":"fossil""#);
    bench.publish_tagged("c", 1, "");
    assert!(bench.shards[0].base_bytes > 0);
    bench.reload(|channel| channel.allows_delta = false);
    assert_eq!(bench.shards[0].base_bytes, 0);
    bench.publish_tagged("c", 2, "");
    bench.reload(|channel| channel.allows_delta = true);
    bench.told(client);
    bench.publish_tagged("c", 3, "");
    let told = bench.told(client);
    assert!(told[0].contains(r#""data":"3""#) && !told[0].contains(r#""delta":true"#), "{told:?}");
}

#[test]
fn audiences_follow_some_a_turn() {
    let count = limits::RENEWALS_PER_TURN + 1;
    let mut bench = Bench::with(1, |options| options.channels_max = count as usize);
    let client = bench.connect(0);
    for channel in 0..count {
        bench.say(client, &format!(r#"{{"id":{},"subscribe":{{"channel":"c{channel}"}}}}"#, channel + 2));
        bench.told(client);
    }
    bench.tell_options(|options| change_channel(options, |channel| channel.presence = false));
    let now = bench.now();
    let renewed = |bench: &mut Bench| {
        let channels = &mut bench.shards[0].channels;
        (0..channels.slots()).filter(|slot| channels.at(*slot).is_some_and(|channel| channel.is_renewed)).count()
    };
    assert_eq!(renewed(&mut bench), 0);
    assert!(bench.shards[0].walk(now), "one turn is not enough");
    assert_eq!(renewed(&mut bench) as u32, limits::RENEWALS_PER_TURN);
    bench.walk(0);
    assert_eq!(renewed(&mut bench) as u32, count);
}
