//! The segments of one log: written at the end of the newest, dropped from the oldest on.
//!
//! The log only keeps count. What is asked of the files stands in a [`Write`] or a [`SyncJob`], which may take as long as
//! the disk likes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::Ack;
use super::files::{Files, SegmentFile};
use super::format::{HEADER_BYTES, SegmentHeader};
use crate::model::Epoch;

/// Invariants: numbers grow from the oldest of `sealed` to `current`, and on to `next`; what stands in a segment behind
/// its `bytes` was never confirmed, and the header of the next one says so.
pub struct Log {
    segment_bytes: u64,
    ack: Ack,
    sealed: VecDeque<Sealed>,
    current: Option<Current>,
    /// Number and salt of the segment that is begun next.
    next: (u64, u32),
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
    /// Takes milliseconds and more. Returns what [`Log::end_sync`] wants to hear.
    pub fn run(self) -> io::Result<u64> {
        self.files.iter().try_for_each(|file| file.sync())?;
        Ok(self.upto)
    }
}

/// Bytes on their way to the end of the log, with one call.
pub struct Write {
    target: Target,
    bytes: Vec<u8>,
    /// Segments to make safe with it; `None`: it is not waited for.
    syncs: Option<Vec<Arc<dyn SegmentFile>>>,
    /// If the sync fails the bytes are taken back: nobody was told of them, and the next process should not read what
    /// the disk may not have.
    cuts_unsafe: bool,
}

enum Target {
    Open { file: Arc<dyn SegmentFile>, offset: u64 },
    New(SegmentHeader),
}

/// What became of a [`Write`].
pub struct Written {
    pub bytes: Vec<u8>,
    /// The segment that was begun for it.
    begun: Option<Arc<dyn SegmentFile>>,
    is_synced: bool,
    pub failure: Option<Failure>,
}

/// Nothing of the bytes counts as written.
#[derive(Debug)]
pub enum Failure {
    /// The segment could not be begun.
    Begin(io::Error),
    Write {
        error: io::Error,
        /// Nothing of it stands in the file.
        is_cut: bool,
    },
    /// The bytes stand in the file, and nobody knows what the disk has.
    Sync(io::Error),
}

impl Failure {
    pub fn error(&self) -> &io::Error {
        match self {
            Failure::Begin(error) | Failure::Write { error, .. } | Failure::Sync(error) => error,
        }
    }
}

impl Write {
    pub fn run(self, files: &dyn Files) -> Written {
        let Write { target, bytes, syncs, cuts_unsafe } = self;
        let is_synced = syncs.is_some();
        let (file, offset, begun) = match target {
            Target::Open { file, offset } => (file, offset, None),
            Target::New(header) => match begin_segment(files, header) {
                Ok(file) => (Arc::clone(&file), HEADER_BYTES as u64, Some(file)),
                Err(error) => {
                    return Written { bytes, begun: None, is_synced, failure: Some(Failure::Begin(error)) };
                }
            },
        };
        let failure = match file.write_at(&bytes, offset) {
            Err(error) => Some(Failure::Write { error, is_cut: file.truncate(offset).is_ok() }),
            Ok(()) => {
                let mut unsafe_files = syncs.iter().flatten().chain(begun.iter().filter(|_| is_synced));
                unsafe_files.try_for_each(|file| file.sync()).err().map(Failure::Sync)
            }
        };
        if cuts_unsafe && matches!(failure, Some(Failure::Sync(_))) {
            let _ = file.truncate(offset);
        }
        Written { bytes, begun, is_synced, failure }
    }
}

fn begin_segment(files: &dyn Files, header: SegmentHeader) -> io::Result<Arc<dyn SegmentFile>> {
    let file = files.create(header.number)?;
    file.write_at(&header.encode(), 0)?;
    files.sync_directory()?;
    Ok(file)
}

impl Log {
    /// Continues behind the segments that are there.
    pub fn new(segment_bytes: u64, ack: Ack, sealed: VecDeque<Sealed>, seed: u64) -> Log {
        let mut random = fastrand::Rng::with_seed(seed);
        let next = (sealed.back().map_or(1, |newest| newest.number + 1), random.u32(..));
        let (current, unsynced) = (None, Vec::new());
        Log { segment_bytes, ack, sealed, current, next, unsynced, written: 0, synced: 0, random }
    }

