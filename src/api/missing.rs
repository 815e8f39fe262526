//! Nodes that did not answer, as replies name them: a field of ours, which stands there only if some are missing.

use serde::Serialize;

use crate::nodes::MissingNode;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MissingJson {
    uid: String,
    name: String,
    /// `silent`, or `not_known` for a node that is too old for what was asked.
    reason: &'static str,
}

pub fn missing_nodes(missing: Vec<MissingNode>) -> Vec<MissingJson> {
    let json = |MissingNode { node, why }| MissingJson { uid: node.uid, name: node.name, reason: why.name() };
    missing.into_iter().map(json).collect()
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::{Fixture, channel, check};
    use crate::handle::{Answered, ChannelsFound, Question, ShardUsers};
    use crate::model::{ErrorCode, UserSketch};
    use crate::nodes::tests::bus::{Bus, Node, Peer, pass};

    const MISSING: &str = r#""missing_nodes":[{"uid":"b","name":"name-b","reason":"silent"}]"#;

    /// The API of a node on the bus.
    async fn fixture(bus: &Bus) -> Fixture {
        let fixture = Fixture::answering(|question| match question {
            Question::Reach(_) => Ok(Answered::Reached(1)),
            Question::Users => Ok(Answered::Users(ShardUsers { count: 0, keys: Vec::new() })),
            Question::UserSketch => Ok(Answered::UserSketch(UserSketch::default())),
            Question::Channels(_) => {
                Ok(Answered::Channels(ChannelsFound { channels: vec![(channel("a"), 2)], has_more: false }))
            }
            _ => Err(ErrorCode::NotAvailable),
        });
        let (control, messages) = bus.plug("uid");
        tokio::spawn(fixture.cluster.join(control, messages));
        pass(1).await;
        fixture
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_named_in_the_reply() {
        let bus = Bus::new();
        let fixture = fixture(&bus).await;
        check(&fixture, "disconnect", r#"{"user": "u"}"#, r#"{"result":{}}"#).await;
        let _silent = Peer::start(&bus, "b");
        pass(1).await;
        let expected = format!(r#"{{"result":{{{MISSING}}}}}"#);
        for method in ["disconnect", "unsubscribe", "refresh"] {
            check(&fixture, method, r#"{"user": "u"}"#, &expected).await;
        }
        let expected = format!(r#"{{"result":{{"channels":{{"a":{{"num_clients":4}}}},{MISSING}}}}}"#);
        check(&fixture, "channels", "", &expected).await;
        let (_, text) = fixture.send("POST", "/api/info", crate::api::fixture::KEY, String::new()).await;
        assert!(text.contains(MISSING) && text.contains(r#""uid":"uid""#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_node_is_named_by_its_uid() {
        let bus = Bus::new();
        let (fixture, other) = (fixture(&bus).await, Node::start(&bus, "b"));
        pass(1).await;
        check(&fixture, "disconnect", r#"{"user": "u", "node": "b"}"#, r#"{"result":{}}"#).await;
        assert_eq!(
            (fixture.asked().len(), other.reached().len()),
            (2, 1),
            "two shards counted users, none was reached"
        );
        check(&fixture, "disconnect", r#"{"user": "u", "node": "uid"}"#, r#"{"result":{}}"#).await;
        assert_eq!((fixture.asked().len(), other.reached().len()), (4, 1));
        let expected =
            r#"{"error":{"code":107,"message":"bad request","detail":"node: \"c\" is the uid of no node here"}}"#;
        check(&fixture, "disconnect", r#"{"user": "u", "node": "c"}"#, expected).await;
    }
}
