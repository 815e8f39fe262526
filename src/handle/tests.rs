//! Questions find their home, and answers their asker.

use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::model::Epoch;

fn handle(shards: u16, slots: usize) -> (Handle, Receiver<(ShardId, TrayMessage)>) {
    let (sender, receiver) = sync_channel(slots);
    let post = move |shard, message| sender.try_send((shard, message)).map_err(|refused| give_back(refused).1);
    (Handle::new(Homes::new(shards, 7), Arc::new(post)), receiver)
}

fn give_back<T>(refused: std::sync::mpsc::TrySendError<T>) -> T {
    match refused {
        std::sync::mpsc::TrySendError::Full(message) | std::sync::mpsc::TrySendError::Disconnected(message) => message,
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 255).expect("a short name")
}

#[tokio::test]
async fn a_question_goes_to_the_home_of_its_channel_and_comes_back() {
    let (handle, tray) = handle(4, 8);
    for name in ["a", "b", "c", "news:1", "news:2"] {
        let waiting = handle.presence_stats(channel(name));
        let (shard, message) = tray.try_recv().expect("the question left at the call");
        assert_eq!(shard, Homes::new(4, 7).home_of(name));
        let TrayMessage::Ask { question, answerer } = message else { panic!("not a question") };
        assert_eq!(question, Question::PresenceStats { channel: channel(name) });
        let stats = PresenceStats { clients: 3, users: 2 };
        (answerer.0)(Ok(Answered::PresenceStats(stats)));
        assert_eq!(waiting.await, Ok(stats));
    }
}

#[tokio::test]
async fn a_full_tray_is_an_answer() {
    let (handle, _tray) = handle(1, 1);
    let _first = handle.presence(channel("a"));
    assert_eq!(handle.presence(channel("a")).await, Err(ErrorCode::TooManyRequests));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_room() {
    let (handle, tray) = handle(2, 1);
    let draining = tokio::spawn(async move { handle.drain(Duration::from_secs(9)).await });
    for expected in [ShardId(0), ShardId(1)] {
        let message = loop {
            match tray.try_recv() {
                Ok(message) => break message,
                Err(_) => tokio::time::advance(TRAY_RETRY).await,
            }
        };
        assert!(
            matches!(message, (shard, TrayMessage::Drain { window }) if shard == expected && window.as_secs() == 9)
        );
    }
    draining.await.expect("the drain ends");
}

/// Answers what is in the tray, in order.
fn answer_all(tray: &Receiver<(ShardId, TrayMessage)>, answer: impl Fn(ShardId) -> Answer) {
    while let Ok((shard, TrayMessage::Ask { answerer, .. })) = tray.try_recv() {
        (answerer.0)(answer(shard));
    }
}

#[tokio::test]
async fn many_publications_are_one_question_for_each_home() {
    let (handle, tray) = handle(3, 8);
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).chain(["no:x".to_owned()]).collect();
    let publication = |name: &String| ServerPublication::new(channel(name), "1");
    let waiting = handle.publish_all(names.iter().map(publication).collect());
    let mut asked = 0;
    while let Ok((shard, TrayMessage::Ask { question, answerer })) = tray.try_recv() {
        asked += 1;
        let Question::PublishAll(publications) = question else { panic!("asked {question:?}") };
        let position = |publication: ServerPublication| {
            let name = publication.channel.as_str();
            assert_eq!(Homes::new(3, 7).home_of(name), shard);
            match name {
                "no:x" => Err(ErrorCode::UnknownChannel),
                // Where it stood in the request.
                name => {
                    Ok(Some(Position { epoch: Epoch::from_random(0), offset: name[1..].parse().expect("a number") }))
                }
            }
        };
        (answerer.0)(Ok(Answered::PublishedAll(publications.into_iter().map(position).collect())));
    }
    assert_eq!(asked, 3);
    let offsets: Vec<_> = waiting.await.into_iter().map(|published| published.map(|p| p.map(|p| p.offset))).collect();
    let expected: Vec<_> = (0..20).map(|n| Ok(Some(n))).chain([Err(ErrorCode::UnknownChannel)]).collect();
    assert_eq!(offsets, expected);
}

#[tokio::test]
async fn a_reach_asks_every_shard_and_sums() {
    let (handle, tray) = handle(3, 8);
    let reach = Reach { user: "u".into(), client: None, act: Act::Unsubscribe { channel: None } };
    let waiting = handle.reach(reach.clone());
    answer_all(&tray, |shard| Ok(Answered::Reached(10 + u64::from(shard.0))));
    assert_eq!(waiting.await, Ok(33));
    let waiting = handle.reach(reach);
    answer_all(&tray, |shard| match shard.0 {
        1 => Err(ErrorCode::TooManyRequests),
        _ => Ok(Answered::Reached(1)),
    });
    assert_eq!(waiting.await, Err(ErrorCode::TooManyRequests), "on one it was not done");
}

#[tokio::test]
async fn a_user_on_several_shards_is_counted_once() {
    let (handle, tray) = handle(3, 8);
    let waiting = handle.count_users();
    // On shard 0 two of the four users have the same key.
    let users = [(4, vec![1, 2, 3]), (2, vec![2, 5]), (0, vec![])];
    answer_all(&tray, |shard| {
        let (count, keys) = users[shard.as_index()].clone();
        Ok(Answered::Users(ShardUsers { count, keys }))
    });
    assert_eq!(waiting.await, Ok(5));
}

#[tokio::test]
async fn errors_of_the_home_come_back_and_a_stopped_home_is_internal() {
    let (handle, tray) = handle(1, 8);
    let refused = handle.presence(channel("a"));
    let stopped = handle.presence(channel("a"));
    let Ok((_, TrayMessage::Ask { answerer, .. })) = tray.try_recv() else { panic!("not a question") };
    (answerer.0)(Err(ErrorCode::NotAvailable));
    drop(tray);
    assert_eq!(refused.await, Err(ErrorCode::NotAvailable));
    assert_eq!(stopped.await, Err(ErrorCode::Internal));
}

#[tokio::test(start_paused = true)]
async fn a_silent_home_is_not_waited_for_forever() {
    let (handle, _tray) = handle(1, 8);
    assert_eq!(handle.presence(channel("a")).await, Err(ErrorCode::Internal));
}
