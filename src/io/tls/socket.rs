//! A TLS connection in the shard's poll set.

use std::io::{self, Read as _, Write as _};

use bytes::Bytes;

use crate::limits;

use super::Session;
use crate::io::socket::Read;

/// A stream and its session. Holds bytes only while a record is cut, by the peer or by the kernel.
pub struct TlsSocket {
    pub stream: mio::net::TcpStream,
    session: Session,
    /// The last byte of what `waiting` seals is not reported as written yet.
    ///
    /// The outbox keeps a frame that is written in part, whatever else it drops, and the connection
    /// is not finished before its last frame. So the byte stands for the records behind it.
    owes_a_byte: bool,
}

/// Buffers that all TLS connections of a shard share; empty until the first.
#[derive(Default)]
pub struct Buffers {
    incoming: Vec<u8>,
    joined: Vec<u8>,
    outgoing: Vec<u8>,
}

impl TlsSocket {
    pub fn new(stream: mio::net::TcpStream, session: Session) -> TlsSocket {
        TlsSocket { stream, session, owes_a_byte: false }
    }

    /// Reads what is there, decrypted to the front of `plain`, which is `READ_SCRATCH_BYTES` long.
    pub fn read(&mut self, plain: &mut [u8], buffers: &mut Buffers) -> io::Result<Read> {
        // As long as the plaintext: whatever comes out of it has room there.
        let incoming = &mut buffers.incoming;
        incoming.resize(plain.len(), 0);
        loop {
            if self.session.is_closed_by_peer() {
                return Ok(Read::END);
            }
            let held = self.session.partial.len();
            incoming[..held].copy_from_slice(&self.session.partial);
            let came = self.stream.read(&mut incoming[held..])?;
            if came == 0 {
                return Ok(Read::END);
            }
            let is_drained = held + came < incoming.len();
            let mut bytes = 0;
            let received = self.session.receive(&mut incoming[..held + came], |piece| {
                plain[bytes..bytes + piece.len()].copy_from_slice(piece);
                bytes += piece.len();
            });
            let flushed = self.flush();
            received.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            match flushed {
                // A peer that only asks for answers, and reads none.
                Err(_) if self.session.waiting.len() > limits::TLS_WAITING_BYTES_MAX => {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                _ => {}
            }
            if bytes > 0 {
                let is_drained = is_drained && !self.session.is_closed_by_peer();
                return Ok(Read { bytes, is_drained });
            }
            if is_drained && !self.session.is_closed_by_peer() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Seals frames from the first on, a record's worth, and writes them. Returns how many bytes of
    /// the frames may be forgotten, 0 only if there is no frame. Nothing is sealed while records
    /// wait for the socket.
    pub fn write<'a>(&mut self, frames: impl Iterator<Item = &'a Bytes>, buffers: &mut Buffers) -> io::Result<usize> {
        self.flush()?;
        if std::mem::take(&mut self.owes_a_byte) {
            return Ok(1);
        }
        let plain = gather(frames, &mut buffers.joined);
        if plain.is_empty() {
            return Ok(0);
        }
        let outgoing = &mut buffers.outgoing;
        outgoing.clear();
        self.session.seal(plain, outgoing).map_err(io::Error::other)?;
        let sent = match self.stream.write(outgoing) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        if sent == outgoing.len() {
            return Ok(plain.len());
        }
        self.session.waiting.extend_from_slice(&outgoing[sent..]);
        self.owes_a_byte = true;
        match plain.len() - 1 {
            // Nothing to report, so that the caller comes back and finds the socket full.
            0 => Err(io::ErrorKind::Interrupted.into()),
            reported => Ok(reported),
        }
    }

    /// Tells the peer that nothing more comes, if the socket takes it now.
    pub fn end(&mut self) {
        let mut alert = Vec::new();
        if self.flush().is_ok() && self.session.seal_end(&mut alert).is_ok() {
            // Best effort: the connection is over either way.
            let _ = self.stream.write(&alert);
        }
    }

    /// Writes the records that wait.
    fn flush(&mut self) -> io::Result<()> {
        let waiting = &mut self.session.waiting;
        while !waiting.is_empty() {
            match self.stream.write(waiting)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent if sent == waiting.len() => *waiting = Vec::new(),
                sent => drop(waiting.drain(..sent)),
            }
        }
        Ok(())
    }
}

/// The next frames in one piece, a record's worth at most; copied to `joined` if they are several.
fn gather<'a, 'f: 'a>(mut frames: impl Iterator<Item = &'f Bytes>, joined: &'a mut Vec<u8>) -> &'a [u8] {
    const MAX: usize = limits::TLS_SEAL_BYTES_MAX;
    let Some(first) = frames.next() else { return &[] };
    let Some(second) = frames.next().filter(|_| first.len() < MAX) else { return &first[..first.len().min(MAX)] };
    joined.clear();
    joined.extend_from_slice(first);
    for frame in std::iter::once(second).chain(frames) {
        let room = (MAX - joined.len()).min(frame.len());
        // Of a cut frame more than its first byte must be in: the byte that is owed is then never
        // one of a frame that the outbox takes for untouched.
        if room < frame.len() && room < 2 {
            break;
        }
        joined.extend_from_slice(&frame[..room]);
    }
    joined
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
