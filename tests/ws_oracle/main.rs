//! The frame codec held against tungstenite, on random streams cut at random read boundaries.
//!
//! Where the two differ on purpose:
//! - A length that is not in its shortest form is refused here (RFC 6455 §5.2 says MUST), in a
//!   control frame as one over 125 bytes; the oracle takes it.
//! - Close code 1014 is taken here (IANA's registry has it); the oracle calls it a violation.
//! - A violation is refused here at the byte that shows it; the oracle waits for the whole frame.
//! - Here fragments are counted; the oracle has no such bound, so these tests set it out of reach.

mod deflate;
mod streams;

use std::io::{self, Read, Write};

use fanfare::ws::{
    Deflate, FrameKind, Incoming, MessageKind, PeerClose, PeerViolated, Reader, ReaderLimits, append_frame,
    build_frame, close_answer, close_frame,
};
use proptest::prelude::*;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use streams::{cuts, frame, message, mutated_stream, random_frames, valid_stream};

const LIMITS: ReaderLimits =
    ReaderLimits { message_bytes_max: 600, fragments_max: usize::MAX, deflate: Deflate::Refused };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn valid_streams_give_the_same_messages(stream in valid_stream(), cuts in cuts()) {
        let ours = read_ours(&stream, &cuts);
        prop_assert!(!matches!(ours.end, End::Refused(_)), "{:?}", ours.end);
        prop_assert_eq!(ours, read_oracle(&stream, &cuts));
    }

    #[test]
    fn mutated_streams_get_the_same_verdict(stream in mutated_stream(), cuts in cuts()) {
        check_verdicts(&stream, &cuts)?;
    }

    #[test]
    fn random_frames_get_the_same_verdict(stream in random_frames(), cuts in cuts()) {
        check_verdicts(&stream, &cuts)?;
    }

    #[test]
    fn random_bytes_get_the_same_verdict(stream in prop::collection::vec(any::<u8>(), 0..40), cuts in cuts()) {
        check_verdicts(&stream, &cuts)?;
    }

    #[test]
    fn an_echo_does_not_depend_on_the_cuts(stream in valid_stream(), cuts in cuts()) {
        let whole = echo(&stream, &[stream.len().max(1)]);
        prop_assert_eq!(&echo(&stream, &[1]), &whole);
        prop_assert_eq!(&echo(&stream, &cuts), &whole);
    }

    #[test]
    fn what_tungstenite_sends_is_read(messages in prop::collection::vec(message(), 0..8), cuts in cuts()) {
        let mut client = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
        for message in &messages {
            client.send(message.clone()).unwrap();
        }
        let sent = std::mem::take(&mut client.get_mut().written);
        prop_assert_eq!(read_ours(&sent, &cuts), Outcome { came: messages, end: End::Open });
    }

    #[test]
    fn tungstenite_reads_what_we_send(
        messages in prop::collection::vec(message(), 0..8),
        close in prop::sample::select(vec![None, Some((1000, "")), Some((3008, "slow")), Some((4999, "grüße"))]),
        cuts in cuts(),
    ) {
        let mut sent = Vec::new();
        for message in &messages {
            let payload = message.clone().into_data();
            append_frame(kind_of(message), &payload, &mut sent);
            sent.extend(build_frame(kind_of(message), payload.len(), |out| out.extend_from_slice(&payload)));
        }
        sent.extend(close.map_or_else(|| close_answer(PeerClose::NoCode), |(code, reason)| close_frame(code, reason)));

        let mut expected: Vec<Message> = messages.into_iter().flat_map(|message| [message.clone(), message]).collect();
        expected.push(Message::Close(close.map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.into() })));
        let mut client = WebSocket::from_raw_socket(Wire::new(&sent, &cuts), Role::Client, None);
        for message in expected {
            prop_assert_eq!(client.read().unwrap(), message);
        }
    }
}

/// Long payloads, where every length form and the growth of a partial buffer occur.
#[test]
fn payloads_of_every_size_come_back() {
    let limits = ReaderLimits { message_bytes_max: 200_000, fragments_max: 1, deflate: Deflate::Refused };
    for size in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 200_000] {
        let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut client = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
        client.send(Message::binary(payload.clone())).unwrap();
        for cut in [1, 1000, 65_536, usize::MAX] {
            let mut sent = client.get_ref().written.clone();
            let mut reader = Reader::new();
            let mut came = 0;
            for arrived in sent.chunks_mut(cut) {
                if let (used, Some(incoming)) = reader.read(&limits, arrived).unwrap() {
                    assert_eq!(incoming, Incoming::Message { kind: MessageKind::Binary, payload: &payload });
                    assert_eq!(used, arrived.len());
                    came += 1;
                }
            }
            assert_eq!(came, 1, "{size} bytes in pieces of {cut}");
        }
    }
}

#[test]
fn every_close_code_gets_the_same_verdict() {
    for code in 0..=u16::MAX {
        check_verdicts(&frame(0x88, [0; 4], &code.to_be_bytes()), &[usize::MAX]).expect("the same verdict");
    }
}

/// What a stream led to.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    /// Messages and control frames, without the close frame.
    came: Vec<Message>,
    end: End,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    /// More could follow.
    Open,
    Closed(Option<u16>),
    /// With our violation; the oracle's is not compared.
    Refused(Option<PeerViolated>),
}

