//! The segments of one log: written at the end of the newest, dropped from the oldest on.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::Ack;
use super::files::{Files, SegmentFile};
use super::format::{HEADER_BYTES, SegmentHeader};
use crate::model::Epoch;

/// Invariants: numbers grow from the oldest of `sealed` to `current`; what stands in a segment behind its
/// `bytes` was never confirmed, and the header of the next one says so.
pub struct Log {
    files: Box<dyn Files>,
    segment_bytes: u64,
    ack: Ack,
    sealed: VecDeque<Sealed>,
    current: Option<Current>,
    next_number: u64,
    /// Segments of which something is not known to be safe.
    unsynced: Vec<Arc<dyn SegmentFile>>,
    /// Bytes written since the start, and how many of them are safe.
    written: u64,
    synced: u64,
    random: fastrand::Rng,
}

/// A segment that is written no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub number: u64,
    /// Of it that are valid.
    pub bytes: u64,
}

struct Current {
    number: u64,
    file: Arc<dyn SegmentFile>,
    salt: u32,
    bytes: u64,
    /// Of them that a sync made safe.
    synced_bytes: u64,
}

/// What is to be made safe, by whatever thread.
pub struct SyncJob {
    files: Vec<Arc<dyn SegmentFile>>,
    upto: u64,
}

impl SyncJob {
    /// Takes milliseconds and more. Returns what [`Log::synced`] wants to hear.
    pub fn run(self) -> io::Result<u64> {
        self.files.iter().try_for_each(|file| file.sync())?;
        Ok(self.upto)
    }
}

impl Log {
    /// Continues behind the segments that are there.
    pub fn new(files: Box<dyn Files>, segment_bytes: u64, ack: Ack, sealed: VecDeque<Sealed>, seed: u64) -> Log {
        let next_number = sealed.back().map_or(1, |newest| newest.number + 1);
        let random = fastrand::Rng::with_seed(seed);
        let (current, unsynced) = (None, Vec::new());
        Log { files, segment_bytes, ack, sealed, current, next_number, unsynced, written: 0, synced: 0, random }
    }

    /// The segment that is written next and its salt. Begins one if there is none, or it is full.
    pub fn begin_batch(&mut self, next_epoch: Epoch) -> io::Result<(u64, u32)> {
        if self.current.as_ref().is_none_or(|current| current.bytes >= self.segment_bytes) {
            self.begin_segment(next_epoch)?;
        }
        let current = self.current.as_ref().expect("begun above");
        Ok((current.number, current.salt))
    }

    /// Writes at the end, with one call. If that fails nothing of it is in the log.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let current = self.current.as_mut().expect("a batch is begun before it is written");
        let outcome = current.file.write_at(bytes, current.bytes);
        if outcome.is_ok() {
            current.bytes += bytes.len() as u64;
            self.written += bytes.len() as u64;
        } else if current.file.truncate(current.bytes).is_err() {
            // Something of it may stand there for ever: so nothing is written behind it.
            self.seal();
        }
        outcome
    }

    /// Makes what is written safe. If that fails everything since the last time counts as lost, and the segment is
    /// not written again: the system may take the next call for a success.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(job) = self.begin_sync() else { return Ok(()) };
        let outcome = job.run();
        match outcome {
            Ok(upto) => self.end_sync(upto),
            Err(_) => self.abandon_unsynced(),
        }
        outcome.map(|_| ())
    }

    /// What [`Log::sync`] would do, to be done by another thread. `None` if everything is safe.
    pub fn begin_sync(&mut self) -> Option<SyncJob> {
        if self.synced == self.written {
            return None;
        }
        let files = std::mem::take(&mut self.unsynced);
        self.unsynced.extend(self.current.as_ref().map(|current| Arc::clone(&current.file)));
        Some(SyncJob { files, upto: self.written })
    }

    pub fn end_sync(&mut self, upto: u64) {
        self.synced = upto;
        if let Some(current) = self.current.as_mut() {
            current.synced_bytes = current.bytes.saturating_sub(self.written - upto);
        }
    }

    /// Nothing is written any more behind what is there.
    pub fn seal(&mut self) {
        if let Some(Current { number, bytes, .. }) = self.current.take() {
            self.sealed.push_back(Sealed { number, bytes });
        }
    }

    /// Drops the oldest segment. Everything of worth in it stands safe in a newer one; so a file that can't be removed
    /// is only in the way.
    pub fn drop_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.sealed.pop_front() else { return Ok(()) };
        self.files.remove(oldest.number)
    }

    /// One of the segments that are written no more, counted from the oldest.
    pub fn find_sealed(&self, index: usize) -> Option<Sealed> {
        self.sealed.get(index).copied()
    }

    pub fn newest_sealed(&self) -> u64 {
        self.sealed.back().map_or(0, |newest| newest.number)
    }

    pub fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.current.is_some())
    }

    /// Of all segments.
    pub fn bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |current| current.bytes);
        self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>() + current
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn is_safe_up_to(&self, written: u64) -> bool {
        self.synced >= written
    }

    pub fn files_mut(&mut self) -> &mut dyn Files {
        &mut *self.files
    }

    fn begin_segment(&mut self, next_epoch: Epoch) -> io::Result<()> {
        let before_bytes = self.current.as_ref().map(|current| current.bytes);
        let before_bytes = before_bytes.or(self.sealed.back().map(|sealed| sealed.bytes)).unwrap_or(0);
        let (number, salt) = (self.next_number, self.random.u32(..));
        let file = self.files.create(number)?;
        file.write_at(&SegmentHeader { number, before_bytes, next_epoch, salt }.encode(), 0)?;
        self.files.sync_directory()?;
        self.seal();
        self.next_number += 1;
        self.written += HEADER_BYTES as u64;
        self.unsynced.push(Arc::clone(&file));
        self.current = Some(Current { number, file, salt, bytes: HEADER_BYTES as u64, synced_bytes: 0 });
        Ok(())
    }

    /// A sync failed: the segment is not written again. Where publishes wait for the disk nobody was told of what is
    /// not safe, and it never was; otherwise whatever of it can be read next time is true.
    pub fn abandon_unsynced(&mut self) {
        if let (Some(current), Ack::Fsync) = (self.current.as_mut(), self.ack) {
            current.bytes = current.synced_bytes.max(HEADER_BYTES as u64);
        }
        self.seal();
        self.unsynced.clear();
        self.synced = self.written;
    }
}
