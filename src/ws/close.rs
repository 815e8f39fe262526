//! The close handshake: what a peer's close frame says, and the frames that we close with.
//!
//! Source: RFC 6455 §5.5.1, §7.1 and §7.4.

use std::str::from_utf8;

use bytes::Bytes;

use super::frame::{FrameKind, build_frame};
use super::header::CONTROL_BYTES_MAX;
use super::violation::PeerViolated;
use crate::limits::CLOSE_REASON_BYTES_MAX;

/// What the peer's close frame said. Its reason was checked and is of no use to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerClose {
    NoCode,
    /// One that may be sent: see [`close_frame`].
    Code(u16),
}

impl PeerClose {
    /// Reads the unmasked payload of a close frame.
    pub(super) fn parse(payload: &[u8]) -> Result<PeerClose, PeerViolated> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(PeerClose::NoCode) } else { Err(PeerViolated::HALF_CLOSE_CODE) };
        };
        let code = u16::from_be_bytes(*code);
        if !is_for_the_wire(code) {
            return Err(PeerViolated::BAD_CLOSE_CODE);
        }
        match from_utf8(reason) {
            Ok(_) => Ok(PeerClose::Code(code)),
            Err(_) => Err(PeerViolated::REASON_NOT_UTF8),
        }
    }
}

/// The frame that ends a connection: a code and a text for whoever debugs the client.
///
/// The text is a constant, or the application's word.
///
/// # Panics
/// On a code that must not be sent, and on a reason over [`CLOSE_REASON_BYTES_MAX`]: both are checked
/// where they come from.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    assert!(is_for_the_wire(code), "close code {code} must not be sent");
    assert!(reason.len() <= REASON_BYTES_MAX, "close reason over {REASON_BYTES_MAX} bytes");
    build_frame(FrameKind::Close, CODE_BYTES + reason.len(), |payload| {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    })
}

/// The frame that answers a peer's close frame: its code echoed.
pub fn close_answer(close: PeerClose) -> Bytes {
    match close {
        PeerClose::NoCode => build_frame(FrameKind::Close, 0, |_| ()),
        PeerClose::Code(code) => close_frame(code, ""),
    }
}

/// Whether a code may stand in a close frame.
///
/// Those of RFC 6455 §7.4.1, those that IANA's registry added (1012 to 1014), and the ranges for
/// libraries and applications. Not 1004 to 1006 and 1015: they are only for local use.
fn is_for_the_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

const CODE_BYTES: usize = 2;

/// What a control frame has room for beside the code.
pub(super) const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - CODE_BYTES;

const _: () = assert!(REASON_BYTES_MAX == CLOSE_REASON_BYTES_MAX, "what the API lets through fits the frame");

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], expected: Result<PeerClose, PeerViolated>) {
        assert_eq!(PeerClose::parse(payload), expected, "{payload:x?}");
    }

    #[test]
    fn reads_codes_and_reasons() {
        check(b"", Ok(PeerClose::NoCode));
        check(b"\x03\xe8", Ok(PeerClose::Code(1000)));
        check(b"\x0b\xb8gr\xc3\xbc\xc3\x9fe", Ok(PeerClose::Code(3000)));
    }

    #[test]
    fn refuses_half_a_code_and_reasons_that_are_not_text() {
        check(b"\x03", Err(PeerViolated::HALF_CLOSE_CODE));
        check(b"\x03\xe8\xff", Err(PeerViolated::REASON_NOT_UTF8));
        check(b"\x03\xe8ab\xe2\x82", Err(PeerViolated::REASON_NOT_UTF8));
    }

    #[test]
    fn knows_which_codes_are_for_the_wire() {
        // The lists of Autobahn's cases 7.7 and 7.9, and the borders.
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            check(&u16::to_be_bytes(code), Ok(PeerClose::Code(code)));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            check(&u16::to_be_bytes(code), Err(PeerViolated::BAD_CLOSE_CODE));
        }
    }

    #[test]
    fn builds_close_frames() {
        assert_eq!(close_frame(3008, "slow"), b"\x88\x06\x0b\xc0slow"[..]);
        assert_eq!(close_answer(PeerClose::Code(1001)), b"\x88\x02\x03\xe9"[..]);
        assert_eq!(close_answer(PeerClose::NoCode), b"\x88\x00"[..]);
        assert_eq!(close_frame(1000, text_of::<REASON_BYTES_MAX>()).len(), 127);
    }

    #[test]
    #[should_panic(expected = "close reason over 123 bytes")]
    fn asserts_that_the_reason_fits() {
        close_frame(1000, text_of::<{ REASON_BYTES_MAX + 1 }>());
    }

    #[test]
    #[should_panic(expected = "close code 1006 must not be sent")]
    fn asserts_that_the_code_is_for_the_wire() {
        close_frame(1006, "");
    }

    fn text_of<const BYTES: usize>() -> &'static str {
        str::from_utf8(const { &[b'x'; BYTES] }).expect("x is ASCII")
    }
}
