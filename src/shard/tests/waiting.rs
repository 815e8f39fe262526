//! Commands that wait: for a channel's home, for a job, for their turn.

use super::*;
use crate::access::{Claims, TokenKeys};
use crate::limits;
use crate::workers::{Job, WorkOutcome};

/// A token whose header names RS256; what it is worth is told by hand.
const HEAVY: &str = "eyJhbGciOiJSUzI1NiJ9.e30.AAAA";
const PUBLIC_PEM: &str = include_str!("../../../tests/data/rsa_test_public.pem");

fn with_heavy_tokens(options: &mut Options) {
    let keys = TokenKeys::default().with_rsa_public_key(PUBLIC_PEM).expect("the key of the tests");
    options.token_keys = Arc::new(keys);
}

impl Bench {
    fn take_job(&mut self, shard: usize) -> Job {
        self.shards[shard].next_job().expect("a job was made")
    }

    fn end_job(&mut self, job: Job, outcome: WorkOutcome) {
        let (shard, now) = (job.shard.as_index(), self.now());
        self.shards[shard].tray_message(now, TrayMessage::Done(job.end(outcome)));
    }

    fn finish_job(&mut self, shard: usize, outcome: WorkOutcome) {
        let job = self.take_job(shard);
        self.end_job(job, outcome);
    }

    pub(super) fn wants_reading(&self, client: Client) -> bool {
        self.shards[client.shard].wants_reading(client.id)
    }
}

fn verified(user: &str) -> WorkOutcome {
    WorkOutcome::TokenVerified(Box::new(Ok(Claims { user: user.into(), ..Claims::default() })))
}

