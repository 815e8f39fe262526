//! Streams: what is appended, heard, read, and remembered of it.

use std::time::{Duration, Instant};

use fanfare::engine::contract::{Operation, Outcome, Page, Publish, Read};
use fanfare::engine::{Retention, Stream};
use fanfare::model::{ErrorCode, HistoryRequest, HistoryResult, Since};
use fanfare::telemetry::EngineCounter;

use crate::engine_node::{EngineNode, PATIENCE, RETENTION, at, channel, kept, keyed, text, texts, versioned};
use crate::nats_server::Release;
use crate::{options, server_and_node, start};

#[tokio::test]
async fn what_is_appended_is_heard_and_read_in_order() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        node.listen("chat").await;
        let begun = node.read("chat", 0, None).await.position();
        assert_eq!(begun.offset, 0);
        for (n, letter) in ["a", "b", "c"].iter().enumerate() {
            let position = node.append("chat", letter).await;
            assert_eq!(position, at(begun.epoch, n as u64 + 1), "the life that was begun goes on");
            assert_eq!(node.publication().await, ("chat".into(), (*letter).into(), Some(position)));
        }
        let stream = node.read("chat", 1, Some(at(begun.epoch, 3))).await;
        assert_eq!((stream.position().offset, texts(&stream, 1)), (3, vec!["b".into(), "c".into()]));
        assert_eq!(texts(&node.read("chat", u64::MAX, None).await, 3), [""; 0]);
    }
}

#[tokio::test]
async fn publishes_that_wait_go_together_and_keep_their_order() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        node.listen("chat").await;
        let publish = |n: usize| Operation::Publish(Box::new(kept(&n.to_string())));
        let ids: Vec<_> = (1..=300).map(|n| node.submit("chat", publish(n))).collect();
        for n in 1..=300u64 {
            let (_, text, position) = node.publication().await;
            assert_eq!((text, position.map(|position| position.offset)), (n.to_string(), Some(n)));
        }
        let last = node.append("chat", "last").await;
        assert_eq!(last.offset, 301);
        assert_eq!(ids.len(), 300);
        let stream = node.read("chat", 201, None).await;
        assert_eq!(texts(&stream, 201).len(), 100, "as many as are kept, whatever message they came with");
    }
}

/// Two nodes publish at once: their publications have one order, which both hear.
#[tokio::test]
async fn concurrent_publishers_have_one_dense_order() {
    for release in Release::ALL {
        let (server, mut one) = server_and_node(release).await;
        let mut other = start(options(&server));
        other.ready().await;
        one.listen("chat").await;
        other.listen("chat").await;
        let publish = |text: String| Operation::Publish(Box::new(kept(&text)));
        let submit = |n: u32| {
            (one.submit("chat", publish(format!("one{n}"))), other.submit("chat", publish(format!("other{n}"))))
        };
        let ids: Vec<_> = (0..100).map(submit).collect();
        for (of_one, of_other) in ids {
            assert!(one.answer_to(of_one).await.is_ok() && other.answer_to(of_other).await.is_ok());
        }
        let (mut by_one, mut by_other) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            by_one.push(one.publication().await);
            by_other.push(other.publication().await);
        }
        assert_eq!(by_one, by_other);
        let offsets: Vec<u64> = by_one.iter().filter_map(|(_, _, position)| Some((*position)?.offset)).collect();
        assert_eq!(offsets, (1..=200).collect::<Vec<_>>());
        let of_one: Vec<&str> =
            by_one.iter().map(|(_, text, _)| &**text).filter(|text| text.starts_with("one")).collect();
        assert_eq!(of_one, (0..100).map(|n| format!("one{n}")).collect::<Vec<_>>(), "each in the order of its node");
    }
}

#[tokio::test]
async fn a_key_publishes_once_wherever_it_is_repeated() {
    for release in Release::ALL {
        let (server, mut one) = server_and_node(release).await;
        let mut other = start(options(&server));
        other.ready().await;
        let first = one.publish("chat", keyed("a", "k 1")).await;
        assert_eq!(one.publish("chat", keyed("a", "k 1")).await, first);
        one.append("chat", "b").await;
        assert_eq!(other.publish("chat", keyed("a", "k 1")).await, first, "another node knows");
        // More keys than an entry remembers: the server still knows the message.
        for n in 0..20 {
            one.publish("chat", keyed("c", &format!("other {n}"))).await.expect("appended");
        }
        assert_eq!(other.publish("chat", keyed("a", "k 1")).await, first);
        assert_eq!(one.read("chat", u64::MAX, None).await.position().offset, 22);
        let elsewhere = one.publish("chat.b", keyed("a", "k 1")).await.expect("appended");
        assert_eq!(elsewhere.map(|position| position.offset), Some(1), "keys are a channel's own");
    }
}

