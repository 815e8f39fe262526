//! Subscriptions that the server makes, while answers and publications are on their way.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::access::{Grant, Overrides};
use crate::model::ChannelName;
use crate::shard::{Act, Reach, ServerSubscription};

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
    /// The application subscribes everybody without an id to `channel`. Returns how many answered of its shards.
    fn subscribe_all(&mut self, channel: &str, grant: Grant) -> Arc<AtomicUsize> {
        let channel = ChannelName::parse(channel, 255).expect("a short name");
        let act = Act::Subscribe(Box::new(ServerSubscription { channel, grant, since: None }));
        let question = Question::Reach(Box::new(Reach { user: "".into(), client: None, act }));
        let answers: Arc<AtomicUsize> = Arc::default();
        let now = self.now();
        for shard in &mut self.shards {
            let answers = Arc::clone(&answers);
            let answerer = Answerer(Box::new(move |answer| {
                assert!(answer.is_ok());
                answers.fetch_add(1, Ordering::Relaxed);
            }));
            shard.tray_message(now, TrayMessage::Ask { question: question.clone(), answerer });
        }
        answers
    }

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

#[test]
fn what_waits_for_the_answer_to_connect_shares_its_bound() {
    let mut bench = Bench::with(2, |options| {
        recoverable(options);
        options.outbox_bytes_max = 300;
    });
    let (client, [_, near]) = bench.join();
    bench.publish_tagged(&near, 7, "");
    assert_eq!(bench.told(client), Vec::<String>::new());
    bench.settle();
    assert_eq!(bench.told(client), ["close 3008"], "the answer and the publication are more than that");
}

#[test]
fn the_application_is_answered_when_publications_reach_whom_it_subscribed() {
    let mut bench = Bench::with(2, recoverable);
    let channel = bench.channel_at(0);
    let clients = [bench.connect(0), bench.connect(1), bench.connect(1)];
    let answers = bench.subscribe_all(&channel, Grant { data: "{}".into(), ..Grant::default() });
    assert_eq!(answers.load(Ordering::Relaxed), 1, "the one that is the home");
    assert_eq!(bench.told(clients[1]), Vec::<String>::new());
    bench.settle();
    assert_eq!(answers.load(Ordering::Relaxed), 2);
    bench.publish_tagged(&channel, 7, "");
    bench.settle();
    for client in clients {
        let told = bench.told(client);
        assert!(told[0].starts_with(&format!(r#"{{"push":{{"channel":"{channel}","subscribe":{{"#)), "{told:?}");
        assert_eq!(data(&told), [7], "{told:?}");
    }
    bench.subscribe_all(&channel, Grant::default());
    bench.settle();
    assert_eq!(bench.told(clients[0]), Vec::<String>::new(), "it was subscribed already");
}

#[test]
fn a_client_that_goes_while_it_is_subscribed_leaves_nothing_behind() {
    let mut bench = Bench::with(2, recoverable);
    let channel = bench.channel_at(0);
    let client = bench.connect(1);
    let answers = bench.subscribe_all(&channel, Grant::default());
    bench.cut(client);
    bench.settle();
    assert_eq!(answers.load(Ordering::Relaxed), 2);
    assert!(bench.shards[1].channels.find(&channel).is_none() && bench.shards[0].rooms.is_empty());
    assert!(bench.shards[1].terms.is_empty());
}

#[test]
fn a_grant_changes_options_for_its_subscriber_alone() {
    let mut bench = Bench::with(2, |_| {});
    let channel = bench.channel_at(0);
    let watcher = bench.subscribe(0, &channel, r#","join_leave":true"#);
    bench.told(watcher);
    let grant = |overrides, info: &'static str| Grant { info: Some(info.into()), overrides, ..Grant::default() };
    let hidden = bench.connect(1);
    let overrides = Overrides { presence: Some(false), ..Overrides::default() };
    bench.subscribe_all(&channel, grant(overrides, "1"));
    bench.settle();
    let silent = bench.connect(1);
    let overrides = Overrides { join_leave: Some(false), force_recovery: Some(true), ..Overrides::default() };
    bench.subscribe_all(&channel, grant(overrides, "2"));
    bench.settle();
    assert_eq!(bench.told(hidden), [format!(r#"{{"push":{{"channel":"{channel}","subscribe":{{}}}}}}"#)]);
    let told = bench.told(silent);
    assert!(told[0].contains(r#""subscribe":{"recoverable":true,"#), "{told:?}");

    let joined = bench.told(watcher);
    assert!(matches!(&joined[..], [line] if line.contains(r#""chan_info":1"#)), "one of the two is told: {joined:?}");
    bench.say(watcher, &format!(r#"{{"id":3,"presence":{{"channel":"{channel}"}}}}"#));
    let present = bench.told(watcher);
    assert_eq!(present[0].matches(r#""user""#).count(), 2, "{present:?}");
    assert!(present[0].contains(r#""chan_info":2"#), "{present:?}");

    bench.say(silent, &format!(r#"{{"id":3,"publish":{{"channel":"{channel}","data":3}}}}"#));
    bench.settle();
    let told = bench.told(watcher);
    assert!(told[0].contains(r#""chan_info":2"#), "{told:?}");
    bench.cut(hidden);
    bench.cut(silent);
    bench.settle();
    let told = bench.told(watcher);
    let leave = |line: &String| line.contains(r#""leave""#) && line.contains(r#""chan_info":1"#);
    assert!(matches!(&told[..], [line] if leave(line)), "{told:?}");
}