fn check_verdicts(stream: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let ours = read_ours(stream, cuts);
    let oracle = read_oracle(stream, cuts);
    match (&ours.end, &oracle.end) {
        // A control frame in a longer form is refused as a long one, before its length is known.
        (End::Refused(Some(PeerViolated::LONG_LENGTH | PeerViolated::LONG_CONTROL)), _) => {
            prop_assert!(oracle.came.starts_with(&ours.came), "{ours:?} {oracle:?}");
        }
        (End::Closed(Some(1014)), End::Refused(_)) => prop_assert_eq!(ours.came, oracle.came),
        (End::Refused(_), End::Refused(_)) => prop_assert_eq!(ours.came, oracle.came),
        (End::Refused(_), End::Open) => {
            // Whatever follows, the oracle comes to the same verdict when the frame is whole.
            let longest_frame = LIMITS.message_bytes_max + 14;
            let oracle = read_oracle(&[stream, &vec![0; longest_frame]].concat(), cuts);
            prop_assert!(matches!(oracle.end, End::Refused(_)), "{ours:?} {oracle:?}");
            prop_assert_eq!(ours.came, oracle.came);
        }
        _ => prop_assert_eq!(ours, oracle),
    }
    Ok(())
}

fn read_ours(stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut came = Vec::new();
    let mut reader = Reader::new();
    for mut arrived in Wire::new(stream, cuts).arrivals() {
        let mut rest = arrived.as_mut_slice();
        loop {
            let (used, incoming) = match reader.read(&LIMITS, rest) {
                Ok(read) => read,
                Err(violation) => return Outcome { came, end: End::Refused(Some(violation)) },
            };
            match incoming {
                Some(Incoming::Message { kind: MessageKind::Text, payload }) => {
                    came.push(Message::text(str::from_utf8(payload).expect("text is checked")));
                }
                Some(Incoming::Message { kind: MessageKind::Binary, payload }) => {
                    came.push(Message::binary(payload.to_vec()));
                }
                Some(Incoming::Compressed { .. }) => unreachable!("it was not negotiated"),
                Some(Incoming::Ping(payload)) => came.push(Message::Ping(payload.to_vec().into())),
                Some(Incoming::Pong(payload)) => came.push(Message::Pong(payload.to_vec().into())),
                Some(Incoming::Close(PeerClose::NoCode)) => return Outcome { came, end: End::Closed(None) },
                Some(Incoming::Close(PeerClose::Code(code))) => return Outcome { came, end: End::Closed(Some(code)) },
                None => break assert_eq!(used, rest.len(), "without a message all bytes are used"),
            }
            rest = &mut rest[used..];
        }
    }
    Outcome { came, end: End::Open }
}

fn read_oracle(stream: &[u8], cuts: &[usize]) -> Outcome {
    let config = WebSocketConfig::default()
        .read_buffer_size(128)
        .max_message_size(Some(LIMITS.message_bytes_max))
        .max_frame_size(Some(LIMITS.message_bytes_max));
    let mut socket = WebSocket::from_raw_socket(Wire::new(stream, cuts), Role::Server, Some(config));
    let mut came = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                // Its words for a code that must not be sent.
                let is_refused = u16::from(code) == 1002 && reason.as_str() == "Protocol violation";
                break if is_refused { End::Refused(None) } else { End::Closed(Some(code.into())) };
            }
            Ok(Message::Close(None)) => break End::Closed(None),
            Ok(message) => came.push(message),
            Err(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                break End::Open;
            }
            Err(_) => break End::Refused(None),
        }
    };
    Outcome { came, end }
}

/// Answers every message and ping with its payload, every close with its code.
fn echo(stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader = Reader::new();
    for mut arrived in Wire::new(stream, cuts).arrivals() {
        let mut rest = arrived.as_mut_slice();
        while let (used, Some(incoming)) = reader.read(&LIMITS, rest).expect("a valid stream") {
            match incoming {
                Incoming::Message { kind, payload } => append_frame(kind.into(), payload, &mut out),
                Incoming::Ping(payload) => append_frame(FrameKind::Pong, payload, &mut out),
                Incoming::Pong(_) => (),
                Incoming::Compressed { .. } => unreachable!("it was not negotiated"),
                Incoming::Close(close) => {
                    out.extend(close_answer(close));
                    return out;
                }
            }
            rest = &mut rest[used..];
        }
        reader.release();
    }
    out
}

/// A socket in memory: gives out a stream in pieces, keeps what is written.
#[derive(Default)]
struct Wire {
    pieces: Vec<Vec<u8>>,
    written: Vec<u8>,
}

impl Wire {
    /// The lengths in `cuts` are used over and over.
    fn new(stream: &[u8], cuts: &[usize]) -> Wire {
        let mut pieces = Vec::new();
        let mut rest = stream;
        for cut in cuts.iter().cycle().take_while(|_| !stream.is_empty()) {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        pieces.reverse();
        Wire { pieces, written: Vec::new() }
    }

    fn arrivals(self) -> impl Iterator<Item = Vec<u8>> {
        self.pieces.into_iter().rev()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.last_mut() else { return Ok(0) };
        let size = piece.len().min(buffer.len());
        buffer[..size].copy_from_slice(&piece[..size]);
        piece.drain(..size);
        if piece.is_empty() {
            self.pieces.pop();
        }
        Ok(size)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kind_of(message: &Message) -> FrameKind {
    match message {
        Message::Text(_) => FrameKind::Text,
        Message::Binary(_) => FrameKind::Binary,
        Message::Ping(_) => FrameKind::Ping,
        Message::Pong(_) => FrameKind::Pong,
        Message::Close(_) | Message::Frame(_) => unreachable!("only messages that `message()` makes"),
    }
}
