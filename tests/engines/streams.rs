use std::rc::Rc;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::rig::api::Failure;

/// The data of publications.
pub fn data(publications: &[Value]) -> Vec<Value> {
    publications.iter().map(|publication| publication["data"].clone()).collect()
}

pub async fn publications_are_numbered(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    let begin = reader.subscribe("stream:numbered").await;
    assert_eq!((&begin["positioned"], &begin["recoverable"]), (&json!(true), &json!(true)));
    for number in 1..=3 {
        let position = bed.publish("stream:numbered", json!({"n": number})).await.expect("it is kept");
        assert_eq!((position.offset, json!(position.epoch)), (number, begin["epoch"].clone()));
        let publication = reader.publication().await;
        assert_eq!((&publication["data"], &publication["offset"]), (&json!({"n": number}), &json!(number)));
    }
    let (top, publications) = bed.hub.api.history("stream:numbered").await.expect("there is a history");
    assert_eq!((top.offset, json!(top.epoch)), (3, begin["epoch"].clone()));
    assert_eq!(data(&publications), [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
}

pub async fn pages_of_history_are_what_was_asked_for(bed: Rc<Bed>) {
    let mut epoch = String::new();
    for number in 1..=10 {
        epoch = bed.publish("stream:pages", json!(number)).await.expect("it is kept").epoch;
    }
    let page = async |params: Value| {
        let mut params = params;
        params["channel"] = json!("stream:pages");
        let result = bed.hub.api.call("history", params).await?;
        assert_eq!((&result["offset"], &result["epoch"]), (&json!(10), &json!(epoch)));
        Ok::<_, Failure>(data(result["publications"].as_array().expect("a list")))
    };
    let since = json!({"offset": 4, "epoch": epoch});
    assert_eq!(page(json!({"limit": 0})).await.unwrap(), Vec::<Value>::new());
    assert_eq!(page(json!({"limit": 2})).await.unwrap(), [json!(1), json!(2)]);
    assert_eq!(page(json!({"limit": 2, "reverse": true})).await.unwrap(), [json!(10), json!(9)]);
    assert_eq!(page(json!({"limit": 3, "since": since})).await.unwrap(), [json!(5), json!(6), json!(7)]);
    let backwards = json!({"limit": -1, "since": since, "reverse": true});
    assert_eq!(page(backwards).await.unwrap(), [json!(3), json!(2), json!(1)]);
    let elsewhen = page(json!({"limit": 1, "since": {"offset": 4, "epoch": "elsewhen"}})).await;
    assert!(matches!(elsewhen, Err(Failure::Refused(112, _))), "{elsewhen:?}");
}

pub async fn a_history_keeps_its_newest(bed: Rc<Bed>) {
    for number in 1..=12 {
        bed.publish("short:newest", json!(number)).await;
    }
    let (top, publications) = bed.hub.api.history("short:newest").await.expect("there is a history");
    assert_eq!(top.offset, 12);
    assert_eq!(data(&publications), (8..=12).map(Value::from).collect::<Vec<_>>());
}

pub async fn removing_a_history_begins_another_epoch(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    let before = reader.subscribe("stream:removed").await;
    bed.publish("stream:removed", json!(1)).await;
    reader.publication().await;
    bed.hub.api.call("history_remove", json!({"channel": "stream:removed"})).await.expect("it is removed");
    let after = bed.publish("stream:removed", json!(2)).await.expect("it is kept");
    assert_eq!(after.offset, 1);
    assert_ne!(json!(after.epoch), before["epoch"]);
    let push = reader.next().await;
    assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
    let position = json!({"recover": true, "offset": 1, "epoch": before["epoch"]});
    let back = reader.subscribe_with("stream:removed", position).await.expect("it may subscribe");
    assert_eq!((&back["recovered"], &back["offset"]), (&Value::Null, &json!(1)));
    let (_, publications) = bed.hub.api.history("stream:removed").await.expect("there is a history");
    assert_eq!(data(&publications), [json!(2)]);
}

pub async fn publications_that_skip_history_are_only_delivered(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    reader.subscribe("stream:skipped").await;
    bed.publish("stream:skipped", json!("kept")).await;
    let position = bed.publish_with("stream:skipped", json!({"data": "skipped", "skip_history": true})).await;
    assert_eq!(position, None);
    bed.publish("stream:skipped", json!("kept too")).await;
    let received = [reader.publication().await, reader.publication().await, reader.publication().await];
    assert_eq!(data(&received), [json!("kept"), json!("skipped"), json!("kept too")]);
    assert_eq!((&received[1]["offset"], &received[2]["offset"]), (&Value::Null, &json!(2)));
    let (_, publications) = bed.hub.api.history("stream:skipped").await.expect("there is a history");
    assert_eq!(data(&publications), [json!("kept"), json!("kept too")]);
}

pub async fn channels_without_history_have_no_positions(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    let reply = reader.subscribe("plain:a").await;
    assert_eq!(reply["positioned"], Value::Null);
    for number in 1..=20 {
        assert_eq!(bed.publish("plain:a", json!(number)).await, None);
        let publication = reader.publication().await;
        assert_eq!((&publication["data"], &publication["offset"]), (&json!(number), &Value::Null));
    }
    let history = bed.hub.api.history("plain:a").await;
    assert!(matches!(history, Err(Failure::Refused(108, _))), "{history:?}");
}

/// Names with what brokers give a meaning to: wildcards, separators, hash tags, spaces.
pub async fn names_of_channels_are_kept_apart(bed: Rc<Bed>) {
    let names = ["*", ">", "a.b", "a.*", "a b", "{a}", "{a}b", "a:b", "a\\b", "a\"b", "%61", "a", "A", "a.", ".a"];
    let mut reader = bed.client("ann").await;
    for name in names {
        reader.subscribe(&format!("stream:name-{name}")).await;
    }
    for name in names {
        let channel = format!("stream:name-{name}");
        let position = bed.publish(&channel, json!(name)).await.expect("it is kept");
        assert_eq!(position.offset, 1, "{channel}");
        let push = reader.next().await;
        assert_eq!((&push["channel"], &push["pub"]["data"]), (&json!(channel), &json!(name)));
        let (_, publications) = bed.hub.api.history(&channel).await.expect("there is a history");
        assert_eq!(data(&publications), [json!(name)], "{channel}");
    }
}
