use super::super::test_frames::*;
use super::*;

/// [`Incoming`] with its own bytes.
#[derive(Clone, Debug, PartialEq)]
enum Came {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Compressed(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(PeerClose),
}

impl From<Incoming<'_>> for Came {
    fn from(incoming: Incoming<'_>) -> Came {
        match incoming {
            Incoming::Message { kind: MessageKind::Text, payload } => Came::Text(payload.to_vec()),
            Incoming::Message { kind: MessageKind::Binary, payload } => Came::Binary(payload.to_vec()),
            Incoming::Compressed { kind, payload } => Came::Compressed(kind, payload.to_vec()),
            Incoming::Ping(payload) => Came::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Came::Pong(payload.to_vec()),
            Incoming::Close(close) => Came::Close(close),
        }
    }
}

const LIMITS: ReaderLimits = ReaderLimits { message_bytes_max: 1000, fragments_max: 8, deflate: Deflate::Refused };

const WITH_DEFLATE: ReaderLimits = ReaderLimits { deflate: Deflate::Negotiated, ..LIMITS };

/// Reads `arrivals` one after the other, each until it is used up.
fn read_arrivals<'a>(
    limits: &ReaderLimits,
    arrivals: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Came>, Option<PeerViolated>) {
    let mut reader = Reader::new();
    let mut came = Vec::new();
    for arrival in arrivals {
        let mut bytes = arrival.to_vec();
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            match reader.read(limits, rest) {
                Ok((used, Some(incoming))) => {
                    came.push(incoming.into());
                    rest = &mut rest[used..];
                }
                Ok((used, None)) => {
                    assert_eq!(used, rest.len(), "without a message all bytes are used");
                    break;
                }
                Err(violation) => {
                    assert_eq!(reader.buffered_bytes(), 0, "nothing is kept after a violation");
                    return (came, Some(violation));
                }
            }
        }
    }
    (came, None)
}

/// The same comes out of `stream` whole, one byte at a time, and cut in two at every place.
fn check(stream: &[Vec<u8>], expected: &[Came], violation: Option<PeerViolated>) {
    check_with(&LIMITS, stream, expected, violation);
}

