//! The files of the log: all that the engine asks of a file system. Tests put one in its place that forgets and
//! fails.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory with segments, and one small file that is written in place.
pub trait Files: Send + Sync {
    /// Numbers of the segments that are there, in no order.
    fn list(&self) -> io::Result<Vec<u64>>;
    fn create(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>>;
    /// Reads at most the first `count` bytes of a segment into `bytes`, in the place of what was in it.
    fn read(&self, number: u64, count: u64, bytes: &mut Vec<u8>) -> io::Result<()>;
    /// Makes a segment that another process wrote safe against a loss of power.
    fn sync(&self, number: u64) -> io::Result<()>;
    fn remove(&self, number: u64) -> io::Result<()>;
    /// Makes creations and removals safe against a loss of power.
    fn sync_directory(&self) -> io::Result<()>;
    fn read_mark(&self) -> io::Result<Vec<u8>>;
    /// Overwrites the mark and makes that safe; needs no room on a full disk.
    fn write_mark(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A segment that is written.
pub trait SegmentFile: Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Makes everything written before safe against a loss of power.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory, locked against other processes for as long as this lives.
pub struct Directory {
    path: PathBuf,
    /// Holds the mark, and the lock.
    mark: File,
}

const MARK_FILE: &str = "fanfare.lock";
const SEGMENT_ENDING: &str = ".segment";

impl Directory {
    /// Errors say what to do.
    pub fn open(path: &Path) -> io::Result<Directory> {
        fs::create_dir_all(path).map_err(|error| explain(&error, "create", path))?;
        let mark_path = path.join(MARK_FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&mark_path);
        let mark = opened.map_err(|error| explain(&error, "open", &mark_path))?;
        match mark.try_lock() {
            Ok(()) => Ok(Directory { path: path.to_owned(), mark }),
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "the log in {} is used by another process: give each node a directory of its own, or end that one",
                    path.display()
                );
                Err(io::Error::new(ErrorKind::AlreadyExists, text))
            }
            Err(TryLockError::Error(error)) => Err(explain(&error, "lock", &mark_path)),
        }
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016}{SEGMENT_ENDING}"))
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_ENDING));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn SegmentFile>> {
        // A half-made one of an earlier try may be there.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(self.path_of(number))?;
        Ok(Arc::new(file))
    }

    fn read(&self, number: u64, count: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        let path = self.path_of(number);
        let read = File::open(&path).and_then(|file| {
            bytes.reserve(file.metadata()?.len().min(count) as usize);
            file.take(count).read_to_end(bytes)
        });
        read.map(|_| ()).map_err(|error| explain(&error, "read", &path))
    }

    fn sync(&self, number: u64) -> io::Result<()> {
        let path = self.path_of(number);
        File::open(&path).and_then(|file| file.sync_data()).map_err(|error| explain(&error, "sync", &path))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.path_of(number))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn read_mark(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.mark.metadata()?.len().min(4096) as usize];
        self.mark.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn write_mark(&self, bytes: &[u8]) -> io::Result<()> {
        let written = self.mark.write_all_at(bytes, 0).and_then(|()| self.mark.sync_data());
        written.map_err(|error| explain(&error, "write", &self.path.join(MARK_FILE)))
    }
}

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn explain(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("can't {what} {}: {error}", path.display()))
}
