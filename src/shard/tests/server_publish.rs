//! Publications of the application: repeated ones, and versions.

use std::sync::mpsc::channel as answers;

use super::*;
use crate::access::DataFormat;
use crate::model::{ChannelName, ErrorCode, Position, Version};
use crate::shard::Answered;

/// As long as a publication that workers encode.
fn long() -> String {
    format!("\"{}\"", "x".repeat(300))
}

type Published = Result<Option<Position>, ErrorCode>;

fn publication(channel: &str, data: &str) -> ServerPublication {
    ServerPublication::new(ChannelName::parse(channel, 255).expect("a short name"), data.to_owned())
}

fn keyed(channel: &str, key: &str, data: &str) -> ServerPublication {
    ServerPublication { idempotency_key: Some(key.into()), ..publication(channel, data) }
}

fn versioned(channel: &str, number: u64, epoch: &str) -> ServerPublication {
    let version = Some(Version { number, epoch: epoch.into() });
    ServerPublication { version, ..publication(channel, &number.to_string()) }
}

fn without_history(options: &mut Options) {
    let without = ChannelOptions { history_size: 0, ..(*options.namespaces.without).clone() };
    options.namespaces = Arc::new(Namespaces { without: Arc::new(without), ..Namespaces::default() });
}

fn offset(published: Published) -> u64 {
    published.expect("published").expect("in a channel with history").offset
}

impl Bench {
    fn put(&mut self, publication: ServerPublication) -> Published {
        let home = self.homes.home_of(publication.channel.as_str()).as_index();
        let (sender, answer) = answers();
        let answerer = Answerer(Box::new(move |answer| sender.send(answer).expect("the test waits for it")));
        let now = self.now();
        self.shards[home].tray_message(now, TrayMessage::Ask { question: Question::Publish(publication), answerer });
        self.settle();
        match answer.recv().expect("homes answer at once")? {
            Answered::Published(position) => Ok(position),
            other => panic!("{other:?} is no answer to a publish"),
        }
    }
}

#[test]
fn a_repeated_publish_is_answered_as_the_first_and_publishes_nothing() {
    let mut bench = Bench::new(2);
    let (here, there) = (bench.channel_at(0), bench.channel_at(1));
    let client = bench.subscribe(0, &there, "");
    bench.told(client);
    assert_eq!(offset(bench.put(keyed(&there, "k", "1"))), 1);
    assert_eq!(offset(bench.put(keyed(&there, "l", "2"))), 2);
    assert_eq!(offset(bench.put(keyed(&there, "k", "3"))), 1, "whatever its data is");
    assert_eq!(offset(bench.put(keyed(&here, "k", "4"))), 1, "another channel");
    assert_eq!(data(&bench.told(client)), [1, 2]);
    assert_eq!(bench.count(1, Counter::PublishesRepeated), 1);
    bench.advance(Duration::from_secs(299));
    assert_eq!(offset(bench.put(keyed(&there, "k", "5"))), 1);
    bench.advance(Duration::from_secs(2));
    assert_eq!(offset(bench.put(keyed(&there, "k", "6"))), 3, "five minutes are over");
    assert_eq!(data(&bench.told(client)), [6]);
}

#[test]
fn a_repeated_publish_without_history_publishes_nothing_either() {
    let mut bench = Bench::with(1, without_history);
    let client = bench.subscribe(0, "c", "");
    bench.told(client);
    assert_eq!(bench.put(keyed("c", "k", "1")), Ok(None));
    assert_eq!(bench.put(keyed("c", "k", "2")), Ok(None));
    assert_eq!(data(&bench.told(client)), [1]);
}

#[test]
fn a_publish_that_failed_may_be_repeated() {
    let mut bench = Bench::with(1, |options| {
        let format = DataFormat::JsonObject;
        let without = ChannelOptions { publication_data_format: format, ..(*options.namespaces.without).clone() };
        options.namespaces = Arc::new(Namespaces { without: Arc::new(without), ..Namespaces::default() });
    });
    assert_eq!(bench.put(keyed("no:c", "k", "{}")), Err(ErrorCode::UnknownChannel));
    assert_eq!(bench.put(keyed("c", "k", "1")), Err(ErrorCode::BadRequest));
    assert_eq!(offset(bench.put(keyed("c", "k", "{}"))), 1);
}

