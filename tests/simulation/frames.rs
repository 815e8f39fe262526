//! WebSocket as a client speaks it: masked frames out, unmasked ones in. Source: RFC 6455 §5.2.
//!
//! Written apart from `fanfare::ws`, which is under test. Messages may be compressed both ways where
//! that was negotiated (RFC 7692, no context taken over).

use super::deflate::SharedDeflate;

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
const CONTINUATION: u8 = 0x0;
/// Beside the opcode of a message: it is compressed.
pub const RSV1: u8 = 0x40;

/// Appends one masked frame.
pub fn append_frame(random: &mut fastrand::Rng, opcode: u8, is_final: bool, payload: &[u8], out: &mut Vec<u8>) {
    out.push(if is_final { 0x80 | opcode } else { opcode });
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = random.u32(..).to_be_bytes();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends a message, now and then in two fragments with a pong between them.
pub fn append_message(random: &mut fastrand::Rng, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    if payload.len() < 2 || random.u8(..) > 12 {
        return append_frame(random, opcode, true, payload, out);
    }
    let (first, second) = payload.split_at(random.usize(1..payload.len()));
    append_frame(random, opcode, false, first, out);
    append_frame(random, PONG, true, b"unasked", out);
    append_frame(random, CONTINUATION, true, second, out);
}

/// One frame of the hub. It never fragments.
#[derive(Debug)]
pub struct Frame {
    pub opcode: u8,
    pub was_compressed: bool,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The same with its payload expanded, if it is compressed.
    pub fn expand(self, deflate: &mut SharedDeflate) -> Result<Frame, String> {
        match self.was_compressed {
            true => Ok(Frame { payload: deflate.expand(&self.payload)?, ..self }),
            false => Ok(self),
        }
    }
}

/// Bytes of the hub on their way to frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    read: usize,
    may_compress: bool,
}

impl FrameReader {
    pub fn new(may_compress: bool) -> FrameReader {
        FrameReader { may_compress, ..FrameReader::default() }
    }

    pub fn may_compress(&self) -> bool {
        self.may_compress
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame. An error is a header that no server may send.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, String> {
        let rest = &self.bytes[self.read..];
        let &[first, second, ..] = rest else { return Ok(None) };
        let was_compressed = self.may_compress && matches!(first, 0xc1 | 0xc2);
        if (first & 0xf0 != 0x80 && !was_compressed) || second & 0x80 != 0 {
            return Err(format!("a frame of the hub begins with {first:#04x} {second:#04x}"));
        }
        let (header, length) = match second {
            126 if rest.len() < 4 => return Ok(None),
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            127 if rest.len() < 10 => return Ok(None),
            127 => (10, u64::from_be_bytes(rest[2..10].try_into().expect("8 bytes")) as usize),
            length => (2, usize::from(length)),
        };
        let Some(payload) = rest.get(header..header + length) else { return Ok(None) };
        let frame = Frame { opcode: first & 0x0f, was_compressed, payload: payload.to_vec() };
        self.read += header + length;
        Ok(Some(frame))
    }
}
