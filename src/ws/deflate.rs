//! Messages out, compressed. Source: RFC 7692 §7.2.1.

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Method};

use super::frame::{FrameKind, build_deflated_frame};

/// Compresses messages, each on its own: no context is taken over from one to the next, so one
/// compressor serves all connections, and what it makes can be given to all of them.
///
/// A context takes about 320 KiB and is made when a message is first wanted for its window.
pub struct Deflater {
    level: i32,
    /// For windows of 9 to 15 bits.
    contexts: [Option<Deflate>; WINDOWS],
    scratch: Vec<u8>,
    tally: DeflateTally,
}

/// What was compressed since somebody last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateTally {
    pub messages: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl Deflater {
    /// `level` is 1 (fast) to 9 (small).
    ///
    /// # Panics
    /// On another level.
    pub fn new(level: u8) -> Deflater {
        assert!((1..=9).contains(&level), "compression level {level}");
        Deflater {
            level: level.into(),
            contexts: [const { None }; WINDOWS],
            scratch: Vec::new(),
            tally: DeflateTally::default(),
        }
    }

    /// Builds the frame of a compressed message that refers back at most 2^`window_bits` bytes, 9 to
    /// 15. `None`: compressed it would be no smaller, and is to be sent as it is.
    pub fn build_frame(&mut self, kind: FrameKind, payload: &[u8], window_bits: u8) -> Option<Bytes> {
        let slot = self.contexts.get_mut(usize::from(window_bits.checked_sub(WINDOW_BITS_MIN)?))?;
        let context = slot.get_or_insert_with(|| new_context(self.level, window_bits));
        // Room for the worst: a context that was stopped half-way can't be used again.
        let room = bytes_bound(payload.len());
        if self.scratch.len() < room {
            self.scratch.resize(room, 0);
        }
        let out = self.scratch.get_mut(..room).unwrap_or_default();
        context.reset();
        let flushed = context.compress(payload, out, DeflateFlush::SyncFlush);
        let produced = context.total_out() as usize;
        if flushed.is_err() || produced == room || context.total_in() as usize != payload.len() {
            debug_assert!(false, "{} bytes became {produced}, {flushed:?}", payload.len());
            *slot = None;
            return None;
        }
        let deflated = out.get(..produced).and_then(|out| out.strip_suffix(&TAIL));
        let deflated = deflated.filter(|deflated| deflated.len() < payload.len());
        let frame = deflated.map(|deflated| build_deflated_frame(kind, deflated));
        self.tally.messages += 1;
        self.tally.bytes_before += payload.len() as u64;
        self.tally.bytes_after += deflated.unwrap_or(payload).len() as u64;
        if self.scratch.len() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
        frame
    }

    /// What was compressed since the last call; also what came out no smaller counts.
    pub fn take_tally(&mut self) -> DeflateTally {
        std::mem::take(&mut self.tally)
    }
}

impl std::fmt::Debug for Deflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deflater").field("level", &self.level).finish_non_exhaustive()
    }
}

fn new_context(level: i32, window_bits: u8) -> Deflate {
    Deflate::new_with_config(DeflateConfig {
        level,
        method: Method::Deflated,
        // Negative: deflate without zlib's header.
        window_bits: -i32::from(window_bits),
        mem_level: 8,
        strategy: zlib_rs::Strategy::Default,
    })
}

/// What `bytes` may become at worst, and more. Source: zlib's `deflateBound`, which at level 1 spends
/// nine bits on a byte, and what a flush adds.
fn bytes_bound(bytes: usize) -> usize {
    bytes + bytes / 8 + bytes / 64 + 64
}

/// zlib's smallest; RFC 7692 knows 8 bits too.
pub const WINDOW_BITS_MIN: u8 = 9;
pub const WINDOW_BITS_MAX: u8 = 15;
const WINDOWS: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1) as usize;

/// Ends each flush, and is not sent. Source: RFC 7692 §7.2.1.
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Chosen: what is larger is rare, and its scratch is given back.
const SCRATCH_BYTES_KEPT: usize = 256 * 1024;

#[cfg(test)]
#[path = "deflate_tests.rs"]
mod tests;
