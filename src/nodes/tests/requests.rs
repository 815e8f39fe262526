//! What is asked of all nodes.

use std::time::Duration;

use tokio::time::Instant;

use super::bus::{Bus, Node, Peer, pass};
use crate::handle::{Act, Answered, ChannelsAsked, ChannelsFound, ChannelsPage, Question, Reach, ServerRefresh};
use crate::limits::{ANSWER_TIMEOUT, NODE_ANSWER_TIMEOUT};
use crate::model::{ChannelName, ErrorCode};
use crate::nodes::wire::{ChannelsPiece, Command, Part, What};
use crate::nodes::{MissingNode, NodeName, ReachedOnAll, Why};

fn reach() -> Reach {
    Reach { user: "u".into(), client: None, act: Act::Unsubscribe { channel: None } }
}

fn missing(uid: &str, why: Why) -> MissingNode {
    MissingNode { node: NodeName { uid: uid.to_owned(), name: format!("name-{uid}") }, why }
}

fn asked(count_max: usize) -> ChannelsAsked {
    ChannelsAsked { pattern: "".into(), after: "".into(), count_max }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text, 255).expect("a short name")
}

fn page(names: &[(&str, u64)], has_more: bool) -> ChannelsPage {
    ChannelsPage { channels: names.iter().map(|&(text, count)| (name(text), count)).collect(), has_more }
}

