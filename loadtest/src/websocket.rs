//! The client's side of RFC 6455, as little of it as a load generator needs.
//!
//! Server frames are counted by walking their headers where they lie; nothing is copied. Only whole
//! messages and control frames are understood: no server under test sends more, and anything else
//! ends the run with its name.

use std::net::SocketAddr;

use crate::failure::Failure;

/// The sample nonce of RFC 6455 §1.3. The key only proves that the server read the head, so every
/// connection may use the same, and the expected answer is a constant.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Heads longer than this are not an answer to ours.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Any key but 0, which a server could skip; unpredictable keys protect proxies (§10.3), and there
/// are none here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What the server sent in one frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text or binary message.
    Message(&'a [u8]),
    /// The same, compressed.
    Compressed(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    /// Code (1005 when there is none) and reason.
    Close(u16, &'a [u8]),
}

/// Whether a connection asks for permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Off,
    Deflate,
}

const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The request that asks for a WebSocket at `path`.
pub fn upgrade_request(server: SocketAddr, path: &str, compression: Compression) -> Vec<u8> {
    let offer = match compression {
        Compression::Off => String::new(),
        Compression::Deflate => format!("Sec-WebSocket-Extensions: {OFFER}\r\n"),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
    .into_bytes()
}

/// Reads the server's answer to [`upgrade_request`].
///
/// Returns how many bytes the head used, `None` while it is not whole. A failure carries the
/// server's status line.
pub fn read_upgrade(bytes: &[u8], compression: Compression) -> Result<Option<usize>, Failure> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return match bytes.len() > HEAD_BYTES_MAX {
            true => Err(Failure::new("the answer to the upgrade has no end")),
            false => Ok(None),
        };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(Failure::new(format!("upgrade refused: {}", head.lines().next().unwrap_or_default())));
    }
    if !head.contains(ACCEPT) {
        return Err(Failure::new("upgrade answered without the right Sec-WebSocket-Accept"));
    }
    if compression == Compression::Deflate && !head.contains("permessage-deflate") {
        return Err(Failure::new("the server was asked for permessage-deflate and does not do it"));
    }
    Ok(Some(end + 4))
}

/// Reads the frame at the start of `bytes`.
///
/// Returns it and how many bytes it used, `None` while it is not whole. Source: RFC 6455 §5.2.
pub fn read_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Failure> {
    let Some((header, length)) = read_lengths(bytes)? else { return Ok(None) };
    let Some(payload) = bytes.get(header..header.saturating_add(length)) else { return Ok(None) };
    let frame = match bytes[0] {
        0x81 | 0x82 => Frame::Message(payload),
        0xc1 | 0xc2 => Frame::Compressed(payload),
        0x89 => Frame::Ping(payload),
        0x8a => Frame::Pong,
        0x88 => match payload {
            [] => Frame::Close(1005, &[]),
            &[a, b, ref reason @ ..] => Frame::Close(u16::from_be_bytes([a, b]), reason),
            [_] => return Err(Failure::new("the server sent a close frame with half a code")),
        },
        other => return Err(Failure::new(format!("the server sent a frame that starts with {other:#04x}"))),
    };
    Ok(Some((frame, header + length)))
}

/// The bytes of the header and of the payload of the frame at the start of `bytes`, `None` while
/// they are not known.
pub fn read_lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let &[_, second, ref rest @ ..] = bytes else { return Ok(None) };
    Ok(match (second, rest) {
        (128.., _) => return Err(Failure::new("the server masked a frame")),
        (126, &[a, b, ..]) => Some((4, usize::from(u16::from_be_bytes([a, b])))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => Some((10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize)),
        (126 | 127, _) => None,
        (short, _) => Some((2, usize::from(short))),
    })
}

/// Appends `text` as one masked text message.
pub fn encode_text(to: &mut Vec<u8>, text: &[u8]) {
    encode(to, 0x81, text);
}

/// Appends the answer to a ping frame.
pub fn encode_pong(to: &mut Vec<u8>, payload: &[u8]) {
    encode(to, 0x8a, payload);
}

fn encode(to: &mut Vec<u8>, first: u8, text: &[u8]) {
    const MASKED: u8 = 0x80;
    append_header(to, first, MASKED, text.len());
    to.extend_from_slice(&MASK);
    let start = to.len();
    to.extend_from_slice(text);
    apply_mask(&mut to[start..], MASK);
}

