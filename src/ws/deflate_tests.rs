use proptest::prelude::*;
use zlib_rs::{Inflate, InflateFlush};

use super::*;
use crate::ws::{Inflater, MessageKind, frame_payload};

/// Text as chat rooms and dashboards have it, different for each `seed`.
fn json(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = b"{\"push\":{\"channel\":\"rooms:lobby\",\"pub\":{\"data\":[".to_vec();
    while text.len() < bytes {
        text.extend(format!("{{\"id\":{},\"open\":{}}},", random.u32(..1 << 20), random.bool()).into_bytes());
    }
    text.truncate(bytes);
    text
}

/// Expands with a window of exactly `window_bits`: one byte at a time, so that the output does not
/// serve as a larger one.
fn inflate_within(deflated: &[u8], window_bits: u8) -> Vec<u8> {
    let mut context = Inflate::new(false, window_bits);
    let mut message = Vec::new();
    let whole = [deflated, &TAIL].concat();
    let mut rest = &whole[..];
    loop {
        let mut out = [0];
        let before = (context.total_in(), context.total_out());
        context.decompress(rest, &mut out, InflateFlush::NoFlush).expect("nothing refers back too far");
        rest = &rest[(context.total_in() - before.0) as usize..];
        if context.total_out() == before.1 {
            assert!(rest.is_empty(), "it ends where the message does");
            return message;
        }
        message.push(out[0]);
    }
}

fn check(deflater: &mut Deflater, payload: &[u8], window_bits: u8) {
    let frame = deflater.build_frame(FrameKind::Text, payload, window_bits).expect("it becomes smaller");
    assert_eq!(frame[0], 0xc1, "final, RSV1, text");
    assert!(frame_payload(&frame).len() < payload.len());
    assert_eq!(inflate_within(frame_payload(&frame), window_bits), payload, "a window of {window_bits} bits");
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(MessageKind::Text, frame_payload(&frame), payload.len()), Ok(payload));
}

#[test]
fn messages_keep_to_their_window_at_every_level() {
    // One for each way of zlib's to look for matches.
    for level in [1, 2, 4, 9] {
        let mut deflater = Deflater::new(level);
        for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            // Long enough that the window slides, and repetitive enough that an older match tempts.
            for (seed, bytes) in [300, 700, 1500, 5000, 70_000].into_iter().enumerate() {
                check(&mut deflater, &json(bytes, seed as u64), window_bits);
                check(&mut deflater, &vec![b'x'; bytes], window_bits);
            }
        }
    }
}

#[test]
fn a_match_just_past_the_window_is_not_taken() {
    for level in [1, 2, 4, 9] {
        let mut deflater = Deflater::new(level);
        for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            for distance in [-260, -2, -1, 0, 1, 2, 260] {
                let between = ((1 << window_bits) + distance - 64) as usize;
                let phrase: Vec<u8> = (0..64).map(|i| b'A' + (i * 7 % 26) as u8).collect();
                let payload = [&phrase[..], &vec![b'-'; between], &phrase].concat();
                check(&mut deflater, &payload, window_bits);
            }
        }
    }
}

#[test]
fn a_message_owes_nothing_to_the_one_before() {
    let mut deflater = Deflater::new(6);
    let first = deflater.build_frame(FrameKind::Text, &json(2000, 1), 15).unwrap();
    deflater.build_frame(FrameKind::Binary, &json(9000, 2), 15).unwrap();
    assert_eq!(deflater.build_frame(FrameKind::Text, &json(2000, 1), 15).unwrap(), first);
}

#[test]
fn what_becomes_no_smaller_is_left_as_it_is() {
    let mut deflater = Deflater::new(1);
    let noise = noise(4096);
    for payload in [&b""[..], b"{}", &noise] {
        assert_eq!(deflater.build_frame(FrameKind::Text, payload, 15), None, "{} bytes", payload.len());
    }
    // And the compressor is fit for the next.
    check(&mut deflater, &json(1000, 3), 15);
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

/// Larger than all buffers of a context, which once kept what did not fit and broke the next message.
#[test]
fn large_noise_does_no_harm() {
    for level in [1, 2, 6] {
        let mut deflater = Deflater::new(level);
        for window_bits in [9, 15] {
            for bytes in [65_536, 300_003] {
                // High bytes cost level 1 nine bits each.
                let high: Vec<u8> = noise(bytes).iter().map(|byte| byte | 0x90).collect();
                deflater.build_frame(FrameKind::Binary, &high, window_bits);
                assert_eq!(deflater.build_frame(FrameKind::Binary, &noise(bytes), window_bits), None);
                check(&mut deflater, &json(3000, 7), window_bits);
            }
        }
    }
}

#[test]
fn a_large_message_leaves_no_memory_behind() {
    let mut deflater = Deflater::new(1);
    check(&mut deflater, &json(2 << 20, 4), 15);
    assert_eq!(deflater.scratch.capacity(), 0);
}

#[test]
fn the_tally_has_bytes_before_and_after() {
    let mut deflater = Deflater::new(1);
    let frame = deflater.build_frame(FrameKind::Text, &json(1000, 5), 15).unwrap();
    deflater.build_frame(FrameKind::Text, b"{}", 15);
    let bytes_after = frame_payload(&frame).len() as u64 + 2;
    assert_eq!(deflater.take_tally(), DeflateTally { messages: 2, bytes_before: 1002, bytes_after });
    assert_eq!(deflater.take_tally(), DeflateTally::default());
}

/// Workers have compressors of their own.
#[test]
fn compressors_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Deflater>();
    is_send::<Inflater>();
}

/// Words that repeat, with runs and noise between them.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![&b"\"offset\":"[..], b"{\"data\":", b"}}", b"the quick", b"0000000000"])
            .prop_map(<[u8]>::to_vec),
        (any::<u8>(), 1..600_usize).prop_map(|(byte, run)| vec![byte; run]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_is_compressed_comes_back(
        payloads in prop::collection::vec(payload(), 1..4),
        level in 1..=9_u8,
        window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX,
    ) {
        let mut deflater = Deflater::new(level);
        let mut inflater = Inflater::default();
        for payload in &payloads {
            if let Some(frame) = deflater.build_frame(FrameKind::Binary, payload, window_bits) {
                let deflated = frame_payload(&frame);
                prop_assert!(deflated.len() < payload.len());
                prop_assert_eq!(&inflate_within(deflated, window_bits), payload);
                prop_assert_eq!(inflater.inflate(MessageKind::Binary, deflated, payload.len()), Ok(&payload[..]));
            }
        }
    }
}
