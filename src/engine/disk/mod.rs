//! The disk engine: a log in a directory, so that one binary forgets nothing when it is killed.
//!
//! Streams live in memory (`engine::Memory`); the log is what they are built from at the next start. One thread is
//! the authority for all shards: it takes what has gathered in its tray, plans it, writes it with one call, and only
//! then applies it, answers, and hands publications to their homes. While it writes, the next batch gathers.
//!
//! # What an answer means
//!
//! * [`Ack::Memory`]: the record is in the file, and the kernel has it. `kill -9` loses nothing; a loss of power
//!   loses what was written since the last sync, which there is every 100 ms, on a thread of its own. All streams
//!   begin new epochs then, since nobody knows which of them lost something.
//! * [`Ack::Fsync`]: the record is on the disk.
//!
//! # Map
//!
//! | file            | what                                                                     |
//! |-----------------|--------------------------------------------------------------------------|
//! | `format.rs`     | segments and records as bytes, with checksums                            |
//! | `entry.rs`      | what records say                                                         |
//! | `files.rs`      | all that is asked of a file system                                       |
//! | `log.rs`        | segments written, made safe and dropped                                  |
//! | `scan.rs`       | segments read: what is whole, torn, damaged                              |
//! | `replay.rs`     | the log at start, by two threads; `builder.rs`: streams built from it    |
//! | `mark.rs`       | how the process before ended                                             |
//! | `core.rs`       | a turn: plan (`plan.rs`), write, apply (`apply.rs`)                      |
//! | `places.rs`     | which segment is needed for what                                         |
//! | `compaction.rs` | the oldest segment emptied                                               |
//! | `job.rs`        | what a turn asks of the files                                            |
//! | `outage.rs`     | a log that can't be written; `stall.rs`: a disk that does not answer     |
//! | `thread.rs`     | the thread and its tray; `speaker.rs`: its words to the shards           |
//! | `guard.rs`      | the thread that stands in for it while a write does not return           |
//! | `syncs.rs`      | the thread that syncs                                                    |
//!
//! Invariants: nobody hears of a publication before its record is in the file (while the log can't be written, before
//! the mark says so); no position ever means two publications, whatever the log lost. Must never touch shards or
//! sockets. Read `core.rs` first.

mod apply;
mod builder;
mod compaction;
mod core;
mod entry;
mod files;
mod format;
mod guard;
mod job;
mod log;
mod mark;
mod outage;
mod places;
mod plan;
mod replay;
mod scan;
mod speaker;
mod stall;
mod syncs;
#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::contract::Engine;
use super::outlet::Outlet;
use crate::telemetry::EngineMetrics;
use thread::DiskEngine;

/// When a publish is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When its record is in the file, and so in the kernel's memory.
    #[default]
    Memory,
    /// When it is on the disk.
    Fsync,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// The directory, made if it is not there. No two processes use it at a time.
    pub path: PathBuf,
    pub ack: Ack,
    /// Of a file of the log, about.
    pub segment_bytes: u64,
    /// Of the whole log, about; streams take a third of it in memory at most. Past that those go that would expire
    /// first.
    pub bytes_max: u64,
}

/// Reads the log and starts the engine's threads. Takes some 1.3 s of two cores for a GiB.
///
/// Errors say what to do: the directory can't be made, is another process's, or can't be read.
pub fn start(options: Options, outlet: Outlet, metrics: Arc<EngineMetrics>) -> io::Result<Arc<dyn Engine>> {
    Ok(Arc::new(DiskEngine::start(options, outlet, metrics)?))
}
