//! Channels without history, wildcards, raw subjects, and servers without JetStream.

use std::time::Duration;

use fanfare::engine::contract::{Membership, Operation, Outcome, Publish, Published, Read};
use fanfare::engine::nats::{Options, RawMode, UseJetStream};
use fanfare::model::ErrorCode;
use fanfare::telemetry::EngineCounter;
use futures_util::StreamExt;

use crate::engine_node::{EngineNode, RETENTION, client, kept, passing, wait_until};
use crate::nats_server::{NatsServer, Release};
use crate::{options, server_and_node, start, stranger};

#[tokio::test]
async fn what_is_not_kept_is_heard_without_a_place() {
    for release in Release::ALL {
        let (server, mut one) = server_and_node(release).await;
        let mut other = start(options(&server));
        other.ready().await;
        other.listen("news.today").await;
        assert_eq!(one.publish("news.today", passing("a")).await, Ok(None));
        assert_eq!(other.publication().await, ("news.today".into(), "a".into(), None));
        one.submit("news.today", Operation::Tell(Membership::Joined, client("ann", 1)));
        let incoming = other.incoming().await;
        let Published::Membership(Membership::Joined, info) = incoming.what else { panic!("{incoming:?}") };
        assert_eq!((&*info.user, incoming.channel.as_str()), ("ann", "news.today"));
    }
}

#[tokio::test]
async fn a_key_is_published_once() {
    let keyed = |text| Publish { idempotency_key: Some("k".into()), ..passing(text) };
    for release in Release::ALL {
        let (server, mut one) = server_and_node(release).await;
        let mut other = start(options(&server));
        other.ready().await;
        one.listen("news").await;
        assert_eq!(one.publish("news", keyed("a")).await, Ok(None));
        assert_eq!(other.publish("news", keyed("a again")).await, Ok(None));
        assert_eq!(one.publish("news.b", keyed("of another channel")).await, Ok(None));
        other.publish("news", passing("b")).await.expect("sent");
        assert_eq!(one.publication().await, ("news".into(), "a".into(), None));
        assert_eq!(one.publication().await.1, "b");
        // Without JetStream each node knows its own.
        let mut alone = start(Options { jetstream: UseJetStream::Off, ..options(&server) });
        alone.ready().await;
        for text in ["c", "c again"] {
            assert_eq!(alone.publish("news", keyed(text)).await, Ok(None));
        }
        alone.publish("news", passing("d")).await.expect("sent");
        assert_eq!(one.publication().await.1, "c");
        assert_eq!(one.publication().await.1, "d");
    }
}

/// What is too large for the server is refused, and what waited with it is not.
#[tokio::test]
async fn too_large_is_refused_alone() {
    let server = NatsServer::with(Release::Floor, "max_payload: 8KB\njetstream { store_dir: \"FOLDER/store\" }");
    let mut node = start(options(&server));
    node.ready().await;
    let large = "x".repeat(9000);
    for publish in [kept, passing] {
        let texts = ["a", "b", &large, "c"];
        let ids = texts.map(|text| node.submit("chat", Operation::Publish(Box::new(publish(text)))));
        let mut refused = Vec::new();
        for id in ids {
            refused.push(node.answer_to(id).await.err());
        }
        assert_eq!(refused, [None, None, Some(ErrorCode::LimitExceeded), None]);
    }
    let many: Vec<_> =
        (0..40).map(|_| node.submit("chat", Operation::Publish(Box::new(kept(&large[..1000]))))).collect();
    for id in many {
        node.answer_to(id).await.expect("each fits, if not all together");
    }
}

#[tokio::test]
async fn after_unlisten_nothing_comes() {
    let (_server, mut node) = server_and_node(Release::Current).await;
    node.listen("first").await;
    node.listen("second").await;
    node.submit("first", Operation::Unlisten);
    // Proves that the server has taken it: orders of an ear are in order.
    node.listen("third").await;
    node.publish("first", passing("unheard")).await.expect("sent");
    node.publish("second", passing("heard")).await.expect("sent");
    assert_eq!(node.publication().await.0, "second");
    node.listen("first").await;
    node.publish("first", passing("again")).await.expect("sent");
    assert_eq!(node.publication().await.1, "again");
}

#[tokio::test]
async fn foreign_messages_are_counted_and_not_given_to_anybody() {
    let (server, mut node) = server_and_node(Release::Current).await;
    node.listen("news").await;
    let stranger = stranger(&server).await;
    for payload in ["", "hello", "{}", "\u{1}\u{2}"] {
        stranger.publish("fanfare.ch.news", payload.into()).await.expect("sent");
    }
    stranger.flush().await.expect("sent");
    crate::engine_node::wait_until("four are counted", || node.metrics.get(EngineCounter::Foreign) == 4).await;
    assert!(node.has_heard_nothing());
}

