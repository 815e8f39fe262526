//! What a channel's broker feeds into its room: each publication once, in order, and no gap that is not told.
//!
//! The memory engine appends and the room is sent what was appended, in one step. A broker is asked and answers
//! later, and what it sends to all nodes may come before its answers or behind them. So the home keeps a
//! **position**: up to there the room was sent the stream. What comes next in the stream is *released*; what
//! came already is dropped; what is ahead is *held*, until a *read* of the stream has brought what is
//! missing, or has shown that it is gone. Whoever subscribes with a position to recover from waits for a
//! read, many for the same one.
//!
//! A read may show more than the room was sent because it was faster than what is on its way. That is no loss: who
//! waits is answered up to the position, and what is on its way comes. Only if it does not, or is known to be
//! lost, the room is sent what the read brought; otherwise a publication that is in no stream, and comes in its
//! place among the others, would be overtaken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::events::SubscribeAsk;
use crate::engine::Stream;
use crate::engine::contract::RequestId;
use crate::limits::{FEED_AHEAD_MAX, FEED_BYTES_MAX, FEED_PUBLICATIONS_MAX, FEED_SUSPICION};
use crate::model::{ConnectionId, EngineIndex, Epoch, Position, Publication, ShardId};

/// The feed of one channel at its home. It exists while somebody listens or waits.
///
/// Invariants: `kept` ends at `position`; `held` has nothing that could be released; at most
/// [`FEED_PUBLICATIONS_MAX`] publications of [`FEED_BYTES_MAX`] are held, and as many kept.
pub struct Feed {
    pub engine: EngineIndex,
    pub has_history: bool,
    /// The engine hears the channel.
    pub is_open: bool,
    /// Listen or read, under way.
    pub asked: Option<RequestId>,
    /// What the room was sent, or need not be sent.
    position: Option<Position>,
    /// The end of the stream as it was read, and what was released since.
    kept: Option<Stream>,
    /// Until when `kept` answers whoever asks; later the stream is read anew.
    pub fresh_until: Duration,
    held: VecDeque<Coming>,
    held_bytes: usize,
    /// So many of them, the oldest, were held before the read under way was asked for.
    held_before: usize,
    /// In the order in which they came.
    pub waiting: Vec<Waiter>,
    /// How many of `waiting` the read under way is for.
    pub read_for: usize,
    pub read_at: Duration,
    /// The stream has to be read, whoever asks.
    pub is_doubtful: bool,
    /// What comes on its way may be lost, and is not waited for.
    pub has_lost: bool,
    /// What a read showed ahead of the room, and when: it should have come by a later one.
    suspect: Option<(Position, Duration)>,
    /// Its entry among those that have something due.
    pub due: Option<Duration>,
}

/// Somebody who is answered when the stream is read.
pub struct Waiter {
    pub from: ShardId,
    pub asker: ConnectionId,
    pub id: u32,
    pub ask: SubscribeAsk,
}

/// A publication as it comes from the broker.
#[derive(Debug)]
pub struct Coming {
    pub publication: Arc<Publication>,
    /// `None`: of no stream.
    pub epoch: Option<Epoch>,
    pub delta: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Release,
    /// The room has it.
    Drop,
    /// Something before it is missing.
    Hold,
}

/// What a read showed.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The stream began again, and what is on its way will say more, or another read: nobody is answered yet.
    pub is_open: bool,
    /// Publications are missing that can't be had any more.
    pub is_void: bool,
    /// What the room is to be sent now: what it missed; where that can't be had, whatever came since.
    pub missing: Vec<Coming>,
}

