//! Builds the streams from the log at start: one thread reads and decodes, another one puts together.
//!
//! Whatever the log says last of a stream is where it stands, so what was lost before that only shortens its
//! history. A stream of which the *last* word may be lost begins a new epoch: its next offsets may have been given
//! already.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::builder::Builder;
use super::files::Files;
use super::log::Sealed;
use super::places::Places;
use super::scan::{Item, scan};
use crate::engine::Memory;
use crate::limits::{DISK_REPLAY_CHUNK, DISK_REPLAY_CHUNKS};
use crate::model::ChannelName;

/// Whether the log holds all that was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Whole,
    /// Power was lost, or the log could not be written for a while: any stream may have lost its end.
    Incomplete,
}

/// What the log came to.
pub struct Replayed {
    pub memory: Memory,
    pub places: Places,
    pub sealed: VecDeque<Sealed>,
    /// Streams that began a new epoch: the log does not know of it yet.
    pub renewed: Vec<ChannelName>,
    /// Damaged records, and places at which nobody knows what is missing.
    pub damages: u64,
    /// The newest segment with damage.
    pub damaged_segment: u64,
}

/// Reads the log that `files` hold, at `now` (since the Unix epoch).
pub fn replay(files: &dyn Files, now: Duration, memory: Memory, trust: Trust) -> io::Result<Replayed> {
    let (to_builder, from_reader) = sync_channel(DISK_REPLAY_CHUNKS);
    let mut builder = Builder::new(now, memory);
    let sealed = thread::scope(|scope| {
        let reader = scope.spawn(move || read(files, to_builder));
        build(&mut builder, &from_reader);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(builder.finish(sealed.into(), trust))
}

fn read(files: &dyn Files, to_builder: SyncSender<Vec<Item>>) -> io::Result<Vec<Sealed>> {
    let mut chunk = Vec::with_capacity(DISK_REPLAY_CHUNK);
    let sealed = scan(files, &mut |item| {
        chunk.push(item);
        if chunk.len() == DISK_REPLAY_CHUNK {
            // The builder takes all there is.
            let _ = to_builder.send(std::mem::replace(&mut chunk, Vec::with_capacity(DISK_REPLAY_CHUNK)));
        }
    })?;
    let _ = to_builder.send(chunk);
    Ok(sealed)
}

fn build(builder: &mut Builder, from_reader: &Receiver<Vec<Item>>) {
    for chunk in from_reader {
        chunk.into_iter().for_each(|item| builder.take(item));
    }
}
