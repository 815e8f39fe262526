//! What is read of a channel's stream, and its new lives.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::super::contract::{Page, Published, Read};
use super::super::record::NoRecord;
use super::super::{Retention, Stream};
use super::entry::{Entry, now_ms};
use super::jetstream::Refusal;
use super::job::Job;
use super::log::{Log, Logged};
use super::tail::Tail;
use crate::limits::NATS_READ_SINGLY_MAX;
use crate::model::{ErrorCode, HistoryResult, Position, Publication};
use crate::telemetry::EngineCounter;

impl Job {
    /// What a shard wants to know of the stream, which begins here if it never was, and anew if it lost something.
    pub async fn read(&mut self, read: &Read) -> Result<Stream, Refusal> {
        let log = self.open_log().await?;
        let tail = self.find_whole(&log, read.sent_until).await?;
        let stream = self.newest_after(&log, &tail, read.retention, read.after, read.publications_max).await?;
        self.tail = tail.entry.map(|entry| Tail::after(tail.sequence, entry));
        Ok(stream)
    }

    pub async fn page(&mut self, page: &Page) -> Result<Result<HistoryResult, ErrorCode>, Refusal> {
        let request = &page.request;
        let log = self.open_log().await?;
        let tail = self.find_whole(&log, None).await?;
        let since = request.since.as_ref().map(|since| since.offset);
        let after = since.filter(|_| !request.reverse).unwrap_or(0);
        let count = match usize::try_from(request.limit) {
            Ok(limit) if since.is_none() && request.reverse || limit == 0 => limit,
            _ => usize::MAX,
        };
        let stream = self.newest_after(&log, &tail, page.retention, after, count).await?;
        let Position { epoch, offset } = stream.position();
        let publications = stream.page(request, page.publications_max, page.bytes_max);
        Ok(publications.map(|publications| HistoryResult { publications, epoch, offset }))
    }

    /// Begins a new life of the channel wherever it has one. Returns whether it had any.
    pub async fn remove_history(&mut self) -> Result<bool, Refusal> {
        self.tail = None;
        if !self.session.has_jetstream {
            return Err(Refusal::NoJetStream);
        }
        let mut was_there = false;
        for log in Log::all(&self.session, &self.subjects).await? {
            was_there |= self.remove_from(&log).await?;
        }
        Ok(was_there)
    }

    async fn remove_from(&self, log: &Log) -> Result<bool, Refusal> {
        loop {
            let tail = self.find_tail(log).await?;
            if tail.position().is_none_or(|position| position.offset == 0) {
                return Ok(false);
            }
            if self.begin_anew(log, &tail).await?.is_some() {
                return Ok(true);
            }
        }
    }

    /// The end of a stream that has lost nothing of what was sent; a new one otherwise.
    async fn find_whole(&self, log: &Log, sent_until: Option<Position>) -> Result<Tail, Refusal> {
        loop {
            let tail = self.find_tail(log).await?;
            let has_lost = tail.has_lost(sent_until);
            if tail.entry.is_some() && !has_lost {
                return Ok(tail);
            }
            if let Some(begun) = self.begin_anew(log, &tail).await? {
                self.metrics.add(EngineCounter::EpochsLost, u64::from(has_lost));
                return Ok(begun);
            }
        }
    }

    /// Puts the beginning of a new life behind `tail`. `None`: somebody else was first.
    pub async fn begin_anew(&self, log: &Log, tail: &Tail) -> Result<Option<Tail>, Refusal> {
        let (tokens, entry) = (self.tokens(), tail.begin_anew(now_ms()));
        match log.append(&self.session, &tokens, &entry, Some(tail.sequence), None).await {
            Ok(stored) => {
                if tail.sequence > 0 {
                    log.forget_before(&self.session, &tokens, stored.sequence).await;
                }
                Ok(Some(Tail::after(stored.sequence, entry)))
            }
            Err(Refusal::WrongLast) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The stream that ends at `tail`, with the publications after `after` that are kept, the newest `count`.
    async fn newest_after(
        &self,
        log: &Log,
        tail: &Tail,
        retention: Retention,
        after: u64,
        count: usize,
    ) -> Result<Stream, Refusal> {
        let entry = tail.entry.as_ref().expect("a stream that has begun");
        let position = entry.position.expect("entries of a stream have a place");
        let kept = retention.size.min(count) as u64;
        let floor = match entry.is_expired(now_ms(), retention.ttl) {
            true => position.offset,
            false => entry.floor.max(after).max(position.offset.saturating_sub(kept)),
        };
        let wanted = position.offset.saturating_sub(floor);
        let mut run = Run { newest: VecDeque::new(), next: position, is_whole: true };
        run.put_before(entry.clone());
        if wanted <= NATS_READ_SINGLY_MAX {
            self.read_back(log, entry, wanted, &mut run).await?;
        } else {
            for Logged { entry, .. } in log.read(&self.session, &self.tokens(), tail.sequence).await?.into_iter().rev()
            {
                run.put_logged(entry);
            }
        }
        if !run.is_whole {
            self.metrics.add(EngineCounter::Foreign, 1);
        }
        let publications = run.newest.into_iter().filter(|publication| publication.offset > floor);
        Ok(Stream::from_newest(position, publications.collect()))
    }
}

impl Job {
    /// Reads from message to message before it, several at a time, until all that is wanted is there or no more is
    /// kept.
    async fn read_back(&self, log: &Log, newest: &Entry, wanted: u64, run: &mut Run) -> Result<(), Refusal> {
        let mut previous = newest.previous.clone();
        while run.is_whole && !previous.is_empty() && (run.newest.len() as u64) < wanted {
            let left = wanted - run.newest.len() as u64;
            previous.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let messages = previous.iter().map(|sequence| log.at(&self.session, *sequence));
            let messages = try_join_all(messages).await?;
            previous = Vec::new();
            for message in messages {
                let Some(Logged { entry, .. }) = message else { return Ok(()) };
                previous = entry.as_ref().map_or_else(|_| Vec::new(), |entry| entry.previous.clone());
                run.put_logged(entry);
            }
        }
        Ok(())
    }
}

/// Publications of one epoch without a gap, collected backwards from the newest.
struct Run {
    newest: VecDeque<Arc<Publication>>,
    /// Of what comes before them.
    next: Position,
    /// Nothing was in the way that nobody of ours wrote.
    is_whole: bool,
}

impl Run {
    fn put_logged(&mut self, entry: Result<Entry, NoRecord>) {
        match entry {
            Ok(entry) => self.put_before(entry),
            Err(NoRecord) => self.is_whole = false,
        }
    }

    fn put_before(&mut self, entry: Entry) {
        if !self.is_whole || entry.position != Some(self.next) {
            return;
        }
        let mut records: Vec<_> = entry.published().collect();
        while let Some(record) = records.pop() {
            let Ok(Published::Publication { publication, .. }) = record else {
                self.is_whole = false;
                return;
            };
            self.next.offset -= 1;
            self.newest.push_front(publication);
        }
    }
}
