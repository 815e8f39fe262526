use std::rc::Rc;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::rig::api::{Api, position};
use crate::streams::data;

async fn history(bed: &Bed, channel: &str) -> Vec<Value> {
    let (_, publications) = bed.hub.api.history(channel).await.expect("there is a history");
    data(&publications)
}

pub async fn a_key_is_published_once(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    reader.subscribe("stream:key").await;
    reader.subscribe("plain:key").await;
    let first = bed.publish_with("stream:key", json!({"data": 1, "idempotency_key": "k"})).await;
    bed.publish("stream:key", json!(2)).await;
    // The answer is that of the first time, whatever came between.
    let again = bed.publish_with("stream:key", json!({"data": 1, "idempotency_key": "k"})).await;
    assert_eq!(first, again);
    assert_eq!(history(&bed, "stream:key").await, [json!(1), json!(2)]);
    for _ in 0..2 {
        bed.publish_with("plain:key", json!({"data": 3, "idempotency_key": "k"})).await;
    }
    bed.publish("plain:key", json!(4)).await;
    let mut received = Vec::new();
    for _ in 0..4 {
        received.push(reader.publication().await["data"].clone());
    }
    received.sort_by_key(Value::as_u64);
    assert_eq!(received, [json!(1), json!(2), json!(3), json!(4)]);
}

pub async fn a_key_is_of_one_channel(bed: Rc<Bed>) {
    for channel in ["stream:key-a", "stream:key-b"] {
        let position = bed.publish_with(channel, json!({"data": 1, "idempotency_key": "same"})).await;
        assert_eq!(position.map(|position| position.offset), Some(1), "{channel}");
    }
}

pub async fn of_many_at_once_one_is_published(bed: Rc<Bed>) {
    let mut publishers = tokio::task::JoinSet::new();
    for number in 0..10 {
        let api = Api::new(bed.hub.address);
        publishers.spawn(async move {
            let params = json!({"channel": "stream:at-once", "data": number, "idempotency_key": "k"});
            position(&api.call("publish", params).await.expect("it is published"))
        });
    }
    let positions = publishers.join_all().await;
    assert!(positions.iter().all(|position| *position == positions[0]), "{positions:?}");
    assert_eq!(history(&bed, "stream:at-once").await.len(), 1);
}

pub async fn only_newer_versions_are_published(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    reader.subscribe("stream:version").await;
    for (version, offset) in [(7, 1), (7, 1), (6, 1), (8, 2)] {
        let position = bed.publish_with("stream:version", json!({"data": version, "version": version})).await;
        assert_eq!(position.map(|position| position.offset), Some(offset), "version {version}");
    }
    assert_eq!(history(&bed, "stream:version").await, [json!(7), json!(8)]);
    for version in [7, 8] {
        assert_eq!(reader.publication().await["version"], version);
    }
}

pub async fn an_epoch_of_versions_begins_anew(bed: Rc<Bed>) {
    let publish = async |version: u64, epoch: &str| {
        let params = json!({"data": [epoch, version], "version": version, "version_epoch": epoch});
        bed.publish_with("stream:version-epoch", params).await
    };
    publish(9, "first").await;
    publish(1, "second").await;
    publish(1, "second").await;
    publish(2, "second").await;
    let expected = [json!(["first", 9]), json!(["second", 1]), json!(["second", 2])];
    assert_eq!(history(&bed, "stream:version-epoch").await, expected);
}
