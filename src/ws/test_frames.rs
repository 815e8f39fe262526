//! Client frames for tests.

/// A masked client frame. `first` is its first byte: final bit, reserved bits, opcode.
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = client_header(first, payload.len() as u64);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

/// The header of such a frame, with a declared length that nothing needs to follow.
pub fn client_header(first: u8, payload_bytes: u64) -> Vec<u8> {
    let mut header = vec![first];
    match payload_bytes {
        0..=125 => header.push(0x80 | payload_bytes as u8),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend((payload_bytes as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(payload_bytes.to_be_bytes());
        }
    }
    header.extend([0x37, 0xfa, 0x21, 0x3d]);
    header
}

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const TEXT_BEGINS: u8 = 0x01;
pub const BINARY_BEGINS: u8 = 0x02;
pub const GOES_ON: u8 = 0x00;
pub const ENDS: u8 = 0x80;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
/// Of a compressed message, on its first frame.
pub const RSV1: u8 = 0x40;
