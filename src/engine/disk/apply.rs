//! Makes true what was planned, once it is written, and says so.

use std::sync::Arc;
use std::time::Duration;

use super::Ack;
use super::core::{Core, Word};
use super::entry::Append;
use crate::engine::contract::{Event, Incoming, Membership, Outcome, Page, Published, Read, RequestId};
use crate::engine::{ResultKey, Stream};
use crate::limits::{DISK_EXPIRIES_PER_TURN, IDEMPOTENT_RESULT_TTL};
use crate::model::{ChannelName, ClientInfo, ErrorCode, HistoryResult, Position, Publication, ShardId};
use crate::telemetry::EngineCounter;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub shard: ShardId,
    pub id: RequestId,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Step {
    Append {
        asker: Asker,
        append: Box<Append>,
    },
    /// It is sent and not kept.
    Pass {
        asker: Asker,
        channel: ChannelName,
        publication: Box<Publication>,
        delta: bool,
    },
    /// It was published before, or is not newer.
    Published {
        asker: Asker,
        position: Option<Position>,
        depends_on_batch: bool,
    },
    Remember {
        key: ResultKey,
        position: Option<Position>,
    },
    /// Without an asker something else asked for it.
    Remove {
        asker: Option<Asker>,
        channel: ChannelName,
    },
    Read {
        asker: Asker,
        channel: ChannelName,
        read: Box<Read>,
    },
    Page {
        asker: Asker,
        channel: ChannelName,
        page: Box<Page>,
    },
    Listen {
        asker: Asker,
        channel: ChannelName,
    },
    Unlisten {
        channel: ChannelName,
    },
    Tell {
        channel: ChannelName,
        membership: Membership,
        info: Arc<ClientInfo>,
    },
    Answer {
        asker: Asker,
        outcome: Box<Result<Outcome, ErrorCode>>,
    },
}

impl Step {
    /// Whether it has not happened unless it is in the log.
    pub fn needs_log(&self) -> bool {
        match self {
            // A publish that is not kept needs no log; its key is forgotten.
            Step::Append { .. } | Step::Remove { .. } | Step::Remember { .. } => true,
            Step::Published { depends_on_batch, .. } => *depends_on_batch,
            _ => false,
        }
    }

    /// Who asked for it, if it needs the log.
    pub fn asker(&self) -> Option<Asker> {
        match self {
            Step::Append { asker, .. } | Step::Published { asker, .. } => Some(*asker),
            Step::Remove { asker, .. } => *asker,
            _ => None,
        }
    }
}

impl Core {
    pub(super) fn apply_batch(&mut self, now: Duration, is_logged: bool, words: &mut Vec<Word>) {
        let mut steps = std::mem::take(&mut self.batch.steps);
        let is_lost = !is_logged && !self.is_served_unlogged();
        for step in steps.drain(..) {
            match is_lost {
                true => self.refuse(now, step, words),
                false => self.apply(now, is_logged, step, words),
            }
        }
        self.batch.steps = steps;
        if !self.is_stuck() {
            // What is under way may be for what expires.
            self.memory.expire(now, DISK_EXPIRIES_PER_TURN);
        }
    }

    /// Whether publishes are confirmed from memory while the log can't be written.
    pub(super) fn is_served_unlogged(&self) -> bool {
        self.options.ack == Ack::Memory && self.mark.is_incomplete && !self.is_stuck()
    }

    pub(super) fn apply(&mut self, now: Duration, is_logged: bool, step: Step, words: &mut Vec<Word>) {
        match step {
            Step::Append { asker, append } => self.apply_append(now, is_logged, asker, *append, words),
            Step::Pass { asker, channel, publication, delta } => {
                words.push(done(asker, Ok(Outcome::Published(None))));
                let what = Published::Publication { publication: Arc::new(*publication), epoch: None, delta };
                self.tell_home(channel, what, words);
            }
            Step::Published { asker, position, .. } => words.push(done(asker, Ok(Outcome::Published(position)))),
            Step::Remember { key, position } => {
                self.note_result(now);
                self.remember(now, key, position);
            }
            Step::Remove { asker, channel } => {
                let is_removed = self.memory.remove_history(&channel);
                self.note_logged(is_logged, &channel);
                words.extend(asker.map(|asker| done(asker, Ok(Outcome::HistoryRemoved(is_removed)))));
            }
            Step::Read { asker, channel, read } => {
                let stream = self.read(now, &channel, &read);
                words.push(done(asker, Ok(Outcome::Read(stream))));
            }
            Step::Page { asker, channel, page } => words.push(done(asker, self.page(&channel, &page))),
            Step::Listen { asker, channel } => {
                self.listened.insert(channel);
                words.push(done(asker, Ok(Outcome::Listening)));
            }
            Step::Unlisten { channel } => {
                self.listened.remove(&channel);
                self.memory.forget_untouched(channel.as_str());
            }
            Step::Tell { channel, membership, info } => {
                self.tell_home(channel, Published::Membership(membership, info), words);
            }
            Step::Answer { asker, outcome } => words.push(done(asker, *outcome)),
        }
    }