#[tokio::test]
async fn versions_only_grow() {
    for release in Release::ALL {
        let (server, mut one) = server_and_node(release).await;
        let mut other = start(options(&server));
        other.ready().await;
        let first = one.publish("chat", versioned("a", 5)).await;
        let second = one.append("chat", "without").await;
        assert_eq!(other.publish("chat", versioned("b", 5)).await, Ok(Some(second)), "not newer: not appended");
        let third = other.publish("chat", versioned("c", 6)).await.expect("answered").expect("kept");
        assert_eq!(third.offset, 3);
        assert_eq!(one.publish("chat", versioned("d", 6)).await, Ok(Some(third)));
        assert!(first.is_ok());
        assert_eq!(texts(&one.read("chat", 0, None).await, 0), ["a", "without", "c"]);
    }
}

#[tokio::test]
async fn a_removed_history_begins_anew() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        assert!(!remove(&mut node, "chat").await, "there was none");
        let before = node.publish("chat", versioned("a", 7)).await.expect("answered").expect("kept");
        assert!(remove(&mut node, "chat").await);
        assert!(!remove(&mut node, "chat").await, "it is gone already");
        let emptied = node.read("chat", 0, Some(before)).await;
        assert_eq!((emptied.position().offset, emptied.bytes()), (0, 0));
        let again = node.publish("chat", versioned("b", 1)).await.expect("answered").expect("kept");
        assert_eq!((again.offset, again.epoch == before.epoch), (1, false));
        assert_eq!(texts(&node.read("chat", 0, None).await, 0), ["b"]);
    }
}

async fn remove(node: &mut EngineNode, name: &str) -> bool {
    match node.ask(name, Operation::RemoveHistory).await {
        Ok(Outcome::HistoryRemoved(was_there)) => was_there,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pages_run_forwards_and_backwards() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        for n in 1..=10 {
            node.append("chat", &n.to_string()).await;
        }
        for (limit, since, reverse, expected) in [
            (0, None, false, vec![]),
            (-1, None, false, (1..=10).collect()),
            (2, None, true, vec![10, 9]),
            (2, Some(7), false, vec![8, 9]),
            (3, Some(8), true, vec![7, 6, 5]),
        ] {
            let page = page(&mut node, limit, since, reverse).await.expect("a page");
            let found: Vec<u64> = page.publications.iter().map(|publication| publication.offset).collect();
            assert_eq!((found, page.offset), (expected, 10), "{limit} {since:?} {reverse}");
            assert!(page.publications.iter().all(|publication| text(publication) == publication.offset.to_string()));
        }
        let before_the_first = page(&mut node, 1, Some(0), true).await;
        assert_eq!(before_the_first.err(), Some(ErrorCode::BadRequest));
    }
}

async fn page(
    node: &mut EngineNode,
    limit: i32,
    since: Option<u64>,
    reverse: bool,
) -> Result<HistoryResult, ErrorCode> {
    let since = since.map(|offset| Since { offset, epoch: "".into() });
    let request = HistoryRequest { channel: "chat".into(), limit, since, reverse };
    let page = Page { retention: RETENTION, request, publications_max: 300, bytes_max: 1 << 20 };
    match node.ask("chat", Operation::Page(Box::new(page))).await? {
        Outcome::Page(result) => Ok(result),
        other => panic!("{other:?} is no page"),
    }
}

/// Reads and publishes with a time to live of nothing stand for those that come late.
#[tokio::test]
async fn history_expires_and_its_position_stays() {
    let expired = Retention { ttl: Duration::ZERO, ..RETENTION };
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        node.append("chat", "a").await;
        let second = node.append("chat", "b").await;
        let stream = read(&mut node, expired).await;
        assert_eq!((stream.position(), stream.bytes()), (second, 0));
        assert_eq!(texts(&read(&mut node, RETENTION).await, 0), ["a", "b"]);
        let late = Publish { retention: Some(expired), ..kept("c") };
        let third = node.publish("chat", late).await.expect("answered").expect("kept");
        assert_eq!(third, at(second.epoch, 3));
        node.append("chat", "d").await;
        let stream = read(&mut node, RETENTION).await;
        assert_eq!((texts(&stream, 2), stream.after(1).is_none()), (vec!["c".into(), "d".into()], true));
    }
}

async fn read(node: &mut EngineNode, retention: Retention) -> Stream {
    let read = Read { retention, after: 0, publications_max: 100, sent_until: None };
    match node.ask("chat", Operation::Read(Box::new(read))).await {
        Ok(Outcome::Read(stream)) => stream,
        other => panic!("{other:?} is no stream"),
    }
}

#[tokio::test]
async fn no_more_is_kept_than_the_namespace_wants() {
    let few = Retention { size: 3, ..RETENTION };
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        for n in 1..=8 {
            let publish = Publish { retention: Some(few), ..kept(&n.to_string()) };
            node.publish("chat", publish).await.expect("appended");
        }
        let stream = read(&mut node, few).await;
        assert_eq!((stream.position().offset, texts(&stream, 5)), (8, vec!["6".into(), "7".into(), "8".into()]));
        assert!(stream.after(4).is_none());
    }
}

