use proptest::prelude::*;
use zlib_rs::{Deflate, DeflateFlush};

use super::*;

/// Compresses as clients do, one flush for each of `parts`.
fn deflate(parts: &[&[u8]], level: i32) -> Vec<u8> {
    let mut context = Deflate::new(level, false, WINDOW_BITS_MAX);
    let bytes: usize = parts.iter().map(|part| part.len() + 64).sum();
    let mut out = vec![0; bytes + bytes / 8];
    for part in parts {
        let at = context.total_out() as usize;
        context.compress(part, &mut out[at..], DeflateFlush::SyncFlush).unwrap();
    }
    out.truncate(context.total_out() as usize);
    assert_eq!(out.split_off(out.len() - TAIL.len()), TAIL);
    out
}

/// A stream of its own: its last block says so.
fn deflate_finally(message: &[u8]) -> Vec<u8> {
    let mut context = Deflate::new(6, false, WINDOW_BITS_MAX);
    let mut out = vec![0; message.len() * 2 + 64];
    context.compress(message, &mut out, DeflateFlush::Finish).unwrap();
    out.truncate(context.total_out() as usize);
    out
}

fn check(deflated: &[u8], expected: Result<&[u8], PeerViolated>) {
    check_up_to(1 << 20, deflated, expected);
}

fn check_up_to(bytes_max: usize, deflated: &[u8], expected: Result<&[u8], PeerViolated>) {
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(MessageKind::Binary, deflated, bytes_max), expected, "{deflated:x?}");
    // And the next message is none the worse for it.
    assert_eq!(inflater.inflate(MessageKind::Text, HELLO, 5), Ok(&b"Hello"[..]));
}

/// Source: RFC 7692 §7.2.3.1.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn the_examples_of_the_rfc_are_read() {
    check(HELLO, Ok(b"Hello"));
    // Not compressed, §7.2.3.3.
    check(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], Ok(b"Hello"));
    // A last block, and the octet that makes room for more, §7.2.3.4.
    check(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], Ok(b"Hello"));
    // Two blocks, §7.2.3.5.
    check(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], Ok(b"Hello"));
    // An empty message, §7.2.3.6.
    check(&[0x00], Ok(b""));
}

#[test]
fn last_blocks_may_end_a_message_or_stand_within() {
    let (one, other) = (deflate_finally(b"one"), deflate_finally(b"other"));
    check(&one, Ok(b"one"));
    check(&[&one[..], &[0x00]].concat(), Ok(b"one"));
    check(&[&one[..], &other].concat(), Ok(b"oneother"));
    check(&[&one[..], &other, HELLO].concat(), Ok(b"oneotherHello"));
}

#[test]
fn flushes_within_a_message_are_read() {
    let parts: [&[u8]; 4] = [b"one ", b"two ", b"", b"one two"];
    check(&deflate(&parts, 6), Ok(b"one two one two"));
    check(&deflate(&parts, 0), Ok(b"one two one two"));
}

#[test]
fn what_is_no_deflate_is_refused() {
    for deflated in [&b""[..], b"\xff", b"\x07", b"Hello", b"\x00\x00\x00\xff\xff", b"\x00\x05\x00\xfa\xff\x48"] {
        check(deflated, Err(PeerViolated::NOT_DEFLATE));
    }
    // Cut short, though what is there can be read.
    for cut in 1..HELLO.len() {
        check(&HELLO[..cut], Err(PeerViolated::NOT_DEFLATE));
    }
    let long = deflate(&[&b"abcdefgh".repeat(100)], 6);
    for cut in 0..long.len() {
        check(&long[..cut], Err(PeerViolated::NOT_DEFLATE));
    }
    // A match that refers to what the message before may have left.
    check(&[0x4a, 0x04, 0x43, 0x00], Err(PeerViolated::NOT_DEFLATE));
    // Something behind the last block.
    check(&[&deflate_finally(b"one")[..], b"\xff\xff"].concat(), Err(PeerViolated::NOT_DEFLATE));
}

#[test]
fn only_text_has_to_be_utf8() {
    let mut inflater = Inflater::default();
    let deflated = deflate(&[b"caf\xc3"], 6);
    assert_eq!(inflater.inflate(MessageKind::Text, &deflated, 100), Err(PeerViolated::TEXT_NOT_UTF8));
    assert_eq!(inflater.inflate(MessageKind::Binary, &deflated, 100), Ok(&b"caf\xc3"[..]));
    let deflated = deflate(&["grüße".as_bytes()], 6);
    assert_eq!(inflater.inflate(MessageKind::Text, &deflated, 100), Ok("grüße".as_bytes()));
}

#[test]
fn the_limit_is_exact() {
    for bytes in [1, 100, SCRATCH_BYTES_FIRST - 1, SCRATCH_BYTES_FIRST, SCRATCH_BYTES_FIRST + 1, 100_000] {
        let message = vec![b'x'; bytes];
        let deflated = deflate(&[&message], 9);
        check_up_to(bytes, &deflated, Ok(&message));
        check_up_to(bytes + 1, &deflated, Ok(&message));
        check_up_to(bytes - 1, &deflated, Err(PeerViolated::INFLATED_TOO_BIG));
    }
}

/// 64 MiB of zeros fit 64 KiB.
#[test]
fn a_bomb_stops_at_the_limit() {
    const LIMIT: usize = 10 * 65_536;
    let bomb = deflate(&[&vec![0; 64 << 20]], 9);
    assert!(bomb.len() <= 65_536 + 64, "{} bytes", bomb.len());
    let mut inflater = Inflater::default();
    for _ in 0..3 {
        assert_eq!(inflater.inflate(MessageKind::Binary, &bomb, LIMIT), Err(PeerViolated::INFLATED_TOO_BIG));
        assert!(inflater.scratch_bytes() <= LIMIT + 1, "{} bytes were taken", inflater.scratch_bytes());
    }
    inflater.release();
    assert_eq!(inflater.scratch_bytes(), 0);
}

/// Last blocks without anything in them are as small as a block can be.
#[test]
fn a_chain_of_empty_last_blocks_ends() {
    check(&[0x03, 0x00].repeat(LAST_BLOCKS_MAX), Ok(b""));
    check(&[0x03, 0x00].repeat(LAST_BLOCKS_MAX + 2), Err(PeerViolated::TOO_MANY_LAST_BLOCKS));
}

proptest! {
    #[test]
    fn whatever_clients_compress_comes_back(
        parts in prop::collection::vec(prop::collection::vec(0..4_u8, 0..300), 1..5),
        level in 0..=9,
    ) {
        let whole = parts.concat();
        let deflated = deflate(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), level);
        let mut inflater = Inflater::default();
        prop_assert_eq!(inflater.inflate(MessageKind::Binary, &deflated, whole.len()), Ok(&whole[..]));
    }

    /// No input does more than be refused, and the inflater is fit for the next.
    #[test]
    fn random_bytes_do_no_harm(inputs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..5)) {
        let mut inflater = Inflater::default();
        for input in inputs {
            if let Ok(message) = inflater.inflate(MessageKind::Binary, &input, 1000) {
                prop_assert!(message.len() <= 1000);
            }
            prop_assert_eq!(inflater.inflate(MessageKind::Text, HELLO, 5), Ok(&b"Hello"[..]));
        }
    }
}
