//! Who is there.

use super::bus::{Bus, Node, Peer, pass};
use super::report;
use crate::nodes::wire::What;
use crate::nodes::{Info, Why};

/// Names of the nodes as this one tells them, and of those that are missing.
async fn check(node: &Node, present: &[&str], missing: &[&str]) {
    let Info { nodes, missing: missed, .. } = node.cluster.info().await.expect("the shard answers");
    let names: Vec<_> = nodes.iter().map(|report| report.node.uid.as_str()).collect();
    let missed: Vec<_> = missed.iter().map(|missing| missing.node.uid.as_str()).collect();
    assert_eq!((&names[..], &missed[..]), (present, missing));
}

#[tokio::test(start_paused = true)]
async fn nodes_find_one_another_at_once() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    pass(1).await;
    check(&a, &["a"], &[]).await;
    assert_eq!(a.cluster.info().await.expect("the shard answers").users, None);
    let b = Node::start(&bus, "b");
    let c = Node::start(&bus, "c");
    pass(1).await;
    for node in [&a, &b, &c] {
        check(node, &["a", "b", "c"], &[]).await;
        assert!(node.metrics.nodes.is_connected());
    }
    let info = a.cluster.info().await.expect("the shard answers");
    assert_eq!(info.users, Some(19), "six on each, and one everywhere");
    assert!(info.nodes.iter().all(|report| report.users == 7 && report.version == env!("CARGO_PKG_VERSION")));
    pass(3).await;
    assert_eq!((a.metrics.nodes.present(), a.metrics.nodes.lost()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_ends_it_and_a_silence_is_told() {
    let bus = Bus::new();
    let (a, b, c) = (Node::start(&bus, "a"), Node::start(&bus, "b"), Node::start(&bus, "c"));
    pass(1).await;
    let begun = tokio::time::Instant::now();
    b.cluster.leave().await;
    assert!(begun.elapsed() < crate::limits::NODE_GOODBYE_TIMEOUT, "it heard its own goodbye");
    pass(1).await;
    check(&a, &["a", "c"], &[]).await;
    pass(20).await;
    check(&a, &["a", "c"], &[]).await;
    b.kill();
    c.kill();
    pass(1).await;
    // It was heard lately, so it is waited for, and its figures are the last ones known.
    check(&a, &["a", "c"], &["c"]).await;
    pass(12).await;
    check(&a, &["a"], &["c"]).await;
    assert_eq!((a.metrics.nodes.present(), a.metrics.nodes.lost()), (1, 1));
    pass(60).await;
    check(&a, &["a"], &[]).await;
    assert_eq!(a.metrics.nodes.lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn reports_may_be_lost() {
    let bus = Bus::new();
    let (a, _b, _c) = (Node::start(&bus, "a"), Node::start(&bus, "b"), Node::start(&bus, "c"));
    pass(1).await;
    bus.lose(20);
    for _ in 0..20 {
        pass(3).await;
        bus.lose(0);
        check(&a, &["a", "b", "c"], &[]).await;
        bus.lose(20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_says_so_and_comes_back() {
    let bus = Bus::new();
    let (a, b, c) = (Node::start(&bus, "a"), Node::start(&bus, "b"), Node::start(&bus, "c"));
    pass(1).await;
    bus.cut("a", true);
    pass(30).await;
    // The one that hears nobody names all; the others only the one that is gone.
    check(&a, &["a", "b", "c"], &["b", "c"]).await;
    assert!(!a.metrics.nodes.is_connected());
    check(&b, &["b", "c"], &["a"]).await;
    assert!(b.metrics.nodes.is_connected());
    bus.cut("a", false);
    pass(4).await;
    for node in [&a, &b, &c] {
        check(node, &["a", "b", "c"], &[]).await;
    }
    assert!(a.metrics.nodes.is_connected());
}

#[tokio::test(start_paused = true)]
async fn what_no_node_wrote_is_passed_over_and_counted() {
    let bus = Bus::new();
    let a = Node::start(&bus, "a");
    let peer = Peer::start(&bus, "peer");
    pass(1).await;
    for bytes in [&b""[..], b"hello", b"\xff\xff\xff\xff", b"{\"node\":1}"] {
        peer.tell_bytes(bytes);
    }
    // A message of a kind to come.
    peer.tell_bytes(b"\x08\x02\x12\x04peer\x7a\x00");
    peer.tell("a", What::Answer(99, crate::nodes::wire::Part::Reached(1)));
    bus.say(vec![0; crate::limits::NODE_MESSAGE_BYTES_MAX + 1].into());
    pass(1).await;
    let skipped = ["foreign", "not_known", "late", "too_large"].map(|reason| a.metrics.nodes.skipped(reason));
    assert_eq!(skipped, [4, 1, 1, 1]);
    // It is there as before, and so is the peer, that answers nothing.
    let info = a.cluster.info().await.expect("the shard answers");
    assert_eq!(info.nodes.len(), 2);
    assert_eq!(info.missing.iter().map(|missing| missing.why).collect::<Vec<_>>(), [Why::Silent]);
}

#[tokio::test(start_paused = true)]
async fn a_node_tells_who_asks_that_it_is_there() {
    let bus = Bus::new();
    let _a = Node::start(&bus, "a");
    let peer = Peer::start(&bus, "peer");
    pass(1).await;
    let reports_to_peer = || {
        let sent = bus.sent_by("a").into_iter();
        sent.filter(|message| message.to == "peer" && matches!(message.what, What::Report { .. })).count()
    };
    assert_eq!(reports_to_peer(), 0);
    peer.say(What::Report { report: report("peer", "name-peer"), asks: true });
    pass(1).await;
    assert_eq!(reports_to_peer(), 1);
}