    /// The write failed: what stood in it has not happened.
    fn refuse(&mut self, now: Duration, step: Step, words: &mut Vec<Word>) {
        if !step.needs_log() {
            return self.apply(now, false, step, words);
        }
        self.metrics.add(EngineCounter::Failures, 1);
        words.extend(step.asker().map(|asker| done(asker, Err(ErrorCode::Internal))));
    }

    fn apply_append(&mut self, now: Duration, is_logged: bool, asker: Asker, append: Append, words: &mut Vec<Word>) {
        let position = append.position();
        let Append { channel, epoch, publication, delta, size_max, history_until, meta_until, version, .. } = append;
        let until = (history_until, meta_until);
        self.memory.put(&channel, epoch, Arc::clone(&publication), size_max, until, version);
        match self.batch.segment.filter(|_| is_logged) {
            Some((segment, _)) => self.places.note_append(segment, &channel, position.offset),
            None => self.note_logged(false, &channel),
        }
        if let Some(idempotency_key) = append.idempotency_key {
            self.note_result(now);
            self.remember(now, ResultKey { channel: channel.clone(), idempotency_key }, Some(position));
        }
        words.push(done(asker, Ok(Outcome::Published(Some(position)))));
        self.tell_home(channel, Published::Publication { publication, epoch: Some(epoch), delta }, words);
    }

    fn note_result(&mut self, now: Duration) {
        if let Some((segment, _)) = self.batch.segment {
            self.places.note_result(segment, now + IDEMPOTENT_RESULT_TTL);
        }
    }

    fn remember(&mut self, now: Duration, key: ResultKey, position: Option<Position>) {
        if self.memory.results.find(&key).is_none() {
            self.memory.results.remember(now, key, position);
        }
    }

    /// The log has the newest state of the channel, or has it not.
    fn note_logged(&mut self, is_logged: bool, channel: &ChannelName) {
        match is_logged {
            true => self.unlogged.remove(channel),
            false => self.unlogged.insert(channel.clone()),
        };
    }

    fn tell_home(&self, channel: ChannelName, what: Published, words: &mut Vec<Word>) {
        if self.listened.contains(&channel) {
            self.metrics.add(EngineCounter::Incoming, 1);
            words.push(Word::Home(Incoming { engine: self.options.engine, channel, what }));
        }
    }

    /// The stream with its newest publications, as far as they are asked for.
    fn read(&mut self, now: Duration, channel: &ChannelName, read: &Read) -> Stream {
        if self.listened.contains(channel) {
            // So that it begins with the epoch that is told now.
            self.memory.stream(now, channel, read.retention);
        }
        let Some(kept) = self.memory.find_kept(channel.as_str()) else { return Stream::new(self.memory.next_epoch()) };
        let (position, publications) = (kept.stream.position(), kept.stream.publications());
        let after = usize::try_from(position.offset.saturating_sub(read.after)).unwrap_or(usize::MAX);
        let count = publications.len().min(after).min(read.publications_max);
        let newest = publications.skip(kept.stream.publications().len() - count).cloned().collect();
        Stream::from_newest(position, newest)
    }

    fn page(&self, channel: &ChannelName, page: &Page) -> Result<Outcome, ErrorCode> {
        let nothing = Stream::new(self.memory.next_epoch());
        let kept = self.memory.find_kept(channel.as_str());
        let stream = kept.map_or(&nothing, |kept| kept.stream);
        let publications = stream.page(&page.request, page.publications_max, page.bytes_max)?;
        let Position { epoch, offset } = stream.position();
        Ok(Outcome::Page(HistoryResult { publications, epoch, offset }))
    }
}

pub fn done(asker: Asker, outcome: Result<Outcome, ErrorCode>) -> Word {
    Word::To(asker.shard, Event::Done { id: asker.id, outcome })
}
