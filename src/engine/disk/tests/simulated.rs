//! Files that forget what was not synced when the power goes, run full, and break.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::engine::disk::files::{Files, SegmentFile};

/// A disk, as the kernel of a machine sees it. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Mutex<Disk>>);

#[derive(Default)]
pub struct Disk {
    pub segments: BTreeMap<u64, Bytes>,
    mark: Vec<u8>,
    /// What the directory holds on the disk: segments removed since the last sync come back, and new ones go.
    named: BTreeMap<u64, Bytes>,
    /// Bytes that may still be written.
    pub room: Option<usize>,
    pub syncs_fail: bool,
    pub marks_fail: bool,
    pub truncates_fail: bool,
}

#[derive(Clone, Default)]
pub struct Bytes {
    pub written: Vec<u8>,
    /// Of them that are on the disk.
    synced: usize,
    /// The kernel has given up on what is behind, though it says nothing of it any more.
    is_broken: bool,
}

impl Simulated {
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// What the machine has after a loss of power. `random` says what happened to what was not synced.
    pub fn lose_power(&self, random: &mut fastrand::Rng) {
        let mut disk = self.disk();
        let mut named = std::mem::take(&mut disk.named);
        for (number, kept) in &mut named {
            if let Some(now) = disk.segments.get(number) {
                *kept = now.clone();
            }
            let unsynced = kept.written.split_off(kept.synced);
            let some = random.usize(..=unsynced.len());
            match random.u8(..3) {
                0 => {}
                1 => kept.written.extend_from_slice(&unsynced[..some]),
                _ => kept.written.resize(kept.synced + some, 0),
            }
            kept.synced = kept.written.len();
        }
        (disk.segments, disk.named) = (named.clone(), named);
        disk.room = None;
    }
}

impl Disk {
    pub fn answer(&mut self) {
        (self.syncs_fail, self.marks_fail, self.truncates_fail) = (false, false, false);
    }

    fn take_room(&mut self, wanted: usize) -> usize {
        let taken = self.room.map_or(wanted, |room| room.min(wanted));
        self.room = self.room.map(|room| room - taken);
        taken
    }
}

fn full() -> io::Error {
    io::Error::from(ErrorKind::StorageFull)
}

fn broken() -> io::Error {
    io::Error::other("simulated")
}

impl Files for Simulated {
    fn list(&self) -> io::Result<Vec<u64>> {
        Ok(self.disk().segments.keys().copied().collect())
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        if self.disk().room == Some(0) {
            return Err(full());
        }
        self.disk().segments.insert(number, Bytes::default());
        Ok(Arc::new(OneFile { disk: self.clone(), number }))
    }

    fn read(&self, number: u64, count: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        let disk = self.disk();
        let written = &disk.segments.get(&number).ok_or(ErrorKind::NotFound)?.written;
        bytes.extend(written.iter().take(usize::try_from(count).unwrap_or(usize::MAX)));
        Ok(())
    }

    fn sync(&self, number: u64) -> io::Result<()> {
        OneFile { disk: self.clone(), number }.sync()
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        let removed = self.disk().segments.remove(&number).ok_or(ErrorKind::NotFound)?;
        let mut disk = self.disk();
        disk.room = disk.room.map(|room| room + removed.written.len());
        if let Some(named) = disk.named.get_mut(&number) {
            *named = removed;
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.named = disk.segments.clone();
        Ok(())
    }

    fn read_mark(&self) -> io::Result<Vec<u8>> {
        Ok(self.disk().mark.clone())
    }

    fn write_mark(&self, bytes: &[u8]) -> io::Result<()> {
        if self.disk().marks_fail {
            return Err(broken());
        }
        self.disk().mark = bytes.to_vec();
        Ok(())
    }
}

struct OneFile {
    disk: Simulated,
    number: u64,
}

impl OneFile {
    fn with<R>(&self, act: impl FnOnce(&mut Disk, &mut Bytes) -> R) -> R {
        let mut disk = self.disk.disk();
        let mut bytes = disk.segments.remove(&self.number).unwrap_or_default();
        let result = act(&mut disk, &mut bytes);
        disk.segments.insert(self.number, bytes);
        result
    }
}

impl SegmentFile for OneFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|disk, file| {
            let taken = disk.take_room(bytes.len());
            file.written.truncate(offset as usize);
            file.written.extend_from_slice(&bytes[..taken]);
            if taken < bytes.len() { Err(full()) } else { Ok(()) }
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(|disk, file| {
            if disk.truncates_fail {
                return Err(broken());
            }
            disk.room = disk.room.map(|room| room + file.written.len().saturating_sub(bytes as usize));
            file.written.truncate(bytes as usize);
            file.synced = file.synced.min(file.written.len());
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, file| {
            if disk.syncs_fail {
                file.is_broken = true;
                return Err(broken());
            }
            if !file.is_broken {
                file.synced = file.written.len();
            }
            Ok(())
        })
    }
}
