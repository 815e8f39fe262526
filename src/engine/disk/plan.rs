//! What a request comes to, seen before anything is changed.

use std::sync::Arc;
use std::time::Duration;

use super::apply::{Asker, Step};
use super::core::{Core, Planned};
use super::entry::{Append, encode_append, encode_removed, encode_result};
use crate::engine::contract::{Operation, Outcome, Publish, Request};
use crate::engine::{ResultKey, Retention};
use crate::limits::IDEMPOTENT_RESULT_TTL;
use crate::model::{ChannelName, ErrorCode, Position, ShardId, Version};
use crate::telemetry::EngineCounter;

impl Core {
    pub(super) fn plan(&mut self, now: Duration, from: ShardId, request: Request) -> Planned {
        let Request { id, channel, operation, .. } = request;
        let asker = Asker { shard: from, id };
        match operation {
            Operation::Publish(publish) => self.plan_publish(now, asker, channel, *publish),
            Operation::RemoveHistory => return self.plan_removal(asker, channel),
            Operation::Read(read) => {
                let is_lost = read.sent_until.is_some_and(|sent| self.has_lost(&channel, sent));
                if is_lost && self.is_stuck() {
                    self.batch.steps.push(Step::answer(asker, Err(ErrorCode::Internal)));
                    return Planned::More;
                }
                self.batch.steps.push(Step::Read { asker, channel: channel.clone(), read });
                if is_lost {
                    // Before the answer is made.
                    let answer = self.batch.steps.pop();
                    self.metrics.add(EngineCounter::EpochsLost, 1);
                    self.plan_removal_of(&channel);
                    self.batch.steps.push(Step::Remove { channel, asker: None });
                    self.batch.steps.extend(answer);
                    return Planned::Enough;
                }
            }
            Operation::Page(page) => self.batch.steps.push(Step::Page { asker, channel, page }),
            Operation::Listen => self.batch.steps.push(Step::Listen { asker, channel }),
            Operation::Unlisten => self.batch.steps.push(Step::Unlisten { channel }),
            Operation::Tell(membership, info) => self.batch.steps.push(Step::Tell { channel, membership, info }),
            // Who is there lives with the node: another engine's business.
            Operation::Presence { .. } | Operation::PresenceStats => {
                self.batch.steps.push(Step::answer(asker, Err(ErrorCode::NotAvailable)));
            }
            Operation::Attend { .. } | Operation::Leave(_) => {}
        }
        Planned::More
    }

    fn plan_publish(&mut self, now: Duration, asker: Asker, channel: ChannelName, publish: Publish) {
        let Publish { publication, retention, delta, idempotency_key, version, sent_until: _ } = publish;
        let key = idempotency_key.map(|idempotency_key| ResultKey { channel: channel.clone(), idempotency_key });
        if let Some(step) = key.as_ref().and_then(|key| self.find_repeated(asker, key)) {
            return self.batch.steps.push(step);
        }
        let Some(retention) = retention else {
            self.plan_result(now, key, None);
            return self.batch.steps.push(Step::Pass { asker, channel, publication: Box::new(publication), delta });
        };
        if self.refuses_publishes() {
            self.metrics.add(EngineCounter::Failures, 1);
            return self.batch.steps.push(Step::answer(asker, Err(ErrorCode::Internal)));
        }
        let (before, newest) = self.standing_of(&channel);
        if version.as_ref().zip(newest.as_ref()).is_some_and(|(version, newest)| !version.is_newer_than(newest)) {
            self.plan_result(now, key, Some(before));
            return self.batch.steps.push(Step::Published { asker, position: Some(before), depends_on_batch: true });
        }
        let mut publication = publication;
        publication.offset = before.offset + 1;
        let Retention { size, ttl, meta_ttl } = retention;
        let append = Append {
            channel,
            epoch: before.epoch,
            publication: Arc::new(publication),
            delta,
            size_max: size,
            at: now,
            history_until: now + ttl,
            meta_until: now + meta_ttl.max(ttl),
            version: version.or(newest),
            idempotency_key: key.map(|key| key.idempotency_key),
        };
        self.plan_append(asker, append);
    }

    fn plan_append(&mut self, asker: Asker, append: Append) {
        if let Some((_, salt)) = self.batch.segment {
            self.rewrite_if_unlogged(&append.channel);
            encode_append(&append, salt, &mut self.batch.bytes);
        }
        let standing = (append.position(), append.version.clone());
        match self.batch.standings.get_mut(&append.channel) {
            Some(known) => *known = standing,
            None => drop(self.batch.standings.insert(append.channel.clone(), standing)),
        }
        if let Some(idempotency_key) = append.idempotency_key.clone() {
            let key = ResultKey { channel: append.channel.clone(), idempotency_key };
            self.batch.results.insert(key, Some(append.position()));
        }
        self.batch.steps.push(Step::Append { asker, append: Box::new(append) });
    }

    /// Where the channel's stream stands after what is planned, and the newest version in it.
    fn standing_of(&self, channel: &ChannelName) -> (Position, Option<Version>) {
        if let Some((position, version)) = self.batch.standings.get(channel) {
            return (*position, version.clone());
        }
        match self.memory.find_standing(channel.as_str()) {
            Some(standing) => (standing.position, standing.version.cloned()),
            None => (Position { epoch: self.memory.next_epoch(), offset: 0 }, None),
        }
    }

    fn find_repeated(&self, asker: Asker, key: &ResultKey) -> Option<Step> {
        let planned = self.batch.results.get(key).map(|position| (*position, true));
        let (position, depends_on_batch) =
            planned.or_else(|| self.memory.results.find(key).map(|position| (position, false)))?;
        Some(Step::Published { asker, position, depends_on_batch })
    }

    /// A result that stands by itself: nothing was appended.
    fn plan_result(&mut self, now: Duration, key: Option<ResultKey>, position: Option<Position>) {
        let Some(key) = key else { return };
        let position = position.filter(|position| position.offset > 0);
        if let Some((_, salt)) = self.batch.segment {
            encode_result(&key, now + IDEMPOTENT_RESULT_TTL, position, salt, &mut self.batch.bytes);
        }
        self.batch.results.insert(key.clone(), position);
        self.batch.steps.push(Step::Remember { key, position });
    }

    fn plan_removal(&mut self, asker: Asker, channel: ChannelName) -> Planned {
        if self.refuses_publishes() {
            self.metrics.add(EngineCounter::Failures, 1);
            self.batch.steps.push(Step::answer(asker, Err(ErrorCode::Internal)));
            return Planned::More;
        }
        self.plan_removal_of(&channel);
        self.batch.steps.push(Step::Remove { channel, asker: Some(asker) });
        Planned::Enough
    }

    fn plan_removal_of(&mut self, channel: &ChannelName) {
        if let Some((_, salt)) = self.batch.segment {
            encode_removed(channel, salt, &mut self.batch.bytes);
        }
    }

    /// Whether the stream ends before what its room was sent.
    fn has_lost(&self, channel: &ChannelName, sent: Position) -> bool {
        let (position, _) = self.standing_of(channel);
        position.epoch == sent.epoch && position.offset < sent.offset
    }

    /// Whether nothing that is to be kept is taken now.
    fn refuses_publishes(&self) -> bool {
        self.batch.segment.is_none() && !self.is_served_unlogged()
    }
}

impl Step {
    pub(super) fn answer(asker: Asker, outcome: Result<Outcome, ErrorCode>) -> Step {
        Step::Answer { asker, outcome: Box::new(outcome) }
    }
}
