//! Nodes of a cluster that hear one another over a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::engine::redis::{Options, start_control};
use fanfare::handle::{
    Act, Answer, Answered, ChannelsAsked, ChannelsFound, Handle, Question, Reach, ShardUsers, TrayMessage,
};
use fanfare::model::{ChannelName, ErrorCode, Homes, UserSketch};
use fanfare::nodes::{Cluster, NodeName};
use fanfare::telemetry::NodeMetrics;
use tokio::time::sleep;

use super::bed::PATIENCE;
use super::servers::Server;

struct Node {
    cluster: Cluster,
    metrics: Arc<NodeMetrics>,
}

impl Node {
    /// A node whose one shard reaches two connections of everybody, and has these channels.
    #[expect(clippy::result_large_err, reason = "a full tray gives back what it does not take")]
    fn start(uid: &str, server: &Server, channels: &[ChannelName]) -> Node {
        let channels = channels.to_vec();
        let post = move |_, message| {
            let TrayMessage::Ask { question, answerer } = message else { panic!("nodes only ask") };
            (answerer.0)(answer(&question, &channels));
            Ok(())
        };
        let metrics = Arc::new(NodeMetrics::new(1, 1, Instant::now()));
        let name = NodeName { uid: uid.to_owned(), name: uid.to_owned() };
        let handle = Handle::new(Homes::new(1, 1), Arc::new(post));
        let cluster = Cluster::alone(name, handle, Arc::clone(&metrics));
        let options = Options::new(vec![server.deployment()]);
        let (control, messages) = start_control(&options, uid, Arc::default());
        tokio::spawn(cluster.join(control, messages));
        Node { cluster, metrics }
    }

    async fn reach(&self) -> (u64, usize) {
        let reach = Reach { user: "u".into(), client: None, act: Act::Unsubscribe { channel: None } };
        let reached = self.cluster.reach(reach, None).await.expect("shards answer");
        (reached.count, reached.missing.len())
    }
}

fn answer(question: &Question, channels: &[ChannelName]) -> Answer {
    match question {
        Question::Reach(_) => Ok(Answered::Reached(2)),
        Question::Users => Ok(Answered::Users(ShardUsers { count: 0, keys: Vec::new() })),
        Question::UserSketch => Ok(Answered::UserSketch(UserSketch::default())),
        Question::Channels(asked) => {
            let after = channels.iter().filter(|name| name.as_str() > &*asked.after);
            let found = after.map(|name| (name.clone(), 1)).collect();
            Ok(Answered::Channels(ChannelsFound { channels: found, has_more: false }))
        }
        _ => Err(ErrorCode::NotAvailable),
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_act_as_one_and_outlive_their_server() {
    let mut server = Server::start(&[]);
    let name = |number| ChannelName::parse(&format!("{number:064}"), 255).expect("a short name");
    let channels: Vec<_> = (0..20_000).map(name).collect();
    let nodes = ["one", "two", "three"].map(|uid| Node::start(uid, &server, &channels));
    let all_know = || nodes.iter().all(|node| ["one", "two", "three"].iter().all(|uid| node.cluster.knows(uid)));
    until("each one knows the others", all_know).await;
    assert_eq!(nodes[0].reach().await, (6, 0));
    let asked = ChannelsAsked { pattern: "".into(), after: "".into(), count_max: 100_000 };
    let of_all = nodes[1].cluster.channels(asked).await.expect("shards answer");
    assert_eq!((of_all.page.channels.len(), of_all.page.has_more, of_all.missing.len()), (20_000, false, 0));
    assert!(of_all.page.channels.iter().all(|(_, subscribers)| *subscribers == 3), "1.3 MB from each of them");
    assert_eq!(nodes[2].cluster.info().await.expect("shards answer").nodes.len(), 3);

    server.kill();
    assert_eq!(nodes[0].reach().await, (2, 2), "its own, and the others are missing");
    until("each one finds that it is cut off", || nodes.iter().all(|node| !node.metrics.nodes.is_connected())).await;
    assert_eq!(nodes[0].reach().await, (2, 2), "it does not take them for gone");
    server.run();
    until("they hear themselves again", || nodes.iter().all(|node| node.metrics.nodes.is_connected())).await;
    let begun = Instant::now();
    while nodes[0].reach().await != (6, 0) {
        assert!(begun.elapsed() < PATIENCE, "they act as one again");
    }

    nodes[2].cluster.leave().await;
    until("a goodbye is heard", || nodes[..2].iter().all(|node| !node.cluster.knows("three"))).await;
    assert_eq!(nodes[0].cluster.info().await.expect("shards answer").missing, []);
}
