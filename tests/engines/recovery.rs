use std::rc::Rc;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::rig::client::Refusal;
use crate::streams::data;

/// Asks to recover from a position.
pub fn from(epoch: &Value, offset: u64) -> Value {
    json!({"recover": true, "epoch": epoch, "offset": offset})
}

pub async fn all_that_was_missed_is_recovered(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    let epoch = reader.subscribe("stream:missed").await["epoch"].clone();
    bed.publish("stream:missed", json!(1)).await;
    reader.publication().await;
    drop(reader);
    for number in 2..=4 {
        bed.publish("stream:missed", json!(number)).await;
    }
    let mut back = bed.client("ann").await;
    let reply = back.subscribe_with("stream:missed", from(&epoch, 1)).await.expect("it may subscribe");
    assert_eq!((&reply["recovered"], &reply["was_recovering"]), (&json!(true), &json!(true)));
    assert_eq!(data(reply["publications"].as_array().expect("a list")), [json!(2), json!(3), json!(4)]);
    bed.publish("stream:missed", json!(5)).await;
    assert_eq!(back.publication().await["offset"], 5);
}

pub async fn nothing_missed_is_recovered_too(bed: Rc<Bed>) {
    let mut reader = bed.client("ann").await;
    let epoch = reader.subscribe("stream:nothing").await["epoch"].clone();
    let untouched = reader.subscribe("stream:untouched").await["epoch"].clone();
    bed.publish("stream:nothing", json!(1)).await;
    let mut back = bed.client("ann").await;
    for (channel, epoch, offset) in [("stream:nothing", &epoch, 1), ("stream:untouched", &untouched, 0)] {
        let reply = back.subscribe_with(channel, from(epoch, offset)).await.expect("it may subscribe");
        assert_eq!((&reply["recovered"], &reply["publications"]), (&json!(true), &Value::Null), "{channel}");
    }
}

/// Says that something is missing, and where the stream stands now.
async fn check_not_recovered(bed: &Bed, channel: &str, position: Value, top: u64) {
    let mut back = bed.client("ann").await;
    let reply = back.subscribe_with(channel, position).await.expect("it may subscribe");
    assert_eq!((&reply["recovered"], &reply["was_recovering"]), (&Value::Null, &json!(true)), "{reply}");
    assert_eq!((&reply["offset"], &reply["publications"]), (&json!(top), &Value::Null), "{reply}");
    bed.publish(channel, json!("live")).await;
    assert_eq!(back.publication().await["offset"], top + 1);
}

pub async fn what_is_trimmed_is_not_recovered(bed: Rc<Bed>) {
    let epoch = json!(bed.publish("short:trimmed", json!(1)).await.expect("it is kept").epoch);
    for number in 2..=8 {
        bed.publish("short:trimmed", json!(number)).await;
    }
    check_not_recovered(&bed, "short:trimmed", from(&epoch, 1), 8).await;
    // The oldest that is there is the fifth, of nine: from the fourth on nothing is missing.
    let mut back = bed.client("ann").await;
    let reply = back.subscribe_with("short:trimmed", from(&epoch, 4)).await.expect("it may subscribe");
    assert_eq!(reply["recovered"], true, "{reply}");
}

pub async fn another_epoch_is_not_recovered(bed: Rc<Bed>) {
    bed.publish("stream:elsewhen", json!(1)).await;
    check_not_recovered(&bed, "stream:elsewhen", from(&json!("elsewhen"), 1), 1).await;
}

pub async fn a_position_from_the_future_is_not_recovered(bed: Rc<Bed>) {
    let epoch = json!(bed.publish("stream:future", json!(1)).await.expect("it is kept").epoch);
    check_not_recovered(&bed, "stream:future", from(&epoch, 7), 1).await;
}

pub async fn who_must_recover_is_refused(bed: Rc<Bed>) {
    let epoch = json!(bed.publish("stream:must", json!(1)).await.expect("it is kept").epoch);
    let mut back = bed.client("ann").await;
    let mut position = from(&json!("elsewhen"), 1);
    position["flag"] = json!(2);
    assert_eq!(back.subscribe_with("stream:must", position.clone()).await, Err(Refusal::Code(112)));
    position["epoch"] = epoch;
    let reply = back.subscribe_with("stream:must", position).await.expect("it can be recovered");
    assert_eq!(reply["recovered"], true);
}

pub async fn a_cache_gives_its_newest(bed: Rc<Bed>) {
    for number in 1..=3 {
        bed.publish("cache:a", json!(number)).await;
    }
    let mut reader = bed.client("ann").await;
    let reply = reader.subscribe_with("cache:a", json!({"recover": true})).await.expect("it may subscribe");
    assert_eq!(data(reply["publications"].as_array().expect("a list")), [json!(3)]);
    assert_eq!(reply["recovered"], true);
    let mut again = bed.client("ann").await;
    let reply = again.subscribe_with("cache:a", from(&reply["epoch"], 3)).await.expect("it may subscribe");
    assert_eq!((&reply["recovered"], &reply["publications"]), (&json!(true), &Value::Null));
    let empty = again.subscribe_with("cache:empty", json!({"recover": true})).await.expect("it may subscribe");
    assert_eq!(empty["publications"], Value::Null);
}