#[test]
fn a_version_that_is_not_newer_is_not_published() {
    let mut bench = Bench::new(1);
    let client = bench.subscribe(0, "c", "");
    bench.told(client);
    assert_eq!(offset(bench.put(versioned("c", 3, "a"))), 1);
    assert_eq!(offset(bench.put(versioned("c", 3, "a"))), 1);
    assert_eq!(offset(bench.put(versioned("c", 2, ""))), 1);
    assert_eq!(offset(bench.put(versioned("c", 4, "a"))), 2);
    assert_eq!(offset(bench.put(versioned("c", 1, "b"))), 3, "another epoch");
    assert_eq!(offset(bench.put(publication("c", "9"))), 4, "without a version it is always published");
    let told = bench.told(client);
    assert_eq!(data(&told), [3, 4, 1, 9]);
    assert!(told[0].contains(r#""offset":1,"epoch":"#) && told[0].contains(r#""version":3"#), "{told:?}");
    assert_eq!(bench.count(0, Counter::VersionsOutdated), 2);
}

#[test]
fn versions_are_compared_where_there_is_history_only() {
    let mut bench = Bench::with(1, without_history);
    let client = bench.subscribe(0, "c", "");
    bench.told(client);
    assert_eq!(bench.put(versioned("c", 2, "")), Ok(None));
    assert_eq!(bench.put(versioned("c", 1, "")), Ok(None));
    assert_eq!(data(&bench.told(client)), [2, 1]);

    let mut bench = Bench::new(1);
    let client = bench.subscribe(0, "c", "");
    bench.told(client);
    assert_eq!(offset(bench.put(versioned("c", 2, ""))), 1);
    let past_history = ServerPublication { skip_history: true, ..versioned("c", 1, "") };
    assert_eq!(bench.put(past_history), Ok(None));
    assert_eq!(data(&bench.told(client)), [2, 1]);
}

#[test]
fn a_repeated_version_is_answered_as_the_first_time() {
    let mut bench = Bench::new(1);
    let both = |number| ServerPublication { idempotency_key: Some("k".into()), ..versioned("c", number, "") };
    assert_eq!(offset(bench.put(both(1))), 1);
    assert_eq!(offset(bench.put(versioned("c", 2, ""))), 2);
    assert_eq!(offset(bench.put(both(1))), 1);
}

#[test]
fn a_removed_history_is_told_between_the_streams() {
    let mut bench = Bench::with(2, |options| options.encode_inline_cost_max = 100);
    let channel = bench.channel_at(1);
    let (near, far) = (bench.subscribe(1, &channel, r#","positioned":true"#), bench.subscribe(0, &channel, ""));
    for client in [near, far] {
        bench.told(client);
    }
    assert_eq!(offset(bench.put(publication(&channel, &long()))), 1);
    let name = ChannelName::parse(&channel, 255).expect("a short name");
    let answerer = Answerer(Box::new(|answer| assert_eq!(answer, Ok(Answered::HistoryRemoved))));
    let question = Question::HistoryRemove { channel: name };
    let now = bench.now();
    bench.shards[1].tray_message(now, TrayMessage::Ask { question, answerer });
    bench.settle();
    assert_eq!(bench.told(near), [""; 0], "a worker still has the publication");
    assert_eq!(offset(bench.put(publication(&channel, "2"))), 1, "another stream");
    bench.run_all();
    let told = bench.told(near);
    assert!(told.last().is_some_and(|last| last.contains(r#""unsubscribe":{"code":2500"#)), "{told:?}");
    assert!(!told.iter().any(|line| line.contains(r#""data":2"#)), "nothing of the next stream: {told:?}");
    assert_eq!(bench.told(far).len(), 2, "who holds no position is given both");
}
