use std::rc::Rc;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::fossil;
use crate::rig::api::Api;
use crate::streams::data;

pub async fn many_publishers_are_in_one_order(bed: Rc<Bed>) {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 25;
    let mut first = bed.client("ann").await;
    let mut second = bed.client("bob").await;
    first.subscribe("stream:many").await;
    second.subscribe("stream:many").await;
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let api = Api::new(bed.hub.address);
        publishers.spawn(async move {
            for number in 0..EACH {
                let params = json!({"channel": "stream:many", "data": [publisher, number]});
                api.call("publish", params).await.expect("it is published");
            }
        });
    }
    publishers.join_all().await;
    let (_, history) = bed.hub.api.history("stream:many").await.expect("there is a history");
    for offset in 1..=PUBLISHERS * EACH {
        let publication = first.publication().await;
        assert_eq!(publication["offset"], offset);
        assert_eq!(publication, second.publication().await);
        assert_eq!(publication["data"], history[offset as usize - 1]["data"]);
    }
    for publisher in 0..PUBLISHERS {
        let own: Vec<Value> = data(&history).into_iter().filter(|data| data[0] == publisher).collect();
        assert!(own.iter().enumerate().all(|(at, data)| data[1] == at), "{own:?}");
    }
}

pub async fn a_publication_keeps_what_belongs_to_it(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    reader.subscribe("stream:whole").await;
    let mut sender = bed.client("bob").await;
    let data = json!({"text": "\u{2028}ünï\n\"", "null": null, "deep": [[[1.5]]]});
    sender.ask("publish", json!({"channel": "stream:whole", "data": data})).await.expect("it may publish");
    let params = json!({"data": 1, "tags": {"kind": "a", "": "b"}});
    bed.publish_with("stream:whole", params).await;

    let live = [reader.publication().await, reader.publication().await];
    assert_eq!(live[0]["data"], data);
    assert_eq!((&live[0]["info"]["user"], &live[0]["info"]["client"]), (&json!("bob"), &json!(sender.id)));
    assert_eq!((&live[1]["tags"], &live[1]["info"]), (&json!({"kind": "a", "": "b"}), &Value::Null));
    let (_, kept) = bed.hub.api.history("stream:whole").await.expect("there is a history");
    for (live, kept) in live.iter().zip(&kept) {
        for field in ["data", "info", "tags", "offset"] {
            assert_eq!(live[field], kept[field], "{field}");
        }
    }
}

pub async fn a_broadcast_reaches_each_channel(bed: Rc<Bed>) {
    let channels = ["stream:broadcast", "plain:broadcast", "short:broadcast"];
    let mut reader = bed.client("ann").await;
    for channel in channels {
        reader.subscribe(channel).await;
    }
    let params = json!({"channels": channels, "data": "all"});
    let result = bed.hub.api.call("broadcast", params).await.expect("it is published");
    let responses = result["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), channels.len());
    assert!(responses.iter().all(|response| response["error"].is_null()), "{result}");
    let mut reached = Vec::new();
    for _ in channels {
        reached.push(reader.next().await["channel"].as_str().expect("a name").to_owned());
    }
    reached.sort();
    let mut expected = channels.to_vec();
    expected.sort_unstable();
    assert_eq!(reached, expected);
}

pub async fn differences_restore_what_was_published(bed: Rc<Bed>) {
    let text = |number: usize| format!("{{\"text\":\"{}\",\"n\":{number}}}", "the same for a long while ".repeat(8));
    let mut reader = bed.client("ann").await;
    let reply = reader.subscribe_with("delta:a", json!({"delta": "fossil"})).await.expect("it may subscribe");
    assert_eq!(reply["delta"], true);
    let mut base = Vec::new();
    let mut differences = 0;
    for number in 1..=5 {
        bed.publish("delta:a", serde_json::from_str(&text(number)).expect("JSON")).await;
        let publication = reader.publication().await;
        let data = publication["data"].as_str().expect("a text").as_bytes().to_vec();
        let is_difference = publication["delta"] == true;
        differences += usize::from(is_difference);
        base = if is_difference { fossil::apply(&base, &data).expect("it fits its base") } else { data };
        let restored: Value = serde_json::from_slice(&base).expect("JSON");
        assert_eq!(restored["n"], number);
    }
    assert!(differences >= 3, "{differences} of 5 came as differences");
}

pub async fn large_publications_come_whole(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    reader.subscribe("stream:large").await;
    for size in [1, 1_000, 60_000, 300_000] {
        let text = "x".repeat(size);
        bed.publish("stream:large", json!(text)).await.expect("it is kept");
        assert_eq!(reader.publication().await["data"], json!(text), "{size} bytes");
    }
    let (_, kept) = bed.hub.api.history("stream:large").await.expect("there is a history");
    assert_eq!(kept.last().map(|publication| publication["data"].as_str().map(str::len)), Some(Some(300_000)));
}
