//! One connection to the server: upgrade, introduction, then lines.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use crate::dialect::{Dialect, Heard, Introduction};
use crate::failure::{Doing, Failure};
use crate::scratch::{Inflater, SCRATCH_BYTES, Scratch};
use crate::websocket::{self, Compression, Frame};

/// Messages of more bytes are not gathered: of them only the first [`HEAD_BYTES`] are looked at.
const LARGE_BYTES: usize = SCRATCH_BYTES / 2;
const HEAD_BYTES: usize = 512;

/// One client connection.
///
/// Holds no buffer unless a frame arrived in part or the socket did not take all.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    dialect: Dialect,
    compression: Compression,
    state: State,
    /// Bytes of a frame that is not whole yet.
    part: Vec<u8>,
    /// Bytes of a line that is not whole yet, where lines go on in the next message.
    line_part: Vec<u8>,
    large: Option<Large>,
    unsent: Vec<u8>,
}

/// A large message that is passing by.
#[derive(Debug)]
struct Large {
    head: Vec<u8>,
    left: usize,
}

#[derive(Debug)]
enum State {
    /// The head goes out when the socket is connected.
    Connecting(Box<Opening>),
    /// The introduction goes out when the server has answered the head.
    Upgrading(Box<Opening>),
    Introducing {
        introduction: Introduction,
        replies_left: u32,
    },
    Ready,
}

/// What a link will say first.
#[derive(Debug)]
pub struct Opening {
    pub head: Vec<u8>,
    pub introduction: Introduction,
}

/// Whether a link has read all that there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Done,
    /// Its share of the turn is used up; it wants to be read again although nothing new comes.
    Unfinished,
}

impl Link {
    /// `stream` may still be connecting.
    pub fn new(stream: TcpStream, dialect: Dialect, compression: Compression, opening: Opening) -> Link {
        Link {
            stream,
            dialect,
            compression,
            state: State::Connecting(Box::new(opening)),
            part: Vec::new(),
            line_part: Vec::new(),
            large: None,
            unsent: Vec::new(),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    pub fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The socket connected, or takes bytes again.
    pub fn on_writable(&mut self) -> Result<(), Failure> {
        if let State::Connecting(_) = self.state {
            if let Some(error) = self.stream.take_error().doing("connecting")? {
                return Err(error).doing("connecting");
            }
            if let State::Connecting(opening) = std::mem::replace(&mut self.state, State::Ready) {
                self.send(&opening.head)?;
                self.state = State::Upgrading(opening);
            }
        } else if !self.unsent.is_empty() {
            let waiting = std::mem::take(&mut self.unsent);
            self.send(&waiting)?;
        }
        Ok(())
    }

    /// Writes `bytes` behind what was given before.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).doing("writing to the server"),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads a scratch full at most and hands each line to `take`, with the time of its read.
    /// Server pings are answered here.
    ///
    /// `is_ending` says that the end of the stream is behind what is there.
    pub fn on_readable(
        &mut self,
        scratch: &mut Scratch,
        is_ending: bool,
        mut take: impl FnMut(Instant, &[u8]) -> Result<(), Failure>,
    ) -> Result<Reading, Failure> {
        let Scratch { bytes, inflater } = scratch;
        let held = self.part.len();
        bytes[..held].copy_from_slice(&self.part);
        let got = loop {
            match self.stream.read(&mut bytes[held..]) {
                Ok(0) => return Err(Failure::new("the server closed a connection without a close frame")),
                Ok(got) => break got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Reading::Done),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).doing("reading from the server"),
            }
        };
        let at = Instant::now();
        let filled = held + got;
        let used = self.take_frames(&bytes[..filled], inflater, |line| take(at, line))?;
        self.part.clear();
        self.part.extend_from_slice(&bytes[used..filled]);
        // A short read has emptied the socket (epoll(7)), so that a member usually costs one call
        // for each delivery.
        match filled < bytes.len() && !is_ending {
            true => Ok(Reading::Done),
            false => Ok(Reading::Unfinished),
        }
    }

    /// Walks the whole frames in `bytes`. Returns how many bytes they used.
    fn take_frames(
        &mut self,
        bytes: &[u8],
        inflater: &mut Inflater,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        if let State::Upgrading(opening) = &mut self.state {
            let Some(head) = websocket::read_upgrade(bytes, self.compression)? else { return Ok(0) };
            used = head;
            let introduction = std::mem::take(&mut opening.introduction);
            self.state = State::Introducing { introduction, replies_left: 0 };
            self.go_on_introducing()?;
        }
        loop {
            used += self.pass_large(&bytes[used..], &mut take)?;
            let Some((frame, length)) = websocket::read_frame(&bytes[used..])? else { break };
            used += length;
            match frame {
                Frame::Message(text) => self.take_text(text, &mut take)?,
                Frame::Compressed(text) => self.take_text(inflater.expand(text)?, &mut take)?,
                Frame::Ping(payload) => {
                    let mut pong = Vec::new();
                    websocket::encode_pong(&mut pong, payload);
                    self.send(&pong)?;
                }
                Frame::Pong => {}
                Frame::Close(code, reason) => {
                    let reason = String::from_utf8_lossy(reason);
                    return Err(Failure::new(format!("the server closed a connection: {code} ({reason})")));
                }
            }
        }
        Ok(used)
    }

