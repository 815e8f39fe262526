//! Subscribers that are given publications as the difference from the one before.

use super::*;
use crate::delta::fossil;
use crate::limits::{DELTA_BASES_BYTES_MAX, DELTA_BYTES_MAX};

const DELTA: &str = r#","delta":"fossil""#;

fn with_delta(options: &mut Options) {
    change_channel(options, |channel| channel.delta_publish = true);
}

fn change_channel(options: &mut Options, change: impl FnOnce(&mut ChannelOptions)) {
    let mut namespaces = (*options.namespaces).clone();
    let mut channel = ChannelOptions { allows_delta: true, join_leave: false, ..(*namespaces.without).clone() };
    change(&mut channel);
    namespaces.without = Arc::new(channel);
    options.namespaces = Arc::new(namespaces);
}

/// Long enough for a patch to be shorter.
fn story(number: u32) -> String {
    format!(r#"{{"what":"a story that is nearly the same each time","number":{number}}}"#)
}

/// A client's side of one subscription: what it was given, put together again.
#[derive(Default)]
struct Reader {
    base: Option<String>,
    /// Of each publication: whether it came as a patch, and its number.
    read: Vec<(bool, u32)>,
}

impl Reader {
    /// Reads what the client was told. Every `data` is a text, and what follows up to the next one says
    /// whether it is a patch.
    fn read(&mut self, lines: &[String]) -> Vec<(bool, u32)> {
        for line in lines {
            for publication in line.split(r#""data":""#).skip(1) {
                let (data, after) = unquote(publication);
                let rest_of_it = after.split_once('}').map_or(after, |(rest_of_it, _)| rest_of_it);
                self.publication(data, rest_of_it.contains(r#""delta":true"#));
            }
        }
        std::mem::take(&mut self.read)
    }

    fn publication(&mut self, data: String, is_patch: bool) {
        let text = match is_patch {
            true => {
                let base = self.base.as_ref().expect("a patch has a base");
                let text = fossil::apply(base.as_bytes(), data.as_bytes()).expect("the base is the one it was made of");
                String::from_utf8(text).expect("a text")
            }
            false => data,
        };
        let number = text.split_once(r#""number":"#).and_then(|(_, rest)| rest.strip_suffix('}')?.parse().ok());
        self.read.push((is_patch, number.expect("it is a story")));
        self.base = Some(text);
    }
}

/// A JSON string whose opening quote is read, and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut data = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next().expect("a string ends") {
            '"' => return (data, characters.as_str()),
            '\\' => data.push(match characters.next() {
                Some('n') => '\n',
                other => other.expect("an escape is two characters here"),
            }),
            other => data.push(other),
        }
    }
}

impl Bench {
    fn tell(&mut self, channel: &str, data: &str, skip_history: bool, delta: bool) {
        let home = self.homes.home_of(channel).as_index();
        let channel = crate::model::ChannelName::parse(channel, 255).expect("a short name");
        let publication = ServerPublication { skip_history, delta, ..ServerPublication::new(channel, data.to_owned()) };
        let answerer = Answerer(Box::new(|answer| assert!(answer.is_ok())));
        let now = self.now();
        self.shards[home].tray_message(now, TrayMessage::Ask { question: Question::Publish(publication), answerer });
    }

    fn tell_story(&mut self, channel: &str, number: u32) {
        self.tell(channel, &story(number), false, false);
    }
}

const FULL: bool = false;
const PATCH: bool = true;

#[test]
fn those_who_have_the_base_are_given_the_difference() {
    for shards in [1, 2] {
        let mut bench = Bench::with(shards, with_delta);
        let channel = bench.channel_at(0);
        let far = usize::from(shards) - 1;
        let client = bench.subscribe(far, &channel, DELTA);
        let plain = bench.subscribe(far, &channel, "");
        let mut reader = Reader::default();
        (1..=2).for_each(|number| bench.tell_story(&channel, number));
        bench.settle();
        assert_eq!(reader.read(&bench.told(client)), [(FULL, 1), (PATCH, 2)]);
        assert!(bench.told(plain)[0].contains(r#""pub":{"data":{"what":"#), "others are given it as it is");

        let late = bench.subscribe(far, &channel, DELTA);
        bench.tell_story(&channel, 3);
        bench.settle();
        assert_eq!(reader.read(&bench.told(client)), [(PATCH, 3)]);
        assert_eq!(Reader::default().read(&bench.told(late)), [(FULL, 3)], "the first one is whole");
        assert_eq!(bench.count(0, Counter::PatchesMade), 2);
        assert!(bench.count(0, Counter::PatchBytesAfter) * 2 < bench.count(0, Counter::PatchBytesBefore));
    }
}

#[test]
fn what_nobody_asked_a_difference_for_is_whole_and_a_base_nevertheless() {
    let mut bench = Bench::with(1, |options| change_channel(options, |_| {}));
    let client = bench.subscribe(0, "c", DELTA);
    for (number, delta) in [(1, true), (2, false), (3, true), (4, false)] {
        bench.tell("c", &story(number), false, delta);
    }
    assert_eq!(Reader::default().read(&bench.told(client)), [(FULL, 1), (FULL, 2), (PATCH, 3), (FULL, 4)]);
}

#[test]
fn a_namespace_without_it_gives_no_deltas() {
    let mut bench = Bench::with(1, |options| change_channel(options, |channel| channel.allows_delta = false));
    let client = bench.connect(0);
    bench.say(client, r#"{"id":2,"subscribe":{"channel":"c","delta":"fossil"}}"#);
    assert_eq!(bench.told(client), [r#"{"id":2,"subscribe":{}}"#]);
    (1..=2).for_each(|number| bench.tell("c", &story(number), false, true));
    assert!(bench.told(client).iter().all(|line| line.contains(r#""data":{"what":"#)));
    assert_eq!(bench.shards[0].base_bytes, 0);
}

#[test]
fn a_recovered_list_is_a_chain_that_goes_on_live() {
    for others in [None, Some(""), Some(DELTA)] {
        let mut bench = Bench::with(2, with_delta);
        let channel = bench.channel_at(0);
        let mut reader = Reader::default();
        let client = bench.subscribe(1, &channel, &format!(r#"{DELTA},"recoverable":true"#));
        let other = others.map(|fields| bench.subscribe(0, &channel, fields));
        bench.tell_story(&channel, 1);
        bench.settle();
        assert_eq!(reader.read(&bench.told(client)), [(FULL, 1)]);
        bench.cut(client);
        bench.settle();
        (2..=4).for_each(|number| bench.tell_story(&channel, number));

        let back = bench.connect(1);
        bench.say(
            back,
            &format!(
                r#"{{"id":2,"subscribe":{{"channel":"{channel}","recoverable":true,"recover":true,"offset":1{DELTA}}}}}"#
            ),
        );
        bench.settle();
        bench.tell_story(&channel, 5);
        bench.settle();
        let told = bench.told(back);
        assert!(told[0].contains(r#""delta":true}}"#), "{told:?}");
        assert_eq!(reader.read(&told), [(FULL, 2), (PATCH, 3), (PATCH, 4), (PATCH, 5)], "others: {others:?}");
        if let (Some(DELTA), Some(other)) = (others, other) {
            let expected = [(FULL, 1), (PATCH, 2), (PATCH, 3), (PATCH, 4), (PATCH, 5)];
            assert_eq!(Reader::default().read(&bench.told(other)), expected);
        }
    }
}

#[test]
fn what_is_recovered_is_no_base_when_something_newer_left_no_trace_in_the_history() {
    let mut bench = Bench::with(1, with_delta);
    let other = bench.subscribe(0, "c", DELTA);
    bench.tell_story("c", 1);
    bench.tell("c", &story(2), true, false);
    let client = bench.connect(0);
    bench.say(
        client,
        &format!(r#"{{"id":2,"subscribe":{{"channel":"c","recoverable":true,"recover":true,"offset":0{DELTA}}}}}"#),
    );
    bench.tell_story("c", 3);
    assert_eq!(Reader::default().read(&bench.told(client)), [(FULL, 1), (FULL, 3)]);
    assert_eq!(Reader::default().read(&bench.told(other)), [(FULL, 1), (PATCH, 2), (PATCH, 3)]);
}

#[test]
fn whoever_missed_one_is_given_the_next_one_whole() {
    let mut bench = Bench::with(2, |options| {
        with_delta(options);
        // Four for publishes, six for deliveries.
        options.lane_slots = 8;
    });
    let channel = bench.channel_at(0);
    let client = bench.subscribe(1, &channel, DELTA);
    let mut reader = Reader::default();
    // The lane stands still.
    (1..=8).for_each(|number| bench.tell_story(&channel, number));
    bench.settle();
    let patches = (2..=6).map(|number| (PATCH, number));
    assert_eq!(reader.read(&bench.told(client)), [(FULL, 1)].into_iter().chain(patches).collect::<Vec<_>>());
    (9..=10).for_each(|number| bench.tell_story(&channel, number));
    bench.settle();
    assert_eq!(reader.read(&bench.told(client)), [(FULL, 9), (PATCH, 10)]);
}

#[test]
fn bases_are_bounded_and_forgotten_with_their_rooms() {
    let mut bench = Bench::with(1, with_delta);
    let client = bench.subscribe(0, "c", DELTA);
    let large = |bytes: usize, first: char| format!("\"{first}{}\"", "x".repeat(bytes - 3));
    bench.tell("c", &large(DELTA_BYTES_MAX, 'a'), false, false);
    bench.run_all();
    bench.told(client);
    assert_eq!(bench.shards[0].base_bytes, DELTA_BYTES_MAX);
    bench.tell("c", &large(DELTA_BYTES_MAX, 'b'), false, false);
    bench.run_all();
    bench.told(client);
    assert_eq!((bench.shards[0].base_bytes, bench.count(0, Counter::PatchesMade)), (DELTA_BYTES_MAX, 1));
    bench.tell("c", &large(DELTA_BYTES_MAX + 1, 'c'), false, false);
    bench.run_all();
    bench.told(client);
    assert_eq!((bench.shards[0].base_bytes, bench.count(0, Counter::PatchesMade)), (0, 1), "too large");
    bench.tell("c", &story(1), false, false);
    bench.shards[0].base_bytes += DELTA_BASES_BYTES_MAX - story(1).len();
    bench.tell("c", &format!("{} ", story(2)), false, false);
    assert_eq!(bench.count(0, Counter::PatchesMade), 2);
    bench.shards[0].base_bytes -= DELTA_BASES_BYTES_MAX - story(1).len();
    assert_eq!(bench.shards[0].base_bytes, 0, "there was no room for one byte more");
    bench.tell("c", &story(3), false, false);
    assert_eq!(bench.shards[0].base_bytes, story(3).len());
    bench.cut(client);
    bench.settle();
    assert_eq!(bench.shards[0].base_bytes, 0);
}

#[test]
fn a_room_without_readers_of_deltas_keeps_no_base() {
    let mut bench = Bench::with(1, with_delta);
    let _plain = bench.subscribe(0, "c", "");
    bench.tell_story("c", 1);
    assert_eq!(bench.shards[0].base_bytes, 0);
    let client = bench.subscribe(0, "c", DELTA);
    (2..=3).for_each(|number| bench.tell_story("c", number));
    assert_eq!(Reader::default().read(&bench.told(client)), [(FULL, 2), (PATCH, 3)]);
}
