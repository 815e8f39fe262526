//! What the contract says of brokers, on one server: Redis, and Valkey where it is installed.

use std::time::Duration;

use fanfare::engine::Retention;
use fanfare::engine::contract::{Membership, Operation, Outcome, Published};
use fanfare::model::{ErrorCode, Since, Version};
use fanfare::telemetry::EngineCounter;

use super::bed::{Bed, RETENTION, kept, position, publish, read};
use super::presence::client;
use super::servers::{Program, Server};

/// Runs a case on each program.
macro_rules! on_each {
    ($name:ident, $case:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            for program in [Program::Redis, Program::Valkey] {
                let Some(server) = Server::start_program(program, &[]) else { continue };
                let bed = Bed::ready(server.deployment()).await;
                $case(bed, server).await;
            }
        }
    };
}
pub(crate) use on_each;

on_each!(publications_come_in_the_order_of_their_stream, async |mut bed: Bed, _server: Server| {
    bed.listen("room").await;
    let answers: Vec<_> = (1..=200).map(|n| bed.submit("room", publish(&n.to_string(), |_| ()))).collect();
    let mut epochs = Vec::new();
    for (answer, n) in answers.into_iter().zip(1..) {
        let at = position(answer.await.expect("answered").expect("published")).expect("kept");
        assert_eq!(at.offset, n);
        epochs.push(at.epoch);
    }
    assert!(epochs.windows(2).all(|two| two[0] == two[1]));
    for n in 1..=200 {
        assert_eq!(bed.next_publication().await, ("room".to_owned(), n, n.to_string()));
    }
});

on_each!(a_stream_is_read_from_anywhere, async |bed: Bed, _server: Server| {
    let stream = bed.read("room", 0, None).await;
    assert_eq!((stream.position().offset, kept(&stream)), (0, vec![]), "it begins here");
    let first = bed.publish("room", "1").await;
    assert_eq!(first.epoch, stream.position().epoch);
    for n in 2..=15 {
        bed.publish("room", &n.to_string()).await;
    }
    let offsets = |stream| kept(&stream).iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    assert_eq!(offsets(bed.read("room", 12, None).await), [13, 14, 15]);
    assert_eq!(offsets(bed.read("room", 0, None).await), (6..=15).collect::<Vec<_>>(), "as many as are kept");
    assert_eq!(offsets(bed.read("room", u64::MAX, None).await), [0; 0]);
    assert_eq!(bed.read("room", u64::MAX, None).await.position().offset, 15);
});

on_each!(history_is_paged, async |bed: Bed, _server: Server| {
    for n in 1..=9 {
        bed.publish("room", &n.to_string()).await;
    }
    let since = |offset| Some(Since { offset, epoch: "".into() });
    let offsets = async |limit, since, reverse| -> Vec<u64> {
        let page = bed.page("room", limit, since, reverse).await.expect("a page");
        assert_eq!(page.offset, 9);
        page.publications.iter().map(|publication| publication.offset).collect()
    };
    assert_eq!(offsets(0, None, false).await, [0; 0]);
    assert_eq!(offsets(2, None, false).await, [1, 2]);
    assert_eq!(offsets(2, since(4), false).await, [5, 6]);
    assert_eq!(offsets(2, None, true).await, [9, 8]);
    assert_eq!(offsets(-1, since(3), true).await, [2, 1]);
    assert_eq!(offsets(-1, since(u64::MAX), false).await, [0; 0]);
    assert_eq!(bed.page("room", 1, since(0), true).await, Err(ErrorCode::BadRequest));
    let foreign = Some(Since { offset: 1, epoch: "elsewhen".into() });
    assert_eq!(bed.page("room", 1, foreign, false).await, Err(ErrorCode::UnrecoverablePosition));
});

