//! Which channels a listener hears, or has asked to hear.

use std::collections::VecDeque;
use std::mem::take;
use std::time::Instant;

use ahash::AHashMap;

use crate::engine::contract::RequestId;
use crate::model::{ChannelName, ShardId};

/// Whom to tell once a channel is heard.
pub type Waiter = (ShardId, RequestId);

/// The channels of one connection.
///
/// Each try to subscribe has a ticket of its own: the server's word about an earlier one says nothing about this.
///
/// Invariants: a channel that is `Asked` is in `queue` or in `sent` with its ticket; `unconfirmed` is how many
/// `sent` holds.
#[derive(Default)]
pub struct Subscriptions {
    channels: AHashMap<ChannelName, Subscription>,
    queue: VecDeque<Try>,
    /// What the server has not confirmed, by command, oldest first.
    sent: VecDeque<VecDeque<Try>>,
    unconfirmed: usize,
    /// Whose time may come to be up, oldest first.
    deadlines: VecDeque<(Instant, Try)>,
    next_ticket: u64,
}

enum Subscription {
    Heard,
    Asked(Box<Asking>),
}

struct Asking {
    ticket: u64,
    is_sent: bool,
    waiters: Vec<Waiter>,
    /// It was heard before, so something may be missing.
    has_gap: bool,
}

type Try = (ChannelName, u64);

/// A channel that another server has to hear now.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    pub channel: ChannelName,
    pub waiters: Vec<Waiter>,
    pub has_gap: bool,
}

/// What an `unlisten` leaves to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unlistened {
    /// The server knows of it.
    pub is_sent: bool,
    pub waiters: Vec<Waiter>,
}

impl Subscriptions {
    /// Wants to hear the channel; the waiter is returned at once if it is heard already.
    pub fn listen(&mut self, channel: ChannelName, waiter: Waiter, until: Instant) -> Option<Waiter> {
        let ticket = match self.channels.get_mut(&channel) {
            Some(Subscription::Heard) => return Some(waiter),
            Some(Subscription::Asked(asking)) => {
                asking.waiters.push(waiter);
                asking.ticket
            }
            None => self.ask(channel.clone(), vec![waiter], false),
        };
        self.deadlines.push_back((until, (channel, ticket)));
        None
    }

    /// Wants to hear what another server no longer has.
    pub fn take_over(&mut self, moved: Moved) {
        self.ask(moved.channel, moved.waiters, moved.has_gap);
    }

    pub fn unlisten(&mut self, channel: &str) -> Unlistened {
        match self.channels.remove(channel) {
            None => Unlistened::default(),
            Some(Subscription::Heard) => Unlistened { is_sent: true, waiters: Vec::new() },
            Some(Subscription::Asked(asking)) => Unlistened { is_sent: asking.is_sent, waiters: asking.waiters },
        }
    }

    /// The name as the table has it, if the channel is wanted.
    pub fn find(&self, channel: &str) -> Option<&ChannelName> {
        self.channels.get_key_value(channel).map(|(name, _)| name)
    }

    /// Up to `count` channels for the next command; they count as sent.
    pub fn next_batch(&mut self, count: usize) -> Vec<ChannelName> {
        let mut batch = VecDeque::new();
        while batch.len() < count {
            let Some((channel, ticket)) = self.queue.pop_front() else { break };
            if let Some(asking) = self.asking(channel.as_str(), ticket) {
                asking.is_sent = true;
                batch.push_back((channel, ticket));
            }
        }
        let names = batch.iter().map(|(channel, _)| channel.clone()).collect();
        self.unconfirmed += batch.len();
        if !batch.is_empty() {
            self.sent.push_back(batch);
        }
        names
    }

    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    pub fn is_settled(&self) -> bool {
        self.unconfirmed == 0 && self.queue.is_empty()
    }

    /// The server hears the oldest channel of those sent. `None`: that was not `channel`.
    ///
    /// Returns who waited for it, and whether something may be missing.
    pub fn confirm(&mut self, channel: &str) -> Option<(Vec<Waiter>, bool)> {
        let batch = self.sent.front_mut()?;
        let (sent, ticket) = batch.pop_front()?;
        if batch.is_empty() {
            self.sent.pop_front();
        }
        self.unconfirmed -= 1;
        if sent.as_str() != channel {
            return None;
        }
        let Some(asking) = self.asking(channel, ticket) else { return Some((Vec::new(), false)) };
        let outcome = (take(&mut asking.waiters), asking.has_gap);
        self.channels.insert(sent, Subscription::Heard);
        Some(outcome)
    }

