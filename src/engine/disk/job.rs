//! What a turn asks of the files. It may take as long as the disk likes, so whoever runs it holds nothing that others
//! wait for: the core goes on without it (`stall.rs`).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::Files;
use super::log::{Write, Written};
use super::mark::Mark;

/// In this order: mark, write, mark again, removals.
pub struct Job {
    pub files: Arc<dyn Files>,
    pub write: Option<Write>,
    pub mark: Option<(MarkWhen, Mark)>,
    /// Segments that are not needed any more.
    pub removals: Vec<u64>,
}

/// When the mark is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkWhen {
    First,
    /// If the write failed: nothing is served that is neither in the log nor said to be missing.
    IfItFails,
    /// If it did not.
    IfItWorks,
}

/// What became of a [`Job`].
pub struct Done {
    pub written: Option<Written>,
    /// The mark that the files have now, if it was to be written.
    pub mark: Option<io::Result<Mark>>,
    /// Segments that are still there.
    pub failed_removals: Vec<(u64, io::Error)>,
    pub took: Duration,
}

impl Job {
    pub fn run(self) -> Done {
        let Job { files, write, mark, removals } = self;
        let begin = Instant::now();
        let write_mark = |when| {
            let (_, mark) = mark.as_ref().filter(|(wanted, _)| *wanted == when)?;
            Some(mark.write(&*files).map(|()| mark.clone()))
        };
        let first = write_mark(MarkWhen::First);
        let written = write.map(|write| write.run(&*files));
        let took = begin.elapsed();
        let failed = written.as_ref().is_some_and(|written| written.failure.is_some());
        let mark = first.or_else(|| write_mark(if failed { MarkWhen::IfItFails } else { MarkWhen::IfItWorks }));
        let remove = |number: u64| files.remove(number).err().map(|error| (number, error));
        let failed_removals = removals.into_iter().filter_map(remove).collect();
        Done { written, mark, failed_removals, took }
    }
}