/// More is held than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Feed {
    pub fn new(engine: EngineIndex, has_history: bool) -> Feed {
        Feed {
            engine,
            has_history,
            is_open: false,
            asked: None,
            position: None,
            kept: None,
            fresh_until: Duration::ZERO,
            held: VecDeque::new(),
            held_bytes: 0,
            held_before: 0,
            waiting: Vec::new(),
            read_for: 0,
            read_at: Duration::ZERO,
            is_doubtful: false,
            has_lost: false,
            suspect: None,
            due: None,
        }
    }

    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The end of the stream, if it may answer whoever asks by `now`.
    pub fn fresh(&self, now: Duration) -> Option<&Stream> {
        self.kept.as_ref().filter(|_| now < self.fresh_until)
    }

    pub fn kept(&self) -> Option<&Stream> {
        self.kept.as_ref()
    }

    pub fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Decides about a publication. What is released is the room's from here on.
    pub fn take(&mut self, coming: &Coming) -> Verdict {
        match coming.epoch.filter(|_| self.has_history) {
            // It keeps its place behind what is held.
            None if self.has_held() => Verdict::Hold,
            epoch => self.judge(coming, epoch),
        }
    }

    fn judge(&mut self, coming: &Coming, epoch: Option<Epoch>) -> Verdict {
        let Some(epoch) = epoch else { return Verdict::Release };
        let offset = coming.publication.offset;
        match self.position {
            Some(position) if position.epoch == epoch && offset <= position.offset => Verdict::Drop,
            Some(position) if position.epoch == epoch && offset == position.offset + 1 => {
                self.advance(epoch, &coming.publication);
                Verdict::Release
            }
            _ => Verdict::Hold,
        }
    }

    pub fn hold(&mut self, coming: Coming) -> Result<(), Overflow> {
        self.held_bytes += coming.publication.data.len();
        self.held.push_back(coming);
        match self.held.len() > FEED_PUBLICATIONS_MAX || self.held_bytes > FEED_BYTES_MAX {
            true => Err(Overflow),
            false => Ok(()),
        }
    }

    /// The next of those held that may be released by now.
    pub fn next_held(&mut self) -> Option<Coming> {
        while let Some(coming) = self.held.pop_front() {
            let verdict = self.judge(&coming, coming.epoch);
            if verdict == Verdict::Hold {
                self.held.push_front(coming);
                break;
            }
            self.held_before = self.held_before.saturating_sub(1);
            self.held_bytes -= coming.publication.data.len();
            if verdict == Verdict::Release {
                return Some(coming);
            }
        }
        None
    }

    /// Gives up on what is missing: everything held is released, and the room goes on behind it.
    pub fn skip_to_held(&mut self) -> VecDeque<Coming> {
        (self.held_bytes, self.held_before) = (0, 0);
        if let Some(Coming { publication, epoch: Some(epoch), .. }) = self.held.back() {
            self.position = Some(Position { epoch: *epoch, offset: publication.offset });
            self.kept = None;
        }
        std::mem::take(&mut self.held)
    }

    /// From now on, what is released is kept, so that it can be told from what a read brings.
    pub fn begin_read(&mut self, now: Duration, asked: RequestId) {
        if self.fresh(now).is_none() {
            self.kept = self.position.map(|position| Stream::from_newest(position, Vec::new()));
        }
        (self.asked, self.read_for, self.read_at) = (Some(asked), self.waiting.len(), now);
        self.held_before = self.held.len();
    }

    /// Forgets what nobody may be answered from any more.
    pub fn forget_stale(&mut self, now: Duration) {
        if self.asked.is_none() && self.fresh(now).is_none() {
            self.kept = None;
        }
    }

    /// The stream was read.
    pub fn adopt(&mut self, now: Duration, mut stream: Stream) -> Adopted {
        let (read, position) = (stream.position(), self.position.unwrap_or(stream.position()));
        let before = self.suspect.take().filter(|(suspect, _)| is_ahead_of(*suspect, position));
        let is_overdue = before.is_some_and(|(_, since)| now >= since + FEED_SUSPICION);
        let is_far = read.offset.saturating_sub(position.offset) > FEED_AHEAD_MAX as u64;
        let is_sure = self.has_held() || self.has_lost || is_overdue || is_far || self.is_somebody_ahead(position);
        (self.is_doubtful, self.has_lost) = (false, false);
        let mut adopted = Adopted::default();
        if read.epoch != position.epoch {
            // Nothing can be on its way where nothing was published.
            adopted.is_void = is_sure || read.offset == 0;
            adopted.is_open = !adopted.is_void;
        } else if read.offset < position.offset {
            // What was released since the read was asked for is newer.
            match self.kept.as_ref().and_then(|kept| kept.after(read.offset)) {
                Some(newer) => newer.for_each(|publication| stream.extend(Arc::clone(publication))),
                None => stream = Stream::from_newest(position, Vec::new()),
            }
        } else if read.offset > position.offset && !is_sure {
            self.suspect = before.or(Some((read, now)));
            stream = stream.until(position.offset);
        } else {
            match stream.after(position.offset) {
                Some(missing) => adopted.missing = missing.map(|it| coming_of(it, read.epoch)).collect(),
                None => adopted.is_void = true,
            }
        }
        if adopted.is_open {
            self.suspect = before.or(Some((read, now)));
            return adopted;
        }
        self.position = Some(stream.position());
        self.kept = Some(stream);
        let behind = self.take_held_behind(read, adopted.is_void);
        if adopted.is_void {
            adopted.missing = behind;
        }
        adopted
    }

    /// Whether something that a read showed has not come.
    pub fn has_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    /// Whether somebody who waits was sent more elsewhere than this room was.
    fn is_somebody_ahead(&self, position: Position) -> bool {
        let sinces = self.waiting.iter().take(self.read_for).filter_map(|waiter| waiter.ask.since.as_ref());
        sinces.into_iter().any(|since| *since.epoch == *position.epoch.as_str() && since.offset > position.offset)
    }

    /// What was held before the stream was read, and is neither ahead of it nor can ever be released: of a stream
    /// that has ended, or what the read has brought as well. Where the stream `is_void`, those who hold no position
    /// take what comes.
    fn take_held_behind(&mut self, read: Position, is_void: bool) -> Vec<Coming> {
        let is_behind = |it: &Coming| match it.epoch {
            Some(epoch) => epoch != read.epoch || it.publication.offset <= read.offset,
            None => is_void,
        };
        let old = self.held.iter().take(self.held_before).take_while(|it| is_behind(it)).count();
        let mut taken: Vec<_> = self.held.drain(..old).collect();
        self.held_before = 0;
        self.held_bytes -= taken.iter().map(|coming| coming.publication.data.len()).sum::<usize>();
        // A broker may repeat itself.
        taken.dedup_by(|next, before| next.epoch.is_some() && next.is_at_or_before(before));
        taken
    }

    fn advance(&mut self, epoch: Epoch, publication: &Arc<Publication>) {
        self.position = Some(Position { epoch, offset: publication.offset });
        if let Some(kept) = &mut self.kept {
            kept.extend(Arc::clone(publication));
            kept.trim(FEED_PUBLICATIONS_MAX, FEED_BYTES_MAX);
        }
    }
}

impl Coming {
    fn is_at_or_before(&self, other: &Coming) -> bool {
        self.epoch == other.epoch && self.publication.offset <= other.publication.offset
    }
}

fn is_ahead_of(one: Position, other: Position) -> bool {
    one.epoch != other.epoch || one.offset > other.offset
}

fn coming_of(publication: &Arc<Publication>, epoch: Epoch) -> Coming {
    Coming { publication: Arc::clone(publication), epoch: Some(epoch), delta: false }
}
