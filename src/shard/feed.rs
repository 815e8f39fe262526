//! What a channel's broker feeds into its room: each publication once, in order, and no gap that is not told.
//!
//! The memory engine appends and the room is sent what was appended, in one step. A broker is asked and answers
//! later, and what it sends to all nodes may come before its answers or behind them. So the home keeps a
//! **position**: up to there the room was sent the stream. What comes next in the stream is *released*; what
//! came already is dropped; what is ahead is *held*, until a *read* of the stream has brought what is
//! missing, or has shown that it is gone. Whoever subscribes with a position to recover from waits for a
//! read, many for the same one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::events::SubscribeAsk;
use crate::engine::Stream;
use crate::engine::contract::RequestId;
use crate::limits::{FEED_BYTES_MAX, FEED_PUBLICATIONS_MAX};
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
    /// In the order in which they came.
    pub waiting: Vec<Waiter>,
    /// How many of `waiting` the read under way is for.
    pub read_for: usize,
    pub read_at: Duration,
    /// Something may be missing: the stream has to be read, whoever asks.
    pub is_doubtful: bool,
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
    /// Publications are missing that can't be had any more.
    pub is_void: bool,
    /// What the room was not sent yet.
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
            waiting: Vec::new(),
            read_for: 0,
            read_at: Duration::ZERO,
            is_doubtful: false,
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
        let Some(epoch) = coming.epoch.filter(|_| self.has_history) else { return Verdict::Release };
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
            let verdict = self.take(&coming);
            if verdict == Verdict::Hold {
                self.held.push_front(coming);
                break;
            }
            self.held_bytes -= coming.publication.data.len();
            if verdict == Verdict::Release {
                return Some(coming);
            }
        }
        None
    }

    /// Gives up on what is missing: everything held is released, and the room goes on behind it.
    pub fn skip_to_held(&mut self) -> VecDeque<Coming> {
        self.held_bytes = 0;
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
    }

    /// Forgets what nobody may be answered from any more.
    pub fn forget_stale(&mut self, now: Duration) {
        if self.asked.is_none() && self.fresh(now).is_none() {
            self.kept = None;
        }
    }

    /// The stream was read.
    pub fn adopt(&mut self, mut stream: Stream) -> Adopted {
        self.is_doubtful = false;
        let (read, position) = (stream.position(), self.position.unwrap_or(stream.position()));
        let mut adopted = Adopted { is_void: read.epoch != position.epoch, missing: Vec::new() };
        if !adopted.is_void && read.offset < position.offset {
            // What was released since the read was asked for is newer.
            match self.kept.as_ref().and_then(|kept| kept.after(read.offset)) {
                Some(newer) => newer.for_each(|publication| stream.extend(Arc::clone(publication))),
                None => stream = Stream::from_newest(position, Vec::new()),
            }
        } else if !adopted.is_void {
            let epoch = Some(read.epoch);
            let coming = |publication: &Arc<Publication>| {
                let publication = Arc::clone(publication);
                Coming { publication, epoch, delta: false }
            };
            match stream.after(position.offset) {
                Some(missing) => adopted.missing = missing.map(coming).collect(),
                None => adopted.is_void = true,
            }
        }
        self.position = Some(stream.position());
        self.kept = Some(stream);
        adopted
    }

    fn advance(&mut self, epoch: Epoch, publication: &Arc<Publication>) {
        self.position = Some(Position { epoch, offset: publication.offset });
        if let Some(kept) = &mut self.kept {
            kept.extend(Arc::clone(publication));
            kept.trim(FEED_PUBLICATIONS_MAX, FEED_BYTES_MAX);
        }
    }
}
