//! Journals with one planted violation each, which the checker must name, and right ones, which it must pass.

use std::time::Instant;

use crate::rig::checker::{Invariant, Losses, Rules, check};
use crate::rig::journal::{Entry, Event, Message, Position, Start};

const CHANNEL: &str = "stream:a";
const STRICT: Rules = Rules { losses: Losses::None, history_size: 100 };

fn message(number: u64) -> Message {
    Message { publisher: 1, number }
}

fn place(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

fn sent(number: u64) -> Event {
    Event::Sent { channel: CHANNEL.into(), message: message(number) }
}

fn confirmed(number: u64, offset: u64) -> Event {
    Event::Confirmed { channel: CHANNEL.into(), message: message(number), position: Some(place("e", offset)) }
}

fn subscribed(start: Start, epoch: &str, offset: u64) -> Event {
    Event::Subscribed { reader: 7, channel: CHANNEL.into(), start, position: Some(place(epoch, offset)) }
}

fn received(number: u64, offset: u64) -> Event {
    Event::Received { reader: 7, channel: CHANNEL.into(), message: message(number), offset }
}

fn ended() -> Event {
    Event::Ended { reader: 7, channel: CHANNEL.into(), reason: "cut".into() }
}

/// The stream holds message n at offset n, up to `top`.
fn history(epoch: &str, top: u64) -> Event {
    let publications = (1..=top).map(|offset| (offset, message(offset))).collect();
    Event::History { channel: CHANNEL.into(), top: place(epoch, top), publications }
}

/// What the checker finds, without doubles.
fn found(rules: Rules, events: Vec<Event>) -> Vec<Invariant> {
    let entries: Vec<Entry> = events.into_iter().map(|event| Entry { at: Instant::now(), event }).collect();
    let mut found: Vec<Invariant> =
        check(&entries, rules).err().unwrap_or_default().iter().map(|violation| violation.invariant).collect();
    found.sort();
    found.dedup();
    found
}

/// Three publications, all received.
fn three() -> Vec<Event> {
    let mut events = vec![subscribed(Start::New, "e", 0)];
    for number in 1..=3 {
        events.extend([sent(number), confirmed(number, number), received(number, number)]);
    }
    events
}

fn check_found(change: impl FnOnce(&mut Vec<Event>), expected: &[Invariant]) {
    let mut events = three();
    change(&mut events);
    assert_eq!(found(STRICT, events), expected);
}

#[test]
fn a_right_journal_passes() {
    check_found(|events| events.push(history("e", 3)), &[]);
    let recovery = vec![ended(), sent(4), confirmed(4, 4), subscribed(Start::Recovered, "e", 3), received(4, 4)];
    check_found(|events| events.extend(recovery.into_iter().chain([history("e", 4)])), &[]);
    let told = vec![ended(), sent(4), confirmed(4, 4), subscribed(Start::NotRecovered, "e", 4), history("e", 4)];
    check_found(|events| events.extend(told), &[]);
}

#[test]
fn a_duplicate_is_found() {
    check_found(|events| events.push(received(3, 3)), &[Invariant::OrderedOnce]);
}

#[test]
fn reordering_is_found() {
    check_found(|events| events.swap(3, 6), &[Invariant::OrderedOnce, Invariant::NoSilentGap, Invariant::Entitlement]);
    // Of two that were sent before either came.
    let events = vec![sent(4), sent(5), received(5, 5), received(4, 4)];
    check_found(|before| before.extend(events), &[Invariant::OrderedOnce, Invariant::NoSilentGap]);
}

#[test]
fn an_offset_with_two_meanings_is_found() {
    check_found(|events| events.extend([sent(9), confirmed(9, 3)]), &[Invariant::OrderedOnce]);
}

#[test]
fn a_silent_gap_is_found() {
    check_found(|events| drop(events.remove(6)), &[Invariant::NoSilentGap]);
}

#[test]
fn a_tail_that_never_came_is_found() {
    let events = vec![sent(4), confirmed(4, 4), history("e", 4)];
    check_found(|before| before.extend(events), &[Invariant::NoSilentGap]);
}

#[test]
fn a_stream_that_changed_its_epoch_in_silence_is_found() {
    let rules = Rules { losses: Losses::WithNewEpoch, ..STRICT };
    let mut events = three();
    events.push(history("f", 3));
    assert_eq!(found(rules, events), [Invariant::NoSilentGap]);
}

#[test]
fn a_recovery_from_elsewhere_is_found() {
    let events = vec![ended(), subscribed(Start::Recovered, "e", 2), received(3, 3)];
    check_found(|before| before.extend(events), &[Invariant::NoSilentGap]);
    // It says that it has recovered, and leaves one out.
    let events = vec![ended(), subscribed(Start::Recovered, "e", 3), sent(5), received(5, 5)];
    check_found(|before| before.extend(events), &[Invariant::NoSilentGap]);
}

#[test]
fn a_stream_that_went_back_is_found() {
    let events = vec![ended(), subscribed(Start::NotRecovered, "e", 2)];
    check_found(|before| before.extend(events), &[Invariant::NoSilentGap]);
}

#[test]
fn a_delivery_after_a_withdrawal_is_found() {
    let revoked = || Event::Revoked { reader: 7, channel: CHANNEL.into() };
    check_found(|events| events.extend([revoked(), sent(4), received(4, 4)]), &[Invariant::Entitlement]);
    // What was sent before it may still come, and all may after the next grant.
    check_found(|events| events.extend([sent(4), revoked(), received(4, 4)]), &[]);
    let granted = Event::Granted { reader: 7, channel: CHANNEL.into() };
    check_found(|events| events.extend([revoked(), granted, sent(4), received(4, 4)]), &[]);
}

#[test]
fn a_delivery_after_the_end_or_from_elsewhere_is_found() {
    check_found(|events| events.extend([ended(), sent(4), received(4, 4)]), &[Invariant::Entitlement]);
    check_found(|events| events.push(received(4, 4)), &[Invariant::Entitlement]);
}

#[test]
fn a_confirmed_publication_that_is_lost_is_found() {
    let lost = vec![ended(), sent(4), confirmed(4, 4), history("e", 3)];
    check_found(|events| events.extend(lost), &[Invariant::ConfirmedKept]);
    check_found(|events| events.extend([ended(), history("f", 0)]), &[Invariant::ConfirmedKept]);
    // An engine that may lose its streams says so by another epoch; the same one is no excuse.
    let rules = Rules { losses: Losses::WithNewEpoch, ..STRICT };
    let mut events = three();
    events.extend([ended(), history("f", 0)]);
    assert_eq!(found(rules, events), []);
    let mut events = three();
    events.extend([ended(), history("e", 2)]);
    assert_eq!(found(rules, events), [Invariant::ConfirmedKept]);
}

#[test]
fn a_publication_that_is_trimmed_is_not_lost() {
    let rules = Rules { history_size: 1, ..STRICT };
    let mut events = three();
    let publications = vec![(3, message(3))];
    events.push(Event::History { channel: CHANNEL.into(), top: place("e", 3), publications });
    assert_eq!(found(rules, events.clone()), []);
    assert_eq!(found(STRICT, events), [Invariant::ConfirmedKept]);
}

#[test]
fn a_message_that_is_in_the_stream_twice_is_found() {
    let again = vec![ended(), sent(3), confirmed(3, 4)];
    check_found(|events| events.extend(again), &[Invariant::ConfirmedKept]);
}

#[test]
fn a_hole_in_the_history_is_found() {
    let publications = vec![(1, message(1)), (3, message(3))];
    let holey = Event::History { channel: CHANNEL.into(), top: place("e", 3), publications };
    check_found(|events| events.push(holey), &[Invariant::ConfirmedKept]);
}

#[test]
fn hubs_that_disagree_are_found() {
    check_found(|events| events.extend([history("e", 3), history("e", 3)]), &[]);
    check_found(|events| events.extend([ended(), history("f", 3), history("e", 3)]), &[Invariant::ConfirmedKept]);
}

#[test]
fn plain_channels_may_lose_and_never_repeat() {
    let channel = || "plain:a".to_owned();
    let subscribed = Event::Subscribed { reader: 7, channel: channel(), start: Start::New, position: None };
    let sent = |number| Event::Sent { channel: channel(), message: message(number) };
    let received = |number| Event::Received { reader: 7, channel: channel(), message: message(number), offset: 0 };
    let right = vec![subscribed, sent(1), sent(2), sent(3), received(1), received(3)];
    assert_eq!(found(STRICT, right.clone()), []);
    for number in [3, 2] {
        let mut wrong = right.clone();
        wrong.push(received(number));
        assert_eq!(found(STRICT, wrong), [Invariant::OrderedOnce]);
    }
    let failed = Event::Unconfirmed { channel: channel(), message: message(2), reason: "error 100".into() };
    let mut late = right;
    late.extend([failed, received(2)]);
    assert_eq!(found(STRICT, late.clone()), [], "its publisher went on without an answer");
    late.push(received(2));
    assert_eq!(found(STRICT, late), [Invariant::OrderedOnce]);
}
