use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::rig::hub::{Hub, PRESENCE_TTL};
use crate::rig::{PATIENCE, until};

/// Waits until exactly these clients are in a channel, as the hub says; gives how long that took.
pub async fn await_presence(hub: &Hub, channel: &str, clients: &[&str]) -> Duration {
    let mut expected: Vec<&str> = clients.to_vec();
    expected.sort_unstable();
    let what = format!("{expected:?} to be all who are in {channel}");
    let look = async || {
        let mut found = hub.api.presence(channel).await.ok()?;
        found.sort();
        (found == expected).then_some(())
    };
    until(&what, PATIENCE, look).await.1
}

pub async fn who_is_there_is_listed_and_counted(bed: Rc<Bed>) {
    let mut phone = bed.client("ann").await;
    let mut laptop = bed.client("ann").await;
    let mut bob = bed.client("bob").await;
    for client in [&mut phone, &mut laptop, &mut bob] {
        client.subscribe("room:listed").await;
    }
    // A broker may have them a moment later than they are answered.
    await_presence(&bed.hub, "room:listed", &[&phone.id, &laptop.id, &bob.id]).await;
    let reply = bob.ask("presence", json!({"channel": "room:listed"})).await.expect("it may ask");
    let listed = reply["presence"].as_object().expect("a table");
    assert_eq!(listed.len(), 3, "{reply}");
    assert_eq!(listed[&phone.id]["user"], "ann");
    let stats = bed.hub.api.call("presence_stats", json!({"channel": "room:listed"})).await.expect("there is presence");
    assert_eq!((&stats["num_clients"], &stats["num_users"]), (&json!(3), &json!(2)));
}

pub async fn who_leaves_or_is_cut_is_not_listed(bed: Rc<Bed>) {
    let mut ann = bed.client("ann").await;
    let mut bob = bed.client("bob").await;
    let mut eve = bed.client("eve").await;
    for client in [&mut ann, &mut bob, &mut eve] {
        client.subscribe("room:left").await;
    }
    bob.ask("unsubscribe", json!({"channel": "room:left"})).await.expect("it may leave");
    drop(eve);
    let took = await_presence(&bed.hub, "room:left", &[&ann.id]).await;
    assert!(took < PRESENCE_TTL / 2, "not by waiting for the end of its time: {took:?}");
    let stats = bed.hub.api.call("presence_stats", json!({"channel": "room:left"})).await.expect("there is presence");
    assert_eq!(stats, json!({"num_clients": 1, "num_users": 1}));
}

pub async fn joins_and_leaves_are_told(bed: Rc<Bed>) {
    let mut ann = bed.client("ann").await;
    ann.subscribe("room:told").await;
    let own = ann.next().await;
    assert_eq!(own["join"]["info"]["client"], json!(ann.id));
    let mut bob = bed.client("bob").await;
    bob.subscribe("room:told").await;
    bed.publish("room:told", json!("between")).await;
    bob.ask("unsubscribe", json!({"channel": "room:told"})).await.expect("it may leave");
    let told = [ann.next().await, ann.next().await, ann.next().await];
    assert_eq!(told[0]["join"]["info"]["user"], "bob", "{told:?}");
    assert_eq!(told[1]["pub"]["data"], "between", "{told:?}");
    assert_eq!((&told[2]["leave"]["info"]["client"], &told[2]["pub"]), (&json!(bob.id), &Value::Null), "{told:?}");
}

/// Looks all the while: presence is prolonged before it ends.
pub async fn who_stays_is_listed_past_the_ttl(bed: Rc<Bed>) {
    let mut ann = bed.client("ann").await;
    ann.subscribe("room:stays").await;
    let began = Instant::now();
    while began.elapsed() < PRESENCE_TTL + Duration::from_secs(1) {
        let listed = bed.hub.api.presence("room:stays").await.expect("there is presence");
        assert_eq!(listed, [ann.id.as_str()], "after {:?}", began.elapsed());
        // Reads on, so that pings are answered; a ping comes every two seconds.
        tokio::time::timeout(Duration::from_millis(50), ann.push_or_ping()).await.ok();
    }
}