fn check_with(limits: &ReaderLimits, stream: &[Vec<u8>], expected: &[Came], violation: Option<PeerViolated>) {
    let stream = stream.concat();
    let expected = (expected.to_vec(), violation);
    assert_eq!(read_arrivals(limits, [&stream[..]]), expected, "whole");
    assert_eq!(read_arrivals(limits, stream.chunks(1)), expected, "one byte at a time");
    for cut in 1..stream.len() {
        assert_eq!(read_arrivals(limits, [&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
    }
}

fn check_refused(stream: &[Vec<u8>], violation: PeerViolated) {
    check(stream, &[], Some(violation));
}

#[test]
fn reads_messages() {
    check(&[client_frame(TEXT, b"")], &[Came::Text(vec![])], None);
    check(
        &[client_frame(TEXT, "grüße".as_bytes()), client_frame(BINARY, &[0xff; 300]), client_frame(TEXT, b"x")],
        &[Came::Text("grüße".into()), Came::Binary(vec![0xff; 300]), Came::Text(b"x".into())],
        None,
    );
}

#[test]
fn joins_fragments() {
    let smile = "😀".as_bytes();
    check(
        &[
            client_frame(TEXT_BEGINS, &smile[..1]),
            client_frame(GOES_ON, b""),
            client_frame(GOES_ON, &smile[1..3]),
            client_frame(ENDS, &smile[3..]),
            client_frame(BINARY_BEGINS, b""),
            client_frame(ENDS, b""),
        ],
        &[Came::Text(smile.to_vec()), Came::Binary(vec![])],
        None,
    );
}

#[test]
fn lets_control_frames_pass_between_fragments() {
    check(
        &[
            client_frame(BINARY_BEGINS, b"one "),
            client_frame(PING, b"?"),
            client_frame(GOES_ON, b"two "),
            client_frame(PONG, &[9; 125]),
            client_frame(PING, b""),
            client_frame(ENDS, b"three"),
            client_frame(CLOSE, b"\x03\xe8bye"),
        ],
        &[
            Came::Ping(b"?".into()),
            Came::Pong(vec![9; 125]),
            Came::Ping(vec![]),
            Came::Binary(b"one two three".into()),
            Came::Close(PeerClose::Code(1000)),
        ],
        None,
    );
    check(
        &[client_frame(TEXT_BEGINS, b"never ended"), client_frame(CLOSE, b"")],
        &[Came::Close(PeerClose::NoCode)],
        None,
    );
}

#[test]
fn refuses_bad_headers() {
    check_refused(&[vec![0x81, 0x01, b'x']], PeerViolated::NO_MASK);
    check_refused(&[client_frame(0xc1, b"x")], PeerViolated::RESERVED_BIT);
    check_refused(&[client_frame(0x83, b"x")], PeerViolated::RESERVED_OPCODE);
    check_refused(&[client_frame(0x8b, b"x")], PeerViolated::RESERVED_OPCODE);
    check_refused(&[client_frame(0x09, b"x")], PeerViolated::FRAGMENTED_CONTROL);
    check_refused(&[client_frame(PING, &[0; 126])], PeerViolated::LONG_CONTROL);
    check_refused(&[client_frame(TEXT_BEGINS, b"x"), client_frame(0xc0, b"y")], PeerViolated::RESERVED_BIT);
}

#[test]
fn refuses_fragments_out_of_order() {
    check_refused(&[client_frame(GOES_ON, b"x")], PeerViolated::NOTHING_TO_CONTINUE);
    check_refused(&[client_frame(ENDS, b"x")], PeerViolated::NOTHING_TO_CONTINUE);
    // Whatever its length: a read that ends within the header shows no more than this.
    check_refused(&[client_frame(ENDS, &[0; 100_000])], PeerViolated::NOTHING_TO_CONTINUE);
    check_refused(&[client_frame(TEXT_BEGINS, b"x"), client_frame(TEXT, b"y")], PeerViolated::MESSAGE_IN_MESSAGE);
    check_refused(
        &[client_frame(TEXT_BEGINS, b"x"), client_frame(BINARY_BEGINS, b"y")],
        PeerViolated::MESSAGE_IN_MESSAGE,
    );
    check(
        &[client_frame(TEXT_BEGINS, b"x"), client_frame(ENDS, b"y"), client_frame(ENDS, b"z")],
        &[Came::Text(b"xy".into())],
        Some(PeerViolated::NOTHING_TO_CONTINUE),
    );
}

#[test]
fn refuses_bad_close_payloads() {
    check_refused(&[client_frame(CLOSE, b"\x03")], PeerViolated::HALF_CLOSE_CODE);
    check_refused(&[client_frame(CLOSE, b"\x03\xee")], PeerViolated::BAD_CLOSE_CODE);
    check_refused(&[client_frame(CLOSE, b"\x03\xe8\xc3")], PeerViolated::REASON_NOT_UTF8);
}

#[test]
fn refuses_text_that_is_not_utf8() {
    check_refused(&[client_frame(TEXT, b"ab\xffcd")], PeerViolated::TEXT_NOT_UTF8);
    check_refused(&[client_frame(TEXT, b"cut short: \xe2\x82")], PeerViolated::TEXT_NOT_UTF8);
    check(
        &[client_frame(TEXT_BEGINS, b"\xe2\x82"), client_frame(PONG, b""), client_frame(ENDS, b"")],
        &[Came::Pong(vec![])],
        Some(PeerViolated::TEXT_NOT_UTF8),
    );
}

#[test]
fn refuses_text_at_the_first_wrong_byte() {
    let stream = client_frame(TEXT, b"\xce\xba\xf4\x90 and much more");
    let wrong_byte = stream.len() - b"\x90 and much more".len();
    assert_eq!(read_arrivals(&LIMITS, [&stream[..wrong_byte]]), (vec![], None));
    assert_eq!(read_arrivals(&LIMITS, [&stream[..=wrong_byte]]), (vec![], Some(PeerViolated::TEXT_NOT_UTF8)));
    assert_eq!(
        read_arrivals(&LIMITS, [&stream[..wrong_byte], &stream[wrong_byte..=wrong_byte]]),
        (vec![], Some(PeerViolated::TEXT_NOT_UTF8))
    );
}

#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_is_refused_by_its_header() {
    check(&[client_frame(BINARY, &[7; 1000])], &[Came::Binary(vec![7; 1000])], None);
    check_refused(&[client_header(BINARY, 1001)], PeerViolated::MESSAGE_TOO_BIG);
    check_refused(&[client_header(TEXT_BEGINS, u64::MAX >> 1)], PeerViolated::MESSAGE_TOO_BIG);
    check_refused(
        &[client_frame(BINARY_BEGINS, &[7; 600]), client_frame(GOES_ON, &[7; 400]), client_header(ENDS, 1)],
        PeerViolated::MESSAGE_TOO_BIG,
    );
    // A sum that would overflow is over the limit too.
    check_refused(
        &[client_frame(BINARY_BEGINS, b"x"), client_header(ENDS, u64::MAX >> 1)],
        PeerViolated::MESSAGE_TOO_BIG,
    );
}

#[test]
fn the_limit_is_for_messages_not_for_control_frames() {
    let limits = ReaderLimits { message_bytes_max: 10, fragments_max: 1, deflate: Deflate::Refused };
    let mut bytes = client_frame(PING, &[7; 20]);
    assert_eq!(Reader::new().read(&limits, &mut bytes), Ok((26, Some(Incoming::Ping(&[7; 20])))));
}

#[test]
fn counts_fragments_empty_ones_too() {
    let mut stream = vec![client_frame(TEXT_BEGINS, b"")];
    stream.extend(vec![client_frame(GOES_ON, b""); LIMITS.fragments_max - 2]);
    stream.push(client_frame(ENDS, b"x"));
    check(&stream, &[Came::Text(b"x".into())], None);
    stream.insert(1, client_frame(GOES_ON, b""));
    check_refused(&stream, PeerViolated::TOO_MANY_FRAGMENTS);
}

#[test]
fn a_whole_frame_is_read_where_it_lies() {
    let mut reader = Reader::new();
    let mut bytes = [client_frame(TEXT, b"hello"), client_frame(TEXT, b"next")].concat();
    let payload_at = bytes[6..].as_ptr();
    let (used, incoming) = reader.read(&LIMITS, &mut bytes).unwrap();
    let Some(Incoming::Message { payload, .. }) = incoming else { panic!("a message") };
    assert_eq!((used, payload, payload.as_ptr()), (11, &b"hello"[..], payload_at));
    assert_eq!(reader.buffered_bytes(), 0);
}

#[test]
fn an_idle_reader_is_small_and_holds_nothing() {
    assert!(size_of::<Reader>() <= 24);
    let mut reader = Reader::new();
    assert_eq!(reader.read(&LIMITS, &mut []), Ok((0, None)));
    assert_eq!(reader.buffered_bytes(), 0);

    let mut bytes = client_frame(TEXT, &[b'x'; 500]);
    let (left, right) = bytes.split_at_mut(100);
    assert_eq!(reader.read(&LIMITS, left), Ok((100, None)));
    assert!(reader.read(&LIMITS, right).unwrap().1.is_some());
    assert!(reader.buffered_bytes() >= 500, "the message is lent");
    reader.release();
    assert_eq!(reader.buffered_bytes(), 0);
}

#[test]
fn release_leaves_what_is_unfinished() {
    let stream = [client_frame(TEXT_BEGINS, b"one "), client_frame(PING, b"p"), client_frame(ENDS, b"two")].concat();
    let mut reader = Reader::new();
    let mut came = Vec::new();
    for byte in &stream {
        if let (_, Some(incoming)) = reader.read(&LIMITS, &mut [*byte]).unwrap() {
            came.push(Came::from(incoming));
        }
        reader.release();
    }
    assert_eq!(came, [Came::Ping(b"p".into()), Came::Text(b"one two".into())]);
    assert_eq!(reader.buffered_bytes(), 0);
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced() {
    let limits = ReaderLimits { message_bytes_max: 1 << 30, fragments_max: 1, deflate: Deflate::Refused };
    let mut reader = Reader::new();
    assert_eq!(reader.read(&limits, &mut client_header(BINARY, 1 << 30)), Ok((14, None)));
    let held_for_header = reader.buffered_bytes();
    assert!(held_for_header <= 256, "{held_for_header} bytes for a header");
    for arrived in (100..=10_000).step_by(100) {
        assert_eq!(reader.read(&limits, &mut [0; 100]), Ok((100, None)));
        assert!(reader.buffered_bytes() <= held_for_header + 2 * arrived + 256, "{arrived} bytes arrived");
    }
}

#[test]
fn the_last_frame_is_not_given_more_than_it_declared() {
    let mut reader = Reader::new();
    let mut bytes = client_frame(BINARY, &[7; 900]);
    let (left, right) = bytes.split_at_mut(520);
    assert_eq!(reader.read(&LIMITS, left), Ok((520, None)));
    assert!(reader.read(&LIMITS, right).unwrap().1.is_some());
    assert_eq!(reader.buffered_bytes(), size_of::<Partial>() + 900);
}

/// 4 MiB in fragments of 64 bytes (Autobahn's case 9.3.1), one byte at a time: how often the
/// buffer is moved, and how much is copied by that, stays linear.
#[test]
fn tiny_fragments_in_tiny_reads_take_linear_time() {
    const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
    const FRAGMENTS: usize = MESSAGE_BYTES / 64;
    let limits =
        ReaderLimits { message_bytes_max: 17 * 1024 * 1024, fragments_max: FRAGMENTS, deflate: Deflate::Refused };
    let mut reader = Reader::new();
    let (mut bytes_moved, mut moves, mut capacity) = (0, 0, 0);
    for fragment in 0..FRAGMENTS {
        let first = match fragment {
            0 => TEXT_BEGINS,
            _ if fragment == FRAGMENTS - 1 => ENDS,
            _ => GOES_ON,
        };
        let frame = client_frame(first, &[b'x'; 64]);
        for (i, byte) in frame.iter().enumerate() {
            let is_whole = reader.read(&limits, &mut [*byte]).unwrap().1.is_some();
            assert_eq!(is_whole, fragment == FRAGMENTS - 1 && i == frame.len() - 1);
            if reader.buffered_bytes() != capacity {
                bytes_moved += capacity;
                capacity = reader.buffered_bytes();
                moves += 1;
            }
        }
    }
    assert!(bytes_moved <= 2 * MESSAGE_BYTES, "{bytes_moved} bytes moved");
    assert!(moves <= 20, "{moves} moves");
}

#[test]
fn compressed_messages_are_lent_as_they_came() {
    let not_text = [0xff, 0xfe, 0x00];
    check_with(
        &WITH_DEFLATE,
        &[client_frame(TEXT | RSV1, &not_text), client_frame(BINARY | RSV1, b"ab"), client_frame(TEXT, b"plain")],
        &[
            Came::Compressed(MessageKind::Text, not_text.to_vec()),
            Came::Compressed(MessageKind::Binary, b"ab".to_vec()),
            Came::Text(b"plain".to_vec()),
        ],
        None,
    );
}

#[test]
fn compressed_fragments_are_joined_around_control_frames() {
    check_with(
        &WITH_DEFLATE,
        &[
            client_frame(TEXT_BEGINS | RSV1, &[0xff]),
            client_frame(PING, b"between"),
            client_frame(GOES_ON, &[0xfe]),
            client_frame(GOES_ON, &[]),
            client_frame(ENDS, &[0x00]),
            // Nothing of it is left for the next.
            client_frame(TEXT_BEGINS, b"pl"),
            client_frame(ENDS, b"ain"),
        ],
        &[
            Came::Ping(b"between".to_vec()),
            Came::Compressed(MessageKind::Text, vec![0xff, 0xfe, 0x00]),
            Came::Text(b"plain".to_vec()),
        ],
        None,
    );
}

#[test]
fn rsv1_stands_on_first_frames_of_messages_only() {
    let refused = |stream: &[Vec<u8>]| check_with(&WITH_DEFLATE, stream, &[], Some(PeerViolated::MISPLACED_RSV1));
    refused(&[client_frame(PING | RSV1, b"")]);
    refused(&[client_frame(CLOSE | RSV1, b"")]);
    refused(&[client_frame(TEXT_BEGINS | RSV1, b"a"), client_frame(ENDS | RSV1, b"b")]);
    refused(&[client_frame(TEXT_BEGINS, b"a"), client_frame(GOES_ON | RSV1, b"b")]);
    refused(&[client_frame(ENDS | RSV1, b"")]);
    for bit in [0x20, 0x10] {
        let stream = [client_frame(TEXT | RSV1 | bit, b"")];
        check_with(&WITH_DEFLATE, &stream, &[], Some(PeerViolated::RESERVED_BIT));
    }
    check_refused(&[client_frame(TEXT | RSV1, b"")], PeerViolated::RESERVED_BIT);
}

#[test]
fn the_limit_is_for_what_came() {
    let stream = [client_frame(TEXT_BEGINS | RSV1, &[0; 600]), client_frame(ENDS, &[0; 401])];
    check_with(&WITH_DEFLATE, &stream, &[], Some(PeerViolated::MESSAGE_TOO_BIG));
}
