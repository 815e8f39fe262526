//! Compression held against another library, both ways.

use fanfare::ws::{Deflater, FrameKind, Inflater, MessageKind, frame_payload};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

/// Source: RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Words that repeat, runs, and noise.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec!["{\"offset\":", "\"data\":[", "]}}", "grüße, ", "room:lobby"])
            .prop_map(|word| word.as_bytes().to_vec()),
        (any::<u8>(), 1..3000_usize).prop_map(|(byte, run)| vec![byte; run]),
        prop::collection::vec(any::<u8>(), 0..200),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn the_oracle_expands_what_we_compress(payload in payload(), level in 1..=9_u8, window_bits in 9..=15_u8) {
        let frame = Deflater::new(level).build_frame(FrameKind::Binary, &payload, window_bits);
        if let Some(frame) = frame {
            let input = [frame_payload(&frame), &TAIL].concat();
            let mut expanded = Vec::with_capacity(payload.len() + 1);
            let mut oracle = Decompress::new(false);
            oracle.decompress_vec(&input, &mut expanded, FlushDecompress::Sync).expect("it is deflate");
            prop_assert_eq!(expanded, payload);
        }
    }

    #[test]
    fn we_expand_what_the_oracle_compresses(payload in payload(), level in 0..=9_u32, is_last in any::<bool>()) {
        let mut deflated = Vec::with_capacity(payload.len() * 2 + 100);
        let flush = if is_last { FlushCompress::Finish } else { FlushCompress::Sync };
        Compress::new(Compression::new(level), false).compress_vec(&payload, &mut deflated, flush).expect("any input");
        if !is_last {
            prop_assert_eq!(deflated.split_off(deflated.len() - TAIL.len()), TAIL);
        }
        let mut inflater = Inflater::default();
        let expanded = inflater.inflate(MessageKind::Binary, &deflated, payload.len().max(1));
        prop_assert_eq!(expanded, Ok(&payload[..]));
    }
}
