//! Which channels have subscribers: whole, in order, and a piece in each turn.

use std::sync::mpsc::{Receiver, channel as answers};

use super::*;
use crate::limits::{SURVEY_LOOKS_PER_TURN, SURVEYS_MAX};
use crate::model::ErrorCode;
use crate::shard::{Answer, Answered, ChannelsAsked};

fn asked(pattern: &str, after: &str, count_max: usize) -> ChannelsAsked {
    ChannelsAsked { pattern: pattern.into(), after: after.into(), count_max }
}

/// Names with their subscribers, sorted, and whether there are more.
fn found(answer: Answer) -> (Vec<(String, u32)>, bool) {
    let Ok(Answered::Channels(found)) = answer else { panic!("{answer:?}") };
    let mut channels: Vec<_> = found.channels.iter().map(|(name, count)| (name.to_string(), *count)).collect();
    channels.sort();
    (channels, found.has_more)
}

impl Bench {
    fn ask_channels(&mut self, asked: ChannelsAsked) -> Receiver<Answer> {
        let (sender, answer) = answers();
        let answerer = Answerer(Box::new(move |answer| drop(sender.send(answer))));
        let now = self.now();
        self.shards[0].tray_message(now, TrayMessage::Ask { question: Question::Channels(asked), answerer });
        answer
    }

    fn ask_users(&mut self) -> Receiver<Answer> {
        let (sender, answer) = answers();
        let answerer = Answerer(Box::new(move |answer| drop(sender.send(answer))));
        let now = self.now();
        self.shards[0].tray_message(now, TrayMessage::Ask { question: Question::UserSketch, answerer });
        answer
    }

    fn walk_on(&mut self) {
        let now = self.now();
        while self.shards[0].walk(now) {}
    }

    fn list(&mut self, pattern: &str, after: &str, count_max: usize) -> (Vec<(String, u32)>, bool) {
        let answer = self.ask_channels(asked(pattern, after, count_max));
        self.walk_on();
        found(answer.try_recv().expect("the survey is over"))
    }
}

#[test]
fn channels_are_counted_matched_and_paged() {
    let mut bench = Bench::new(1);
    let client = bench.subscribe(0, "a1", "");
    bench.subscribe(0, "a1", "");
    for (id, name) in [(5, "b1"), (6, "a2"), (7, "a3")] {
        bench.say(client, &format!(r#"{{"id":{id},"subscribe":{{"channel":"{name}"}}}}"#));
    }
    bench.settle();
    let all = [("a1", 2), ("a2", 1), ("a3", 1), ("b1", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(bench.list("", "", 10), (all.to_vec(), false));
    assert_eq!(bench.list("a*", "", 10), (all[..3].to_vec(), false));
    assert_eq!(bench.list("a*", "", 3), (all[..3].to_vec(), false));
    assert_eq!(bench.list("", "", 3), (all[..3].to_vec(), true));
    assert_eq!(bench.list("", "a1", 2), (all[1..3].to_vec(), true));
    assert_eq!(bench.list("", "a3", 2), (all[3..].to_vec(), false));
    assert_eq!(bench.list("", "z", 2), (vec![], false));
    bench.say(client, r#"{"id":8,"unsubscribe":{"channel":"a2"}}"#);
    bench.settle();
    assert_eq!(bench.list("?2", "", 10), (vec![], false), "without subscribers there is no channel");
}

#[test]
fn a_survey_takes_a_piece_of_each_turn() {
    let mut bench = Bench::with(1, |options| options.channels_max = usize::MAX);
    let client = bench.subscribe(0, "c", "");
    let channels = SURVEY_LOOKS_PER_TURN + 10;
    for n in 0..channels {
        bench.say(client, &format!(r#"{{"id":9,"subscribe":{{"channel":"n{n}"}}}}"#));
        bench.settle();
        bench.told(client);
    }
    let answer = bench.ask_channels(asked("n*", "", usize::MAX));
    let now = bench.now();
    assert!(bench.shards[0].walk(now), "more is left");
    assert!(answer.try_recv().is_err());
    bench.walk_on();
    let (channels_found, has_more) = found(answer.try_recv().expect("it is over"));
    assert_eq!((channels_found.len(), has_more), (channels, false));
}

#[test]
fn surveys_are_few_and_patterns_are_checked() {
    let mut bench = Bench::new(1);
    let refused = bench.ask_channels(asked("[", "", 1)).try_recv().expect("at once");
    assert_eq!(refused, Err(ErrorCode::BadRequest));
    let waiting: Vec<_> = (0..SURVEYS_MAX).map(|_| bench.ask_channels(asked("", "", 1))).collect();
    let refused = bench.ask_channels(asked("", "", 1)).try_recv().expect("at once");
    assert_eq!(refused, Err(ErrorCode::TooManyRequests));
    bench.walk_on();
    assert!(waiting.iter().all(|answer| answer.try_recv().is_ok()));
}

#[test]
fn users_are_told_in_a_sketch() {
    let mut bench = Bench::new(1);
    let answer = bench.ask_users();
    bench.walk_on();
    let Ok(Answered::UserSketch(sketch)) = answer.try_recv().expect("the survey is over") else { panic!("no sketch") };
    assert_eq!(sketch.count(), 0);
    for user in ["ann", "bob", "ann", ""] {
        bench.connect_as(0, user);
    }
    bench.settle();
    let answer = bench.ask_users();
    bench.walk_on();
    let Ok(Answered::UserSketch(sketch)) = answer.try_recv().expect("the survey is over") else { panic!("no sketch") };
    assert_eq!(sketch.count(), 2);
}
