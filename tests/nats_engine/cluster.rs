//! Three servers that keep streams together.

use std::collections::BTreeSet;
use std::time::Instant;

use fanfare::engine::Stream;
use fanfare::engine::contract::Operation;
use fanfare::engine::nats::Options;

use crate::engine_node::{EngineNode, PATIENCE, kept, texts};
use crate::nats_server::{NatsServer, Release};
use crate::{log_info, options, start, stranger};

/// The leader of the channel's log is killed amid publishing: what was confirmed is there, once, and listeners either
/// heard it or were told to check.
#[tokio::test]
async fn a_leader_that_dies_takes_nothing_along() {
    let mut servers = NatsServer::cluster(Release::Current, 3);
    // Only one is configured; it names the others.
    let node = |server: &NatsServer| start(Options { replicas: 3, ..options(server) });
    let (mut publisher, mut listener) = (node(&servers[0]), node(&servers[1]));
    publisher.ready().await;
    listener.ready().await;
    listener.listen("chat").await;
    publish_until_kept(&mut publisher, "first").await;
    let info = log_info(&stranger(&servers[2]).await).await;
    let leader = info["config"]["num_replicas"].as_u64().zip(info["cluster"]["leader"].as_str());
    let Some((3, leader)) = leader else { panic!("three keep it: {info}") };
    let leader: usize = leader.trim_start_matches("server").parse().expect("a number");

    let publish = |n: u32| Operation::Publish(Box::new(kept(&n.to_string())));
    let ids: Vec<_> = (0..90).map(|n| (n, publisher.submit("chat", publish(n)))).collect();
    servers[leader].kill();
    let mut confirmed = BTreeSet::new();
    for (n, id) in ids {
        if publisher.answer_to(id).await.is_ok() {
            confirmed.insert(n.to_string());
        }
    }
    publish_until_kept(&mut publisher, "last").await;
    let stream = read_when_led(&mut publisher).await;
    let kept = texts(&stream, 0);
    let once: BTreeSet<&String> = kept.iter().collect();
    assert!(confirmed.iter().all(|text| once.contains(text)), "{confirmed:?} in {kept:?}");
    assert!(kept.iter().filter(|text| text.parse::<u32>().is_ok()).count() <= 90);
    let mut heard = BTreeSet::new();
    loop {
        let (_, text, _) = listener.publication().await;
        if text == "last" {
            break;
        }
        heard.insert(text);
    }
    let missed: Vec<_> = kept.iter().filter(|text| !heard.contains(*text) && *text != "last").collect();
    assert!(missed.is_empty() || listener.was_rechecked(), "{missed:?} were missed silently");
}

async fn publish_until_kept(node: &mut EngineNode, text: &str) {
    let since = Instant::now();
    while node.publish("chat", kept(text)).await.is_err() {
        assert!(since.elapsed() < PATIENCE, "the cluster does not take {text}");
        tokio::task::yield_now().await;
    }
}

/// Long histories are read by a consumer, which wants a leader of the whole cluster.
async fn read_when_led(node: &mut EngineNode) -> Stream {
    let since = Instant::now();
    loop {
        if let Ok(stream) = node.try_read("chat", 0, None).await {
            return stream;
        }
        assert!(since.elapsed() < PATIENCE, "the cluster has no leader");
    }
}
