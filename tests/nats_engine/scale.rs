//! Many channels on one node.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fanfare::engine::contract::{Operation, Outcome, Read};

use crate::engine_node::{RETENTION, kept, wait_until};
use crate::nats_server::Release;
use crate::server_and_node;

const CHANNELS: usize = 10_000;

/// The figure, for ten thousand subscriptions.
const RECHECKED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn ten_thousand_channels_are_checked_soon_after_a_restart() {
    let (mut server, mut node) = server_and_node(Release::Floor).await;
    let (before, since) = (resident_bytes(), Instant::now());
    let ids: Vec<_> = (0..CHANNELS).map(|n| node.submit(&format!("chat:{n}"), Operation::Listen)).collect();
    for id in ids {
        node.answer_to(id).await.expect("listening");
    }
    let bytes = resident_bytes().saturating_sub(before) / CHANNELS;
    println!("{CHANNELS} channels are heard after {:?}, at {bytes} bytes each", since.elapsed());
    server.kill();
    wait_until("the loss is noticed", || !node.metrics.is_up()).await;
    let since = Instant::now();
    server.start_again();
    let mut checked = BTreeSet::new();
    while checked.len() < CHANNELS {
        checked.insert(node.recheck().await);
    }
    println!("all of them have to be checked {:?} after the server is started again", since.elapsed());
    assert!(since.elapsed() < RECHECKED_WITHIN, "{:?}", since.elapsed());
}

/// Prints what one node publishes in a second, one channel or many; asserts nothing about it.
#[tokio::test]
async fn publishing_is_pipelined() {
    for release in Release::ALL {
        for channels in [1, 100] {
            let (_server, mut node) = server_and_node(release).await;
            let since = Instant::now();
            let publish = |n: usize| Operation::Publish(Box::new(kept(&n.to_string())));
            let ids: Vec<_> = (0..3000).map(|n| node.submit(&format!("chat:{}", n % channels), publish(n))).collect();
            let mut kept = 0;
            for id in ids {
                kept += usize::from(node.answer_to(id).await.is_ok());
            }
            println!("{release:?}: {kept} of 3000 in {channels} channels: {:?}", since.elapsed());
        }
    }
}

/// Prints what reading costs that the newest message alone does not answer.
#[tokio::test]
async fn reads_are_pipelined() {
    for release in Release::ALL {
        let (_server, mut node) = server_and_node(release).await;
        for n in 0..500 {
            node.append(&format!("chat:{}", n % 100), "a").await;
        }
        let since = Instant::now();
        let read = || Read { retention: RETENTION, after: 0, publications_max: 100, sent_until: None };
        let submit = |n: usize| node.submit(&format!("chat:{}", n % 100), Operation::Read(Box::new(read())));
        let ids: Vec<_> = (0..500).map(submit).collect();
        let mut whole = 0;
        for id in ids {
            whole +=
                usize::from(matches!(node.answer_to(id).await, Ok(Outcome::Read(stream)) if stream.after(0).is_some()));
        }
        println!("{release:?}: {whole} of 500 reads of five messages: {:?}", since.elapsed());
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
