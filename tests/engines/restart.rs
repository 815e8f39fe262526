use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bed::{Bed, client, publish};
use crate::recovery::from;
use crate::rig::balancer::Balancer;
use crate::rig::checker::{Losses, Rules, check};
use crate::rig::engine::Keeps;
use crate::rig::hub::{HISTORY_SIZE, Hub};
use crate::rig::journal::{Event, Journal, Standing};
use crate::rig::publisher::{Load, Publisher, Retry};
use crate::rig::reader::Reader;
use crate::rig::{PATIENCE, until};
use crate::streams::data;

pub async fn what_survives_a_kill_is_recovered(bed: Rc<Bed>) {
    let mut hub = bed.start_hub().await;
    let mut epoch = Value::Null;
    for number in 1..=20 {
        let position = publish(&hub, "stream:survives", json!({"data": number})).await.expect("it is kept");
        epoch = json!(position.epoch);
    }
    hub.kill().await;
    hub.start_again().await;
    let mut back = client(&hub, "ann").await;
    let reply = back.subscribe_with("stream:survives", from(&epoch, 15)).await.expect("it may subscribe");
    match bed.engine.keeps {
        Keeps::WhatWasConfirmed => {
            assert_eq!((&reply["recovered"], &reply["epoch"]), (&json!(true), &epoch));
            let missed = data(reply["publications"].as_array().expect("a list"));
            assert_eq!(missed, (16..=20).map(Value::from).collect::<Vec<_>>());
            let next = publish(&hub, "stream:survives", json!({"data": 21})).await.expect("it is kept");
            assert_eq!((next.offset, json!(next.epoch)), (21, epoch));
        }
        Keeps::Nothing => {
            assert_eq!((&reply["recovered"], &reply["offset"]), (&Value::Null, &Value::Null));
            assert_ne!(reply["epoch"], epoch);
        }
    }
}

pub async fn keys_survive_with_their_stream(bed: Rc<Bed>) {
    let mut hub = bed.start_hub().await;
    let params = json!({"data": 1, "idempotency_key": "k", "version": 5});
    let first = publish(&hub, "stream:keys-survive", params.clone()).await;
    hub.kill().await;
    hub.start_again().await;
    let again = publish(&hub, "stream:keys-survive", params).await;
    let older = publish(&hub, "stream:keys-survive", json!({"data": 2, "version": 4})).await;
    match bed.engine.keeps {
        Keeps::WhatWasConfirmed => assert_eq!((&again, &older), (&first, &first)),
        Keeps::Nothing => assert_ne!(again, first),
    }
}

/// Publishers and readers over two kills, and the checker over all they saw.
pub async fn readers_are_never_deceived(bed: Rc<Bed>) {
    let mut hub = bed.start_hub().await;
    let journal = Journal::default();
    let hubs = Balancer::new(&[hub.address]);
    let readers: Vec<Reader> =
        (0..5).map(|number| Reader::start(number, &hubs, &["stream:deceived"], &journal)).collect();
    let (publisher, every) = (1, Duration::from_millis(2));
    let load = Load { publisher, channel: "stream:deceived".into(), every, retry: Retry::UntilConfirmed };
    let publisher = Publisher::start(load, &hubs, &journal);
    for round in 1..=3 {
        await_confirmed(&journal, round * 100).await;
        if round < 3 {
            hub.kill().await;
            hub.start_again().await;
        }
    }
    publisher.stop().await;
    finish(&hub, "stream:deceived", readers, &journal).await;
    let losses = match bed.engine.keeps {
        Keeps::WhatWasConfirmed => Losses::None,
        Keeps::Nothing => Losses::WithNewEpoch,
    };
    let rules = Rules { losses, history_size: HISTORY_SIZE };
    let summary = check(&journal.entries(), rules).unwrap_or_else(|violations| panic!("{violations:#?}"));
    assert!(summary.received > 1_000, "{summary:?}");
}

async fn await_confirmed(journal: &Journal, more: usize) {
    let confirmed = || journal.count(|event| matches!(event, Event::Confirmed { .. }));
    let goal = confirmed() + more;
    let what = format!("{goal} confirmed publishes");
    until(&what, PATIENCE, async || (confirmed() >= goal).then_some(())).await;
}

/// Waits until every reader stands at the end of the stream, and writes the history down.
async fn finish(hub: &Hub, channel: &str, readers: Vec<Reader>, journal: &Journal) {
    let top = journal.read_history(&hub.api, channel).await;
    Standing::of(journal).reaches(channel, &top, readers.len(), PATIENCE).await;
    for reader in readers {
        reader.stop().await;
    }
}
