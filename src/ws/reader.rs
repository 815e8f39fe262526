//! Client frames in: a whole frame is read where it lies, everything else through a [`Partial`].

use std::str::from_utf8;

use super::close::PeerClose;
use super::header::{Header, Opcode};
use super::mask::unmask;
use super::partial::{Finished, Partial};
use super::violation::PeerViolated;

/// Reads one connection's client frames.
///
/// While nothing is unfinished it is one empty pointer: an idle connection holds no buffer.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
}

/// Bounds of one message.
#[derive(Clone, Copy, Debug)]
pub struct ReaderLimits {
    /// Payload of all its fragments together, as they came (1009 above it).
    pub message_bytes_max: usize,
    /// Frames that it may come in, empty ones counted (1009 above it). A fragment costs no memory
    /// here beyond its bytes; the bound is against CPU time spent on headers.
    pub fragments_max: usize,
    pub deflate: Deflate,
}

/// Whether messages may come compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deflate {
    Refused,
    /// By permessage-deflate. Source: RFC 7692 §7.
    Negotiated,
}

/// What came, unmasked. Text is valid UTF-8, unless it is compressed still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Message {
        kind: MessageKind,
        payload: &'a [u8],
    },
    /// A message that was negotiated to come so: see [`Inflater::inflate`](super::Inflater::inflate).
    Compressed {
        kind: MessageKind,
        payload: &'a [u8],
    },
    /// To be answered by a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The last that counts: what follows on the wire is not to be read.
    Close(PeerClose),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    Text,
    Binary,
}

impl Reader {
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Reads one message or control frame out of `bytes`, unmasking in place.
    ///
    /// Returns how many bytes were used and what came; call again with the rest. `None`: all
    /// bytes were used and kept, and the message is not whole yet. A payload that was kept is
    /// lent until the next call here or to [`Reader::release`].
    ///
    /// Errors: [`PeerViolated`] with the close code to send, as early as the bytes show it. All
    /// that was kept is gone then; the connection is not to be read again.
    /// Source: RFC 6455 §5.2 to §5.5, §8.1.
    pub fn read<'a>(
        &'a mut self,
        limits: &ReaderLimits,
        bytes: &'a mut [u8],
    ) -> Result<(usize, Option<Incoming<'a>>), PeerViolated> {
        self.release();
        if self.partial.is_none()
            && let Some(header) = find_whole_message(limits, bytes)?
        {
            let (used, incoming) = read_in_place(&header, bytes)?;
            return Ok((used, Some(incoming)));
        }
        if bytes.is_empty() {
            return Ok((0, None));
        }

        let read = self.partial.get_or_insert_default().read(limits, bytes);
        let (used, finished) = read.inspect_err(|_| self.partial = None)?;
        Ok((used, finished.zip(self.partial.as_ref()).map(|(finished, partial)| lend(finished, partial))))
    }

    /// Gives back the memory of a message that was lent by the last [`Reader::read`]. What is
    /// unfinished stays.
    ///
    /// To be called when a read returned a message and nothing is left to read; otherwise the
    /// next read does it.
    pub fn release(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| !partial.is_unfinished()) {
            self.partial = None;
        }
    }

    /// Memory held for an unfinished (or still lent) message, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.buffer_bytes())
    }
}

impl ReaderLimits {
    /// The declared length of a message of which `declared` bytes were declared before this frame.
    pub(super) fn declare(&self, declared: usize, frame: &Header) -> Result<usize, PeerViolated> {
        let room = self.message_bytes_max.saturating_sub(declared);
        match usize::try_from(frame.payload_bytes) {
            Ok(payload_bytes) if payload_bytes <= room => Ok(declared + payload_bytes),
            _ => Err(PeerViolated::MESSAGE_TOO_BIG),
        }
    }
}

/// The header of the message or control frame that `bytes` start with, if it is one frame and all
/// of it is there. Errors: also the limit, before anything would be kept for the message.
fn find_whole_message(limits: &ReaderLimits, bytes: &[u8]) -> Result<Option<Header>, PeerViolated> {
    let Some(header) = Header::parse(bytes, limits.deflate)? else { return Ok(None) };
    match header.opcode {
        // Also where its length breaks the limit: the verdict does not depend on what came in one read.
        Opcode::Continuation => return Err(PeerViolated::NOTHING_TO_CONTINUE),
        Opcode::Text | Opcode::Binary => {
            limits.declare(0, &header)?;
        }
        Opcode::Close | Opcode::Ping | Opcode::Pong => {}
    }
    let is_whole = header.payload_bytes <= (bytes.len() - header.size) as u64;
    Ok((header.is_final && is_whole).then_some(header))
}

fn read_in_place<'a>(header: &Header, bytes: &'a mut [u8]) -> Result<(usize, Incoming<'a>), PeerViolated> {
    let used = header.size + header.payload_bytes as usize;
    let payload = bytes.get_mut(header.size..used).expect("the whole frame was found in the bytes");
    unmask(payload, header.mask);
    let payload = &*payload;
    let incoming = match header.opcode {
        Opcode::Continuation => return Err(PeerViolated::NOTHING_TO_CONTINUE),
        Opcode::Text if header.is_compressed => Incoming::Compressed { kind: MessageKind::Text, payload },
        Opcode::Binary if header.is_compressed => Incoming::Compressed { kind: MessageKind::Binary, payload },
        Opcode::Text if from_utf8(payload).is_err() => return Err(PeerViolated::TEXT_NOT_UTF8),
        Opcode::Text => Incoming::Message { kind: MessageKind::Text, payload },
        Opcode::Binary => Incoming::Message { kind: MessageKind::Binary, payload },
        Opcode::Close => Incoming::Close(PeerClose::parse(payload)?),
        Opcode::Ping => Incoming::Ping(payload),
        Opcode::Pong => Incoming::Pong(payload),
    };
    Ok((used, incoming))
}

fn lend(finished: Finished, partial: &Partial) -> Incoming<'_> {
    match finished {
        Finished::Message(kind) => Incoming::Message { kind, payload: partial.message_payload() },
        Finished::Compressed(kind) => Incoming::Compressed { kind, payload: partial.message_payload() },
        Finished::Close(close) => Incoming::Close(close),
        Finished::Ping => Incoming::Ping(partial.control_payload()),
        Finished::Pong => Incoming::Pong(partial.control_payload()),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
