//! What a read left unfinished: a header, a frame or a fragmented message.
//!
//! Here bytes are copied, once, into a buffer that grows with what has arrived.

use super::close::PeerClose;
use super::header::{HEADER_BYTES_MAX, Header, Opcode};
use super::mask::{continue_mask, unmask};
use super::reader::{MessageKind, ReaderLimits};
use super::utf8::{NotUtf8, check_appended};
use super::violation::PeerViolated;

/// Invariant: between two calls of `read` something is unfinished, or what was finished last is
/// lent out and the next step is to drop all of it.
#[derive(Debug, Default)]
pub(super) struct Partial {
    stage: Stage,
    /// Stays while control frames pass between its fragments.
    message: Option<PartialMessage>,
    /// Payload of the last control frame.
    control: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Stage {
    Header(PartialHeader),
    Payload(PartialFrame),
}

/// Less than a header.
#[derive(Clone, Copy, Debug, Default)]
struct PartialHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct PartialFrame {
    opcode: Opcode,
    is_final: bool,
    /// Of the next byte.
    mask: [u8; 4],
    bytes_left: usize,
}

/// A message up to the byte that arrived last.
#[derive(Debug)]
struct PartialMessage {
    kind: MessageKind,
    is_compressed: bool,
    is_finished: bool,
    payload: Vec<u8>,
    /// So much of the payload is known to be whole characters; unused where it is no text yet.
    utf8_bytes: usize,
    /// Sum of the lengths in the headers so far: never over the limit, never less than `payload`.
    declared_bytes: usize,
    fragments: usize,
}

/// What a read completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    Message(MessageKind),
    Compressed(MessageKind),
    Ping,
    Pong,
    Close(PeerClose),
}

impl Partial {
    /// Goes on until something is finished or `bytes` are used up; returns how many were used.
    pub fn read(&mut self, limits: &ReaderLimits, bytes: &mut [u8]) -> Result<(usize, Option<Finished>), PeerViolated> {
        let arrived = bytes.len();
        let mut rest = bytes;
        loop {
            match &mut self.stage {
                Stage::Header(partial) => {
                    let (used, header) = partial.read(limits, rest)?;
                    rest = rest.get_mut(used..).unwrap_or_default();
                    let Some(header) = header else { return Ok((arrived, None)) };
                    self.stage = Stage::Payload(self.begin_frame(limits, &header)?);
                }
                Stage::Payload(frame) => {
                    let payload = rest.split_off_mut(..frame.bytes_left.min(rest.len())).unwrap_or_default();
                    frame.unmask(payload);
                    let frame = *frame;
                    self.append(limits, &frame, payload)?;
                    if frame.bytes_left > 0 {
                        return Ok((arrived, None));
                    }
                    self.stage = Stage::default();
                    if let Some(finished) = self.end_frame(&frame)? {
                        return Ok((arrived - rest.len(), Some(finished)));
                    }
                }
            }
        }
    }

    /// Whether more bytes are needed: false when the last read finished all that was begun.
    pub fn is_unfinished(&self) -> bool {
        let between_frames = matches!(self.stage, Stage::Header(PartialHeader { len: 0, .. }));
        !between_frames || self.message.as_ref().is_some_and(|message| !message.is_finished)
    }

    /// Of the message that the last read finished.
    pub fn message_payload(&self) -> &[u8] {
        self.message.as_ref().map_or(&[], |message| &message.payload)
    }

    /// Of the control frame that the last read finished.
    pub fn control_payload(&self) -> &[u8] {
        &self.control
    }

