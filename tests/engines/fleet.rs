use std::rc::Rc;

use serde_json::{Value, json};

use crate::bed::{Bed, client, publish};
use crate::presence::await_presence;
use crate::recovery::from;
use crate::rig::hub::{Hub, PRESENCE_TTL};
use crate::rig::{PATIENCE, until};
use crate::streams::data;

pub async fn both_hubs_deliver_in_one_order(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut here = bed.client("ann").await;
    let mut there = client(&other, "bob").await;
    here.subscribe("stream:both").await;
    there.subscribe("stream:both").await;
    for number in 1..=50 {
        let hub = if number % 2 == 0 { &bed.hub } else { &other };
        let position = publish(hub, "stream:both", json!({"data": number})).await.expect("it is kept");
        assert_eq!(position.offset, number);
    }
    for number in 1..=50 {
        for reader in [&mut here, &mut there] {
            let publication = reader.publication().await;
            assert_eq!((&publication["data"], &publication["offset"]), (&json!(number), &json!(number)));
        }
    }
}

pub async fn channels_without_history_reach_both(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut here = bed.client("ann").await;
    let mut there = client(&other, "bob").await;
    here.subscribe("plain:both").await;
    there.subscribe("plain:both").await;
    for number in 1..=20 {
        bed.publish("plain:both", json!(number)).await;
    }
    for number in 1..=20 {
        assert_eq!(here.publication().await["data"], number);
        assert_eq!(there.publication().await["data"], number);
    }
}

pub async fn recovery_goes_on_at_the_other_hub(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut reader = bed.client("ann").await;
    let epoch = reader.subscribe("stream:moves").await["epoch"].clone();
    bed.publish("stream:moves", json!(1)).await;
    reader.publication().await;
    drop(reader);
    bed.publish("stream:moves", json!(2)).await;
    publish(&other, "stream:moves", json!({"data": 3})).await;
    let mut back = client(&other, "ann").await;
    let reply = back.subscribe_with("stream:moves", from(&epoch, 1)).await.expect("it may subscribe");
    assert_eq!((&reply["recovered"], &reply["epoch"]), (&json!(true), &epoch));
    assert_eq!(data(reply["publications"].as_array().expect("a list")), [json!(2), json!(3)]);
    bed.publish("stream:moves", json!(4)).await;
    assert_eq!(back.publication().await["offset"], 4);
}

pub async fn a_key_is_published_once_by_both(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let params = json!({"data": 1, "idempotency_key": "k"});
    let first = publish(&bed.hub, "stream:key-both", params.clone()).await;
    assert_eq!(publish(&other, "stream:key-both", params).await, first);
    let (top, _) = other.api.history("stream:key-both").await.expect("there is a history");
    assert_eq!(top.offset, 1);
}

pub async fn a_history_removed_by_one_is_told_by_the_other(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut there = client(&other, "bob").await;
    there.subscribe("stream:removed-there").await;
    bed.publish("stream:removed-there", json!(1)).await;
    there.publication().await;
    bed.hub.api.call("history_remove", json!({"channel": "stream:removed-there"})).await.expect("it is removed");
    bed.publish("stream:removed-there", json!(2)).await;
    let push = there.next().await;
    assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
}

pub async fn presence_is_of_both(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut here = bed.client("ann").await;
    let mut there = client(&other, "ann").await;
    here.subscribe("room:both").await;
    there.subscribe("room:both").await;
    for hub in [&bed.hub, &other] {
        await_presence(hub, "room:both", &[&here.id, &there.id]).await;
        let stats = hub.api.call("presence_stats", json!({"channel": "room:both"})).await.expect("there is presence");
        assert_eq!(stats, json!({"num_clients": 2, "num_users": 1}));
    }
}

pub async fn joins_and_leaves_reach_the_other(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut here = bed.client("ann").await;
    here.subscribe("room:told-both").await;
    here.next().await;
    let mut there = client(&other, "bob").await;
    there.subscribe("room:told-both").await;
    let join = here.next().await;
    assert_eq!(join["join"]["info"]["user"], "bob", "{join}");
    drop(there);
    let leave = here.next().await;
    assert_eq!(leave["leave"]["info"]["user"], "bob", "{leave}");
}

pub async fn a_killed_hub_leaves_no_ghosts(bed: Rc<Bed>) {
    let mut other = bed.start_hub().await;
    let mut here = bed.client("ann").await;
    let mut there = client(&other, "bob").await;
    here.subscribe("room:ghosts").await;
    there.subscribe("room:ghosts").await;
    await_presence(&bed.hub, "room:ghosts", &[&here.id, &there.id]).await;
    other.kill().await;
    let pings = tokio::spawn(async move { while here.push_or_ping().await.is_ok() {} });
    let gone = async || (bed.hub.api.presence("room:ghosts").await.ok()?.len() == 1).then_some(());
    let (_, took) = until("the ghost to be gone", PRESENCE_TTL * 2, gone).await;
    println!("presence was clean {} ms after the kill (TTL {PRESENCE_TTL:?})", took.as_millis());
    pings.abort();
}

/// What the application does to a user is done wherever the user is.
pub async fn users_are_reached_at_the_other_hub(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut there = client(&other, "far").await;
    let channel = "stream:reached";
    let params = json!({"user": "far", "channel": channel});
    bed.hub.api.call("subscribe", params.clone()).await.expect("it is subscribed");
    let push = there.next().await;
    assert!(push["subscribe"].is_object(), "{push}");
    publish(&bed.hub, channel, json!({"data": 1})).await;
    assert_eq!(there.publication().await["data"], 1);
    bed.hub.api.call("unsubscribe", params).await.expect("it is unsubscribed");
    let push = there.next().await;
    assert_eq!(push["unsubscribe"]["code"], 2000, "{push}");
    bed.hub.api.call("disconnect", json!({"user": "far"})).await.expect("it is disconnected");
    assert_eq!(there.end().await, 3503);
}

pub async fn info_and_channels_are_of_both(bed: Rc<Bed>) {
    let other = bed.start_hub().await;
    let mut here = bed.client("ann").await;
    let mut there = client(&other, "bob").await;
    here.subscribe("plain:surveyed").await;
    there.subscribe("plain:surveyed").await;
    for hub in [&bed.hub, &other] {
        // Nodes know one another after a heartbeat.
        until("two nodes", PATIENCE, async || (nodes(hub).await >= 2).then_some(())).await;
        let found = hub.api.call("channels", json!({"pattern": "plain:surveyed"})).await.expect("it is answered");
        assert_eq!(found["channels"], json!({"plain:surveyed": {"num_clients": 2}}));
    }
}

async fn nodes(hub: &Hub) -> usize {
    let info = hub.api.call("info", json!({})).await.expect("it is answered");
    info["nodes"].as_array().map_or(0, Vec::len)
}

pub async fn a_prefix_keeps_clusters_apart(bed: Rc<Bed>) {
    let config = bed.engine.other_prefix.as_ref().expect("a fleet has a broker");
    let stranger = Hub::start(config).await;
    let mut theirs = client(&stranger, "ann").await;
    theirs.subscribe("stream:apart").await;
    theirs.subscribe("plain:apart").await;
    bed.publish("stream:apart", json!("ours")).await;
    bed.publish("plain:apart", json!("ours")).await;
    let position = publish(&stranger, "stream:apart", json!({"data": "theirs"})).await.expect("it is kept");
    assert_eq!(position.offset, 1);
    publish(&stranger, "plain:apart", json!({"data": "theirs"})).await;
    for _ in 0..2 {
        assert_eq!(theirs.publication().await["data"], Value::from("theirs"));
    }
}
