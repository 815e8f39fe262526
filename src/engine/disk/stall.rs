//! A disk that does not answer: a write or a sync was begun and does not return. What is in memory stays readable, and
//! publishes to streams are refused (100), with either `ack`: not even the mark could say that the log lacks something.
//!
//! What was under way keeps its place. If it is in the log after all when the disk answers, it has happened, though
//! whoever asked for it was told an error: a publish that failed may be in the stream or not.

use std::time::Duration;

use super::apply::{Step, done};
use super::core::{Batch, Core, Requests, Word};
use super::outage::Health;
use crate::model::ErrorCode;
use crate::telemetry::EngineCounter;

/// What the core waits for no more.
#[derive(Default)]
pub struct Stall {
    /// The turn of which the write does not return.
    late: Option<Box<Batch>>,
    /// The background sync does not return.
    is_sync_late: bool,
}

impl Core {
    /// Whether nothing is asked of the files.
    pub fn is_stuck(&self) -> bool {
        self.stall.late.is_some() || self.stall.is_sync_late
    }

    /// The job that [`Core::begin`] gave does not return. Until it does, and [`Core::end`] is told, requests go through
    /// [`Core::turn_without_files`].
    pub fn stall_write(&mut self, now: Duration, words: &mut Vec<Word>) {
        let mut late = std::mem::take(&mut self.batch);
        for step in std::mem::take(&mut late.steps) {
            let is_removed = matches!(late.steps.last(), Some(Step::Remove { asker: None, .. }));
            match step {
                // It would show what is to be removed first.
                Step::Read { asker, .. } if is_removed => words.push(done(asker, Err(ErrorCode::Internal))),
                step if step.needs_log() => {
                    self.metrics.add(EngineCounter::Failures, 1);
                    words.extend(step.asker().map(|asker| done(asker, Err(ErrorCode::Internal))));
                    late.steps.push(step);
                }
                step => self.apply(now, false, step, words),
            }
        }
        self.note_stall();
        self.stall.late = Some(Box::new(late));
    }

    /// The background sync does not return.
    pub fn stall_sync(&mut self) {
        self.note_stall();
        self.stall.is_sync_late = true;
    }

    /// A turn of requests that need no file; the others are refused.
    pub fn turn_without_files(&mut self, now: Duration, requests: &mut Requests, words: &mut Vec<Word>) {
        debug_assert!(self.is_stuck());
        self.batch.clear();
        self.plan_all(now, requests);
        self.apply_batch(now, false, words);
    }

    /// The write returned. Whether it was late: then its turn is the core's batch again.
    pub(super) fn end_write_stall(&mut self) -> bool {
        let Some(late) = self.stall.late.take() else { return false };
        self.batch = *late;
        self.note_end_of_stall();
        true
    }

    pub(super) fn end_sync_stall(&mut self) {
        if std::mem::take(&mut self.stall.is_sync_late) {
            self.note_end_of_stall();
        }
    }

    /// What is in the log has happened; whoever asked for it was answered.
    pub(super) fn apply_late_batch(&mut self, now: Duration, is_logged: bool, words: &mut Vec<Word>) {
        if !is_logged {
            return self.batch.steps.clear();
        }
        let mut said = Vec::new();
        self.apply_batch(now, is_logged, &mut said);
        words.extend(said.into_iter().filter(|word| matches!(word, Word::Home(_))));
    }

    fn note_stall(&self) {
        if !self.is_stuck() {
            tracing::error!("the disk of the log does not answer: publishes to streams are refused until it does");
        }
        self.metrics.set_up(false);
        self.metrics.probed(None);
    }

    fn note_end_of_stall(&self) {
        if !self.is_stuck() {
            tracing::info!("the disk of the log answers again");
            self.metrics.set_up(self.health == Health::Up);
        }
    }
}
