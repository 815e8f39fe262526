//! Accepting: always, also when there is no descriptor left for the newcomer.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};

use crate::limits;
use crate::telemetry::{Counter, ShardMetrics};

use super::door::Door;

/// Accepts until it is dropped; the connections go on in the door's tasks.
///
/// Connections that are not accepted wait in the listener's backlog, and there nobody else of the
/// node can serve them. So when descriptors have run out (EMFILE, ENFILE) a spare one is given up
/// for a moment: each waiting connection is accepted, told 503 and closed.
pub(super) async fn accept(listener: TcpListener, door: Rc<Door>) -> Infallible {
    let mut spare = Spare::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                door.let_pass().await;
                if let Err(stream) = door.admit(stream) {
                    door.metrics.add(Counter::RefusedForDoor, 1);
                    turn_away(stream);
                }
            }
            Err(error) if is_exhaustion(&error) => {
                spare.shed(&listener, &door.metrics).await;
                // Without this pause the loop would spin: the listener stays readable.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
            // That one newcomer's trouble, e.g. it was gone before it was accepted.
            Err(_) => {}
        }
    }
}

/// A descriptor kept open to have one when there is none.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Spare {
        Spare(File::open("/dev/null").ok())
    }

    async fn shed(&mut self, listener: &TcpListener, metrics: &ShardMetrics) {
        for _ in 0..limits::SHED_CONNECTIONS_MAX {
            self.0 = None;
            match poll_fn(|context| Poll::Ready(listener.poll_accept(context))).await {
                Poll::Ready(Ok((stream, _))) => {
                    metrics.add(Counter::RefusedForDescriptors, 1);
                    turn_away(stream);
                }
                // Nobody waits any more, or another thread was faster to take the descriptor.
                _ => break,
            }
        }
        *self = Spare::new();
    }
}

/// The process (EMFILE) or the machine (ENFILE) has no descriptor, or the kernel no memory.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

/// Tells the newcomer to come back later. Best effort: it is not waited for.
fn turn_away(stream: TcpStream) {
    const BUSY: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(BUSY);
        let _ = stream.shutdown(Shutdown::Write);
        // Unread bytes would turn the close into a reset, which takes the answer with it.
        let _ = stream.read(&mut [0; 4096]);
    }
}

/// Nobody comes back from accepting.
type Infallible = std::convert::Infallible;