#[test]
fn commands_take_effect_in_the_order_sent_also_across_homes() {
    let mut bench = Bench::new(2);
    let (here, there) = (bench.channel_at(0), bench.channel_at(1));
    let watcher = bench.subscribe(0, &here, "");
    let client = bench.connect(0);
    bench.say(client, &format!(r#"{{"id":2,"presence_stats":{{"channel":"{there}"}}}}"#));
    bench.say(client, &format!(r#"{{"id":3,"publish":{{"channel":"{here}","data":1}}}}"#));
    bench.say(client, r#"{"id":4,"rpc":{}}"#);
    assert_eq!(bench.told(client), [""; 0]);
    assert_eq!(bench.told(watcher), [""; 0], "the publish waits for the answer of the other home");
    bench.settle();
    assert_eq!(ids(&bench.told(client)), [2, 3, 4]);
    assert_eq!(data(&bench.told(watcher)), [1]);
}

#[test]
fn publishes_to_one_channel_do_not_wait_for_one_another() {
    let mut bench = Bench::new(2);
    let (here, there) = (bench.channel_at(0), bench.channel_at(1));
    let watcher = bench.subscribe(0, &here, "");
    let client = bench.connect(0);
    for n in 2..5 {
        bench.say(client, &format!(r#"{{"id":{n},"publish":{{"channel":"{there}","data":{n}}}}}"#));
    }
    bench.say(client, &format!(r#"{{"id":5,"publish":{{"channel":"{here}","data":5}}}}"#));
    bench.collect(0);
    assert_eq!(bench.lanes[&(0, 1)].len(), 3, "three are on their way");
    assert_eq!(bench.told(watcher), [""; 0], "the one to another channel is not");
    bench.settle();
    assert_eq!(ids(&bench.told(client)), [2, 3, 4, 5]);
    assert_eq!(data(&bench.told(watcher)), [5]);
}

#[test]
fn a_connection_with_a_full_queue_is_not_read_until_half_of_it_is_done() {
    let mut bench = Bench::new(2);
    let there = bench.channel_at(1);
    let client = bench.connect(0);
    let query = format!(r#""presence_stats":{{"channel":"{there}"}}"#);
    let queued = limits::COMMANDS_WAITING_MAX as u32;
    bench.say_many(client, 2, queued, &query);
    assert!(bench.wants_reading(client), "one is under way, and one more fits the queue");
    bench.say_many(client, 2 + queued, 1, &query);
    assert!(!bench.wants_reading(client));

    let mut resumed_after = 0;
    while bench.shards[0].next_resumed().is_none() {
        assert!(!bench.wants_reading(client));
        bench.carry(0, 1);
        bench.carry(1, 0);
        resumed_after += 1;
    }
    assert!(bench.wants_reading(client));
    assert_eq!(resumed_after, limits::COMMANDS_WAITING_MAX / 2 + 1);
    bench.settle();
    assert_eq!(ids(&bench.told(client)), (2..queued + 3).collect::<Vec<_>>());
    assert_eq!(bench.shards[0].next_resumed(), None, "told once");
}

#[test]
fn the_stack_does_not_grow_with_the_queue() {
    let mut bench = Bench::new(2);
    let (here, there) = (bench.channel_at(0), bench.channel_at(1));
    let client = bench.connect(0);
    bench.say(client, &format!(r#"{{"id":2,"presence_stats":{{"channel":"{there}"}}}}"#));
    // One read of 64 KiB holds more than a thousand commands, each decided at once when its turn comes.
    let lines: Vec<String> =
        (3..1203).map(|id| format!(r#"{{"id":{id},"presence_stats":{{"channel":"{here}"}}}}"#)).collect();
    bench.say(client, &lines.join("\n"));
    bench.settle();
    bench.go_on(client);
    assert_eq!(ids(&bench.told(client)), (2..1203).collect::<Vec<_>>());
}

/// Commands of one message, and so of one read.
fn publishes(channel: &str, ids: std::ops::Range<u32>) -> String {
    let publish = |id| format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":{id}}}}}"#);
    ids.map(publish).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_message_of_many_commands_yields_and_keeps_their_order() {
    let mut bench = Bench::new(1);
    let channel = bench.channel_at(0);
    let watcher = bench.subscribe(0, &channel, "");
    let client = bench.connect(0);
    let other = bench.connect(0);
    bench.say(client, &publishes(&channel, 2..202));
    let now = bench.now();
    assert_eq!(bench.shards[0].next_resumed(), Some(client.id), "it takes its turn again");
    assert!(!bench.wants_reading(client), "more than enough of its commands wait");
    let share = data(&bench.told(watcher)).len() as u32;
    assert!((10..100).contains(&share), "{share} of 200");

    // Another one goes first meanwhile, and so does what the first says later wait.
    bench.say(other, &publishes(&channel, 1000..1001));
    bench.say(client, &publishes(&channel, 202..203));
    assert_eq!(data(&bench.told(watcher)), [1000]);
    let mut shares = 1;
    let mut heard: Vec<u32> = (2..2 + share).collect();
    while bench.shards[0].has_yielded(client.id) {
        bench.shards[0].go_on(now, client.id);
        heard.extend(data(&bench.told(watcher)));
        shares += 1;
    }
    assert_eq!(heard, (2..203).collect::<Vec<_>>());
    assert_eq!(ids(&bench.told(client)), (2..203).collect::<Vec<_>>());
    assert!(shares >= 3 && bench.wants_reading(client));
}

#[test]
fn a_connection_that_yielded_may_close() {
    let mut bench = Bench::new(1);
    let channel = bench.channel_at(0);
    let watcher = bench.subscribe(0, &channel, "");
    let client = bench.connect(0);
    bench.say(client, &publishes(&channel, 2..202));
    let share = data(&bench.told(watcher)).len();
    bench.cut(client);
    let now = bench.now();
    assert!(!bench.shards[0].has_yielded(client.id));
    bench.shards[0].go_on(now, client.id);
    assert_eq!(bench.told(watcher), [""; 0], "what was not started is not done: {share} were");
    let next = bench.connect(0);
    assert_eq!(next.id.slot, client.id.slot, "its slot is another's");
    bench.shards[0].go_on(now, client.id);
}

/// Answers count by their bytes: a page of history takes more of a turn than a publish.
#[test]
fn large_answers_use_up_the_share_of_a_turn() {
    let mut bench = Bench::with(1, |options| options.outbox_bytes_max = 64 << 20);
    let channel = bench.channel_at(0);
    let publisher = bench.connect(0);
    bench.say(publisher, &publishes(&channel, 2..52));
    bench.go_on(publisher);
    let client = bench.subscribe(0, &channel, r#","recoverable":true"#);
    bench.shards[0].take_work();
    let pages = |ids: std::ops::Range<u32>| {
        let page = |id| format!(r#"{{"id":{id},"history":{{"channel":"{channel}","limit":50}}}}"#);
        ids.map(page).collect::<Vec<_>>().join("\n")
    };
    bench.say(client, &pages(3..203));
    let work = bench.shards[0].take_work();
    assert!(bench.shards[0].has_yielded(client.id));
    assert!((limits::SLICE_BYTES_MAX / limits::WORK_SHARES..limits::SLICE_BYTES_MAX / 4).contains(&work), "{work}");
}

#[test]
fn a_connection_with_a_job_pending_is_not_read() {
    let mut bench = Bench::with(1, with_heavy_tokens);
    let client = bench.open(0);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{HEAVY}"}}}}"#));
    assert!(!bench.wants_reading(client));
    // What came in the same read waits.
    bench.say(client, &format!(r#"{{"id":2,"publish":{{"channel":"{}","data":1}}}}"#, bench.channel_at(0)));
    let job = bench.take_job(0);
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.told(client), [""; 0], "no time-out runs meanwhile");

    bench.end_job(job, verified("42"));
    assert_eq!(bench.shards[0].next_resumed(), Some(client.id));
    assert!(bench.wants_reading(client));
    assert_eq!(ids(&bench.told(client)), [1, 2]);
}

#[test]
fn a_job_that_the_workers_refused_is_given_again() {
    let mut bench = Bench::with(1, with_heavy_tokens);
    let client = bench.open(0);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{HEAVY}"}}}}"#));
    let job = bench.shards[0].next_job().expect("a job was made");
    assert!(bench.shards[0].next_job().is_none());
    bench.shards[0].return_job(job);
    bench.finish_job(0, verified("42"));
    assert_eq!(ids(&bench.told(client)), [1]);
}

#[test]
fn the_pong_clock_stands_still_while_a_job_is_pending() {
    let mut bench = Bench::with(1, |options| {
        options.ping_interval = PING_INTERVAL;
        with_heavy_tokens(options);
    });
    let client = bench.connect(0);
    let pinged = (0..300).any(|_| {
        bench.advance(Duration::from_millis(100));
        bench.told(client) == ["{}"]
    });
    assert!(pinged, "within an interval");
    bench.advance(Duration::from_secs(6));
    bench.say(client, &format!(r#"{{"id":2,"refresh":{{"token":"{HEAVY}"}}}}"#));
    let job = bench.take_job(0);
    bench.advance(Duration::from_secs(60));
    bench.end_job(job, verified(""));
    assert_eq!(ids(&bench.told(client)), [2]);
    // Two of its eight seconds are left.
    bench.advance(Duration::from_millis(1900));
    assert_eq!(bench.told(client), [""; 0]);
    bench.advance(Duration::from_millis(1300));
    assert_eq!(bench.told(client), ["close 3012"]);
}

#[test]
fn a_job_of_a_connection_that_is_gone_comes_to_nothing() {
    let mut bench = Bench::with(1, with_heavy_tokens);
    let client = bench.open(0);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{HEAVY}"}}}}"#));
    let job = bench.take_job(0);
    bench.cut(client);
    let next = bench.open(0);
    assert_eq!(next.id.slot, client.id.slot, "its slot is another's");
    bench.end_job(job, verified("42"));
    assert_eq!(bench.told(next), [""; 0]);
    bench.say(next, r#"{"id":1,"connect":{}}"#);
    assert_eq!(ids(&bench.told(next)), [1]);
}

#[test]
fn a_panic_in_a_worker_refuses_the_connect() {
    let mut bench = Bench::with(1, with_heavy_tokens);
    let client = bench.open(0);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{HEAVY}"}}}}"#));
    bench.say(client, r#"{"id":2,"rpc":{}}"#);
    bench.finish_job(0, WorkOutcome::Panicked);
    let error = r#"{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
    assert_eq!(bench.told(client), [error]);
    bench.say(client, r#"{"id":3,"rpc":{}}"#);
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.shards[0].next_finished(), Some(client.id));
}

#[test]
fn a_panic_in_a_worker_leaves_a_connected_client_alone() {
    let mut bench = Bench::with(1, with_heavy_tokens);
    let client = bench.connect(0);
    bench.say(client, &format!(r#"{{"id":2,"refresh":{{"token":"{HEAVY}"}}}}"#));
    bench.finish_job(0, WorkOutcome::Panicked);
    bench.say(client, r#"{"id":3,"rpc":{}}"#);
    assert_eq!(ids(&bench.told(client)), [2, 3]);
}

#[test]
fn a_drain_waits_for_what_was_accepted_and_accepts_no_more() {
    let mut bench = Bench::new(2);
    let there = bench.channel_at(1);
    let client = bench.connect(0);
    let query = format!(r#""presence_stats":{{"channel":"{there}"}}"#);
    bench.say_many(client, 2, 3, &query);
    let now = bench.now();
    bench.shards[0].tray_message(now, TrayMessage::Drain { window: Duration::ZERO });
    bench.say_many(client, 5, 1, &query);
    assert_eq!(bench.told(client), [""; 0]);
    bench.settle();
    let told = bench.told(client);
    assert_eq!(ids(&told), [2, 3, 4]);
    assert_eq!(told.last().map(String::as_str), Some("close 3001"));
}

#[test]
fn a_full_queue_does_not_outlive_its_token() {
    let mut bench = Bench::with(2, with_heavy_tokens);
    let there = bench.channel_at(1);
    let client = bench.open(0);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{HEAVY}"}}}}"#));
    let claims = Claims { user: "42".into(), expires_at: Some(BEGIN + 60), ..Claims::default() };
    bench.finish_job(0, WorkOutcome::TokenVerified(Box::new(Ok(claims))));
    assert_eq!(ids(&bench.told(client)), [1]);
    // Its home does not answer in all that time.
    let query = format!(r#""presence_stats":{{"channel":"{there}"}}"#);
    bench.say_many(client, 2, limits::COMMANDS_WAITING_MAX as u32 + 1, &query);
    assert!(!bench.wants_reading(client));
    bench.advance(Duration::from_secs(84));
    assert_eq!(bench.told(client), [""; 0], "nor is it pinged");
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.told(client), ["close 3005"]);
    assert!(bench.wants_reading(client), "for the answer to the close frame");
}

#[test]
fn a_token_that_is_being_verified_may_come_late() {
    let mut bench = Bench::with(1, with_heavy_tokens);
    let client = bench.open(0);
    bench.say(client, &format!(r#"{{"id":1,"connect":{{"token":"{HEAVY}"}}}}"#));
    let claims = Claims { expires_at: Some(BEGIN + 10), ..Claims::default() };
    bench.finish_job(0, WorkOutcome::TokenVerified(Box::new(Ok(claims))));
    bench.advance(Duration::from_secs(9));
    bench.say(client, &format!(r#"{{"id":2,"refresh":{{"token":"{HEAVY}"}}}}"#));
    let job = bench.take_job(0);
    bench.advance(Duration::from_secs(60));
    bench.end_job(job, verified(""));
    bench.advance(Duration::from_secs(2));
    assert_eq!(ids(&bench.told(client)), [1, 2]);
}

/// Eight channels whose recoveries are each a large part of what an outbox holds: they come one after
/// the other as the client reads, instead of cutting it as slow at every attempt.
#[test]
fn recoveries_that_do_not_fit_together_wait_for_the_reader() {
    let mut bench = Bench::new(1);
    let publisher = bench.connect(0);
    let channels: Vec<_> = (0..8).map(|n| format!("large{n}")).collect();
    let text = "x".repeat(60_000);
    for channel in &channels {
        for n in 0..6 {
            bench.say(publisher, &format!(r#"{{"id":9,"publish":{{"channel":"{channel}","data":"{n}{text}"}}}}"#));
            bench.told(publisher);
        }
    }
    let client = bench.connect(0);
    let subscribes: Vec<_> = (2..)
        .zip(&channels)
        .map(|(id, channel)| {
            format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}","recoverable":true,"recover":true}}}}"#)
        })
        .collect();
    bench.say(client, &subscribes.join("\n"));
    let mut answers = Vec::new();
    for _ in &channels {
        answers.extend(bench.told(client));
        bench.go_on(client);
    }
    assert_eq!(ids(&answers), (2..10).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.contains(r#""recovered":true"#)));
}

/// A client could have the hub encode megabytes for a few bytes, and hold up everybody meanwhile.
#[test]
fn presence_that_does_not_fit_half_an_outbox_is_refused_to_clients() {
    let mut bench = Bench::with(1, |options| options.outbox_bytes_max = 2 * 3 * limits::PRESENCE_ENTRY_BYTES);
    let channel = bench.channel_at(0);
    let clients: Vec<Client> = (0..3).map(|_| bench.subscribe(0, &channel, "")).collect();
    let query = format!(r#"{{"id":7,"presence":{{"channel":"{channel}"}}}}"#);
    bench.say(clients[0], &query);
    assert!(bench.told(clients[0]).concat().contains(r#""presence":{"presence":{"#));

    bench.subscribe(0, &channel, "");
    bench.say(clients[0], &query);
    let refused = r#"{"id":7,"error":{"code":106,"message":"limit exceeded"}}"#;
    assert_eq!(bench.told(clients[0]), [refused]);
    bench.say(clients[0], &format!(r#"{{"id":8,"presence_stats":{{"channel":"{channel}"}}}}"#));
    assert!(bench.told(clients[0])[0].contains(r#""num_clients":4"#));
    let name = crate::model::ChannelName::parse(&channel, 255).expect("a short name");
    let answer = bench.shards[0].home_question(Question::Presence { channel: name });
    assert!(matches!(answer, Ok(super::super::Answered::Presence(clients)) if clients.len() == 4));
}