    /// Lets a large message pass by: it is a line when its last byte has come.
    fn pass_large(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let (mut large, header) = match self.large.take() {
            Some(large) => (large, 0),
            None => match websocket::read_lengths(bytes)? {
                Some((header, length)) if length > LARGE_BYTES && bytes.len() >= header + HEAD_BYTES => {
                    (Large { head: bytes[header..header + HEAD_BYTES].to_vec(), left: length }, header)
                }
                _ => return Ok(0),
            },
        };
        let passing = large.left.min(bytes.len() - header);
        large.left -= passing;
        match large.left {
            0 => self.take_text(&large.head, &mut take)?,
            _ => self.large = Some(large),
        }
        Ok(header + passing)
    }

    /// Splits a message into lines.
    fn take_text(&mut self, text: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        if !self.dialect.is_stream() || (self.line_part.is_empty() && text.ends_with(b"\n")) {
            return self.take_lines(text, take);
        }
        let mut whole = std::mem::take(&mut self.line_part);
        whole.extend_from_slice(text);
        let end = memchr::memrchr(b'\n', &whole).map_or(0, |last| last + 1);
        self.line_part.extend_from_slice(&whole[end..]);
        self.take_lines(&whole[..end], take)
    }

    fn take_lines(&mut self, text: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
            let line = &text[start..end];
            start = end + 1;
            if line.is_empty() {
                continue;
            }
            if let Some(answer) = self.dialect.answer_ping(line) {
                let mut pong = Vec::with_capacity(16);
                websocket::encode_text(&mut pong, answer);
                self.send(&pong)?;
                continue;
            }
            if let State::Introducing { replies_left, .. } = &mut self.state
                && self.dialect.hear(line)? == Heard::Reply
            {
                *replies_left = replies_left.saturating_sub(1);
                self.go_on_introducing()?;
            }
            take(line)?;
        }
        Ok(())
    }

    /// Says the next step when the one before is answered; ready when there is none.
    fn go_on_introducing(&mut self) -> Result<(), Failure> {
        let State::Introducing { introduction, replies_left } = &mut self.state else { return Ok(()) };
        if *replies_left > 0 {
            return Ok(());
        }
        match introduction.steps.pop_front() {
            Some(step) => {
                *replies_left = step.replies;
                self.send(&step.frames)
            }
            None => {
                self.state = State::Ready;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A link that is past its introduction. Its socket is connected to nobody who speaks.
    fn ready_link(dialect: Dialect) -> (Link, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
        let opening = Opening { head: Vec::new(), introduction: Introduction::default() };
        let mut link = Link::new(stream, dialect, Compression::Off, opening);
        link.state = State::Ready;
        (link, listener)
    }

    /// The lines that come out when `bytes` are read in pieces of `piece` bytes.
    fn lines(dialect: Dialect, bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let (mut link, _listener) = ready_link(dialect);
        let (mut inflater, mut lines, mut held) = (Inflater::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            held.extend_from_slice(piece);
            let take = |line: &[u8]| {
                lines.push(line.to_vec());
                Ok(())
            };
            let used = link.take_frames(&held, &mut inflater, take).expect("good frames");
            held.drain(..used);
        }
        assert!(held.is_empty() && link.large.is_none() && link.line_part.is_empty(), "all was taken");
        lines
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x82, 127];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        [&frame, payload].concat()
    }

    #[test]
    fn large_messages_are_one_line_when_their_last_byte_has_come() {
        let large: Vec<u8> = [b"{\"seq\":1}".as_slice(), &vec![b'x'; 3 * LARGE_BYTES]].concat();
        let bytes = [frame(b"before"), frame(&large), frame(b"after")].concat();
        for piece in [1_000, SCRATCH_BYTES, bytes.len()] {
            let lines = lines(Dialect::Centrifugo, &bytes, piece);
            assert_eq!(lines.len(), 3, "in pieces of {piece}");
            assert_eq!(lines[1], large[..HEAD_BYTES], "in pieces of {piece}");
            assert_eq!(lines[2], b"after");
        }
    }

    #[test]
    fn lines_go_on_in_the_next_message_where_messages_are_a_stream() {
        let bytes = [frame(b"MSG a 1 5\r\nhel"), frame(b"lo\r\nMSG a 1 2\r"), frame(b"\nhi\r\n")].concat();
        let texts = lines(Dialect::Nats, &bytes, 7);
        assert_eq!(texts, [&b"MSG a 1 5\r"[..], b"hello\r", b"MSG a 1 2\r", b"hi\r"]);
    }

    #[test]
    fn messages_of_several_lines_are_split() {
        assert_eq!(lines(Dialect::Centrifugo, &frame(b"{\"a\":1}\n{\"b\":2}"), 5).len(), 2);
    }
}