#[tokio::test]
async fn wildcards_hear_many_channels() {
    for release in Release::ALL {
        let server = NatsServer::start(release);
        let mut node = start(Options { allow_wildcards: true, ..options(&server) });
        node.ready().await;
        node.listen("news.*").await;
        node.publish("news.today", passing("a")).await.expect("sent");
        assert_eq!(node.publication().await, ("news.*".into(), "a".into(), None));
        let position = node.append("news.kept", "b").await;
        assert_eq!(node.publication().await, ("news.*".into(), "b".into(), Some(position)));
        node.publish("news.today.de", passing("unheard")).await.expect("sent");
        assert_eq!(node.publish("news.*", passing("c")).await, Err(ErrorCode::BadRequest));
        assert_eq!(read(&mut node, "news.>").await, Some(ErrorCode::NotAvailable));
        node.publish("news.today", passing("d")).await.expect("sent");
        assert_eq!(node.publication().await.1, "d");
    }
}

#[tokio::test]
async fn raw_mode_joins_publishers_of_others() {
    let server = NatsServer::start(Release::Floor);
    let channel_replacements = [(":".to_owned(), ".".to_owned())].into();
    let raw_mode = RawMode { enabled: true, channel_replacements, prefix: "app.".to_owned() };
    let mut node = start(Options { raw_mode, allow_wildcards: true, ..options(&server) });
    node.ready().await;
    let stranger = stranger(&server).await;
    let mut heard = stranger.subscribe("app.chat.*").await.expect("subscribed");
    stranger.flush().await.expect("sent");
    node.listen("chat:room").await;
    node.publish("chat:room", passing("{\"from\":\"hub\"}")).await.expect("sent");
    assert_eq!(heard.next().await.expect("a message").payload, "{\"from\":\"hub\"}");
    assert_eq!(node.publication().await.1, "{\"from\":\"hub\"}");
    node.submit("chat:room", Operation::Tell(Membership::Joined, client("ann", 1)));
    stranger.publish("app.chat.room", "hello".into()).await.expect("sent");
    assert_eq!(node.publication().await, ("chat:room".into(), "hello".into(), None));
    node.listen("chat:*").await;
    stranger.publish("app.chat.other", "to many".into()).await.expect("sent");
    assert_eq!(node.publication().await, ("chat:*".into(), "to many".into(), None));
    assert_eq!(node.publish("chat:room", kept("x")).await, Err(ErrorCode::NotAvailable));
    assert_eq!(node.publish("chat room", passing("x")).await, Err(ErrorCode::BadRequest));
}

#[tokio::test]
async fn without_jetstream_only_history_and_presence_are_refused() {
    for release in Release::ALL {
        let server = NatsServer::with(release, "");
        let mut node = start(options(&server));
        node.ready().await;
        check_without_jetstream(&mut node).await;
        let server = NatsServer::start(release);
        let mut node = start(Options { jetstream: UseJetStream::Off, ..options(&server) });
        node.ready().await;
        check_without_jetstream(&mut node).await;
    }
}

/// Who wants something to be kept learns at once that the server can't, and that it can once it does.
#[tokio::test]
async fn a_server_that_cannot_keep_what_it_must_is_not_ready() {
    for (jetstream, keeps) in [(UseJetStream::Auto, Some("a namespace has history".into())), (UseJetStream::On, None)] {
        let mut server = NatsServer::with(Release::Current, "");
        let mut node = start(Options { jetstream, keeps, ..options(&server) });
        wait_until("a message comes back", || node.metrics.is_up() && node.metrics.probe_delay() > Duration::ZERO)
            .await;
        assert!(!node.metrics.is_ready());
        assert!(node.metrics.trouble().is_some_and(|reason| reason.contains("no JetStream")));
        node.publish("news", passing("a")).await.expect("what is not kept is sent");
        server.kill();
        server.configure("jetstream { store_dir: \"FOLDER/store\" }");
        server.start_again();
        node.ready().await;
        assert!(matches!(node.publish("news", kept("b")).await, Ok(Some(_))));
    }
}

async fn check_without_jetstream(node: &mut EngineNode) {
    node.listen("news").await;
    node.publish("news", passing("a")).await.expect("sent");
    assert_eq!(node.publication().await.1, "a");
    assert_eq!(node.publish("news", kept("b")).await, Err(ErrorCode::NotAvailable));
    assert_eq!(read(node, "news").await, Some(ErrorCode::NotAvailable));
    assert_eq!(node.ask("news", Operation::RemoveHistory).await.err(), Some(ErrorCode::NotAvailable));
    assert_eq!(node.ask("news", Operation::PresenceStats).await.err(), Some(ErrorCode::NotAvailable));
}

async fn read(node: &mut EngineNode, name: &str) -> Option<ErrorCode> {
    let read = Read { retention: RETENTION, after: 0, publications_max: 10, sent_until: None };
    match node.ask(name, Operation::Read(Box::new(read))).await {
        Ok(Outcome::Read(_)) => None,
        other => other.err(),
    }
}
