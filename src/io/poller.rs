//! A shard's own poll set inside its tokio runtime.
//!
//! The sockets' readiness is kept by mio, without a task or a buffer for each; the runtime watches
//! only the poll set's descriptor. **Drain rule**: that descriptor's readiness is cleared only
//! after a poll that returned no event. The runtime hears of the poll set once per new event, so
//! whoever goes to sleep with events left behind is not woken for them (measured: 24 % of the bytes
//! hung).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::event::{Event, Source};
use mio::unix::SourceFd;
use mio::{Events, Interest, Token, Waker};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

pub(super) struct Poller {
    set: AsyncFd<PollSet>,
    events: Events,
    /// Whether `events` were polled and not yet taken.
    untaken: bool,
    alarm: OwnedFd,
    /// The deadline that `alarm` is set to, in monotonic time; also when it has passed.
    alarm_at: Option<Duration>,
}

/// What happened to one socket since the last poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    pub slot: usize,
    pub readable: bool,
    pub writable: bool,
    /// The peer sends no more, or the socket broke: reading comes to an end or an error.
    pub ended: bool,
}

impl Poller {
    /// A poll set that takes up to `events_max` events at a time. Called inside the runtime that
    /// is to watch it.
    pub fn new(events_max: usize) -> io::Result<Poller> {
        #[expect(deprecated, reason = "its successor is `unsafe`: the descriptor must stay open, and the set owns it")]
        let set = AsyncFd::with_interest(PollSet(mio::Poll::new()?), tokio::io::Interest::READABLE)?;
        let alarm =
            rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        set.get_ref().0.registry().register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)?;
        Ok(Poller { set, events: Events::with_capacity(events_max), untaken: false, alarm, alarm_at: None })
    }

    /// What ends a sleep from another thread. One for each poll set.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.set.get_ref().0.registry(), DOORBELL)
    }

    /// Watches a socket for as long as its descriptor is open: edge triggered, both ways, once.
    pub fn watch(&self, socket: &mut impl Source, slot: usize) -> io::Result<()> {
        self.set.get_ref().0.registry().register(socket, Token(slot), Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes up what is ready now, without waiting; keeps what nobody has taken yet.
    pub fn look(&mut self) -> io::Result<()> {
        if !self.untaken {
            self.untaken = self.set.get_mut().poll_now(&mut self.events)?;
        }
        Ok(())
    }

    /// The events that the last look or sleep took up, each once. Doorbell and alarm are not among
    /// them: they have done their work by waking.
    pub fn take_events(&mut self) -> impl Iterator<Item = Readiness> {
        let taken = std::mem::take(&mut self.untaken);
        self.events.iter().filter(move |_| taken).filter_map(socket_readiness)
    }

    /// Waits until there are events to take.
    pub fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.untaken {
            let mut readiness = ready!(self.set.poll_read_ready_mut(context))?;
            self.untaken = readiness.get_inner_mut().poll_now(&mut self.events)?;
            if !self.untaken {
                // The drain rule. An event since that poll has marked the descriptor anew, which
                // this clears only if the runtime has not seen it yet: then it still will.
                readiness.clear_ready();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a sleep at `deadline`. A timer descriptor rather than the runtime's timer, which is no
    /// better than milliseconds (its `sleep(1 ms)` takes 2.1, measured); no system call if it is
    /// set to that deadline already.
    pub fn wake_at(&mut self, deadline: Duration, now: Duration) -> io::Result<()> {
        if self.alarm_at == Some(deadline) && deadline > now {
            return Ok(());
        }
        // Zero would switch the timer off.
        let wait = deadline.saturating_sub(now).max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        rustix::time::timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once)?;
        self.alarm_at = Some(deadline);
        Ok(())
    }
}

struct PollSet(mio::Poll);

impl PollSet {
    /// Fills `events` without waiting; whether there were any.
    fn poll_now(&mut self, events: &mut Events) -> io::Result<bool> {
        loop {
            match self.0.poll(events, Some(Duration::ZERO)) {
                Ok(()) => return Ok(!events.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for PollSet {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn socket_readiness(event: &Event) -> Option<Readiness> {
    match event.token() {
        DOORBELL | ALARM => None,
        Token(slot) => Some(Readiness {
            slot,
            readable: event.is_readable(),
            writable: event.is_writable(),
            ended: event.is_read_closed() || event.is_error(),
        }),
    }
}

/// Beyond every slot: those are 32 bits wide.
const DOORBELL: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    /// `pairs` connections: the ends that the poll set watches, and the peers' ends.
    fn connected(poller: &Poller, pairs: usize) -> (Vec<mio::net::TcpStream>, Vec<TcpStream>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (0..pairs)
            .map(|slot| {
                let peer = TcpStream::connect(address).unwrap();
                let (ours, _) = listener.accept().unwrap();
                ours.set_nonblocking(true).unwrap();
                let mut ours = mio::net::TcpStream::from_std(ours);
                poller.watch(&mut ours, slot).unwrap();
                (ours, peer)
            })
            .unzip()
    }

    /// Each of 64 peers says something while only four events fit; the reader takes one batch of
    /// events, waits for the next, and must hear them all. Without the drain rule it hangs.
    #[tokio::test]
    async fn nothing_hangs_with_room_for_four_events() {
        const PAIRS: usize = 64;
        const ROUNDS: usize = 20;

        let mut poller = Poller::new(4).unwrap();
        let (mut ours, mut peers) = connected(&poller, PAIRS);
        for _ in 0..ROUNDS {
            for peer in &mut peers {
                peer.write_all(b"!").unwrap();
            }
            let mut heard = 0;
            while heard < PAIRS {
                poll_fn(|context| poller.poll_events(context)).await.unwrap();
                let batch: Vec<_> = poller.take_events().collect();
                assert!(!batch.is_empty() && batch.len() <= 4);
                for readiness in batch.into_iter().filter(|readiness| readiness.readable) {
                    heard += ours[readiness.slot].read(&mut [0; 8]).unwrap_or(0);
                }
            }
            assert_eq!(heard, PAIRS);
        }
    }

    #[tokio::test]
    async fn a_look_keeps_what_was_not_taken() {
        let mut poller = Poller::new(4).unwrap();
        let (_ours, mut peers) = connected(&poller, 1);
        peers[0].write_all(b"!").unwrap();
        poll_fn(|context| poller.poll_events(context)).await.unwrap();
        poller.look().unwrap();
        assert!(poller.take_events().any(|readiness| readiness.slot == 0));
        assert_eq!(poller.take_events().count(), 0, "each event is taken once");
    }

    #[tokio::test]
    async fn a_peer_that_leaves_is_an_end() {
        let mut poller = Poller::new(4).unwrap();
        let (_ours, peers) = connected(&poller, 1);
        drop(peers);
        loop {
            poll_fn(|context| poller.poll_events(context)).await.unwrap();
            if poller.take_events().any(|readiness| readiness.ended) {
                return;
            }
        }
    }

    #[tokio::test]
    async fn alarm_and_doorbell_end_a_sleep_again_and_again() {
        let mut poller = Poller::new(4).unwrap();
        let waker = poller.waker().unwrap();
        for round in 1..=3 {
            let start = std::time::Instant::now();
            let now = Duration::from_secs(round);
            poller.wake_at(now + Duration::from_millis(3), now).unwrap();
            poll_fn(|context| poller.poll_events(context)).await.unwrap();
            assert!(start.elapsed() >= Duration::from_millis(3), "not before its deadline");
            assert_eq!(poller.take_events().count(), 0);

            waker.wake().unwrap();
            poll_fn(|context| poller.poll_events(context)).await.unwrap();
            assert_eq!(poller.take_events().count(), 0);
        }
    }
}
