//! Subscriptions that the server makes, while answers and publications are on their way.

use super::*;

/// Everybody may recover; who is subscribed is not told.
fn recoverable(options: &mut Options) {
    let channel = ChannelOptions {
        history_size: 1000,
        history_ttl: Duration::from_secs(600),
        history_meta_ttl: Duration::from_secs(600),
        force_recovery: true,
        allow_subscribe_for_client: true,
        allow_subscribe_for_anonymous: true,
        ..ChannelOptions::default()
    };
    options.namespaces = Arc::new(Namespaces { without: Arc::new(channel), ..Namespaces::clone(&options.namespaces) });
}

impl Bench {
    /// A client of shard 1 that has said its connect, for the channels at home on both shards.
    fn join(&mut self) -> (Client, [String; 2]) {
        let channels = [self.channel_at(0), self.channel_at(1)];
        let client = self.open(1);
        let [far, near] = &channels;
        self.say(client, &format!(r#"{{"id":1,"connect":{{"subs":{{"{far}":{{}},"{near}":{{}}}}}}}}"#));
        (client, channels)
    }
}

#[test]
fn nothing_is_sent_before_the_answer_to_connect() {
    let mut bench = Bench::with(2, recoverable);
    let (client, [far, near]) = bench.join();
    bench.say(client, r#"{"id":2,"rpc":{"method":"any"}}"#);
    // It is in the one audience already, and waits for the other.
    bench.publish_tagged(&near, 7, "");
    assert_eq!(bench.told(client), Vec::<String>::new());
    bench.settle();
    bench.publish_tagged(&far, 8, "");
    bench.settle();
    let told = bench.told(client);
    assert!(told[0].starts_with(r#"{"id":1,"connect":"#), "{told:?}");
    assert!(told[0].contains(&format!(r#""{far}":{{"recoverable":true"#)), "{told:?}");
    assert!(told[0].contains(&format!(r#""{near}":{{"recoverable":true"#)), "{told:?}");
    assert_eq!((data(&told), ids(&told)), (vec![7, 8], vec![1, 2]), "{told:?}");
}

#[test]
fn what_waits_for_a_connect_that_comes_to_nothing_is_not_sent() {
    let mut bench = Bench::with(2, recoverable);
    let (client, [far, near]) = bench.join();
    bench.publish_tagged(&near, 7, "");
    bench.say(client, r#"{"id":2,"connect":{}}"#);
    assert_eq!(bench.told(client), ["close 3501"]);
    bench.settle();
    bench.cut(client);
    bench.settle();
    for (shard, channel) in [(0, &far), (1, &near)] {
        assert!(bench.shards[1].channels.find(channel).is_none(), "nobody there is subscribed to {channel}");
        assert!(bench.shards[shard].rooms.is_empty(), "and its home knows");
    }
}

#[test]
fn who_misses_something_connects_again() {
    let mut bench = Bench::with(2, |options| {
        recoverable(options);
        options.lane_slots = 8;
    });
    let (client, [far, _]) = bench.join();
    bench.settle();
    let told = bench.told(client);
    assert!(told[0].starts_with(r#"{"id":1,"connect":"#), "{told:?}");
    (0..20).for_each(|n| bench.publish_tagged(&far, n, ""));
    bench.settle();
    assert_eq!(bench.told(client), ["close 3010"], "what came before the gap is left for its recovery");
}

#[test]
fn a_connect_recovers_no_more_than_fits() {
    let mut bench = Bench::with(2, |options| {
        recoverable(options);
        options.outbox_bytes_max = 200;
    });
    let channels = [bench.channel_at(0), bench.channel_at(1)];
    for (channel, count) in channels.iter().zip([3, 40]) {
        (0..count).for_each(|n| bench.publish_tagged(channel, n, ""));
    }
    let client = bench.open(1);
    let [few, many] = &channels;
    let subs = format!(r#"{{"{few}":{{"recover":true}},"{many}":{{"recover":true}}}}"#);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"subs":{subs}}}}}"#));
    bench.settle();
    let told = bench.told(client);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].matches(r#""recovered":true"#).count(), 1, "{told:?}");
    assert_eq!(told[0].matches(r#""was_recovering":true"#).count(), 2, "{told:?}");
}