on_each!(plain_publications_are_sent_and_not_kept, async |mut bed: Bed, _server: Server| {
    bed.listen("room").await;
    let plain = |text: &str| publish(text, |publish| publish.retention = None);
    assert_eq!(position(bed.ask("room", plain("a")).await.expect("published")), None);
    bed.submit("room", Operation::Tell(Membership::Joined, client("ann", 1)));
    bed.ask("room", plain("b")).await.expect("published");
    assert_eq!(bed.next_publication().await, ("room".to_owned(), 0, "a".to_owned()));
    assert!(matches!(bed.next_incoming().await.what, Published::Membership(Membership::Joined, _)));
    assert_eq!(bed.next_publication().await.2, "b");
    assert_eq!(bed.read("room", 0, None).await.position().offset, 0);
});

on_each!(a_removed_history_begins_again_as_another, async |bed: Bed, _server: Server| {
    let remove = async || match bed.ask("room", Operation::RemoveHistory).await {
        Ok(Outcome::HistoryRemoved(was_there)) => was_there,
        other => panic!("{other:?}"),
    };
    let untouched = bed.read("room", 0, None).await.position();
    assert!(!remove().await);
    assert_eq!(bed.read("room", 0, None).await.position(), untouched);
    let first = bed.publish("room", "1").await;
    assert!(remove().await);
    assert!(!remove().await);
    let again = bed.publish("room", "2").await;
    assert_eq!((again.offset, again.epoch == first.epoch), (1, false));
});

on_each!(of_publishes_with_the_same_key_one_is_done, async |mut bed: Bed, server: Server| {
    bed.listen("room").await;
    let once = |text: &str| publish(text, |publish| publish.idempotency_key = Some("k".into()));
    let answers = ["a", "b"].map(|text| bed.submit("room", once(text)));
    let mut positions = Vec::new();
    for answer in answers {
        positions.push(position(answer.await.expect("answered").expect("published")));
    }
    assert_eq!(positions[0], positions[1]);
    let plain = || {
        publish("c", |publish| {
            publish.retention = None;
            publish.idempotency_key = Some("plain".into());
        })
    };
    for _ in 0..2 {
        assert_eq!(position(bed.ask("room", plain()).await.expect("published")), None);
    }
    bed.publish("room", "end").await;
    for text in ["a", "c", "end"] {
        assert_eq!(bed.next_publication().await.2, text);
    }
    let ttl: u64 = server.say(&["PTTL", "fanfare.result.{room}k"]).parse().expect("a number");
    assert!((290_000..=300_000).contains(&ttl), "{ttl}");
});

on_each!(versions_only_grow_within_their_epoch, async |bed: Bed, _server: Server| {
    let offset = async |number: u64, epoch: &str| {
        let version = Version { number, epoch: epoch.into() };
        let outcome = bed.ask("room", publish("v", |publish| publish.version = Some(version))).await;
        position(outcome.expect("published")).expect("kept").offset
    };
    assert_eq!(offset(9, "a").await, 1);
    assert_eq!(offset(9, "a").await, 1, "not newer");
    assert_eq!(offset(8, "").await, 1, "an empty epoch is the current one");
    assert_eq!(offset(10, "a").await, 2, "numbers are no texts");
    assert_eq!(offset(u64::MAX, "a").await, 3);
    assert_eq!(offset(u64::MAX - 1, "a").await, 3, "exact beyond 2^53");
    assert_eq!(offset(1, "b").await, 4, "another epoch begins anew");
});

on_each!(positions_outlive_publications, async |bed: Bed, server: Server| {
    let brief = Retention { ttl: Duration::from_millis(1), ..RETENTION };
    let outcome = bed.ask("room", publish("1", |publish| publish.retention = Some(brief))).await;
    let first = position(outcome.expect("published")).expect("kept");
    bed.until(|_| server.say(&["EXISTS", "fanfare.stream.{room}"]) == "0").await;
    let stream = bed.read("room", 0, None).await;
    assert_eq!((stream.position(), kept(&stream)), (first, vec![]));
    server.say(&["PEXPIRE", "fanfare.meta.{room}", "1"]);
    bed.until(|_| server.say(&["EXISTS", "fanfare.meta.{room}"]) == "0").await;
    let again = bed.publish("room", "2").await;
    assert_eq!((again.offset, again.epoch == first.epoch), (1, false));
});

