//! All connections of a run, on one thread and one poll set.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::commands::{Introduction, Reply};
use crate::failure::{Doing, Failure};
use crate::link::{Link, Opening};
use crate::target::Target;
use crate::websocket;

/// Connections that are being opened at a time. Chosen: below the accept backlog of every server
/// under test (Node's is 511), so that no SYN is dropped and retried a second later.
const OPENING_MAX: usize = 256;

/// How long a server may take to answer any of the connections that are being opened.
const OPENING_PATIENCE: Duration = Duration::from_secs(10);

/// All connections read into this one. Sixteen joined frames of 16 KiB fit.
const SCRATCH_BYTES: usize = 512 * 1024;

/// Links in the order in which they were opened; their index is their name.
pub struct Fleet {
    poll: Poll,
    events: Events,
    target: Target,
    head: Vec<u8>,
    links: Vec<Link>,
    scratch: Box<[u8]>,
}

impl Fleet {
    pub fn new(target: Target) -> Result<Fleet, Failure> {
        Ok(Fleet {
            poll: Poll::new().doing("making a poll set")?,
            events: Events::with_capacity(1024),
            head: websocket::upgrade_request(target.address, &target.path),
            target,
            links: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
        })
    }

    /// Opens `count` more links and waits until each has all its replies.
    ///
    /// Returns how long that took. `introduce` is given the number of the link.
    pub fn open(
        &mut self,
        count: usize,
        mut introduce: impl FnMut(usize) -> Result<Introduction, Failure>,
    ) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let mut progress = begin;
        let end = self.links.len() + count;
        let mut opening: Vec<usize> = Vec::new();
        loop {
            while opening.len() < OPENING_MAX && self.links.len() < end {
                let number = self.links.len();
                opening.push(number);
                let stream = self.target.connect(number)?;
                let mut link = Link::new(stream, Opening { head: self.head.clone(), introduction: introduce(number)? });
                let interests = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(link.stream_mut(), Token(number), interests).doing("polling a socket")?;
                self.links.push(link);
            }
            if opening.is_empty() {
                return Ok(begin.elapsed());
            }
            self.turn(Duration::from_millis(100), |_, _, line| Reply::accept(line).map(drop))?;
            let waiting = opening.len();
            opening.retain(|number| !self.links[*number].is_ready());
            if opening.len() < waiting {
                progress = Instant::now();
            } else if progress.elapsed() > OPENING_PATIENCE {
                let (done, target) = (self.links.len() - waiting, self.target.address);
                let what = format!("{target} stopped answering: {done} connections are open, {waiting} wait");
                return Err(Failure::new(what));
            }
        }
    }

    /// Waits at most `wait` for something to happen and handles all of it: `take` gets the lines,
    /// with the number of their link and the time of their read.
    ///
    /// Returns whether anything happened.
    pub fn turn(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(usize, Instant, &[u8]) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            polled => polled.doing("polling")?,
        }
        for event in &self.events {
            let Token(number) = event.token();
            let link = &mut self.links[number];
            if event.is_writable() {
                link.on_writable()?;
            }
            if event.is_readable() {
                link.on_readable(&mut self.scratch, event.is_read_closed(), |at, line| take(number, at, line))?;
            }
        }
        Ok(!self.events.is_empty())
    }

    pub fn send(&mut self, link: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.links[link].send(bytes)
    }
}
