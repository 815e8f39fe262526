//! What a peer can do wrong: one table of the rule, its close code and the text sent beside it.

use std::fmt;

use super::close::REASON_BYTES_MAX;

/// The peer broke the WebSocket protocol. The connection is to be closed with this code and text
/// (see [`close_frame`](super::close_frame)), and nothing more is to be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerViolated {
    /// 1002, 1007 or 1009. Source: RFC 6455 §7.4.1.
    pub close_code: u16,
    /// Which rule, for the close frame's reason and for logs.
    pub what: &'static str,
}

impl PeerViolated {
    // The header of a frame, RFC 6455 §5.2.
    pub const RESERVED_BIT: PeerViolated = protocol_error("reserved bit without an extension");
    /// RFC 7692 §6: only the first frame of a message says that it is compressed.
    pub const MISPLACED_RSV1: PeerViolated = protocol_error("RSV1 on a frame that can not be compressed");
    pub const RESERVED_OPCODE: PeerViolated = protocol_error("reserved opcode");
    pub const NO_MASK: PeerViolated = protocol_error("client frame without a mask");
    pub const LONG_LENGTH: PeerViolated = protocol_error("length not in its shortest form");
    pub const HUGE_LENGTH: PeerViolated = protocol_error("length with the top bit set");

    // Fragments and control frames, RFC 6455 §5.4 and §5.5.
    pub const FRAGMENTED_CONTROL: PeerViolated = protocol_error("fragmented control frame");
    pub const LONG_CONTROL: PeerViolated = protocol_error("control frame over 125 bytes");
    pub const NOTHING_TO_CONTINUE: PeerViolated = protocol_error("continuation without a message");
    pub const MESSAGE_IN_MESSAGE: PeerViolated = protocol_error("new message inside a fragmented one");

    // The payload of a close frame, RFC 6455 §5.5.1 and §7.4.
    pub const HALF_CLOSE_CODE: PeerViolated = protocol_error("close payload of one byte");
    pub const BAD_CLOSE_CODE: PeerViolated = protocol_error("close code not for the wire");

    // Text, RFC 6455 §5.6 and §8.1.
    pub const TEXT_NOT_UTF8: PeerViolated = PeerViolated::new(INVALID_PAYLOAD, "text is not UTF-8");
    pub const REASON_NOT_UTF8: PeerViolated = PeerViolated::new(INVALID_PAYLOAD, "close reason is not UTF-8");

    // Compressed messages, RFC 7692 §7.2.2.
    pub const NOT_DEFLATE: PeerViolated = PeerViolated::new(INVALID_PAYLOAD, "compressed message can not be inflated");

    // Limits of ours, RFC 6455 §10.4.
    pub const MESSAGE_TOO_BIG: PeerViolated = PeerViolated::new(TOO_BIG, "message over the size limit");
    pub const INFLATED_TOO_BIG: PeerViolated = PeerViolated::new(TOO_BIG, "message over the decompressed size limit");
    pub const TOO_MANY_LAST_BLOCKS: PeerViolated = PeerViolated::new(TOO_BIG, "message of too many last blocks");
    pub const TOO_MANY_FRAGMENTS: PeerViolated = PeerViolated::new(TOO_BIG, "message of too many fragments");

    const fn new(close_code: u16, what: &'static str) -> PeerViolated {
        assert!(what.len() <= REASON_BYTES_MAX, "the text fits a close frame");
        PeerViolated { close_code, what }
    }
}

impl fmt::Display for PeerViolated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.close_code)
    }
}

impl std::error::Error for PeerViolated {}

const fn protocol_error(what: &'static str) -> PeerViolated {
    PeerViolated::new(PROTOCOL_ERROR, what)
}

const PROTOCOL_ERROR: u16 = 1002;
const INVALID_PAYLOAD: u16 = 1007;
const TOO_BIG: u16 = 1009;
