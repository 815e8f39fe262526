//! Answers to history, presence and presence_stats, to clients and to the API.

use super::client::{Asked, Question};
use super::ledger::{Checked, Promise, violated};
use super::namespaces::{CHANNELS, ChannelIndex};
use super::report::Mark;
use super::wire::{Outcome, Position, Publication};
use super::world::World;

/// A history request, as its answer is judged.
#[derive(Clone, Copy, Debug)]
pub struct PageAsked {
    pub channel: ChannelIndex,
    pub limit: i32,
    pub since: Option<Position>,
    pub reverse: bool,
    /// A position that the asker held before it asked.
    pub seen: Option<Position>,
    /// How many the hub gives at most.
    pub count_max: usize,
}

impl World {
    pub fn queried(&mut self, client: usize, asked: Asked, outcome: Result<Outcome, u32>) -> Checked {
        let is_anonymous = self.clients[client].is_anonymous();
        let (channel, who, offers) = match &asked.question {
            Question::Presence { channel, .. } | Question::PresenceStats { channel } => {
                let kind = CHANNELS[*channel].kind;
                (*channel, kind.presence, kind.has_presence)
            }
            Question::History { channel, .. } => {
                let kind = CHANNELS[*channel].kind;
                (*channel, kind.history, kind.has_history())
            }
            other => return violated(Promise::Protocol, format!("{other:?} was answered by {outcome:?}")),
        };
        let name = CHANNELS[channel].name;
        let link = self.link(client);
        let is_in = link.subscriptions[channel].is_some();
        let was_in = is_in || link.left_at[channel] >= asked.at;
        match outcome {
            Err(103) if !who.may(is_anonymous, is_in) => {
                self.tally.add(Mark::Denied, 1);
                Ok(())
            }
            Err(108) if !offers => {
                self.tally.add(Mark::Denied, 1);
                Ok(())
            }
            Err(code) => self.query_failed(&asked, code),
            Ok(_) if !offers || !who.may(is_anonymous, was_in) => {
                violated(Promise::I3, format!("{name}: {:?} was answered without the right to it", asked.question))
            }
            Ok(outcome) => self.query_answered(client, &asked, outcome),
        }
    }

    fn query_failed(&mut self, asked: &Asked, code: u32) -> Checked {
        match &asked.question {
            Question::Presence { channel, .. }
            | Question::PresenceStats { channel }
            | Question::History { channel, .. }
                if code == 100 && self.is_let_down(*channel) =>
            {
                self.tally.add(Mark::ToldUnavailable, 1);
                Ok(())
            }
            Question::History { since: Some(since), reverse: true, .. } if code == 107 && since.offset == 0 => Ok(()),
            // Its epoch is over. That it was not is seen by those who hold the next one.
            Question::History { channel, since: Some(since), .. } if code == 112 => {
                let is_lasting = CHANNELS[*channel].kind.is_lasting();
                if is_lasting && since.offset > 0 && self.ledger.lives(*channel) < 2 && self.evicted() == 0 {
                    return violated(Promise::I2, format!("{}: its only epoch is not known", CHANNELS[*channel].name));
                }
                Ok(())
            }
            // More clients than small outboxes are told of.
            Question::Presence { .. } if code == 106 && !self.plan.has_large_outboxes => {
                self.tally.add(Mark::PresenceRefused, 1);
                Ok(())
            }
            question => violated(Promise::Protocol, format!("{question:?} got error {code}")),
        }
    }

