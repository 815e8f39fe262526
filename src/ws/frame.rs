//! Server frames out: never fragmented, never masked. Source: RFC 6455 §5.2.

use bytes::Bytes;

use super::header::{COMPRESSED_BIT, CONTROL_BYTES_MAX, FINAL_BIT, LENGTH_IN_2_BYTES, LENGTH_IN_8_BYTES, length_code};
use super::reader::MessageKind;

/// What a frame of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// Appends a whole frame to `out`.
///
/// # Panics
/// On a control frame over 125 bytes: control payloads are ours, or a ping's that was checked.
pub fn append_frame(kind: FrameKind, payload: &[u8], out: &mut Vec<u8>) {
    let (header, size) = server_header(kind, payload.len());
    out.reserve(size + payload.len());
    out.extend(header.into_iter().take(size));
    out.extend_from_slice(payload);
}

/// The frame of a message that is compressed already: bit RSV1 says so. Source: RFC 7692 §7.2.
pub(super) fn build_deflated_frame(kind: FrameKind, deflated: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    append_frame(kind, deflated, &mut frame);
    if let Some(first) = frame.first_mut() {
        *first |= COMPRESSED_BIT;
    }
    Bytes::from(frame)
}

/// What a frame of ours carries, without its header.
pub fn frame_payload(frame: &[u8]) -> &[u8] {
    let size = match frame.get(1) {
        Some(&LENGTH_IN_2_BYTES) => 4,
        Some(&LENGTH_IN_8_BYTES) => 10,
        _ => 2,
    };
    frame.get(size..).unwrap_or_default()
}

/// Builds a frame whose payload `write` appends in place, as shared bytes.
///
/// `capacity` is the expected length of the payload: right or over, the payload is written once
/// and never copied. Room for the longest header is left in front; the header is put at its
/// right end and the rest sliced off.
///
/// # Panics
/// As [`append_frame`], and when `write` takes away what was there before it.
pub fn build_frame(kind: FrameKind, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut frame = Vec::with_capacity(SERVER_HEADER_BYTES_MAX + capacity);
    frame.resize(SERVER_HEADER_BYTES_MAX, 0);
    write(&mut frame);

    let (room, payload) = frame.split_first_chunk_mut().expect("`write` appends only");
    let (mut header, size) = server_header(kind, payload.len());
    header.rotate_left(size);
    *room = header;
    Bytes::from(frame).slice(SERVER_HEADER_BYTES_MAX - size..)
}

impl From<MessageKind> for FrameKind {
    fn from(kind: MessageKind) -> FrameKind {
        match kind {
            MessageKind::Text => FrameKind::Text,
            MessageKind::Binary => FrameKind::Binary,
        }
    }
}

impl FrameKind {
    fn as_opcode(self) -> u8 {
        match self {
            FrameKind::Text => 0x1,
            FrameKind::Binary => 0x2,
            FrameKind::Close => 0x8,
            FrameKind::Ping => 0x9,
            FrameKind::Pong => 0xa,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, FrameKind::Close | FrameKind::Ping | FrameKind::Pong)
    }
}

/// A header, left-aligned and filled up with zeros, and its size.
fn server_header(kind: FrameKind, payload_bytes: usize) -> ([u8; SERVER_HEADER_BYTES_MAX], usize) {
    assert!(!kind.is_control() || payload_bytes <= CONTROL_BYTES_MAX, "control frame of {payload_bytes} bytes");
    let first = FINAL_BIT | kind.as_opcode();
    let length = payload_bytes as u64;
    match length_code(length) {
        code @ LENGTH_IN_2_BYTES => {
            let [a, b] = (length as u16).to_be_bytes();
            ([first, code, a, b, 0, 0, 0, 0, 0, 0], 4)
        }
        code @ LENGTH_IN_8_BYTES => {
            let [a, b, c, d, e, f, g, h] = length.to_be_bytes();
            ([first, code, a, b, c, d, e, f, g, h], 10)
        }
        code => ([first, code, 0, 0, 0, 0, 0, 0, 0, 0], 2),
    }
}

/// Two bytes and a length in eight: no mask.
const SERVER_HEADER_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: FrameKind, payload_bytes: usize, expected_header: &[u8]) {
        let payload: Vec<u8> = (0..payload_bytes).map(|i| i as u8).collect();
        let mut expected = b"before".to_vec();
        expected.extend_from_slice(expected_header);
        expected.extend_from_slice(&payload);

        let mut appended = b"before".to_vec();
        append_frame(kind, &payload, &mut appended);
        assert_eq!(appended, expected);

        for capacity in [0, payload_bytes, payload_bytes + 100] {
            let built = build_frame(kind, capacity, |out| out.extend_from_slice(&payload));
            assert_eq!(built, expected[b"before".len()..]);
            assert_eq!(frame_payload(&built), payload);
        }
    }

    #[test]
    fn writes_every_length_form() {
        check(FrameKind::Text, 0, &[0x81, 0]);
        check(FrameKind::Binary, 125, &[0x82, 125]);
        check(FrameKind::Binary, 126, &[0x82, 126, 0, 126]);
        check(FrameKind::Text, 65_535, &[0x81, 126, 0xff, 0xff]);
        check(FrameKind::Text, 65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        check(FrameKind::Close, 0, &[0x88, 0]);
        check(FrameKind::Ping, 125, &[0x89, 125]);
        check(FrameKind::Pong, 3, &[0x8a, 3]);
    }

    #[test]
    fn the_payload_stays_where_it_was_written() {
        let mut written_at = std::ptr::null();
        let frame = build_frame(FrameKind::Binary, 1000, |out| {
            let start = out.len();
            out.resize(start + 1000, 7);
            written_at = out[start..].as_ptr();
        });
        assert_eq!(frame[4..].as_ptr(), written_at);
    }

    #[test]
    #[should_panic(expected = "control frame of 126 bytes")]
    fn asserts_that_control_frames_are_short() {
        append_frame(FrameKind::Ping, &[0; 126], &mut Vec::new());
    }

    #[test]
    #[should_panic(expected = "`write` appends only")]
    fn asserts_that_the_room_for_the_header_is_left_alone() {
        build_frame(FrameKind::Text, 10, |out| out.clear());
    }
}
