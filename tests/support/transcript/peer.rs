//! A client's end of a WebSocket: masked frames out, the hub's frames in.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Dialect, protobuf};
use fanfare::model::Format;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// One client's end. What it hears is queued until the transcript asks for it.
pub struct Peer {
    dialect: Dialect,
    /// Bytes of a frame that is not whole yet.
    partial: Vec<u8>,
    heard: VecDeque<Heard>,
    frames: usize,
    /// Masking keys count up: any key will do, and a transcript is the same each time.
    masked: u32,
}

pub struct Heard {
    /// Number of the frame that it came in.
    pub frame: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// A reply, a push or a ping.
    Message(Value),
    Echo(String),
    Pong(String),
    Close {
        code: u16,
        reason: String,
    },
    Gone,
}

/// What is looked for among the things heard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// The next one, whatever it is.
    Anything,
    Push,
    /// Anything but a push.
    NoPush,
}

impl What {
    fn is(&self, sought: Sought) -> bool {
        let is_push = matches!(self, What::Message(message) if message.get("push").is_some());
        match sought {
            Sought::Anything => true,
            Sought::Push => is_push,
            Sought::NoPush => !is_push,
        }
    }
}

impl Peer {
    pub fn new(dialect: Dialect) -> Peer {
        Peer { dialect, partial: Vec::new(), heard: VecDeque::new(), frames: 0, masked: 0 }
    }

    /// A message with `lines` in it.
    pub fn message(&mut self, lines: &[String]) -> Vec<u8> {
        match self.dialect {
            Dialect::Centrifugo(Format::CentrifugoProtobuf) => {
                let payload: Vec<u8> = lines.iter().flat_map(|line| protobuf::command(line)).collect();
                self.frame(BINARY, &payload)
            }
            Dialect::Centrifugo(Format::CentrifugoJson) | Dialect::Echo => {
                self.frame(TEXT, lines.join("\n").as_bytes())
            }
        }
    }

    pub fn ping(&mut self, text: &str) -> Vec<u8> {
        self.frame(PING, text.as_bytes())
    }

    pub fn close(&mut self, code: u16) -> Vec<u8> {
        self.frame(CLOSE, &code.to_be_bytes())
    }

    /// Takes bytes of the hub.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some((opcode, payload, used)) = parse_frame(&self.partial) {
            self.partial.drain(..used);
            self.frames += 1;
            self.hear_frame(opcode, &payload);
        }
    }

    pub fn hear(&mut self, what: What) {
        self.heard.push_back(Heard { frame: self.frames, what });
    }

    /// Takes the first thing heard of the kind that is sought. When nothing more will come, because
    /// the hub said its last, whatever was heard first.
    pub fn take(&mut self, sought: Sought) -> Option<Heard> {
        let at = self.heard.iter().position(|heard| heard.what.is(sought));
        let is_over = self.heard.back().is_some_and(|heard| matches!(heard.what, What::Close { .. } | What::Gone));
        match at {
            Some(at) => self.heard.remove(at),
            None if is_over => self.heard.pop_front(),
            None => None,
        }
    }

    fn hear_frame(&mut self, opcode: u8, payload: &[u8]) {
        let text = || String::from_utf8(payload.to_vec()).expect("texts of the hub are UTF-8");
        match (opcode, self.dialect) {
            (PONG, _) => self.hear(What::Pong(text())),
            (CLOSE, _) => {
                let (code, reason) = payload.split_at(2);
                let code = u16::from_be_bytes([code[0], code[1]]);
                self.hear(What::Close { code, reason: String::from_utf8(reason.to_vec()).expect("UTF-8") });
            }
            (TEXT, Dialect::Echo) => self.hear(What::Echo(text())),
            (TEXT, Dialect::Centrifugo(Format::CentrifugoJson)) => {
                for line in text().split('\n') {
                    self.hear(What::Message(serde_json::from_str(line).expect("each line is JSON")));
                }
            }
            (BINARY, Dialect::Centrifugo(Format::CentrifugoProtobuf)) => {
                for reply in protobuf::replies(payload) {
                    self.hear(What::Message(reply));
                }
            }
            (opcode, dialect) => panic!("a {dialect:?} client was sent a frame with opcode {opcode}"),
        }
    }

    /// Source: RFC 6455, section 5.2.
    fn frame(&mut self, opcode: u8, payload: &[u8]) -> Vec<u8> {
        self.masked += 0x0101_0101;
        let mask = self.masked.to_be_bytes();
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }
}

/// Opcode, payload and length of the first frame, if it is whole.
fn parse_frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let [first, second, ..] = *bytes else { return None };
    assert_eq!(first & 0xf0, 0x80, "the hub sends whole messages without extensions");
    assert_eq!(second & 0x80, 0, "the hub does not mask");
    let (length, header) = match second {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    let end = header + length as usize;
    Some((first & 0x0f, bytes.get(header..end)?.to_vec(), end))
}