    pub fn buffer_bytes(&self) -> usize {
        self.control.capacity() + self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    /// Holds a header against what came before it. Nothing is kept for its payload yet.
    fn begin_frame(&mut self, limits: &ReaderLimits, header: &Header) -> Result<PartialFrame, PeerViolated> {
        match (header.opcode, &mut self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => self.control.clear(),
            (Opcode::Continuation, Some(message)) => message.begin_fragment(limits, header)?,
            (Opcode::Continuation, None) => return Err(PeerViolated::NOTHING_TO_CONTINUE),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(PeerViolated::MESSAGE_IN_MESSAGE),
            (Opcode::Text, none) => {
                none.insert(PartialMessage::new(MessageKind::Text, header)).begin_fragment(limits, header)?
            }
            (Opcode::Binary, none) => {
                none.insert(PartialMessage::new(MessageKind::Binary, header)).begin_fragment(limits, header)?
            }
        }
        Ok(PartialFrame {
            opcode: header.opcode,
            is_final: header.is_final,
            mask: header.mask,
            bytes_left: header.payload_bytes as usize,
        })
    }

    fn append(&mut self, limits: &ReaderLimits, frame: &PartialFrame, arrived: &[u8]) -> Result<(), PeerViolated> {
        match &mut self.message {
            Some(message) if !frame.opcode.is_control() => {
                let bytes_max = if frame.is_final { message.declared_bytes } else { limits.message_bytes_max };
                message.append(arrived, bytes_max)
            }
            _ => {
                self.control.extend_from_slice(arrived);
                Ok(())
            }
        }
    }

    fn end_frame(&mut self, frame: &PartialFrame) -> Result<Option<Finished>, PeerViolated> {
        match frame.opcode {
            Opcode::Close => Ok(Some(Finished::Close(PeerClose::parse(&self.control)?))),
            Opcode::Ping => Ok(Some(Finished::Ping)),
            Opcode::Pong => Ok(Some(Finished::Pong)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary if !frame.is_final => Ok(None),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.message.as_mut().map(PartialMessage::finish).transpose()
            }
        }
    }
}

impl PartialHeader {
    /// Takes what belongs to the header from `arrived`; returns how many bytes that were.
    fn read(&mut self, limits: &ReaderLimits, arrived: &[u8]) -> Result<(usize, Option<Header>), PeerViolated> {
        let len_before = self.len;
        for (slot, byte) in self.bytes.iter_mut().skip(len_before).zip(arrived) {
            *slot = *byte;
            self.len += 1;
        }
        match Header::parse(self.bytes.get(..self.len).unwrap_or_default(), limits.deflate)? {
            Some(header) => Ok((header.size - len_before, Some(header))),
            None => Ok((arrived.len(), None)),
        }
    }
}

impl PartialFrame {
    fn unmask(&mut self, arrived: &mut [u8]) {
        unmask(arrived, self.mask);
        self.mask = continue_mask(self.mask, arrived.len());
        self.bytes_left -= arrived.len();
    }
}

impl PartialMessage {
    fn new(kind: MessageKind, first: &Header) -> PartialMessage {
        PartialMessage {
            kind,
            is_compressed: first.is_compressed,
            is_finished: false,
            payload: Vec::new(),
            utf8_bytes: 0,
            declared_bytes: 0,
            fragments: 0,
        }
    }

    /// Whether its payload is text as it stands.
    fn is_text(&self) -> bool {
        self.kind == MessageKind::Text && !self.is_compressed
    }

    fn begin_fragment(&mut self, limits: &ReaderLimits, header: &Header) -> Result<(), PeerViolated> {
        self.declared_bytes = limits.declare(self.declared_bytes, header)?;
        self.fragments += 1;
        if self.fragments > limits.fragments_max { Err(PeerViolated::TOO_MANY_FRAGMENTS) } else { Ok(()) }
    }

    /// Appends unmasked bytes; `bytes_max` is the longest that the payload can still become.
    fn append(&mut self, arrived: &[u8], bytes_max: usize) -> Result<(), PeerViolated> {
        let needed = self.payload.len() + arrived.len();
        let capacity = self.payload.capacity();
        if needed > capacity {
            // Doubling keeps the copies linear; what is announced counts only to stop short of it.
            let wanted = capacity.saturating_mul(2).max(PAYLOAD_BYTES_FIRST).min(bytes_max).max(needed);
            self.payload.reserve_exact(wanted - self.payload.len());
        }
        self.payload.extend_from_slice(arrived);
        if self.is_text() {
            let checked = check_appended(&self.payload, self.utf8_bytes);
            self.utf8_bytes = checked.map_err(|NotUtf8| PeerViolated::TEXT_NOT_UTF8)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Finished, PeerViolated> {
        debug_assert_eq!(self.payload.len(), self.declared_bytes, "a message is as long as its headers said");
        if self.is_text() && self.utf8_bytes < self.payload.len() {
            return Err(PeerViolated::TEXT_NOT_UTF8);
        }
        self.is_finished = true;
        Ok(if self.is_compressed { Finished::Compressed(self.kind) } else { Finished::Message(self.kind) })
    }
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Header(PartialHeader::default())
    }
}

/// The first buffer of a message that comes in pieces. Chosen: a small command fits, and a
/// connection that only ever sends one byte costs no more.
const PAYLOAD_BYTES_FIRST: usize = 256;
