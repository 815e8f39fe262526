//! A TLS connection inside a runtime: before its upgrade, or at the internal port.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Session;
use crate::limits;

/// Plaintext to its owner, records to the network.
pub struct Stream {
    tcp: TcpStream,
    session: Session,
    /// Plaintext that nobody has read yet.
    plain: Vec<u8>,
    is_ended: bool,
}

/// A connection as it leaves the runtime.
pub struct Parts {
    pub tcp: TcpStream,
    pub session: Session,
    /// Plaintext that nobody has read.
    pub plain: Vec<u8>,
}

impl Stream {
    pub fn new(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Stream> {
        let session = Session::new(config).map_err(io::Error::other)?;
        Ok(Stream { tcp, session, plain: Vec::new(), is_ended: false })
    }

    pub fn into_parts(self) -> Parts {
        Parts { tcp: self.tcp, session: self.session, plain: self.plain }
    }

    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Waits until there is something to [`Stream::step`] on.
    pub async fn readable(&self) -> io::Result<()> {
        self.tcp.readable().await
    }

    /// Reads once and computes what follows from it. Errors: the peer is gone or broke the rules;
    /// it is told which, if the socket takes it.
    pub fn step(&mut self) -> io::Result<()> {
        if self.session.is_closed_by_peer() {
            self.is_ended = true;
            return Ok(());
        }
        let mut incoming = [0; READ_BYTES];
        let came = match self.tcp.try_read(&mut incoming) {
            Ok(0) if self.session.is_handshaking() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => {
                self.is_ended = true;
                return Ok(());
            }
            Ok(came) => &incoming[..came],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.session.is_handshaking() && self.session.partial.is_empty() && came[0].is_ascii_uppercase() {
            // No record begins with a letter, and every method of HTTP does.
            let _ = self.tcp.try_write(SPEAK_TLS);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP at a TLS port"));
        }
        let mut whole = std::mem::take(&mut self.session.partial);
        whole.extend_from_slice(came);
        let received = self.session.receive(&mut whole, |piece| self.plain.extend_from_slice(piece));
        let flushed = self.try_flush();
        received.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match flushed {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until what was sealed is written.
    pub async fn flushed(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_flush_records(context)).await
    }

    fn try_flush(&mut self) -> io::Result<()> {
        let waiting = &mut self.session.waiting;
        while !waiting.is_empty() {
            match self.tcp.try_write(waiting)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent if sent == waiting.len() => *waiting = Vec::new(),
                sent => drop(waiting.drain(..sent)),
            }
        }
        Ok(())
    }

    fn poll_flush_records(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.try_flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(context))?,
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.plain.is_empty() && !self.is_ended {
            if !self.session.is_closed_by_peer() {
                ready!(self.tcp.poll_read_ready(context))?;
            }
            self.step()?;
        }
        let taken = self.plain.len().min(out.remaining());
        out.put_slice(&self.plain[..taken]);
        match taken == self.plain.len() {
            true => self.plain = Vec::new(),
            false => drop(self.plain.drain(..taken)),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, plain: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush_records(context))?;
        let plain = &plain[..plain.len().min(limits::TLS_SEAL_BYTES_MAX)];
        let mut sealed = Vec::new();
        self.session.seal(plain, &mut sealed).map_err(io::Error::other)?;
        self.session.waiting = sealed;
        match self.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(plain.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_records(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush_records(context))?;
        let mut alert = Vec::new();
        // A session that can't seal any more has said its last.
        if self.session.seal_end(&mut alert).is_ok() {
            self.session.waiting = alert;
            ready!(self.poll_flush_records(context))?;
        }
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// The handshake of a connection whose CPU time nobody rations: at the internal port.
///
/// Errors: it failed, or took longer than a head may.
pub async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Stream> {
    let shake = async {
        let mut stream = Stream::new(tcp, config)?;
        while stream.is_handshaking() {
            stream.readable().await?;
            stream.step()?;
            stream.flushed().await?;
        }
        Ok(stream)
    };
    tokio::time::timeout(limits::HEAD_TIMEOUT, shake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Read at a time. With what was left over from the read before it bounds `plain`: see the assertions
/// in `limits.rs`.
const READ_BYTES: usize = limits::TLS_READ_BYTES;

const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 45\r\nconnection: close\r\n\r\nthis port speaks TLS: use https:// or wss://\n";
