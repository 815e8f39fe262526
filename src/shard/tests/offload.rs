//! Heavy work goes to the workers, and nothing that a client sees is out of order for it.

use super::*;
use crate::limits;
use crate::model::ErrorCode;
use crate::protocol::Compression;
use crate::shard::{Answer, WorkOutcome};
use crate::workers::{Job, Owner, Tools};

/// Everything of a hundred bytes and more is heavy.
fn all_is_heavy(options: &mut Options) {
    options.encode_inline_cost_max = 100;
    options.answer_inline_cost_max = 100;
    options.read_inline_bytes_max = 150;
}

fn heavy(shards: u16) -> Bench {
    Bench::with(shards, |options| {
        options.insecure = true;
        all_is_heavy(options);
    })
}

/// A text of JSON with this number in front, so that `numbers` finds it.
fn long(number: u32) -> String {
    format!(r#"{{"n":{number},"text":"{}"}}"#, "long ".repeat(50))
}

/// The numbers of publications, in order.
fn numbers(lines: &[String]) -> Vec<u32> {
    let number = |part: &str| part.split([',', '}']).next()?.parse().ok();
    lines.iter().flat_map(|line| line.split(r#""data":{"n":"#).skip(1).filter_map(number)).collect()
}

impl Bench {
    fn announce(&mut self, channel: &str, data: &str) -> Answer {
        let home = self.homes.home_of(channel).as_index();
        let channel = crate::model::ChannelName::parse(channel, 255).expect("a short name");
        let publication = ServerPublication::new(channel, data.to_owned());
        let (sender, answer) = std::sync::mpsc::channel();
        let answerer = Answerer(Box::new(move |answer| sender.send(answer).expect("the test waits for it")));
        let now = self.now();
        self.shards[home].tray_message(now, TrayMessage::Ask { question: Question::Publish(publication), answerer });
        answer.recv().expect("homes answer at once")
    }

    fn take_jobs(&mut self, shard: usize) -> Vec<Job> {
        std::iter::from_fn(|| self.shards[shard].next_job()).collect()
    }

    fn run(&mut self, job: Job) {
        let shard = job.shard.as_index();
        let done = job.run(&mut Tools::new(Compression::default()));
        let now = self.now();
        self.shards[shard].tray_message(now, TrayMessage::Done(done));
    }

    fn fail(&mut self, job: Job) {
        let (shard, now) = (job.shard.as_index(), self.now());
        self.shards[shard].tray_message(now, TrayMessage::Done(job.end(WorkOutcome::Panicked)));
    }

    pub(super) fn run_all(&mut self) {
        for shard in 0..self.shards.len() {
            for job in self.take_jobs(shard) {
                self.run(job);
            }
        }
        self.settle();
    }
}

#[test]
fn a_channel_keeps_its_order_whatever_the_workers_do_first() {
    let mut bench = heavy(2);
    let channel = bench.channel_at(1);
    let (near, far) = (bench.subscribe(1, &channel, ""), bench.subscribe(0, &channel, ""));
    for n in [1, 2] {
        assert!(bench.announce(&channel, &long(n)).is_ok());
    }
    assert!(bench.announce(&channel, r#"{"n":3}"#).is_ok(), "a light one, which would be ready at once");
    assert!(bench.announce(&channel, &long(4)).is_ok());
    bench.settle();
    assert_eq!(bench.told(near).len() + bench.told(far).len(), 0, "all wait for the first");
    let mut jobs = bench.take_jobs(1);
    assert_eq!(jobs.len(), 3);
    let last = jobs.pop().expect("three");
    bench.run(last);
    let second = jobs.pop().expect("two");
    bench.run(second);
    bench.settle();
    assert_eq!(numbers(&bench.told(near)), [0; 0]);
    bench.run(jobs.pop().expect("one"));
    bench.settle();
    for client in [near, far] {
        assert_eq!(numbers(&bench.told(client)), [1, 2, 3, 4]);
    }
    assert!(!bench.shards[1].lines.has(&crate::model::ChannelName::parse(&channel, 255).expect("a name")));
    assert_eq!(bench.shards[1].lines.bytes(), 0);
}

#[test]
fn a_position_check_does_not_count_what_waits_in_a_line() {
    let mut bench = heavy(2);
    for home in 0..2 {
        let channel = bench.channel_at(home);
        let clients = [0, 1].map(|at| bench.subscribe(at, &channel, r#","positioned":true"#));
        assert!(bench.announce(&channel, &long(1)).is_ok());
        let delay = bench.shards[0].options.position_check_delay;
        bench.advance(2 * delay);
        bench.settle();
        for client in clients {
            assert_eq!(bench.told(client), [""; 0]);
        }
        bench.run_all();
        for client in clients {
            assert_eq!(numbers(&bench.told(client)), [1]);
        }
    }
}

#[test]
fn one_room_has_few_publications_with_the_workers() {
    let mut bench = heavy(1);
    let client = bench.subscribe(0, "c", "");
    for n in 0..10 {
        assert!(bench.announce("c", &long(n)).is_ok());
    }
    assert_eq!(bench.take_jobs(0).len(), limits::ROOM_JOBS_MAX);
    assert_eq!(bench.told(client), [""; 0]);
}

#[test]
fn who_subscribes_behind_a_line_is_given_what_comes_after_its_position() {
    for at in 0..2 {
        let mut bench = heavy(2);
        let channel = bench.channel_at(0);
        let first = bench.subscribe(0, &channel, r#","recoverable":true"#);
        assert!(bench.announce(&channel, &long(1)).is_ok());
        let second = bench.connect(at);
        bench.say(second, &format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}","recoverable":true}}}}"#));
        bench.settle();
        assert_eq!(bench.told(second), [""; 0], "the answer stands in the line");
        assert!(bench.announce(&channel, &long(2)).is_ok());
        let jobs = bench.take_jobs(0);
        assert_eq!(jobs.len(), 2);
        for job in jobs.into_iter().rev() {
            bench.run(job);
        }
        bench.settle();
        assert_eq!(numbers(&bench.told(first)), [1, 2]);
        let told = bench.told(second);
        assert!(told[0].contains(r#""offset":1"#), "{told:?}");
        assert_eq!(numbers(&told), [2]);
        assert_eq!(bench.count(at, Counter::Bugs), 0);
    }
}

#[test]
fn what_can_not_be_encoded_is_recovered_by_those_with_a_position() {
    let mut bench = heavy(2);
    let channel = bench.channel_at(0);
    let positioned = r#","positioned":true"#;
    let told = [bench.subscribe(0, &channel, positioned), bench.subscribe(1, &channel, positioned)];
    let unaware = bench.subscribe(1, &channel, "");
    assert!(bench.announce(&channel, &long(1)).is_ok());
    assert!(bench.announce(&channel, r#"{"n":2}"#).is_ok());
    let job = bench.take_jobs(0).pop().expect("a job");
    bench.fail(job);
    bench.settle();
    for client in told {
        let told = bench.told(client);
        assert!(told.iter().any(|line| line.contains(r#""unsubscribe":{"code":2500"#)), "{told:?}");
        assert_eq!(numbers(&told), [0; 0]);
    }
    assert_eq!(numbers(&bench.told(unaware)), [2]);
    assert_eq!(bench.count(0, Counter::DeliveriesLost), 2, "one for each shard");
}

#[test]
fn a_full_line_refuses_publications_before_they_are_remembered() {
    let mut bench = heavy(1);
    let client = bench.subscribe(0, "c", r#","recoverable":true"#);
    for n in 0..limits::LINE_MAX as u32 {
        assert!(bench.announce("c", &long(n)).is_ok());
    }
    assert_eq!(bench.announce("c", &long(7)), Err(ErrorCode::TooManyRequests));
    assert!(bench.announce("other", &long(7)).is_ok(), "nobody else notices");
    while !bench.take_jobs_and_run() {}
    let mut seen = Vec::new();
    loop {
        let told = bench.told(client);
        if told.is_empty() {
            break;
        }
        seen.extend(numbers(&told));
    }
    assert_eq!(seen, Vec::from_iter(0..limits::LINE_MAX as u32));
}

impl Bench {
    /// Returns whether there was none.
    fn take_jobs_and_run(&mut self) -> bool {
        let jobs = self.take_jobs(0);
        let is_done = jobs.is_empty();
        for job in jobs {
            self.run(job);
        }
        is_done
    }
}

#[test]
fn large_messages_are_read_by_the_workers_and_in_order() {
    let mut bench = heavy(2);
    let (here, there) = (bench.channel_at(0), bench.channel_at(1));
    let watcher = bench.subscribe(0, &here, "");
    let client = bench.connect(0);
    let publish = |id: u32, channel: &str, data: &str| {
        format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":{data}}}}}"#)
    };
    // One read: a question to another home, a large message, and two small ones with a pong between.
    let mut bytes = masked(&format!(r#"{{"id":2,"presence_stats":{{"channel":"{there}"}}}}"#));
    bytes.extend(masked(&publish(3, &here, &long(3))));
    bytes.extend(masked(&publish(4, &here, r#"{"n":4}"#)));
    bytes.extend(masked(r#"{"id":5,"rpc":{}}"#));
    let now = bench.now();
    bench.shards[0].received(now, client.id, &mut bytes);
    assert!(!bench.shards[0].wants_reading(client.id), "it has a job");
    bench.settle();
    assert_eq!(ids(&bench.told(client)), [2]);
    bench.run_all();
    assert_eq!(bench.shards[0].next_resumed(), Some(client.id));
    bench.run_all();
    assert_eq!(ids(&bench.told(client)), [3, 4, 5]);
    assert_eq!(numbers(&bench.told(watcher)), [3, 4]);
}

#[test]
fn a_message_that_fails_with_the_workers_closes_its_connection_only() {
    let mut bench = heavy(1);
    let other = bench.subscribe(0, "c", "");
    for (fails, code) in [(true, "close 3004"), (false, "close 3501")] {
        let client = bench.connect(0);
        bench.say(client, &format!(r#"{{"id":2,"publish":{{"channel":"c","data":{}}}}} nonsense"#, long(1)));
        let job = bench.take_jobs(0).pop().expect("a job");
        match fails {
            true => bench.fail(job),
            false => bench.run(job),
        }
        let told = bench.told(client);
        assert_eq!(told.last().map(String::as_str), Some(code), "{told:?}");
    }
    assert!(bench.announce("c", r#"{"n":2}"#).is_ok());
    assert_eq!(numbers(&bench.told(other)), [2]);
}

#[test]
fn a_job_of_a_connection_that_is_gone_is_not_run() {
    let mut bench = heavy(1);
    let client = bench.connect(0);
    bench.say(client, &format!(r#"{{"id":2,"publish":{{"channel":"c","data":{}}}}}"#, long(1)));
    let job = bench.take_jobs(0).pop().expect("a job");
    assert_eq!(job.owner, Owner::Connection(client.id));
    assert!(!job.cancellation.is_cancelled());
    bench.cut(client);
    assert!(job.cancellation.is_cancelled());
    let now = bench.now();
    bench.shards[0].tray_message(now, TrayMessage::Done(job.end(WorkOutcome::Cancelled)));
    let second = bench.connect(0);
    bench.say(second, &format!(r#"{{"id":2,"publish":{{"channel":"c","data":{}}}}}"#, long(1)));
    bench.cut(second);
    assert!(bench.take_jobs(0).is_empty(), "it waited in the shard");
}

#[test]
fn a_job_that_waited_for_too_long_is_an_answer_too() {
    let mut bench = heavy(1);
    let client = bench.subscribe(0, "c", "");
    for n in 0..20 {
        assert!(bench.announce("c", &format!(r#"{{"n":{n}}}"#)).is_ok());
    }
    bench.told(client);
    bench.say(client, r#"{"id":3,"history":{"channel":"c","limit":100}}"#);
    bench.advance(limits::JOB_PATIENCE);
    let jobs = bench.take_jobs(0);
    assert!(jobs.is_empty(), "heavy, and too late");
    let told = bench.told(client);
    assert!(told.iter().any(|line| line.contains(r#"{"id":3,"error":{"code":100"#)), "{told:?}");
}

#[test]
fn large_answers_are_encoded_by_the_workers() {
    let mut bench = heavy(2);
    let channel = bench.channel_at(0);
    let clients = [bench.subscribe(0, &channel, ""), bench.subscribe(1, &channel, "")];
    for n in 0..20 {
        assert!(bench.announce(&channel, &format!(r#"{{"n":{n}}}"#)).is_ok());
    }
    bench.settle();
    for client in clients {
        bench.told(client);
        bench.say(client, &format!(r#"{{"id":3,"history":{{"channel":"{channel}","limit":100}}}}"#));
        bench.say(client, &format!(r#"{{"id":4,"presence":{{"channel":"{channel}"}}}}"#));
        bench.settle();
        assert_eq!(bench.told(client), [""; 0]);
        bench.run_all();
        let told = bench.told(client);
        assert_eq!((ids(&told), numbers(&told)), (vec![3], Vec::from_iter(0..20)));
        bench.run_all();
        let told = bench.told(client);
        assert_eq!(ids(&told), [4]);
        assert!(bench.wants_reading(client));
    }
}

#[test]
fn data_that_is_no_json_is_inappropriate_from_the_workers_too() {
    let mut bench = heavy(1);
    let client = bench.subscribe(0, "c", "");
    let bytes = [0xff; 300];
    let channel = crate::model::ChannelName::parse("c", 255).expect("a name");
    let question = Question::Publish(ServerPublication::new(channel, bytes.to_vec()));
    let now = bench.now();
    bench.shards[0].tray_message(now, TrayMessage::Ask { question, answerer: Answerer(Box::new(|_| ())) });
    bench.run_all();
    assert_eq!(bench.told(client), ["close 3506"]);
}