    /// Number and salt of the segment that is written next: another one than before if that is full.
    pub fn place(&self) -> (u64, u32) {
        self.open_segment().map_or(self.next, |current| (current.number, current.salt))
    }

    /// What brings `bytes`, made with the salt of [`Log::place`], to the end of the log. One at a time: nothing else is
    /// asked of the log before [`Log::end_write`].
    pub fn begin_write(&self, bytes: Vec<u8>, next_epoch: Epoch, syncs: bool) -> Write {
        let target = match self.open_segment() {
            Some(current) => Target::Open { file: Arc::clone(&current.file), offset: current.bytes },
            None => Target::New(self.next_header(next_epoch)),
        };
        let cuts_unsafe = self.ack == Ack::Fsync;
        Write { target, bytes, syncs: syncs.then(|| self.unsynced.clone()), cuts_unsafe }
    }

    /// If it failed nothing of it is in the log.
    pub fn end_write(&mut self, written: &Written) {
        if let Some(file) = &written.begun {
            self.adopt(Arc::clone(file));
        }
        match &written.failure {
            None => {
                self.count(written.bytes.len());
                if written.is_synced {
                    self.unsynced.clear();
                    self.unsynced.extend(self.current.as_ref().map(|current| Arc::clone(&current.file)));
                    self.end_sync(self.written);
                }
            }
            // Something of it may stand there for ever: so nothing is written behind it.
            Some(Failure::Write { is_cut: false, .. }) => self.seal(),
            Some(Failure::Begin(_) | Failure::Write { .. }) => {}
            Some(Failure::Sync(_)) => {
                self.count(written.bytes.len());
                self.abandon_unsynced();
            }
        }
    }

    /// What makes everything safe that is written by now, to be done by whatever thread. `None` if it is.
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

    /// A sync failed: everything since the last one counts as lost, and the segment is not written again, for the system
    /// may take the next call for a success. Where publishes wait for the disk nobody was told of what is not safe, and
    /// it never was; otherwise whatever of it can be read next time is true.
    pub fn abandon_unsynced(&mut self) {
        if let (Some(current), Ack::Fsync) = (self.current.as_mut(), self.ack) {
            current.bytes = current.synced_bytes.max(HEADER_BYTES as u64);
        }
        self.seal();
        self.unsynced.clear();
        self.synced = self.written;
    }

    /// Drops the oldest segment; returns its number. Everything of worth in it stands safe in a newer one.
    pub fn drop_oldest(&mut self) -> Option<u64> {
        self.sealed.pop_front().map(|oldest| oldest.number)
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

    /// The newest segment, if it has room.
    fn open_segment(&self) -> Option<&Current> {
        self.current.as_ref().filter(|current| current.bytes < self.segment_bytes)
    }

    fn next_header(&self, next_epoch: Epoch) -> SegmentHeader {
        let current = self.current.as_ref().map(|current| current.bytes);
        let before_bytes = current.or(self.sealed.back().map(|sealed| sealed.bytes)).unwrap_or(0);
        let (number, salt) = self.next;
        SegmentHeader { number, before_bytes, next_epoch, salt }
    }

    /// The next segment was begun.
    fn adopt(&mut self, file: Arc<dyn SegmentFile>) {
        self.seal();
        let (number, salt) = self.next;
        self.next = (number + 1, self.random.u32(..));
        self.written += HEADER_BYTES as u64;
        self.unsynced.push(Arc::clone(&file));
        self.current = Some(Current { number, file, salt, bytes: HEADER_BYTES as u64, synced_bytes: 0 });
    }

    /// So many bytes more stand in the newest segment.
    fn count(&mut self, bytes: usize) {
        let current = self.current.as_mut().expect("what is written has a segment");
        current.bytes += bytes as u64;
        self.written += bytes as u64;
    }

    /// Nothing is written any more behind what is there.
    fn seal(&mut self) {
        if let Some(Current { number, bytes, .. }) = self.current.take() {
            self.sealed.push_back(Sealed { number, bytes });
        }
    }
}
