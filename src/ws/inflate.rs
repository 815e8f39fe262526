//! Compressed messages in. Source: RFC 7692 §7.2.2.

use std::str::from_utf8;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::deflate::{TAIL, WINDOW_BITS_MAX};
use super::reader::MessageKind;
use super::violation::PeerViolated;

/// Expands messages, each on its own, for all connections of a shard: clients keep no context from
/// one message to the next, for that is asked of each of them.
///
/// What a message becomes is bounded while it grows: never is more memory taken than twice what came
/// out, nor more than the limit and one byte.
#[derive(Default)]
pub struct Inflater {
    context: Option<Inflate>,
    /// The message of the last call; longer than it.
    scratch: Vec<u8>,
}

/// How far the expansion of one message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The input is used up.
    Hungry,
    /// A block that called itself the last has ended.
    Ended,
}

impl Inflater {
    /// Expands the payload of a compressed message to at most `bytes_max` bytes, which are lent until
    /// the next call. Text is valid UTF-8.
    ///
    /// Errors: over the limit (1009), as soon as it shows; not deflate, cut short, or not text (1007).
    pub fn inflate(&mut self, kind: MessageKind, payload: &[u8], bytes_max: usize) -> Result<&[u8], PeerViolated> {
        self.release();
        let length = self.expand(payload, bytes_max)?;
        let message = self.scratch.get(..length).unwrap_or_default();
        if kind == MessageKind::Text && from_utf8(message).is_err() {
            return Err(PeerViolated::TEXT_NOT_UTF8);
        }
        Ok(message)
    }

    /// Gives back the memory of a large message. To be called when no message is lent any more.
    pub fn release(&mut self) {
        if self.scratch.len() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }

    /// Memory held for messages, in bytes, the context's own 48 KiB left out.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch.capacity()
    }

    fn expand(&mut self, payload: &[u8], bytes_max: usize) -> Result<usize, PeerViolated> {
        let context = self.context.get_or_insert_with(|| Inflate::new(false, WINDOW_BITS_MAX));
        let mut length = 0;
        context.reset(false);
        let mut rest = payload;
        let mut last_blocks = 0;
        while run(context, &mut self.scratch, &mut length, &mut rest, bytes_max)? == Step::Ended {
            if rest.is_empty() {
                return Ok(length);
            }
            last_blocks += 1;
            if last_blocks > LAST_BLOCKS_MAX {
                return Err(PeerViolated::TOO_MANY_LAST_BLOCKS);
            }
            // Blocks may follow the one with BFINAL, and the octet 00 has to (RFC 7692 §7.2.3.4).
            context.reset(false);
        }
        // Behind whole blocks and the tail that was left out a last and empty block can stand. In
        // the middle of one, what is missing shows by that it can not.
        let mut closing = CLOSING.as_slice();
        let whole_length = length;
        let step = run(context, &mut self.scratch, &mut length, &mut closing, bytes_max)?;
        let is_whole = step == Step::Ended && closing.is_empty() && length == whole_length;
        is_whole.then_some(length).ok_or(PeerViolated::NOT_DEFLATE)
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("scratch_bytes", &self.scratch_bytes()).finish_non_exhaustive()
    }
}

/// Expands `rest` behind the first `length` bytes of `out`, until it is used up or a last block ends.
fn run(
    context: &mut Inflate,
    out: &mut Vec<u8>,
    length: &mut usize,
    rest: &mut &[u8],
    bytes_max: usize,
) -> Result<Step, PeerViolated> {
    loop {
        if *length == out.len() {
            // One byte over the limit is room to see that there is more.
            let wanted = out.len().saturating_mul(2).max(SCRATCH_BYTES_FIRST);
            let size = wanted.min(bytes_max.saturating_add(1)).max(out.len());
            out.reserve_exact(size - out.len());
            out.resize(size, 0);
        }
        let room = out.get_mut(*length..).unwrap_or_default();
        let (in_before, out_before) = (context.total_in(), context.total_out());
        let status = context.decompress(rest, room, InflateFlush::NoFlush).map_err(|_| PeerViolated::NOT_DEFLATE)?;
        let (used, produced) = ((context.total_in() - in_before) as usize, (context.total_out() - out_before) as usize);
        *length += produced;
        *rest = rest.get(used..).unwrap_or_default();
        if *length > bytes_max {
            return Err(PeerViolated::INFLATED_TOO_BIG);
        }
        match status {
            Status::StreamEnd => return Ok(Step::Ended),
            // With room left the input is what is missing, also when some of it is still there.
            _ if *length < out.len() => return Ok(Step::Hungry),
            Status::Ok | Status::BufError => {}
        }
    }
}

/// [`TAIL`] and an empty block of fixed codes that calls itself the last.
const CLOSING: [u8; 6] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x03, 0x00];

/// Blocks with BFINAL in one message (1009 above it). Each begins anew, for a fraction of a microsecond,
/// and may be two bytes long. Chosen: a sender that ends each of its writes with one gets by.
const LAST_BLOCKS_MAX: usize = 4096;

/// Chosen: a usual command with its answer's worth of history fits.
const SCRATCH_BYTES_FIRST: usize = 4 * 1024;

/// Chosen: the default limit of a message; the scratch of a larger one is given back.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

#[cfg(test)]
#[path = "inflate_tests.rs"]
mod tests;