fn append_header(to: &mut Vec<u8>, first: u8, masked: u8, length: usize) {
    to.push(first);
    match length {
        short @ ..126 => to.push(masked | short as u8),
        medium @ ..65_536 => {
            to.push(masked | 126);
            to.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            to.push(masked | 127);
            to.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
}

/// By index, which the compiler turns into SIMD: a mebibyte must not hold the generator up.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= mask[index & 3]);
}

/// The server's answer to [`upgrade_request`], for the floor.
pub const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Appends `text` as one text message of a server.
pub fn append_server_text(to: &mut Vec<u8>, text: &[u8]) {
    append_header(to, 0x81, 0, text.len());
    to.extend_from_slice(text);
}

/// Unmasks the client's message at the start of `bytes` where it lies.
///
/// Returns it and how many bytes it used, `Some(None)` while it is not whole, and `None` for any
/// other frame than a whole message.
pub fn unmask_message(bytes: &mut [u8]) -> Option<Option<(&[u8], usize)>> {
    let &mut [first, second, ..] = bytes else { return Some(None) };
    if !matches!(first, 0x81 | 0x82) || second < 0x80 {
        return None;
    }
    // The lengths are read as those of a server's frame, whose mask bit is not set.
    bytes[1] &= 0x7f;
    let lengths = read_lengths(bytes);
    bytes[1] = second;
    let Some((header, length)) = lengths.ok()? else { return Some(None) };
    let Some(rest) = bytes.get_mut(header..header + 4 + length) else { return Some(None) };
    let (mask, payload) = rest.split_at_mut(4);
    apply_mask(payload, mask.try_into().ok()?);
    Some(Some((payload, header + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_read_when_its_head_is_whole() {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\nrest");
        for end in 0..answer.len() - 4 {
            assert_eq!(read_upgrade(&answer.as_bytes()[..end], Compression::Off).expect("a good head"), None);
        }
        assert_eq!(read_upgrade(answer.as_bytes(), Compression::Off).expect("a good head"), Some(answer.len() - 4));
    }

    #[test]
    fn a_refusal_names_the_status() {
        let refusal = read_upgrade(b"HTTP/1.1 403 Forbidden\r\n\r\n", Compression::Off).expect_err("403");
        assert_eq!(refusal.to_string(), "upgrade refused: HTTP/1.1 403 Forbidden");
    }

    #[test]
    fn frames_of_all_length_forms_are_walked() {
        for length in [0_usize, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..126 => bytes.push(length as u8),
                126..65_536 => bytes.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
                _ => bytes.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
            }
            bytes.extend(vec![b'x'; length]);
            let whole = bytes.len();
            assert_eq!(read_frame(&bytes[..whole - 1]).expect("a good frame"), None);
            bytes.push(0x81);
            let (frame, used) = read_frame(&bytes).expect("a good frame").expect("a whole frame");
            assert_eq!((frame, used), (Frame::Message(&vec![b'x'; length]), whole));
        }
    }

    #[test]
    fn close_frames_carry_code_and_reason() {
        let (frame, _) = read_frame(b"\x88\x06\x0b\xb9shut").expect("a good frame").expect("a whole frame");
        assert_eq!(frame, Frame::Close(3001, b"shut"));
    }

    #[test]
    fn what_no_server_should_send_is_named() {
        assert!(read_frame(b"\x81\x80").is_err(), "masked");
        assert!(read_frame(b"\x01\x00").is_err(), "a fragment");
        assert!(read_frame(b"\x88\x01\x00").is_err(), "half a close code");
    }

    #[test]
    fn client_frames_are_masked() {
        let mut frame = Vec::new();
        encode_text(&mut frame, b"Hello");
        // The example of RFC 6455 §5.7, whose key ours is.
        assert_eq!(frame, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn a_server_reads_what_a_client_writes_and_the_reverse() {
        for length in [0_usize, 5, 126, 70_000] {
            let text = vec![b'x'; length];
            let mut frame = Vec::new();
            encode_text(&mut frame, &text);
            let whole = frame.len();
            assert_eq!(unmask_message(&mut frame[..whole - 1]), Some(None), "not whole");
            assert_eq!(unmask_message(&mut frame), Some(Some((&text[..], whole))));
            frame.clear();
            append_server_text(&mut frame, &text);
            let (read, _) = read_frame(&frame).expect("a good frame").expect("a whole frame");
            assert_eq!(read, Frame::Message(&text));
            assert_eq!(unmask_message(&mut frame), None, "a server's frame is not masked");
        }
        assert!(UPGRADED.contains(ACCEPT));
    }
}