#[tokio::test(start_paused = true)]
async fn a_command_reaches_all_and_counts() {
    let bus = Bus::new();
    let nodes = ["a", "b", "c"].map(|uid| Node::start(&bus, uid));
    pass(1).await;
    let acts = [
        Act::Disconnect { code: 3503, reason: "force disconnect".into(), spared: Vec::new() },
        Act::Unsubscribe { channel: Some(name("x")) },
        Act::Refresh(ServerRefresh { is_expired: false, expire_at: Some(5), info: Some("{}".into()) }),
    ];
    for act in &acts {
        let reach = Reach { act: act.clone(), ..reach() };
        let reached = nodes[1].cluster.reach(reach, None).await;
        assert_eq!(reached, Ok(ReachedOnAll { count: 6, missing: Vec::new() }));
    }
    let expected: Vec<_> = acts.into_iter().map(|act| Question::Reach(Box::new(Reach { act, ..reach() }))).collect();
    for node in &nodes {
        assert_eq!(node.reached(), expected, "each one once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_to_the_node_that_it_names() {
    let bus = Bus::new();
    let nodes = ["a", "b", "c"].map(|uid| Node::start(&bus, uid));
    pass(1).await;
    for uid in ["a", "c"] {
        let reached = nodes[0].cluster.reach(reach(), Some(uid)).await;
        assert_eq!(reached, Ok(ReachedOnAll { count: 2, missing: Vec::new() }));
    }
    assert_eq!(nodes[0].cluster.reach(reach(), Some("nobody")).await, Err(ErrorCode::NotAvailable));
    assert!(nodes[0].cluster.knows("a") && nodes[0].cluster.knows("b") && !nodes[0].cluster.knows("nobody"));
    assert_eq!(nodes.map(|node| node.reached().len()), [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_in_time_is_named() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let _b = Node::start(&bus, "b");
    let peer = Peer::start(&bus, "peer");
    pass(1).await;
    let begun = Instant::now();
    let reached = a.cluster.reach(reach(), None).await;
    assert_eq!(reached, Ok(ReachedOnAll { count: 4, missing: vec![missing("peer", Why::Silent)] }));
    let took = begun.elapsed();
    assert!(took >= NODE_ANSWER_TIMEOUT && took < NODE_ANSWER_TIMEOUT + Duration::from_millis(100), "{took:?}");
    // One that ends is not waited for, nor is one that is lost.
    peer.say(What::Goodbye);
    let begun = Instant::now();
    assert_eq!(a.cluster.reach(reach(), None).await, Ok(ReachedOnAll { count: 4, missing: Vec::new() }));
    assert!(begun.elapsed() < NODE_ANSWER_TIMEOUT);
    let _lost = Peer::start(&bus, "lost");
    pass(15).await;
    let begun = Instant::now();
    let reached = a.cluster.reach(reach(), None).await;
    assert_eq!(reached, Ok(ReachedOnAll { count: 4, missing: vec![missing("lost", Why::Silent)] }));
    assert!(begun.elapsed() < NODE_ANSWER_TIMEOUT, "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn an_older_node_says_that_it_does_not_know() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let mut old = Peer::start(&bus, "old");
    pass(1).await;
    let waiting = tokio::spawn({
        let cluster = a.cluster.clone();
        async move { cluster.reach(reach(), None).await }
    });
    let What::Request(id, Command::Reach(asked)) = old.hear().await.what else { panic!("no request") };
    assert_eq!(asked, reach());
    old.tell("a", What::Answer(id, Part::NotKnown));
    let reached = waiting.await.expect("it ends");
    assert_eq!(reached, Ok(ReachedOnAll { count: 2, missing: vec![missing("old", Why::NotKnown)] }));
}

#[tokio::test(start_paused = true)]
async fn a_newer_node_is_answered_what_it_asks_or_that_it_is_not_known() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let mut new = Peer::start(&bus, "new");
    pass(1).await;
    // A command to come; the same as an act to come (see `wire`).
    new.say(What::Request(5, Command::NotKnown));
    assert_eq!(new.hear().await.what, What::Answer(5, Part::NotKnown));
    new.tell_bytes(b"\x08\x02\x12\x03new\x32\x09\x08\x06\x12\x05\x0a\x01u\x7a\x00");
    assert_eq!(new.hear().await.what, What::Answer(6, Part::NotKnown));
    assert_eq!(a.reached(), []);
    new.tell("a", What::Request(7, Command::Reach(reach())));
    assert_eq!(new.hear().await.what, What::Answer(7, Part::Reached(2)));
}

#[tokio::test(start_paused = true)]
async fn a_node_at_work_is_waited_for_but_not_forever() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let mut peer = Peer::start(&bus, "peer");
    let _slow = Node::answering(&bus, "slow", |_| None);
    pass(1).await;
    let ask = || {
        let cluster = a.cluster.clone();
        tokio::spawn(async move { cluster.reach(reach(), None).await })
    };
    let begun = Instant::now();
    let waiting = ask();
    let What::Request(id, _) = peer.hear().await.what else { panic!("no request") };
    peer.tell("a", What::Answer(id, Part::Working));
    pass(3).await;
    peer.tell("a", What::Answer(id, Part::Reached(5)));
    // The shard of `slow` never answers, and its handle says so.
    assert_eq!(waiting.await.expect("it ends"), Err(ErrorCode::Internal));
    assert!(begun.elapsed() < ANSWER_TIMEOUT + Duration::from_secs(1));

    let begun = Instant::now();
    let waiting = ask();
    let What::Request(id, _) = peer.hear().await.what else { panic!("no request") };
    peer.tell("a", What::Answer(id, Part::Working));
    drop(waiting.await.expect("it ends"));
    let took = begun.elapsed();
    assert!(took <= NODE_ANSWER_TIMEOUT + ANSWER_TIMEOUT + Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_of_other_nodes_are_errors() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let _b = Node::answering(&bus, "b", |_| Some(Err(ErrorCode::UnknownChannel)));
    pass(1).await;
    assert_eq!(a.cluster.reach(reach(), None).await, Err(ErrorCode::UnknownChannel));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_a_message_is_refused() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let info = Some(vec![b' '; crate::limits::NODE_MESSAGE_BYTES_MAX].into());
    let act = Act::Refresh(ServerRefresh { is_expired: false, expire_at: None, info });
    assert_eq!(a.cluster.reach(Reach { act, ..reach() }, None).await, Err(ErrorCode::LimitExceeded));
    assert_eq!(a.reached(), []);
}

/// A node whose shard has these channels.
fn node_with(bus: &Bus, uid: &str, channels: &[(&str, u32)]) -> Node {
    let channels: Vec<_> = channels.iter().map(|&(text, count)| (name(text), count)).collect();
    Node::answering(bus, uid, move |question| {
        let Question::Channels(asked) = question else { return Some(Err(ErrorCode::NotAvailable)) };
        let mut found: Vec<_> = channels.iter().filter(|(name, _)| name.as_str() > &*asked.after).cloned().collect();
        let has_more = found.len() > asked.count_max;
        found.truncate(asked.count_max);
        Some(Ok(Answered::Channels(ChannelsFound { channels: found, has_more })))
    })
}

#[tokio::test(start_paused = true)]
async fn occupancy_is_of_all_nodes() {
    let bus = Bus::new();
    let a = node_with(&bus, "a", &[("news", 3), ("x", 1)]);
    let _b = node_with(&bus, "b", &[("b", 1), ("news", 4)]);
    let peer = Peer::start(&bus, "peer");
    pass(1).await;
    let of_all = a.cluster.channels(asked(10)).await.expect("shards answer");
    assert_eq!(of_all.page, page(&[("b", 1), ("news", 7), ("x", 1)], false));
    assert_eq!(of_all.missing, [missing("peer", Why::Silent)]);
    peer.say(What::Goodbye);
    pass(1).await;
    let of_all = a.cluster.channels(asked(1)).await.expect("shards answer");
    assert_eq!((of_all.page, of_all.missing), (page(&[("b", 1)], true), Vec::new()));
    let after_b = ChannelsAsked { after: "b".into(), ..asked(2) };
    assert_eq!(a.cluster.channels(after_b).await.expect("shards answer").page, page(&[("news", 7), ("x", 1)], false));
}

#[tokio::test(start_paused = true)]
async fn many_names_come_in_pieces_and_out_of_order() {
    let bus = Bus::new();
    let names: Vec<_> = (0..20_000).map(|number| format!("{number:064}")).collect();
    let channels: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let (a, _b) = (node_with(&bus, "a", &channels), node_with(&bus, "b", &channels));
    pass(1).await;
    let of_all = a.cluster.channels(asked(100_000)).await.expect("shards answer");
    assert_eq!((of_all.page.channels.len(), of_all.page.has_more, of_all.missing), (20_000, false, Vec::new()));
    assert!(of_all.page.channels.iter().all(|(_, subscribers)| *subscribers == 2));
    let pieces = bus.sent_by("b").into_iter();
    assert_eq!(pieces.filter(|message| matches!(message.what, What::Answer(_, Part::Channels(_)))).count(), 13);
}

#[tokio::test(start_paused = true)]
async fn more_names_than_one_answer_holds_make_one_page_all_the_same() {
    let bus = Bus::new();
    let names: Vec<_> = (0..60_000).map(|number| format!("{number:0200}")).collect();
    let channels: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let (a, b) = (node_with(&bus, "a", &channels), node_with(&bus, "b", &channels));
    pass(1).await;
    let of_all = a.cluster.channels(asked(100_000)).await.expect("shards answer");
    assert_eq!((of_all.page.channels.len(), of_all.page.has_more, of_all.missing), (60_000, false, Vec::new()));
    assert!(of_all.page.channels.iter().all(|(_, subscribers)| *subscribers == 2));
    assert!(of_all.page.channels.is_sorted());
    let rounds = b.asked.lock().expect("no test panics while it holds this").len();
    assert!((2..5).contains(&rounds), "12 MiB of names in answers of 8 MiB: {rounds}");
}

/// Every node hears every other one, and a hundred of what users are asked pass at a time.
#[tokio::test(start_paused = true)]
async fn many_nodes_and_many_requests() {
    let bus = Bus::new();
    let nodes: Vec<_> = (0..40).map(|number| Node::start(&bus, &format!("n{number}"))).collect();
    pass(2).await;
    assert!(nodes.iter().all(|node| node.cluster.knows("n0") && node.cluster.knows("n39")));
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..100 {
        let cluster = nodes[number % nodes.len()].cluster.clone();
        asking.spawn(async move { cluster.reach(reach(), None).await });
    }
    while let Some(reached) = asking.join_next().await {
        assert_eq!(reached.expect("it ends"), Ok(ReachedOnAll { count: 80, missing: Vec::new() }));
    }
    assert!(nodes.iter().all(|node| node.reached().len() == 100));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lacks_a_piece_is_missing() {
    let bus = Bus::new();
    let a = node_with(&bus, "a", &[("a", 1)]);
    let mut peer = Peer::start(&bus, "peer");
    pass(1).await;
    let cluster = a.cluster.clone();
    let waiting = tokio::spawn(async move { cluster.channels(asked(10)).await });
    let What::Request(id, Command::Channels { .. }) = peer.hear().await.what else { panic!("no request") };
    let piece = |piece, pieces| ChannelsPiece { piece, pieces, channels: vec![(name("b"), 1)], has_more: false };
    // Twice the same, one of another answer, and one behind the last.
    for (number, pieces) in [(0, 3), (0, 3), (1, 2), (7, 3), (1, 3), (0, u32::MAX)] {
        peer.tell("a", What::Answer(id, Part::Channels(piece(number, pieces))));
    }
    let of_all = waiting.await.expect("it ends").expect("the shard answers");
    assert_eq!(of_all.page, page(&[("a", 1)], false));
    assert_eq!(of_all.missing, [missing("peer", Why::Silent)]);
}

#[tokio::test(start_paused = true)]
async fn every_loss_is_told() {
    let bus = Bus::new();
    let nodes = ["a", "b", "c", "d"].map(|uid| Node::start(&bus, uid));
    pass(1).await;
    bus.lose(30);
    let (mut whole, mut partial) = (0, 0);
    for _ in 0..100 {
        let ReachedOnAll { count, missing } = nodes[0].cluster.reach(reach(), None).await.expect("shards answer");
        assert_eq!(count + 2 * missing.len() as u64, 8, "each node has answered or is named");
        match missing.is_empty() {
            true => whole += 1,
            false => partial += 1,
        }
    }
    assert!(whole > 0 && partial > 0, "{whole} whole, {partial} partial");
}
