//! Publications get their places.

use std::time::Duration;

use bytes::Bytes;

use super::super::contract::{Outcome, Publish};
use super::super::{Retention, record};
use super::entry::{Entry, now_ms};
use super::jetstream::Refusal;
use super::job::{Job, error_of};
use super::log::Log;
use super::subjects::escape;
use super::tail::Tail;
use crate::model::{ErrorCode, Position};
use crate::telemetry::EngineCounter;

impl Job {
    /// Appends publications as one message: with an idempotency key or a version it is only one.
    pub async fn append(
        &mut self,
        publishes: &[Publish],
        retention: Retention,
    ) -> Result<Vec<Result<Outcome, ErrorCode>>, Refusal> {
        let log = self.open_log().await?;
        let record = |publish: &Publish| record::encode_publication(&publish.publication, publish.delta).into();
        let records: Vec<Bytes> = publishes.iter().map(record).collect();
        let last = match self.append_records(&log, &publishes[0], &records, retention.ttl).await {
            // Together they may be more than the server takes, or one of them is.
            Err(Refusal::TooLarge) if publishes.len() > 1 => {
                return self.append_each(&log, publishes, records, retention.ttl).await;
            }
            last => last?,
        };
        let behind = (0..publishes.len() as u64).rev();
        let position = |behind| Position { offset: last.offset.saturating_sub(behind), ..last };
        Ok(behind.map(|behind| Ok(Outcome::Published(Some(position(behind))))).collect())
    }

    /// Sends what is not kept, unless the server knows its key. The server sends it on.
    pub async fn append_once(&self, publish: &Publish) -> Result<Vec<Result<Outcome, ErrorCode>>, Refusal> {
        let log = self.open_log().await?;
        let entry = Entry::passing(record::encode_publication(&publish.publication, publish.delta));
        let id = publish.idempotency_key.as_deref().map(escape);
        log.append(&self.session, &self.tokens(), &entry, None, id.as_deref()).await?;
        Ok(vec![Ok(Outcome::Published(None))])
    }

    async fn append_each(
        &mut self,
        log: &Log,
        publishes: &[Publish],
        records: Vec<Bytes>,
        ttl: Duration,
    ) -> Result<Vec<Result<Outcome, ErrorCode>>, Refusal> {
        let mut outcomes = Vec::with_capacity(publishes.len());
        for (publish, record) in publishes.iter().zip(records) {
            outcomes.push(match self.append_records(log, publish, &[record], ttl).await {
                Ok(position) => Ok(Outcome::Published(Some(position))),
                Err(Refusal::TooLarge) => Err(error_of(Refusal::TooLarge)),
                Err(refusal) => return Err(refusal),
            });
        }
        Ok(outcomes)
    }

    /// Returns the place of the last one. Tries again when another node was first, as long as there is time.
    async fn append_records(
        &mut self,
        log: &Log,
        publish: &Publish,
        records: &[Bytes],
        ttl: Duration,
    ) -> Result<Position, Refusal> {
        let tokens = self.tokens();
        let id = publish.idempotency_key.as_deref().map(escape);
        loop {
            let Some(tail) = self.next_tail(log).await? else { continue };
            let now_ms = now_ms();
            if let Some(position) = tail.find_outcome(publish, now_ms) {
                self.tail = Some(tail);
                return Ok(position);
            }
            let entry = tail.next(records.to_vec(), publish, ttl, now_ms);
            match log.append(&self.session, &tokens, &entry, Some(tail.sequence), id.as_deref()).await {
                Ok(stored) if stored.is_duplicate => return self.find_first(log, publish, stored.sequence).await,
                Ok(stored) => {
                    let has_expired = entry.floor > tail.entry.as_ref().map_or(0, |entry| entry.floor);
                    if has_expired {
                        log.forget_before(&self.session, &tokens, stored.sequence).await;
                    }
                    let position = entry.position.expect("it has a place in the stream");
                    self.tail = Some(Tail::after(stored.sequence, entry));
                    return Ok(position);
                }
                Err(Refusal::WrongLast) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// What the next entry follows: behind a stream that has lost something, the beginning of a new life. `None`:
    /// somebody else was first.
    async fn next_tail(&mut self, log: &Log) -> Result<Option<Tail>, Refusal> {
        if let Some(tail) = self.tail.take() {
            return Ok(Some(tail));
        }
        let tail = self.find_tail(log).await?;
        if !tail.has_lost(self.known) {
            return Ok(Some(tail));
        }
        let begun = self.begin_anew(log, &tail).await?;
        self.metrics.add(EngineCounter::EpochsLost, u64::from(begun.is_some()));
        Ok(begun)
    }

    /// What the publish with this key came to that the server has as message `sequence`. Where that message is gone,
    /// the newest place: whoever asks learns that it was done.
    async fn find_first(&mut self, log: &Log, publish: &Publish, sequence: u64) -> Result<Position, Refusal> {
        let key = publish.idempotency_key.as_deref().unwrap_or_default();
        let first = Tail::of(log.at(&self.session, sequence).await?);
        if let Some(position) = first.entry.and_then(|entry| entry.find_result(key, now_ms())) {
            return Ok(position);
        }
        let tail = self.find_tail(log).await?;
        let found = tail.entry.as_ref().and_then(|entry| entry.find_result(key, now_ms()));
        let position = found.or(tail.position()).ok_or(Refusal::NotFound);
        self.tail = Some(tail);
        position
    }
}
