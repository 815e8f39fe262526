//! The header of a client frame. Source: RFC 6455 §5.2.

use super::reader::Deflate;
use super::violation::PeerViolated;

/// A whole header that keeps the rules which need no knowledge of earlier frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub opcode: Opcode,
    /// The last frame of its message.
    pub is_final: bool,
    /// The first frame of a compressed message (bit RSV1). Source: RFC 7692 §6.
    pub is_compressed: bool,
    pub mask: [u8; 4],
    /// As declared; not yet held against any limit.
    pub payload_bytes: u64,
    /// Of the header itself: 6, 8 or 14.
    pub size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` when it is not whole yet. Compressed messages
    /// are let through where they were negotiated.
    ///
    /// Errors: a broken rule, as soon as the byte that breaks it is there.
    pub fn parse(bytes: &[u8], deflate: Deflate) -> Result<Option<Header>, PeerViolated> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let is_compressed = first & COMPRESSED_BIT != 0;
        if first & RESERVED_BITS != 0 || (is_compressed && deflate == Deflate::Refused) {
            return Err(PeerViolated::RESERVED_BIT);
        }
        let opcode = Opcode::parse(first & OPCODE_BITS)?;
        if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(PeerViolated::MISPLACED_RSV1);
        }
        let is_final = first & FINAL_BIT != 0;
        if opcode.is_control() && !is_final {
            return Err(PeerViolated::FRAGMENTED_CONTROL);
        }

        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if second & MASK_BIT == 0 {
            return Err(PeerViolated::NO_MASK);
        }
        let length = second & LENGTH_BITS;
        if opcode.is_control() && length > LENGTH_SHORT_MAX {
            return Err(PeerViolated::LONG_CONTROL);
        }

        let (payload_bytes, rest) = match length {
            LENGTH_IN_2_BYTES => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            LENGTH_IN_8_BYTES => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*length), rest)
            }
            _ => (u64::from(length), rest),
        };
        if payload_bytes > LENGTH_MAX {
            return Err(PeerViolated::HUGE_LENGTH);
        }
        if length != length_code(payload_bytes) {
            return Err(PeerViolated::LONG_LENGTH);
        }

        let Some((&mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Header { opcode, is_final, is_compressed, mask, payload_bytes, size: bytes.len() - rest.len() }))
    }
}

impl Opcode {
    fn parse(bits: u8) -> Result<Opcode, PeerViolated> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xa => Ok(Opcode::Pong),
            _ => Err(PeerViolated::RESERVED_OPCODE),
        }
    }

    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The seven bits that stand for a length in its shortest form: itself, or how many bytes hold it.
pub(super) fn length_code(payload_bytes: u64) -> u8 {
    match payload_bytes {
        0..=125 => payload_bytes as u8,
        126..=0xffff => LENGTH_IN_2_BYTES,
        _ => LENGTH_IN_8_BYTES,
    }
}

/// Two bytes, a length in eight, a mask in four.
pub(super) const HEADER_BYTES_MAX: usize = 14;

pub(super) const FINAL_BIT: u8 = 0x80;
/// RSV1.
pub(super) const COMPRESSED_BIT: u8 = 0x40;
/// RSV2 and RSV3, which no extension here gives a meaning.
const RESERVED_BITS: u8 = 0x30;
const OPCODE_BITS: u8 = 0x0f;
const MASK_BIT: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;

/// The longest payload of a control frame. Source: RFC 6455 §5.5.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
const LENGTH_SHORT_MAX: u8 = 125;
pub(super) const LENGTH_IN_2_BYTES: u8 = 126;
pub(super) const LENGTH_IN_8_BYTES: u8 = 127;

/// "The most significant bit MUST be 0."
const LENGTH_MAX: u64 = u64::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_header(bytes: &[u8], opcode: Opcode, is_final: bool, payload_bytes: u64) {
        let header = Header::parse(bytes, Deflate::Refused).unwrap().expect("a whole header");
        assert_eq!((header.opcode, header.is_final, header.payload_bytes), (opcode, is_final, payload_bytes));
        assert_eq!(header.mask, *bytes[header.size - 4..header.size].as_array().unwrap());
        for cut in 0..header.size {
            assert_eq!(Header::parse(&bytes[..cut], Deflate::Negotiated), Ok(None), "cut after {cut} bytes");
        }
    }

    /// The violation is found with the last byte given, not before.
    fn check_refused(bytes: &[u8], violation: PeerViolated) {
        assert_eq!(Header::parse(bytes, Deflate::Negotiated), Err(violation));
        for cut in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..cut], Deflate::Negotiated), Ok(None), "cut after {cut} bytes");
        }
    }

    #[test]
    fn reads_every_length_form() {
        check_header(&[0x81, 0x80, 1, 2, 3, 4], Opcode::Text, true, 0);
        check_header(&[0x02, 0xfd, 1, 2, 3, 4, 99], Opcode::Binary, false, 125);
        check_header(&[0x80, 0xfe, 0, 126, 1, 2, 3, 4], Opcode::Continuation, true, 126);
        check_header(&[0x00, 0xfe, 0xff, 0xff, 1, 2, 3, 4], Opcode::Continuation, false, 65_535);
        check_header(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], Opcode::Binary, true, 65_536);
        check_header(
            &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4],
            Opcode::Binary,
            true,
            u64::MAX >> 1,
        );
        check_header(&[0x88, 0x80, 1, 2, 3, 4], Opcode::Close, true, 0);
        check_header(&[0x89, 0xfd, 1, 2, 3, 4], Opcode::Ping, true, 125);
        check_header(&[0x8a, 0x81, 1, 2, 3, 4], Opcode::Pong, true, 1);
    }

    #[test]
    fn refuses_what_the_first_byte_shows() {
        for bit in [0x20, 0x10, 0x60] {
            check_refused(&[0x81 | bit], PeerViolated::RESERVED_BIT);
            check_refused(&[0x88 | bit], PeerViolated::RESERVED_BIT);
        }
        // RSV1 without an extension.
        for first in [0xc1, 0xc2, 0x41, 0xc8, 0xc0] {
            assert_eq!(Header::parse(&[first], Deflate::Refused), Err(PeerViolated::RESERVED_BIT));
        }
        // With one it is for the first frame of a message.
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca] {
            check_refused(&[first], PeerViolated::MISPLACED_RSV1);
        }
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            check_refused(&[0x80 | opcode], PeerViolated::RESERVED_OPCODE);
            check_refused(&[opcode], PeerViolated::RESERVED_OPCODE);
        }
        for opcode in [0x8, 0x9, 0xa] {
            check_refused(&[opcode], PeerViolated::FRAGMENTED_CONTROL);
        }
    }

    #[test]
    fn reads_that_a_message_is_compressed() {
        for (first, is_compressed, is_final) in [(0xc1, true, true), (0x42, true, false), (0x81, false, true)] {
            let header = Header::parse(&[first, 0x80, 1, 2, 3, 4], Deflate::Negotiated).unwrap().expect("a header");
            assert_eq!((header.is_compressed, header.is_final), (is_compressed, is_final));
        }
    }

    #[test]
    fn refuses_what_the_second_byte_shows() {
        check_refused(&[0x81, 0x05], PeerViolated::NO_MASK);
        check_refused(&[0x89, 0x00], PeerViolated::NO_MASK);
        for opcode in [0x88, 0x89, 0x8a] {
            check_refused(&[opcode, 0xfe], PeerViolated::LONG_CONTROL);
            check_refused(&[opcode, 0xff], PeerViolated::LONG_CONTROL);
        }
    }

    #[test]
    fn refuses_lengths_in_a_longer_form_than_needed() {
        check_refused(&[0x82, 0xfe, 0, 125], PeerViolated::LONG_LENGTH);
        check_refused(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1], PeerViolated::LONG_LENGTH);
        check_refused(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], PeerViolated::LONG_LENGTH);
    }

    #[test]
    fn refuses_lengths_with_the_top_bit() {
        check_refused(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], PeerViolated::HUGE_LENGTH);
        check_refused(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], PeerViolated::HUGE_LENGTH);
    }
}