#[tokio::test]
async fn long_histories_are_read_in_portions() {
    let long = Retention { size: 3000, ..RETENTION };
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        // With a version each travels alone.
        let publish = |n: u64| Publish { retention: Some(long), ..versioned(&n.to_string(), n) };
        for first in (1..=2500).step_by(100) {
            let submit = |n| node.submit("chat", Operation::Publish(Box::new(publish(n))));
            let ids: Vec<_> = (first..first + 100).map(submit).collect();
            for id in ids {
                node.answer_to(id).await.expect("appended");
            }
        }
        let read = Read { retention: long, after: 0, publications_max: 5000, sent_until: None };
        let Ok(Outcome::Read(stream)) = node.ask("chat", Operation::Read(Box::new(read))).await else {
            panic!("no stream")
        };
        assert_eq!(texts(&stream, 0), (1..=2500).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

/// A server that lost what it had confirmed is found out by what was sent.
#[tokio::test]
async fn a_stream_that_lost_something_begins_another_life() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        let last = node.append("chat", "a").await;
        let whole = node.read("chat", 0, Some(last)).await;
        assert_eq!(whole.position(), last);
        let stream = node.read("chat", 0, Some(at(last.epoch, 2))).await;
        assert_eq!((stream.position().offset, stream.bytes()), (0, 0));
        assert_ne!(stream.position().epoch, last.epoch);
        assert_eq!(node.metrics.get(EngineCounter::EpochsLost), 1);
        assert_eq!(node.append("chat", "b").await, at(stream.position().epoch, 1));
    }
}

#[tokio::test]
async fn channels_of_any_name_are_kept_apart() {
    let names = ["a", "a.b", "a b", "a*", "*", ">", "ä", "a%2Eb", "user#1,2", "$x", "\u{1f600}"];
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        for name in names {
            node.listen(name).await;
            let position = node.append(name, name).await;
            assert_eq!(node.publication().await, (name.into(), name.into(), Some(position)));
            assert_eq!(position.offset, 1);
            assert_eq!(texts(&node.read(name, 0, None).await, 0), [name]);
        }
    }
}

/// Somebody writes into the log: it is passed over, counted, and the channel's order is begun anew.
#[tokio::test]
async fn foreign_messages_are_passed_over() {
    for release in Release::ALL {
        let (server, mut node) = server_and_node(release).await;
        let stranger = crate::stranger(&server).await;
        node.listen("chat").await;
        let before = node.append("chat", "a").await;
        node.publication().await;
        stranger.publish("fanfare.ch.chat", "hello".into()).await.expect("sent");
        let subject = crate::log_subject(&stranger, "chat").await;
        stranger.request(subject, "hello".into()).await.expect("stored");
        let after = node.append("chat", "b").await;
        assert_eq!((after.offset, after.epoch == before.epoch), (1, false), "what was between can't be trusted");
        assert_eq!(node.publication().await, ("chat".into(), "b".into(), Some(after)));
        assert!(node.metrics.get(EngineCounter::Foreign) >= 2);
        assert_eq!(texts(&node.read("chat", 0, None).await, 0), ["b"]);
    }
}

/// Deleted by an operator: what a node knew of it is of no use to the one that is created next.
#[tokio::test]
async fn a_deleted_log_is_created_anew_with_another_epoch() {
    for release in Release::ALL {
        let (server, mut node) = server_and_node(release).await;
        let stranger = crate::stranger(&server).await;
        let before = node.append("chat", "a").await;
        stranger.request("$JS.API.STREAM.DELETE.fanfare_log_100_601", "".into()).await.expect("deleted");
        let refused = node.publish("chat", kept("b")).await;
        assert_eq!(refused, Err(ErrorCode::Internal), "temporary: the publisher tries again");
        let after = node.append("chat", "b").await;
        assert_eq!((after.offset, after.epoch == before.epoch), (1, false));
        assert_eq!(channel("chat").as_str(), "chat");
    }
}

/// Its newest message stays, which says where it stands.
#[tokio::test]
async fn a_quiet_channel_leaves_the_disk() {
    let short = Retention { ttl: Duration::from_millis(50), ..RETENTION };
    let (server, mut node) = server_and_node(Release::Floor).await;
    let stranger = crate::stranger(&server).await;
    for text in ["a", "b", "c"] {
        let publish = Publish { retention: Some(short), ..kept(text) };
        node.publish("chat", publish).await.expect("appended");
    }
    let since = Instant::now();
    while crate::log_info(&stranger).await["state"]["messages"] != 1 {
        assert!(since.elapsed() < PATIENCE, "the others are kept");
    }
    assert_eq!(node.append("chat", "d").await.offset, 4);
}
