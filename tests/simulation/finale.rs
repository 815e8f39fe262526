//! The end of a run: faults stop, and everything has to come to rest as it should.

use std::collections::{BTreeSet, HashMap};

use fanfare::model::ClientId;
use fanfare::telemetry::{Counter, Gauge, Remedy};

use super::client::{Link, LinkPhase, User};
use super::ledger::{Checked, Fate, Log, Promise, Publisher, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::order;
use super::report::Mark;
use super::subscription::Subscription;
use super::world::{Act, CLIENTS, Event, MS, Micros, SECOND, World};

impl World {
    pub fn finale(&mut self, act: Act) -> Checked {
        match act {
            Act::Heal => self.heal(),
            Act::Mark { channel } => {
                let number = self.api_publish(channel, 0, false);
                self.markers.insert(channel, (number, self.now));
            }
            Act::AskTops => self.ask_tops(),
            Act::Compare => self.compare()?,
            Act::CompareAgain => {
                self.compare_clients(true)?;
                self.close_all();
            }
            Act::AllGone => {
                self.check_gone()?;
                self.is_done = true;
            }
        }
        Ok(())
    }

    /// Whoever is impaired comes back anew; then nothing happens any more but a last publication
    /// in each channel.
    fn heal(&mut self) {
        self.note(|| "the faults end".to_string());
        self.is_faulty = false;
        for client in 0..CLIENTS {
            let passes = matches!(self.clients[client].user, User::Passing(_));
            let is_fine = |phase| matches!(phase, LinkPhase::Ready | LinkPhase::Connecting);
            let is_drained = |link: &Link| self.drained == Some(self.sockets[link.socket].shard);
            let ends = |link: &Link| link.subscriptions.iter().flatten().any(|held| held.end.is_some());
            let stays =
                |link: &Link| !passes && link.is_well && is_fine(link.phase) && !is_drained(link) && !ends(link);
            if self.clients[client].link.as_ref().is_some_and(|link| !stays(link)) {
                self.cut(client);
            }
        }
        // A stall may still be on, and its end is when the rest begins.
        let frozen = self.loops.iter().map(|it| it.frozen_until.saturating_sub(self.now)).max().unwrap_or(0);
        let rest = frozen + 5 * SECOND;
        for channel in 0..CHANNELS.len() {
            self.after(rest + channel as u64 * 20 * MS, Event::Finale(Act::Mark { channel }));
        }
        self.after(rest + 1500 * MS, Event::Finale(Act::AskTops));
        self.after(rest + 2000 * MS, Event::Finale(Act::Compare));
        // By then brief streams are gone, and every position was checked since.
        let checked = rest + 4500 * MS + self.plan.options.position_check_delay.as_micros() as Micros;
        self.after(checked, Event::Finale(Act::AskTops));
        self.after(checked + 500 * MS, Event::Finale(Act::CompareAgain));
    }

    fn ask_tops(&mut self) {
        self.api.forget_answers();
        for (channel, kind) in CHANNELS.iter().map(|channel| &channel.kind).enumerate() {
            if kind.has_history() {
                let limit = if kind.keeps_all() { -1 } else { 0 };
                self.api_history(channel, limit, None);
            }
            if kind.has_presence {
                self.api_presence(channel);
            }
        }
    }

    fn compare(&mut self) -> Checked {
        self.compare_clients(false)?;
        self.check_presence()?;
        self.check_gauges()?;
        self.check_streams()?;
        self.check_losses()
    }

    fn compare_clients(&self, is_checked: bool) -> Checked {
        (0..CLIENTS).try_for_each(|client| self.compare_client(client, is_checked))
    }

    /// The client is where it wants to be, and has what there is. That a stream is gone, without
    /// another publication in it, is noticed when positions are checked.
    fn compare_client(&self, client: usize, is_checked: bool) -> Checked {
        let late = |what: String| violated(Promise::I5, format!("at the end, client {client} {what}"));
        let Some(link) = self.clients[client].link.as_ref().filter(|link| link.phase == LinkPhase::Ready) else {
            return late("is not connected".to_string());
        };
        if let Some(asked) = link.asked.front() {
            return late(format!("waits for the reply to {:?}", asked.question));
        }
        for (channel, wish) in self.clients[client].wishes.iter().enumerate() {
            let (name, kind) = (CHANNELS[channel].name, CHANNELS[channel].kind);
            if kind.has_history() && !is_checked && (!kind.is_lasting() || self.evicted() > 0) {
                continue;
            }
            match &link.subscriptions[channel] {
                None if wish.is_some() => return late(format!("is not in {name}")),
                None => {}
                Some(subscription) => {
                    let newest = subscription.log.last().copied();
                    let (held, top) = (subscription.position, self.api.tops.get(&channel).copied());
                    if held.is_some() && held != top {
                        return late(format!("is at {held:?} in {name}, the stream at {top:?}"));
                    }
                    let Some((marker, marked_at)) = self.markers.get(&channel).copied() else { continue };
                    // Who came since then has it by its position alone, if at all.
                    if subscription.began < marked_at && newest != Some(marker) {
                        return late(format!("did not get the last publication in {name}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn members(&self, channel: ChannelIndex) -> BTreeSet<ClientId> {
        let links = self.clients.iter().filter_map(|client| client.link.as_ref());
        let is_listed = |held: &Subscription| !held.is_hidden;
        links
            .filter(|link| link.subscriptions[channel].as_ref().is_some_and(is_listed))
            .filter_map(|link| link.id)
            .collect()
    }

    /// Presence is who is subscribed. Whose stream is gone may be told so at any time until positions are
    /// checked, and subscribes anew.
    fn check_presence(&self) -> Checked {
        for (channel, present) in &self.api.present {
            if CHANNELS[*channel].kind.has_history() && self.evicted() > 0 {
                continue;
            }
            let present: BTreeSet<ClientId> = present.iter().copied().collect();
            let members = self.members(*channel);
            let name = CHANNELS[*channel].name;
            // That somebody left may have been lost while the broker was away.
            let may_have_ghosts = self.is_let_down(*channel) && !self.is_closing;
            if may_have_ghosts && present.is_superset(&members) {
                continue;
            }
            if present != members {
                return violated(Promise::I5, format!("{name}: present are {present:?}, subscribed {members:?}"));
            }
            if self.api.present_counts.get(channel) != Some(&(members.len() as u32)) {
                return violated(Promise::I5, format!("{name}: presence counts other clients than it lists"));
            }
        }
        Ok(())
    }

    /// Nothing is left over inside.
    fn check_gauges(&self) -> Checked {
        let sum = |gauge| self.loops.iter().map(|it| it.metrics.gauge(gauge)).sum::<u64>();
        let links: Vec<_> = self.clients.iter().filter_map(|client| client.link.as_ref()).collect();
        let subscriptions = links.iter().flat_map(|link| &link.subscriptions).flatten().count() as u64;
        let is_room = |channel: &usize| links.iter().any(|link| link.subscriptions[*channel].is_some());
        let rooms = (0..CHANNELS.len()).filter(is_room).count() as u64;
        let connections: usize = self.loops.iter().map(|it| it.shard.connections()).sum();
        // A turn may be under way, with something just said, as long as there are connections.
        let waiting = |gauge| if self.is_closing { sum(gauge) } else { 0 };
        let expected = [
            ("connections", links.len() as u64, connections as u64),
            ("connections by gauge", links.len() as u64, sum(Gauge::Connections)),
            ("subscriptions", subscriptions, sum(Gauge::Subscriptions)),
            ("rooms", rooms, sum(Gauge::Rooms)),
            ("messages waiting for lanes", 0, waiting(Gauge::LaneDepth)),
            ("bytes in outboxes", 0, waiting(Gauge::OutboxBytes)),
        ];
        match expected.iter().find(|(_, expected, actual)| expected != actual) {
            Some((what, expected, actual)) => {
                violated(Promise::I5, format!("{actual} {what}, {expected} are known of"))
            }
            None => Ok(()),
        }
    }

    /// What was confirmed is in the stream, the stream began once, and all saw one order.
    fn check_streams(&mut self) -> Checked {
        if self.evicted() == 0 {
            for (number, published) in self.ledger.published().iter().enumerate() {
                let is_kept = CHANNELS[published.channel].kind.keeps_all() && !published.skips_history;
                if is_kept && published.fate == Fate::Confirmed && !self.ledger.has_place(number as u32) {
                    let name = CHANNELS[published.channel].name;
                    return violated(Promise::I4, format!("{name}: {number} was confirmed and is not in the stream"));
                }
            }
            for (channel, it) in CHANNELS.iter().enumerate() {
                if it.kind.is_lasting() && self.ledger.lives(channel) > 1 {
                    return violated(Promise::I2, format!("{}: its stream began again", it.name));
                }
            }
        } else {
            self.tally.add(Mark::Evictions, self.evicted());
        }
        let count = self.ledger.published().len();
        let current = self.clients.iter().filter_map(|client| client.link.as_ref());
        let current = current.flat_map(|link| link.subscriptions.iter().flatten());
        let logs = self.ledger.logs.iter().map(|log| log.numbers.as_slice());
        match order::find_disagreement(count, logs.chain(current.map(|subscription| subscription.log.as_slice()))) {
            Some(number) => {
                let name = CHANNELS[self.ledger.published()[number as usize].channel].name;
                violated(Promise::I1, format!("{name}: {number} is before and after the same publication"))
            }
            None => Ok(()),
        }
    }

    /// Without a counted loss, nobody lost anything.
    fn check_losses(&mut self) -> Checked {
        let lost = self.count(Counter::DeliveriesLost);
        let dropped: u64 = self.loops.iter().map(|it| it.metrics.remedied(Remedy::DropOldest)).sum();
        self.tally.add(Mark::DeliveriesLost, lost);
        self.tally.add(Mark::Drops, dropped);
        self.tally.add(Mark::WindowsOver, self.count(Counter::WindowsOver));
        self.tally.add(Mark::WindowsFull, self.count(Counter::WindowsFull));
        if lost + dropped > 0 || self.broker.outages > 0 {
            return Ok(());
        }
        self.tally.add(Mark::SeedsWithoutLoss, 1);
        if self.tally.of(Mark::ToldInsufficientLasting) > 0 && self.evicted() == 0 {
            return violated(Promise::I2, "clients were told of a loss, and there was none");
        }
        let links = self.clients.iter().filter_map(|client| client.link.as_ref());
        for subscription in links.flat_map(|link| link.subscriptions.iter().flatten()) {
            let name = CHANNELS[subscription.channel].name;
            if subscription.wants_joins && !subscription.has_joined {
                return violated(Promise::I2, format!("{name}: a subscriber was not told that it joined"));
            }
            if let Some(id) = subscription.joined_twice {
                return violated(Promise::I1, format!("{name}: {id} joined twice"));
            }
        }
        let mut confirmed: HashMap<(Publisher, ChannelIndex), Vec<u32>> = HashMap::new();
        for (number, published) in self.ledger.published().iter().enumerate() {
            // What skips history is not recovered, and nobody is owed it.
            if published.fate == Fate::Confirmed && !published.skips_history {
                confirmed.entry((published.publisher, published.channel)).or_default().push(number as u32);
            }
        }
        for Log { channel, numbers, owed_from } in &self.ledger.logs {
            let mut newest: HashMap<Publisher, u32> = HashMap::new();
            for number in numbers {
                let publisher = self.ledger.published()[*number as usize].publisher;
                // Whoever the server has subscribed is owed all that came after its answer.
                let before = newest.insert(publisher, *number).or(owed_from.and_then(|from| from.checked_sub(1)));
                let Some((before, all)) = before.zip(confirmed.get(&(publisher, *channel))) else { continue };
                if let Some(missing) = all.iter().find(|other| (before + 1..*number).contains(other)) {
                    let name = CHANNELS[*channel].name;
                    return violated(Promise::I2, format!("{name}: {missing} was lost and not counted"));
                }
            }
        }
        Ok(())
    }

    fn close_all(&mut self) {
        self.is_closing = true;
        for client in 0..CLIENTS {
            match self.random.bool() {
                true => self.leave(client),
                false => self.cut(client),
            }
        }
        self.after(6 * SECOND, Event::Finale(Act::AskTops));
        self.after(7 * SECOND, Event::Finale(Act::AllGone));
    }

    fn check_gone(&self) -> Checked {
        if let Some(client) = self.clients.iter().position(|client| client.link.is_some()) {
            return violated(Promise::I5, format!("client {client} said goodbye and was not let go"));
        }
        if let Some(socket) = self.sockets.iter().position(|socket| !socket.is_closed) {
            return violated(Promise::I5, format!("socket {socket} was never closed"));
        }
        self.check_presence()?;
        self.check_gauges()
    }
}
