//! Servers that die, stand still, refuse, or lose what they had confirmed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fanfare::engine::contract::Operation;
use fanfare::engine::redis::{Login, Options};
use fanfare::limits::OPERATION_TIMEOUT;
use fanfare::model::{ErrorCode, Position};
use fanfare::telemetry::EngineCounter;

use super::bed::{Bed, kept, position, publish};
use super::servers::{Server, free_port};

/// Kills the server and starts it again. Meanwhile everything is refused at once.
async fn restart(bed: &mut Bed, server: &mut Server) {
    server.kill();
    bed.until(|bed| !bed.metrics.is_up()).await;
    let asked = Instant::now();
    assert_eq!(bed.ask("room", publish("lost", |_| ())).await.map(drop), Err(ErrorCode::Internal));
    assert_eq!(bed.ask("other", Operation::Listen).await.map(drop), Err(ErrorCode::Internal));
    assert!(asked.elapsed() < OPERATION_TIMEOUT / 2, "nobody waits for a server that is away");
    server.run();
    let back = Instant::now();
    bed.insist("elsewhere", || publish("again", |_| ())).await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?} until it published again", back.elapsed());
    bed.wait_for_recheck(&["room", "quiet"]).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?} until all was rechecked", back.elapsed());
}

async fn listening(server: &Server) -> (Bed, Position) {
    let mut bed = Bed::ready(server.deployment()).await;
    bed.listen("room").await;
    bed.listen("quiet").await;
    let at = bed.publish("room", "1").await;
    bed.next_publication().await;
    (bed, at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_persistence_begins_new_epochs() {
    let mut server = Server::start(&[]);
    let (mut bed, at) = listening(&server).await;
    restart(&mut bed, &mut server).await;
    let stream = bed.read("room", 0, Some(at)).await;
    assert_ne!(stream.position().epoch, at.epoch);
    assert_eq!(kept(&stream), []);
    bed.publish("room", "2").await;
    assert_eq!(bed.next_publication().await, ("room".to_owned(), 1, "2".to_owned()));
    assert_eq!(bed.count(EngineCounter::Rechecked), 2);
    assert!(bed.count(EngineCounter::Interruptions) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_persistence_goes_on() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (mut bed, at) = listening(&server).await;
    restart(&mut bed, &mut server).await;
    let stream = bed.read("room", 0, Some(at)).await;
    assert_eq!((stream.position(), kept(&stream)), (at, vec![(1, "1".to_owned())]));
    assert_eq!(bed.publish("room", "2").await, Position { offset: 2, ..at });
    assert_eq!(bed.next_publication().await.1, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_came_back_with_an_old_copy_begins_a_new_epoch() {
    let mut server = Server::start(&[]);
    let (mut bed, at) = listening(&server).await;
    assert_eq!(server.say(&["SAVE"]), "OK");
    let sent = bed.publish("room", "2").await;
    assert_eq!(sent, Position { offset: 2, ..at });
    bed.next_publication().await;
    restart(&mut bed, &mut server).await;
    let stream = bed.read("room", 0, Some(sent)).await;
    assert_ne!(stream.position().epoch, at.epoch);
    assert_eq!(bed.count(EngineCounter::EpochsLost), 1);
}

/// Nobody reads before that: as many are published as were lost, and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_an_old_copy_would_give_again_are_given_in_a_new_epoch() {
    let mut server = Server::start(&[]);
    let (mut bed, at) = listening(&server).await;
    assert_eq!(server.say(&["SAVE"]), "OK");
    assert_eq!(bed.publish("room", "2").await, Position { offset: 2, ..at });
    server.kill();
    server.run();
    let next = position(bed.insist("room", || publish("another 2", |_| ())).await).expect("kept");
    assert_eq!((next.offset, next.epoch == at.epoch), (1, false));
    assert_eq!(bed.publish("room", "3").await, Position { offset: 2, ..next });
    bed.wait_for_recheck(&["room", "quiet"]).await;
}

/// The same where another node published what was lost: this one knows it as what its rooms were sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_another_node_was_given_are_given_in_a_new_epoch() {
    let mut server = Server::start(&[]);
    let (bed, at) = listening(&server).await;
    assert_eq!(server.say(&["SAVE"]), "OK");
    let sent = bed.publish("room", "2").await;
    drop(bed);
    server.kill();
    server.run();
    let bed = Bed::ready(server.deployment()).await;
    let as_sent = || publish("another 2", |publish| publish.sent_until = Some(sent));
    let next = position(bed.insist("room", as_sent).await).expect("kept");
    assert_eq!((next.offset, next.epoch == at.epoch), (1, false));
    assert_eq!(bed.publish("room", "3").await, Position { offset: 2, ..next });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_channels_are_heard_again_in_time() {
    let mut server = Server::start(&[]);
    let mut bed = Bed::ready(server.deployment()).await;
    let rooms: Vec<String> = (0..10_000).map(|n| format!("room:{n}")).collect();
    let begun = Instant::now();
    let answers: Vec<_> = rooms.iter().map(|room| bed.submit(room, Operation::Listen)).collect();
    for answer in answers {
        assert!(answer.await.expect("answered").is_ok());
    }
    let listened = begun.elapsed();
    server.kill();
    bed.until(|bed| !bed.metrics.is_up()).await;
    server.run();
    let back = Instant::now();
    bed.insist("elsewhere", || publish("again", |_| ())).await;
    let published = back.elapsed();
    bed.wait_for_recheck(&rooms.iter().map(String::as_str).collect::<Vec<_>>()).await;
    println!("heard after {listened:?}; published again after {published:?}, all named after {:?}", back.elapsed());
    assert!(published < Duration::from_secs(2) && back.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_refuses_and_keeps_what_it_has() {
    let server = Server::start(&[]);
    let (bed, at) = listening(&server).await;
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(bed.ask("room", publish("2", |_| ())).await.map(drop), Err(ErrorCode::Internal));
    server.say(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(bed.publish("room", "2").await, Position { offset: 2, ..at });
    assert_eq!(kept(&bed.read("room", 0, None).await).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_found_out() {
    let server = Server::start(&[]);
    let mut options = Options::new(vec![server.deployment()]);
    options.io_timeout = Duration::from_secs(2);
    let mut bed = Bed::start(&options);
    bed.until(|bed| bed.metrics.is_ready()).await;
    bed.listen("room").await;
    server.stop();
    let asked = Instant::now();
    assert_eq!(bed.ask("room", publish("late", |_| ())).await.map(drop), Err(ErrorCode::Internal));
    let waited = asked.elapsed();
    assert!(waited >= OPERATION_TIMEOUT && waited < OPERATION_TIMEOUT * 3 / 2, "{waited:?}");
    assert_eq!(bed.ask("room", publish("later", |_| ())).await.map(drop), Err(ErrorCode::Internal));
    assert!(asked.elapsed() < OPERATION_TIMEOUT * 7 / 4, "nobody else waits for it");
    bed.until(|bed| !bed.metrics.is_ready() && !bed.metrics.is_up()).await;
    assert!(bed.count(EngineCounter::ProbesLost) >= 1);
    server.go_on();
    bed.wait_for_recheck(&["room"]).await;
    bed.insist("room", || publish("again", |_| ())).await;
    bed.until(|bed| bed.metrics.is_ready()).await;
    // The first one may have been published after all: it was answered with an error, not taken back.
    while bed.next_publication().await.2 != "again" {}
}

/// More than its connection takes is asked of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_holds_nobody_up() {
    let server = Server::start(&[]);
    let bed = Bed::ready(server.deployment()).await;
    server.stop();
    let asked = Instant::now();
    let text = "x".repeat(1000);
    let answers: Vec<_> = (0..16_000).map(|_| bed.submit("room", publish(&text, |_| ()))).collect();
    for answer in answers {
        assert_eq!(answer.await.expect("answered").map(drop), Err(ErrorCode::Internal));
    }
    let waited = asked.elapsed();
    assert!(waited < OPERATION_TIMEOUT * 2, "{waited:?}");
    assert_eq!(bed.count(EngineCounter::Failures), 16_000);
    server.go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_behind_is_waited_for() {
    let server = Server::start(&[]);
    let (mut bed, _) = listening(&server).await;
    bed.takes.store(false, Ordering::Relaxed);
    for offset in 2..=300 {
        assert_eq!(bed.publish("room", "x").await.offset, offset, "the publisher is answered all the same");
    }
    bed.takes.store(true, Ordering::Relaxed);
    for offset in 2..=300 {
        assert_eq!(bed.next_publication().await.1, offset);
    }
    assert_eq!(bed.count(EngineCounter::Rechecked), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_takes_nothing_for_long_has_to_recheck() {
    let server = Server::start(&[]);
    let (mut bed, _) = listening(&server).await;
    bed.takes.store(false, Ordering::Relaxed);
    bed.publish("room", "missed").await;
    bed.wait_for_recheck(&["room"]).await;
    bed.takes.store(true, Ordering::Relaxed);
    bed.publish("room", "3").await;
    assert_eq!(bed.next_publication().await.1, 3);
    assert_eq!(kept(&bed.read("room", 1, None).await).len(), 2, "and finds there what it missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_below_the_time_out_loses_nothing() {
    let server = Server::start(&[]);
    let (mut bed, _) = listening(&server).await;
    server.stop();
    let answers: Vec<_> = (0..100).map(|n| bed.submit("room", publish(&n.to_string(), |_| ()))).collect();
    server.go_on();
    for (answer, offset) in answers.into_iter().zip(2..) {
        let at = position(answer.await.expect("answered").expect("published")).expect("kept");
        assert_eq!((at.offset, bed.next_publication().await.1), (offset, offset));
    }
    assert_eq!((bed.count(EngineCounter::Interruptions), bed.count(EngineCounter::Failures)), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_come_back() {
    let server = Server::start(&[]);
    let (mut bed, at) = listening(&server).await;
    server.say(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    bed.wait_for_recheck(&["room", "quiet"]).await;
    server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    let again = position(bed.insist("room", || publish("2", |_| ())).await);
    assert_eq!(again.map(|again| again.epoch), Some(at.epoch));
    assert_eq!(bed.next_publication().await.2, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_come_after_the_hub() {
    let port = free_port();
    let address = fanfare::engine::redis::Address::tcp("127.0.0.1", port);
    let bed = Bed::start(&Options::new(vec![fanfare::engine::redis::Deployment::Server(address)]));
    assert_eq!(bed.ask("room", publish("early", |_| ())).await.map(drop), Err(ErrorCode::Internal));
    assert!(!bed.metrics.is_ready());
    let _server = Server::start(&["--port", &port.to_string()]);
    bed.insist("room", || publish("1", |_| ())).await;
    bed.until(|bed| bed.metrics.is_ready()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_tried_on_until_they_are_right() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut options = Options::new(vec![server.deployment()]);
    options.login.password = "wrong".to_owned();
    let bed = Bed::start(&options);
    assert_eq!(bed.ask("room", publish("1", |_| ())).await.map(drop), Err(ErrorCode::Internal));
    server.say(&["-a", "secret", "--no-auth-warning", "CONFIG", "SET", "requirepass", "wrong"]);
    bed.until(|bed| bed.metrics.is_ready()).await;
    bed.publish("room", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_needs_few_rights() {
    let server = Server::start(&[]);
    let rights = ["~fanfare.*", "&fanfare.*", "-@all", "+@read", "+@write", "+@pubsub", "+@connection", "+@scripting"];
    let set = server.say(&[&["ACL", "SETUSER", "hub", "on", ">secret"][..], &rights, &["+time"]].concat());
    assert_eq!(set, "OK");
    let mut options = Options::new(vec![server.deployment()]);
    options.login = Login { user: "hub".into(), password: "secret".into(), client_name: "fanfare-1".into() };
    options.db = 3;
    let mut bed = Bed::start(&options);
    bed.until(|bed| bed.metrics.is_ready()).await;
    bed.listen("room").await;
    bed.publish("room", "1").await;
    assert_eq!(bed.next_publication().await.2, "1");
    assert!(server.say(&["CLIENT", "LIST"]).contains("name=fanfare-1"));
    assert_eq!(server.say(&["-n", "3", "EXISTS", "fanfare.stream.{room}"]), "1");
    let presence = bed.ask("room", Operation::PresenceStats).await;
    assert!(presence.is_ok(), "{presence:?}");
}
