//! Bytes to commands, and publications to frames.

use std::hint::black_box;

use bytes::Bytes;
use fanfare::model::{Format, Publication, Push};
use fanfare::protocol::{self, DecodeLimits};
use fanfare::ws::{self, Deflate, FrameKind, Incoming, Reader, ReaderLimits};

use crate::Subject;
use crate::callgrind::counted_section;
use crate::support::{PAYLOAD_BYTES, masked_text, payload, publish_command};

pub const SUBJECTS: [Subject; 9] = [
    Subject::new("read", "frame of 128 B, one in a read", || read(PAYLOAD_BYTES, 1, 200)),
    Subject::new("read_many", "frame of 20 B in a read of 64 KiB", || read(20, 64 * 1024 / 26, 2)),
    Subject::new("read_cut", "frame of 128 B that comes in two reads", read_cut),
    Subject::new("decode_json", "publish command of 128 B", || decode(Format::CentrifugoJson)),
    Subject::new("decode_protobuf", "publish command of 128 B", || decode(Format::CentrifugoProtobuf)),
    Subject::new("push_json", "publication of 128 B, encoded", || push(Format::CentrifugoJson)),
    Subject::new("push_protobuf", "publication of 128 B, encoded", || push(Format::CentrifugoProtobuf)),
    Subject::new("frame", "frame of 128 B, built and dropped", || frame(PAYLOAD_BYTES)),
    Subject::new("frame_16k", "frame of 16 KiB, built and dropped", || frame(16 * 1024)),
];

const ROUNDS: u64 = 200;
const MESSAGE_BYTES_MAX: usize = 65_536;
const LIMITS: ReaderLimits =
    ReaderLimits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: 16, deflate: Deflate::Refused };

/// Whole frames, where they lie. Reading unmasks in place, so each round has its own bytes.
fn read(payload_bytes: usize, frames: usize, rounds: usize) -> u64 {
    let mut reads = vec![masked_text(&"x".repeat(payload_bytes)).repeat(frames); rounds];
    let mut reader = Reader::new();
    let mut messages = 0;
    counted_section(&mut || {
        for bytes in &mut reads {
            messages += read_all(&mut reader, bytes);
        }
    });
    assert_eq!(messages, (frames * rounds) as u64, "each frame is a message");
    messages
}

/// A frame that is cut in the middle of its payload.
fn read_cut() -> u64 {
    let mut reads = vec![masked_text(&"x".repeat(PAYLOAD_BYTES)); ROUNDS as usize];
    let mut reader = Reader::new();
    let mut messages = 0;
    counted_section(&mut || {
        for bytes in &mut reads {
            let (first, second) = bytes.split_at_mut(PAYLOAD_BYTES / 2);
            messages += read_all(&mut reader, first) + read_all(&mut reader, second);
        }
    });
    assert_eq!(messages, ROUNDS, "each frame is a message");
    messages
}

/// What a shard does with the bytes of one read. Returns how many messages there were.
fn read_all(reader: &mut Reader, bytes: &mut [u8]) -> u64 {
    let mut messages = 0;
    let mut at = 0;
    while let Ok((used, Some(incoming))) = reader.read(&LIMITS, &mut bytes[at..]) {
        at += used;
        messages += u64::from(matches!(black_box(incoming), Incoming::Message { .. }));
    }
    reader.release();
    messages
}

fn decode(format: Format) -> u64 {
    let message = match format {
        Format::CentrifugoJson => publish_command("room").into_bytes(),
        Format::CentrifugoProtobuf => protobuf_publish("room", &payload()),
    };
    let limits = DecodeLimits { command_bytes_max: MESSAGE_BYTES_MAX };
    let mut commands = 0;
    counted_section(&mut || {
        for _ in 0..ROUNDS {
            for command in protocol::decode(format, black_box(&message), limits) {
                commands += u64::from(black_box(command).is_ok());
            }
        }
    });
    assert_eq!(commands, ROUNDS, "each message is one command");
    commands
}

/// A publish with id 3, behind its length. Source: proto/client.proto.
fn protobuf_publish(channel: &str, data: &str) -> Vec<u8> {
    const BYTES: u8 = 2;
    let field = |number: u8, value: &[u8]| {
        let mut field = vec![number << 3 | BYTES];
        field.extend(varint(value.len()));
        field.extend_from_slice(value);
        field
    };
    let publish = [field(1, channel.as_bytes()), field(2, data.as_bytes())].concat();
    let command = [vec![1 << 3, 3], field(7, &publish)].concat();
    [varint(command.len()), command].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn push(format: Format) -> u64 {
    let publication = Publication { data: Bytes::from(payload()), offset: 7, ..Publication::default() };
    let push = Push::Publication { channel: "room", publication: &publication, epoch: None };
    let mut out = Vec::with_capacity(1024);
    counted_section(&mut || {
        for _ in 0..ROUNDS {
            out.clear();
            protocol::append_push(format, black_box(&push), &mut out, 0).expect("the data is JSON");
            black_box(&out);
        }
    });
    ROUNDS
}

fn frame(bytes: usize) -> u64 {
    let payload = vec![b'x'; bytes];
    counted_section(&mut || {
        for _ in 0..ROUNDS {
            let payload = black_box(&payload);
            black_box(ws::build_frame(FrameKind::Text, payload.len(), |out| out.extend_from_slice(payload)));
        }
    });
    ROUNDS
}
