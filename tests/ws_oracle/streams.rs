//! Random streams of client frames: right, nearly right, and cut anywhere.

use proptest::prelude::*;
use tungstenite::Message;

pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), Just(vec![100_000]), prop::collection::vec(1..40usize, 1..8)]
}

pub fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        text().prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::binary),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Ping(payload.into())),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

/// Characters of one to four bytes, at most 600 bytes.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![Just('a'), Just('é'), Just('€'), any::<char>()], 0..150)
        .prop_map(|characters| characters.into_iter().collect())
}

/// Whole frames that keep every rule, perhaps with a close frame at the end.
pub fn valid_stream() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(fragmented_message(), 0..5), close_frames()).prop_map(|(messages, close)| {
        let mut stream = messages.concat();
        stream.extend(close);
        stream
    })
}

fn close_frames() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![1000..=1003u16, 1007..=1013u16, 3000..=4999u16];
    prop_oneof![
        Just(vec![]),
        Just(frame(0x88, [1, 2, 3, 4], b"")),
        (code, "[a-zé€]{0,30}", any::<[u8; 4]>()).prop_map(|(code, reason, mask)| frame(
            0x88,
            mask,
            &[&code.to_be_bytes(), reason.as_bytes()].concat()
        )),
    ]
}

/// One message cut anywhere, also inside a character, with control frames before its fragments.
fn fragmented_message() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        text().prop_map(|text| (0x1, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|payload| (0x2, payload)),
    ];
    let control =
        prop::option::weighted(0.3, (0x89..=0x8au8, prop::collection::vec(any::<u8>(), 0..=125), any::<[u8; 4]>()));
    let fragments = prop::collection::vec((any::<prop::sample::Index>(), control, any::<[u8; 4]>()), 1..6);
    (payload, fragments).prop_map(|((opcode, payload), fragments)| {
        let mut ends: Vec<usize> = fragments.iter().map(|(end, ..)| end.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        *ends.last_mut().expect("at least one fragment") = payload.len();

        let mut stream = Vec::new();
        let mut begin = 0;
        for (index, ((_, control, mask), end)) in fragments.into_iter().zip(&ends).enumerate() {
            stream.extend(control.map(|(first, payload, mask)| frame(first, mask, &payload)).unwrap_or_default());
            let is_final = index == ends.len() - 1;
            let first = if index == 0 { opcode } else { 0 } | if is_final { 0x80 } else { 0 };
            stream.extend(frame(first, mask, &payload[begin..*end]));
            begin = *end;
        }
        stream
    })
}

/// A valid stream with some bytes changed and perhaps its end lost.
pub fn mutated_stream() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (valid_stream(), changes, prop::option::of(any::<prop::sample::Index>())).prop_map(|(mut stream, changes, end)| {
        if !stream.is_empty() {
            for (index, change) in changes {
                let index = index.index(stream.len());
                stream[index] ^= change;
            }
        }
        if let Some(end) = end {
            stream.truncate(end.index(stream.len() + 1));
        }
        stream
    })
}

/// Frames that are mostly right, also in their order, so that the wrong one comes late.
pub fn random_frames() -> impl Strategy<Value = Vec<u8>> {
    let shape = prop_oneof![60 => Just(Shape::Right), 1 => Just(Shape::Unmasked), 1 => Just(Shape::LongLength)];
    prop::collection::vec((step(), any::<[u8; 4]>(), shape), 1..12).prop_map(|steps| {
        let mut stream = Vec::new();
        let mut inside_message = false;
        for (step, mask, shape) in steps {
            let (first, payload) = match step {
                Step::Data { opcode, is_final, payload } => {
                    let opcode = if inside_message { 0 } else { opcode };
                    inside_message = !is_final;
                    (opcode | if is_final { 0x80 } else { 0 }, payload)
                }
                Step::Any { first, payload } => (first, payload),
            };
            stream.extend(shape.frame(first, mask, &payload));
        }
        stream
    })
}

#[derive(Clone, Debug)]
enum Step {
    /// A fragment: it begins a message, or goes on with the one that is begun.
    Data {
        opcode: u8,
        is_final: bool,
        payload: Vec<u8>,
    },
    Any {
        first: u8,
        payload: Vec<u8>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let halves: [&[u8]; 6] = [b"\xe2\x82", b"\xac", b"\xf4\x90", b"\xed\xa0", b"\xc3", b"\xa9"];
    let fragment = prop_oneof![
        10 => "[aé€😀]{0,20}".prop_map(String::into_bytes),
        2 => prop::sample::select(halves.to_vec()).prop_map(<[u8]>::to_vec),
        // Two of them pass the limit together, or just do not.
        3 => (290..310usize).prop_map(|size| vec![b'x'; size]),
        1 => (590..610usize).prop_map(|size| vec![b'x'; size]),
    ];
    let data = (1..=2u8, any::<bool>(), fragment).prop_map(|(opcode, is_final, payload)| Step::Data {
        opcode,
        is_final,
        payload,
    });
    let control = (0x89..=0x8au8, prop::collection::vec(any::<u8>(), 0..130))
        .prop_map(|(first, payload)| Step::Any { first, payload });
    let code = prop_oneof![Just(1000), any::<u16>()];
    let close = (code, prop::collection::vec(prop::sample::select(b"a\xc3\xa9".to_vec()), 0..4))
        .prop_map(|(code, reason)| Step::Any { first: 0x88, payload: [&code.to_be_bytes(), &reason[..]].concat() });
    let first = prop_oneof![prop::sample::select(vec![0x00, 0x80, 0x01, 0x81, 0x02, 0x82]), any::<u8>()];
    let any =
        (first, prop::collection::vec(any::<u8>(), 0..5)).prop_map(|(first, payload)| Step::Any { first, payload });
    prop_oneof![20 => data, 5 => control, 1 => close, 1 => any]
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Right,
    Unmasked,
    LongLength,
}

impl Shape {
    fn frame(self, first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        match self {
            Shape::Right => frame(first, mask, payload),
            Shape::Unmasked => [&[first, payload.len().min(125) as u8], payload].concat(),
            Shape::LongLength => {
                let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
                let mut frame = [&[first, 0xff][..], &(payload.len() as u64).to_be_bytes(), &mask].concat();
                frame.extend(masked);
                frame
            }
        }
    }
}

/// A masked client frame with the shortest form of its length.
pub fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("test payloads are short").to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