on_each!(a_stream_that_lost_what_was_sent_begins_a_new_epoch, async |bed: Bed, _server: Server| {
    let first = bed.publish("room", "1").await;
    let sent = |offset| Some(fanfare::model::Position { epoch: first.epoch, offset });
    assert_eq!(bed.read("room", 0, sent(1)).await.position(), first, "it has all that was sent");
    let lost = bed.read("room", 0, sent(2)).await;
    assert_ne!(lost.position().epoch, first.epoch);
    assert_eq!((lost.position().offset, kept(&lost)), (0, vec![]));
    assert_eq!(bed.count(EngineCounter::EpochsLost), 1);
    let next = bed.publish("room", "2").await;
    assert_eq!((next.epoch, next.offset), (lost.position().epoch, 1));
});

on_each!(foreign_records_are_passed_over_and_counted, async |mut bed: Bed, server: Server| {
    bed.listen("room").await;
    let first = bed.publish("room", "1").await;
    server.say(&["PUBLISH", "fanfare.channel.{room}", "hello"]);
    bed.publish("room", "2").await;
    assert_eq!([bed.next_publication().await.1, bed.next_publication().await.1], [1, 2]);
    assert_eq!(bed.count(EngineCounter::Foreign), 1);

    // Damaged in the middle: what is before it can't be recovered.
    server.say(&["XDEL", "fanfare.stream.{room}", "2-0"]);
    bed.publish("room", "3").await;
    assert_eq!(kept(&bed.read("room", 0, None).await), [(3, "3".to_owned())]);

    // Somebody's own entries: the order is not ours any more.
    server.say(&["XADD", "fanfare.stream.{room}", "*", "x", "y"]);
    let stream = bed.read("room", 0, None).await;
    assert_ne!(stream.position().epoch, first.epoch);
    server.say(&["XADD", "fanfare.stream.{room}", "*", "x", "y"]);
    let published = bed.publish("room", "4").await;
    assert_eq!((published.offset, published.epoch == stream.position().epoch), (1, false));
    server.say(&["DEL", "fanfare.stream.{room}"]);
    server.say(&["SET", "fanfare.stream.{room}", "text"]);
    assert_eq!(bed.publish("room", "5").await.offset, 1, "a stream again");
});

on_each!(nobody_hears_what_is_not_listened_to, async |mut bed: Bed, server: Server| {
    for channel in ["a", "b", "}odd{", ".dot"] {
        bed.listen(channel).await;
    }
    assert_eq!(server.say(&["PUBSUB", "CHANNELS", "fanfare.channel.*"]).lines().count(), 4);
    bed.submit("a", Operation::Unlisten);
    bed.until(|_| server.say(&["PUBSUB", "NUMSUB", "fanfare.channel.{a}"]).ends_with('0')).await;
    bed.publish("a", "unheard").await;
    for channel in ["}odd{", ".dot", "b"] {
        bed.publish(channel, "heard").await;
        assert_eq!(bed.next_publication().await.0, channel);
    }
});

on_each!(two_clusters_on_one_server_do_not_meet, async |mut bed: Bed, server: Server| {
    let mut options = fanfare::engine::redis::Options::new(vec![server.deployment()]);
    options.prefix = "other".to_owned();
    let mut other = Bed::start(&options);
    other.until(|other| other.metrics.is_ready()).await;
    bed.listen("room").await;
    other.listen("room").await;
    let (one, two) = (bed.publish("room", "one").await, other.publish("room", "two").await);
    assert_eq!((one.offset, two.offset, one.epoch == two.epoch), (1, 1, false));
    assert_eq!([bed.next_publication().await.2, other.next_publication().await.2], ["one", "two"]);
});

on_each!(other_scripts_may_be_thrown_away, async |bed: Bed, server: Server| {
    bed.publish("room", "1").await;
    server.say(&["SCRIPT", "FLUSH"]);
    let outcome = bed.insist("room", || publish("2", |_| ())).await;
    assert_eq!(position(outcome).expect("kept").offset, 2);
    assert!(matches!(bed.insist("room", || read(0, None)).await, Outcome::Read(_)));
});
