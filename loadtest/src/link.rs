//! One connection to the server: upgrade, introduction, then lines.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use crate::commands::{EMPTY, Introduction, Reply};
use crate::failure::{Doing, Failure};
use crate::websocket::{self, Frame};

/// One client connection.
///
/// Holds no buffer unless a frame arrived in part or the socket did not take all.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    state: State,
    /// Bytes of a frame that is not whole yet.
    part: Vec<u8>,
    unsent: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// The head goes out when the socket is connected.
    Connecting(Box<Opening>),
    /// The introduction goes out when the server has answered the head.
    Upgrading(Box<Opening>),
    Introducing {
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

impl Link {
    /// `stream` may still be connecting.
    pub fn new(stream: TcpStream, opening: Opening) -> Link {
        Link { stream, state: State::Connecting(Box::new(opening)), part: Vec::new(), unsent: Vec::new() }
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

    /// Reads all that is there into `scratch` and hands each line to `take`, with the time of its
    /// read. Server pings are answered here.
    ///
    /// `is_ending` says that the end of the stream is behind what is there.
    pub fn on_readable(
        &mut self,
        scratch: &mut [u8],
        is_ending: bool,
        mut take: impl FnMut(Instant, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let held = self.part.len();
            scratch[..held].copy_from_slice(&self.part);
            let got = match self.stream.read(&mut scratch[held..]) {
                Ok(0) => return Err(Failure::new("the server closed a connection without a close frame")),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).doing("reading from the server"),
            };
            let at = Instant::now();
            let filled = held + got;
            let used = self.take_frames(&scratch[..filled], |line| take(at, line))?;
            self.part.clear();
            if used < filled {
                self.part.extend_from_slice(&scratch[used..filled]);
            }
            if self.part.len() == scratch.len() {
                return Err(Failure::new(format!("the server sent a frame of more than {} bytes", scratch.len())));
            }
            // A short read has emptied the socket (epoll(7)), so that a member usually costs one
            // call for each delivery.
            if filled < scratch.len() && !is_ending {
                return Ok(());
            }
        }
    }

    /// Walks the whole frames in `bytes`. Returns how many bytes they used.
    fn take_frames(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        if let State::Upgrading(opening) = &mut self.state {
            let Some(head) = websocket::read_upgrade(bytes)? else { return Ok(0) };
            used = head;
            let Introduction { frames, replies } = std::mem::take(&mut opening.introduction);
            self.state = State::Introducing { replies_left: replies };
            self.send(&frames)?;
        }
        while let Some((frame, length)) = websocket::read_frame(&bytes[used..])? {
            used += length;
            match frame {
                Frame::Text(text) => self.take_text(text, &mut take)?,
                Frame::Close(code, reason) => {
                    let reason = String::from_utf8_lossy(reason);
                    return Err(Failure::new(format!("the server closed a connection: {code} ({reason})")));
                }
            }
        }
        Ok(used)
    }

    /// Splits joined replies; each is a line.
    fn take_text(&mut self, text: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
            let line = &text[start..end];
            start = end + 1;
            match line {
                [] => {}
                EMPTY => {
                    let mut pong = Vec::with_capacity(8);
                    websocket::encode_text(&mut pong, EMPTY);
                    self.send(&pong)?;
                }
                line => match &mut self.state {
                    State::Introducing { replies_left } => {
                        *replies_left -= u32::from(Reply::accept(line)?.id > 0);
                        if *replies_left == 0 {
                            self.state = State::Ready;
                        }
                    }
                    _ => take(line)?,
                },
            }
        }
        Ok(())
    }
}