    fn query_answered(&mut self, client: usize, asked: &Asked, outcome: Outcome) -> Checked {
        match (&asked.question, outcome) {
            (Question::Presence { channel, was_in }, Outcome::Presence(ids)) => {
                self.tally.add(Mark::PresenceAnswers, 1);
                self.check_known(*channel, &ids)?;
                let link = self.link(client);
                let stayed = *was_in && link.subscriptions[*channel].is_some() && link.left_at[*channel] < asked.at;
                let own = link.id.expect("it was connected to ask");
                let is_hidden = link.subscriptions[*channel].as_ref().is_some_and(|held| held.is_hidden);
                // What was said of it may have been lost while the broker was away.
                let may_be_lost = is_hidden || self.is_let_down(*channel);
                if stayed && !may_be_lost && !ids.contains(&own) {
                    return violated(
                        Promise::I5,
                        format!("{}: client {client} is in it, but not in its presence", CHANNELS[*channel].name),
                    );
                }
                Ok(())
            }
            (Question::PresenceStats { channel }, Outcome::PresenceStats { clients, users }) => {
                if users > clients || (clients > 0 && users == 0) {
                    return violated(Promise::Protocol, format!("{}: {users} users", CHANNELS[*channel].name));
                }
                self.tally.add(Mark::PresenceAnswers, 1);
                Ok(())
            }
            (&Question::History { channel, limit, since, reverse, seen }, Outcome::History { publications, top }) => {
                self.tally.add(Mark::Pages, 1);
                let count_max = self.plan.options.history_publications_max;
                let page = PageAsked { channel, limit, since, reverse, seen, count_max };
                self.check_page(page, &publications, top)
            }
            (question, outcome) => violated(Promise::Protocol, format!("{question:?} was answered by {outcome:?}")),
        }
    }

    /// A page of history is a piece of the one stream, and the piece that was asked for.
    pub fn check_page(&mut self, asked: PageAsked, publications: &[Publication], top: Position) -> Checked {
        let (name, kind) = (CHANNELS[asked.channel].name, CHANNELS[asked.channel].kind);
        let wrong = |what: &str| violated(Promise::I2, format!("{name}: {asked:?}: {what}: {publications:?}, {top:?}"));
        let now = self.patience();
        for publication in publications {
            let position = Position { offset: publication.offset, ..top };
            let published =
                self.ledger.saw(asked.channel, publication.number, publication.publisher, publication.version)?;
            if published.skips_history {
                return wrong("what was to skip history is in it");
            }
            self.ledger.saw_at(now, asked.channel, position, publication.number)?;
        }
        if asked.seen.is_some_and(|seen| seen.epoch == top.epoch && seen.offset > top.offset) {
            return wrong("its top is below what was seen");
        }
        let side_by_side = publications.windows(2).all(|pair| match asked.reverse {
            false => pair[1].offset == pair[0].offset + 1,
            true => pair[0].offset == pair[1].offset + 1,
        });
        if !side_by_side {
            return wrong("its publications are not side by side");
        }
        let count_max = usize::try_from(asked.limit).map_or(asked.count_max, |limit| limit.min(asked.count_max));
        if publications.len() > count_max.min(kind.history_size) {
            return wrong("too many");
        }
        let oldest_kept = (top.offset + 1).saturating_sub(kind.history_size as u64).max(1);
        let since = asked.since.map(|since| since.offset);
        let first = match asked.reverse {
            false => since.map_or(oldest_kept, |since| oldest_kept.max(since + 1)),
            true => since.map_or(top.offset, |since| top.offset.min(since - 1)),
        };
        // What lasts, and fits, is there from the first one on.
        let has_some = first >= oldest_kept && first <= top.offset;
        if kind.is_lasting() && self.evicted() == 0 && count_max > 0 && has_some {
            match publications.first() {
                Some(publication) if publication.offset == first => {}
                _ => return wrong("it does not begin where it should"),
            }
            let there_are = if asked.reverse { first + 1 - oldest_kept } else { top.offset + 1 - first };
            let expected = there_are.min(count_max as u64);
            if self.plan.has_large_outboxes && expected <= 300 && publications.len() as u64 != expected {
                return wrong("it ends too soon");
            }
        }
        Ok(())
    }

    /// Streams that had to go for want of memory.
    pub fn evicted(&self) -> u64 {
        self.count(fanfare::telemetry::Counter::StreamsEvicted)
    }

    /// A counter of all shards together.
    pub fn count(&self, counter: fanfare::telemetry::Counter) -> u64 {
        self.loops.iter().map(|it| it.metrics.counter(counter)).sum()
    }
}
