//! Many sends in one system call.
//!
//! A message of a room is the same for all, but each member's socket wants a send of its own, and a
//! system call is a fifth of what a send costs (measured: docs/decisions/0005). The kernel's io_uring
//! takes a batch of them at once. Where it is not to be had (an old kernel, a container's seccomp
//! profile), each send is a system call as ever: nothing else differs.
//!
//! Invariants: every send is done before [`Ring::send`] returns, so that nothing here outlives a turn
//! and order is what it is without a ring; no send waits for a socket to have room. Must never touch
//! the shard.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use compio_buf::BufResult;
use compio_driver::op::Send;
use compio_driver::{Key, Proactor, PushEntry};
use mio::net::TcpStream;
use rustix::net::SendFlags;

use crate::limits::RING_SENDS_MAX;
use crate::model::ConnectionId;

type Operation = Send<Bytes, Rc<TcpStream>>;

/// One shard's queue of sends to the kernel.
pub(super) struct Ring {
    proactor: Proactor,
    /// Added and not yet sent.
    added: Vec<(ConnectionId, Key<Operation>)>,
}

/// How many bytes of its frame a connection's socket took.
pub(super) type Outcome = (ConnectionId, io::Result<usize>);

impl Ring {
    /// Errors: the kernel has no io_uring, or does not let this process use it.
    pub fn open() -> io::Result<Ring> {
        let mut builder = Proactor::builder();
        // Twice the batch: the driver has an entry of its own, and must not submit in the middle of one.
        builder.capacity(2 * RING_SENDS_MAX as u32);
        // Cheaper, from Linux 6.1 on: the thread that submits is the only one that completes.
        let proactor = builder.clone().single_issuer(true).defer_taskrun(true).build().or_else(|_| builder.build())?;
        Ok(Ring { proactor, added: Vec::with_capacity(RING_SENDS_MAX) })
    }

    /// Adds the send of a frame. At most [`RING_SENDS_MAX`] are added before they are sent.
    pub fn add(&mut self, id: ConnectionId, stream: &Rc<TcpStream>, frame: Bytes, outcomes: &mut Vec<Outcome>) {
        // With DONTWAIT a full socket is an answer, not something to wait for.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match self.proactor.push(Send::new(Rc::clone(stream), frame, flags)) {
            PushEntry::Pending(key) => self.added.push((id, key)),
            PushEntry::Ready(BufResult(outcome, _)) => outcomes.push((id, outcome)),
        }
    }

    /// Sends all that was added, and says what became of each.
    pub fn send(&mut self, outcomes: &mut Vec<Outcome>) {
        // What may not wait is done when it is submitted. Should the kernel ever be later, it is waited for.
        let mut patience = Duration::ZERO;
        while !self.added.is_empty() {
            let polled = self.proactor.poll(Some(patience));
            patience = Duration::from_millis(1);
            let mut added = std::mem::take(&mut self.added);
            for (id, key) in added.drain(..) {
                match self.proactor.pop(key) {
                    PushEntry::Ready(BufResult(outcome, _)) => outcomes.push((id, outcome)),
                    PushEntry::Pending(key) => self.added.push((id, key)),
                }
            }
            if self.added.is_empty() {
                // Its room is used again.
                self.added = added;
                return;
            }
            if let Err(error) = polled
                && !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut)
            {
                // What has left and what has not can't be told any more: these connections are lost.
                let broken = self.added.drain(..).map(|(id, _)| (id, Err(io::ErrorKind::BrokenPipe.into())));
                outcomes.extend(broken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{Ipv4Addr, TcpListener, TcpStream as StdStream};

    use super::*;

    fn connected() -> (Rc<TcpStream>, StdStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Rc::new(TcpStream::from_std(ours)), peer)
    }

    fn id(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 0 }
    }

    /// Adds one frame for each stream and sends them.
    fn send_all(streams: &[(Rc<TcpStream>, StdStream)], frame: &Bytes) -> Vec<Outcome> {
        let mut ring = Ring::open().expect("this machine has io_uring, and its sandbox lets it through");
        let mut outcomes = Vec::new();
        for (slot, (stream, _)) in streams.iter().enumerate() {
            ring.add(id(slot as u32), stream, frame.clone(), &mut outcomes);
        }
        ring.send(&mut outcomes);
        outcomes
    }

    #[test]
    fn a_batch_reaches_every_socket() {
        let mut streams: Vec<_> = (0..RING_SENDS_MAX).map(|_| connected()).collect();
        let mut outcomes = send_all(&streams, &Bytes::from_static(b"hello"));
        outcomes.sort_by_key(|(id, _)| id.slot);
        for (slot, (sent, outcome)) in outcomes.iter().enumerate() {
            assert_eq!((sent.slot as usize, *outcome.as_ref().unwrap()), (slot, 5));
        }
        assert_eq!(outcomes.len(), streams.len());
        for (stream, peer) in &mut streams {
            let mut read = [0; 5];
            peer.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"hello");
            assert_eq!(Rc::strong_count(stream), 1, "nothing of the ring outlives its batch");
        }
    }

    #[test]
    fn full_and_broken_sockets_are_told_apart_from_the_rest() {
        let (well, mut well_peer) = connected();
        let (full, full_peer) = connected();
        let (broken, broken_peer) = connected();
        broken.shutdown(std::net::Shutdown::Write).unwrap();
        use std::io::Write as _;
        while (&*full).write(&[0; 65_536]).is_ok() {}
        let streams = [(well, well_peer.try_clone().unwrap()), (full, full_peer), (broken, broken_peer)];
        let mut outcomes = send_all(&streams, &Bytes::from_static(b"hello"));
        outcomes.sort_by_key(|(id, _)| id.slot);
        let kinds: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.as_ref().map_err(io::Error::kind)).collect();
        assert_eq!(kinds, [Ok(&5), Err(io::ErrorKind::WouldBlock), Err(io::ErrorKind::BrokenPipe)]);
        well_peer.read_exact(&mut [0; 5]).unwrap();
    }
}
