//! Wakes the poll set at a moment, to the microsecond: its own time-outs are whole milliseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::failure::{Doing, Failure};

/// One timer of the kernel.
pub struct Alarm(OwnedFd);

impl Alarm {
    /// `token` is what the poll set says when the time has come.
    pub fn new(registry: &Registry, token: Token) -> Result<Alarm, Failure> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, flags).map_err(io::Error::from).doing("making a timer")?;
        let source = timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&source), token, Interest::READABLE).doing("polling a timer")?;
        Ok(Alarm(timer))
    }

    /// Rings at `moment`, or at once when that has passed. What was set before is forgotten.
    pub fn set(&self, moment: Instant) -> Result<(), Failure> {
        const NEVER_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = moment.saturating_duration_since(Instant::now());
        // Zero would switch the timer off.
        let nanoseconds = i64::from(wait.subsec_nanos().max(1));
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: nanoseconds };
        let spec = Itimerspec { it_interval: NEVER_AGAIN, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)
            .map_err(io::Error::from)
            .doing("setting a timer")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn it_rings_each_time_and_never_early() {
        let mut poll = Poll::new().expect("a poll set");
        let mut events = Events::with_capacity(4);
        let alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        for wait in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(3)] {
            let moment = Instant::now() + wait;
            alarm.set(moment).expect("set");
            poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polled");
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
            assert!(Instant::now() >= moment, "early");
        }
    }
}
