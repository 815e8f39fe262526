//! One connection's byte stream after the upgrade.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::rc::Rc;

use bytes::Bytes;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::limits;

use super::tls::{Buffers, TlsSocket};

/// A non-blocking stream in the shard's poll set. Holds no buffer: it reads into the shard's
/// scratch and writes frames from where they lie, or seals them in buffers that all share.
pub(super) enum Socket {
    /// Shared with the ring while that sends.
    Plain(Rc<mio::net::TcpStream>),
    // Boxed: its keys would take the room of ten plain ones.
    Tls(Box<TlsSocket>),
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// 0: the peer's end.
    pub bytes: usize,
    /// Whatever comes later is a new event.
    pub is_drained: bool,
}

impl Read {
    pub const END: Read = Read { bytes: 0, is_drained: true };
}

impl Socket {
    /// A socket without TLS.
    pub fn plain(stream: mio::net::TcpStream) -> Socket {
        Socket::Plain(Rc::new(stream))
    }

    /// The stream of a socket that frames go out of as they are.
    pub fn as_plain(&self) -> Option<&Rc<mio::net::TcpStream>> {
        match self {
            Socket::Plain(stream) => Some(stream),
            Socket::Tls(_) => None,
        }
    }

    /// Reads what is there, at most `scratch`.
    pub fn read(&mut self, scratch: &mut [u8], buffers: &mut Buffers) -> io::Result<Read> {
        match self {
            Socket::Plain(stream) => {
                let bytes = (&**stream).read(scratch)?;
                Ok(Read { bytes, is_drained: bytes < scratch.len() })
            }
            Socket::Tls(socket) => socket.read(scratch, buffers),
        }
    }

    /// Writes frames from the first on, many in one system call. Returns how many of their bytes are
    /// out of the caller's hands, 0 only if there is no frame.
    pub fn write<'a>(
        &mut self,
        mut frames: impl Iterator<Item = &'a Bytes>,
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        let mut stream = match self {
            Socket::Plain(stream) => &**stream,
            Socket::Tls(socket) => return socket.write(frames, buffers),
        };
        let Some(first) = frames.next() else { return Ok(0) };
        if let Some(piece) = first.get(..limits::WRITE_BYTES_MAX) {
            return some(stream.write(piece)?);
        }
        // A plain write for the usual single frame: it costs less than a vectored one.
        let Some(second) = frames.next() else { return some(stream.write(first)?) };
        let mut slices = [IoSlice::new(&[]); limits::WRITE_FRAMES_MAX];
        slices[0] = IoSlice::new(first);
        slices[1] = IoSlice::new(second);
        let (mut gathered, mut bytes) = (2, first.len() + second.len());
        if bytes > limits::WRITE_BYTES_MAX {
            return some(stream.write(first)?);
        }
        for (slice, frame) in slices[2..].iter_mut().zip(frames) {
            if bytes + frame.len() > limits::WRITE_BYTES_MAX {
                break;
            }
            *slice = IoSlice::new(frame);
            gathered += 1;
            bytes += frame.len();
        }
        some(stream.write_vectored(&slices[..gathered])?)
    }

    /// Closes the stream, with what TLS says at its end.
    pub fn end(self) {
        if let Socket::Tls(mut socket) = self {
            socket.end();
        }
    }

    /// Lets the close throw away what the kernel still holds for a peer that does not read:
    /// otherwise it would keep those bytes for minutes.
    pub fn reset_on_close(&self) {
        // A socket that refuses is already broken, and then nothing is held either.
        let _ = SockRef::from(self.stream()).set_linger(Some(std::time::Duration::ZERO));
    }

    fn stream(&self) -> &mio::net::TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(socket) => &socket.stream,
        }
    }

    fn stream_mut(&mut self) -> &mut mio::net::TcpStream {
        match self {
            Socket::Plain(stream) => Rc::get_mut(stream).expect("the ring keeps no stream beyond its batch"),
            Socket::Tls(socket) => &mut socket.stream,
        }
    }
}

/// A write that takes none of some bytes breaks `Write`'s word; without this it would spin.
fn some(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.stream_mut().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.stream_mut().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream_mut().deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Socket::plain(mio::net::TcpStream::from_std(ours)), peer)
    }

    fn check_written(frames: usize) {
        let (mut socket, mut peer) = connected();
        let frames: Vec<Bytes> = (0..frames).map(|number| format!("frame {number};").into()).collect();
        let mut written = 0;
        let all = frames.concat();
        for batch in frames.chunks(limits::WRITE_FRAMES_MAX) {
            assert_eq!(
                socket.write(frames[written..].iter(), &mut Buffers::default()).unwrap(),
                batch.concat().len(),
                "one call a batch"
            );
            written += batch.len();
        }
        let mut read = vec![0; all.len()];
        peer.read_exact(&mut read).unwrap();
        assert_eq!(read, all);
    }

    #[test]
    fn frames_leave_in_order_whatever_their_number() {
        check_written(1);
        check_written(2);
        check_written(limits::WRITE_FRAMES_MAX);
        check_written(limits::WRITE_FRAMES_MAX + 1);
    }

    #[test]
    fn one_write_takes_a_bounded_part_of_what_waits() {
        const MAX: usize = limits::WRITE_BYTES_MAX;
        for sizes in
            [&[4 * MAX][..], &[MAX, MAX], &[MAX / 4; 12], &[MAX / 2, MAX / 2, 10], &[10, 4 * MAX], &[10, 10, MAX]]
        {
            let (mut socket, _peer) = connected();
            let frames: Vec<Bytes> = sizes.iter().map(|size| vec![0; *size].into()).collect();
            let written = socket.write(frames.iter(), &mut Buffers::default()).unwrap();
            assert!((1..=MAX).contains(&written), "{written} of {sizes:?}");
        }
    }

    #[test]
    fn nothing_to_write_is_not_an_error() {
        let (mut socket, _peer) = connected();
        assert_eq!(socket.write([].iter(), &mut Buffers::default()).unwrap(), 0);
    }

    #[test]
    fn a_full_socket_would_block() {
        let (mut socket, _peer) = connected();
        let frame = Bytes::from(vec![0; 1024 * 1024]);
        let error = (0..1000)
            .find_map(|_| socket.write([&frame].into_iter(), &mut Buffers::default()).err())
            .expect("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn reset_on_close_throws_away_what_waits() {
        let (mut socket, mut peer) = connected();
        socket.write([&Bytes::from_static(b"hello")].into_iter(), &mut Buffers::default()).unwrap();
        socket.reset_on_close();
        drop(socket);
        let error = peer.read_to_end(&mut Vec::new()).expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