    /// The server refused the oldest command: its channels are not wanted of it any more.
    pub fn refused(&mut self) -> Vec<Moved> {
        let batch = self.sent.pop_front().unwrap_or_default();
        self.unconfirmed -= batch.len();
        batch.into_iter().filter_map(|(channel, ticket)| self.give_up(channel, ticket)).collect()
    }

    /// The server stopped to hear the channel by itself: it has to be asked anew.
    pub fn dropped(&mut self, channel: &str) {
        if let Some((name, Subscription::Heard)) = self.channels.get_key_value(channel) {
            let name = name.clone();
            self.ask(name, Vec::new(), true);
        }
    }

    /// Those who have waited for too long, with their channels, which are not wanted any more.
    pub fn expire(&mut self, now: Instant) -> Vec<Moved> {
        let mut expired = Vec::new();
        while self.deadlines.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, (channel, ticket))) = self.deadlines.pop_front() else { break };
            expired.extend(self.give_up(channel, ticket));
        }
        expired
    }

    /// The connection broke: what was heard is asked anew. Returns those who wait in vain.
    pub fn broke(&mut self) -> Vec<Waiter> {
        let before = take(self);
        self.next_ticket = before.next_ticket;
        let mut waiters = Vec::new();
        for (channel, subscription) in before.channels {
            match subscription {
                Subscription::Asked(asking) if !asking.has_gap => waiters.extend(asking.waiters),
                Subscription::Asked(asking) => {
                    waiters.extend(asking.waiters);
                    self.ask(channel, Vec::new(), true);
                }
                Subscription::Heard => drop(self.ask(channel, Vec::new(), true)),
            }
        }
        waiters
    }

    /// Gives up the channels that are not `kept`; something may be missing of each, until another server hears it.
    pub fn yield_all_but(&mut self, kept: impl Fn(&str) -> bool) -> Vec<Moved> {
        let leaving = self.channels.extract_if(|channel, _| !kept(channel.as_str()));
        let moved = leaving.map(|(channel, subscription)| match subscription {
            Subscription::Heard => Moved { channel, waiters: Vec::new(), has_gap: true },
            Subscription::Asked(asking) => Moved { channel, waiters: asking.waiters, has_gap: asking.has_gap },
        });
        moved.collect()
    }

    /// Returns the ticket of the try.
    fn ask(&mut self, channel: ChannelName, waiters: Vec<Waiter>, has_gap: bool) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let asking = Asking { ticket, is_sent: false, waiters, has_gap };
        self.channels.insert(channel.clone(), Subscription::Asked(Box::new(asking)));
        self.queue.push_back((channel, ticket));
        ticket
    }

    fn asking(&mut self, channel: &str, ticket: u64) -> Option<&mut Asking> {
        match self.channels.get_mut(channel)? {
            Subscription::Asked(asking) if asking.ticket == ticket => Some(asking),
            _ => None,
        }
    }

    fn give_up(&mut self, channel: ChannelName, ticket: u64) -> Option<Moved> {
        let asking = self.asking(channel.as_str(), ticket)?;
        let moved = Moved { channel, waiters: take(&mut asking.waiters), has_gap: asking.has_gap };
        self.channels.remove(&moved.channel);
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text, 255).expect("a short name")
    }

    fn waiter(n: u64) -> Waiter {
        (ShardId(0), RequestId(n))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn listening(channels: &[&str]) -> Subscriptions {
        let mut table = Subscriptions::default();
        for (n, channel) in (1..).zip(channels) {
            assert_eq!(table.listen(name(channel), waiter(n), soon()), None);
        }
        table
    }

    fn sent(table: &mut Subscriptions) -> Vec<String> {
        table.next_batch(10).iter().map(ChannelName::to_string).collect()
    }

    #[test]
    fn who_waits_is_told_once_the_server_hears() {
        let mut table = listening(&["a", "b", "a"]);
        assert_eq!(sent(&mut table), ["a", "b"]);
        assert_eq!(table.confirm("a"), Some((vec![waiter(1), waiter(3)], false)));
        assert_eq!(table.listen(name("a"), waiter(4), soon()), Some(waiter(4)));
        assert!(!table.is_settled());
        assert_eq!(table.confirm("b"), Some((vec![waiter(2)], false)));
        assert!(table.is_settled());
        assert_eq!(table.confirm("c"), None, "nobody asked for it");
    }

    #[test]
    fn a_confirmation_counts_for_its_own_try_only() {
        let mut table = listening(&["a"]);
        sent(&mut table);
        assert_eq!(table.unlisten("a"), Unlistened { is_sent: true, waiters: vec![waiter(1)] });
        table.listen(name("a"), waiter(2), soon());
        assert_eq!(sent(&mut table), ["a"]);
        assert_eq!(table.confirm("a"), Some((vec![], false)), "that was the first one's");
        assert_eq!(table.confirm("a"), Some((vec![waiter(2)], false)));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_not_sent() {
        let mut table = listening(&["a", "b"]);
        assert_eq!(table.unlisten("a"), Unlistened { is_sent: false, waiters: vec![waiter(1)] });
        assert_eq!(sent(&mut table), ["b"]);
        assert!(table.find("a").is_none() && table.find("b").is_some());
    }

    #[test]
    fn after_a_break_all_that_was_heard_is_asked_again_and_has_a_gap() {
        let mut table = listening(&["a", "b", "c"]);
        assert_eq!(table.next_batch(2).len(), 2);
        table.confirm("a");
        let mut waiters = table.broke();
        waiters.sort_by_key(|(_, id)| id.0);
        assert_eq!(waiters, [waiter(2), waiter(3)], "they ask again, if they want");
        assert_eq!(sent(&mut table), ["a"]);
        assert_eq!(table.broke(), []);
        assert_eq!(sent(&mut table), ["a"], "also if it breaks before");
        assert_eq!(table.confirm("a"), Some((vec![], true)));
    }

    #[test]
    fn a_refusal_is_of_one_command() {
        let mut table = listening(&["a", "b"]);
        table.next_batch(1);
        table.next_batch(1);
        assert_eq!(table.refused(), [Moved { channel: name("a"), waiters: vec![waiter(1)], has_gap: false }]);
        assert_eq!(table.confirm("b"), Some((vec![waiter(2)], false)));
        assert!(table.find("a").is_none());
    }

    #[test]
    fn waiting_has_an_end() {
        let mut table = listening(&["b", "a"]);
        sent(&mut table);
        table.confirm("b");
        assert_eq!(table.expire(Instant::now()), []);
        let expired = table.expire(soon() + Duration::from_secs(1));
        assert_eq!(expired, [Moved { channel: name("a"), waiters: vec![waiter(2)], has_gap: false }]);
        assert_eq!(table.confirm("a"), Some((vec![], false)), "too late");
        assert!(table.find("a").is_none());
    }

    #[test]
    fn another_server_takes_over() {
        let mut table = listening(&["a", "b"]);
        sent(&mut table);
        table.confirm("a");
        let mut moved = table.yield_all_but(|_| false);
        moved.sort_by(|one, other| one.channel.cmp(&other.channel));
        assert_eq!(moved[0], Moved { channel: name("a"), waiters: vec![], has_gap: true });
        assert_eq!(moved[1], Moved { channel: name("b"), waiters: vec![waiter(2)], has_gap: false });
        let mut other = Subscriptions::default();
        moved.into_iter().for_each(|moved| other.take_over(moved));
        sent(&mut other);
        assert_eq!(other.confirm("a"), Some((vec![], true)));
        assert_eq!(other.confirm("b"), Some((vec![waiter(2)], false)));
    }

    #[test]
    fn what_the_server_drops_is_asked_again() {
        let mut table = listening(&["a"]);
        sent(&mut table);
        table.confirm("a");
        table.dropped("a");
        table.dropped("unknown");
        assert_eq!(sent(&mut table), ["a"]);
        assert_eq!(table.confirm("a"), Some((vec![], true)));
    }
}
