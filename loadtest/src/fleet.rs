//! All connections of a run, on one thread and one poll set.

use std::io::ErrorKind;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::alarm::Alarm;
use crate::dialect::{Dialect, Introduction};
use crate::failure::{Doing, Failure};
use crate::link::{Link, Opening, Reading};
use crate::scratch::Scratch;
use crate::target::Target;
use crate::websocket::{self, Compression};

/// Connections that are being opened at a time. Chosen: below the accept backlog of every server
/// under test (Node's is 511), so that no SYN is dropped and retried a second later.
pub const OPENING_MAX: usize = 256;

/// How long a server may take to answer any of the connections that are being opened.
pub const OPENING_PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any alarm is set for.
const ALARM_PATIENCE: Duration = Duration::from_secs(1);

/// No link has so high a number.
const ALARM: Token = Token(usize::MAX);

/// Links in the order in which they were opened; their index is their name.
pub struct Fleet {
    poll: Poll,
    alarm: Alarm,
    events: Events,
    targets: Vec<Target>,
    /// Those that links are opened to, in turn.
    open_to: Range<usize>,
    dialect: Dialect,
    compression: Compression,
    links: Vec<Slot>,
    /// Links that were not read to their end in the last turn.
    unfinished: Vec<usize>,
    /// Links from here on may end without ending the run.
    lasting: usize,
    endings: Vec<(usize, Failure)>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Slot {
    /// `None`: cut, or ended by the server.
    link: Option<Link>,
    is_paused: bool,
}

impl Fleet {
    /// `targets` has at least one.
    pub fn new(targets: Vec<Target>, dialect: Dialect, compression: Compression) -> Result<Fleet, Failure> {
        let poll = Poll::new().doing("making a poll set")?;
        Ok(Fleet {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            events: Events::with_capacity(1024),
            open_to: 0..targets.len(),
            targets,
            dialect,
            compression,
            links: Vec::new(),
            unfinished: Vec::new(),
            lasting: usize::MAX,
            endings: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Links that are opened from now on go to these targets only.
    pub fn open_to(&mut self, targets: Range<usize>) {
        assert!(!targets.is_empty() && targets.end <= self.targets.len(), "there are targets to open links to");
        self.open_to = targets;
    }

    /// Link `number` goes there when it is opened.
    pub fn target_of(&self, number: usize) -> usize {
        self.open_to.start + number % self.open_to.len()
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Opens `count` more links and waits until each has all its replies.
    ///
    /// Returns how long that took. `introduce` is given the number of the link.
    pub fn open(
        &mut self,
        count: usize,
        at_a_time: usize,
        mut introduce: impl FnMut(usize) -> Result<Introduction, Failure>,
    ) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let mut progress = begin;
        let end = self.links.len() + count;
        let mut opening: Vec<usize> = Vec::new();
        let dialect = self.dialect;
        loop {
            while opening.len() < at_a_time && self.links.len() < end {
                let number = self.links.len();
                opening.push(number);
                self.begin(number, introduce(number)?)?;
            }
            if opening.is_empty() {
                return Ok(begin.elapsed());
            }
            self.turn(Duration::from_millis(100), |_, _, line| dialect.hear(line).map(drop))?;
            let waiting = opening.len();
            opening.retain(|number| !self.is_ready(*number));
            if opening.len() < waiting {
                progress = Instant::now();
            } else if progress.elapsed() > OPENING_PATIENCE {
                let (done, target) = (self.links.len() - waiting, self.targets[self.target_of(opening[0])].address);
                let what = format!("{target} stopped answering: {done} connections are open, {waiting} wait");
                return Err(Failure::new(what));
            }
        }
    }

    /// Begins to open link `number`: the next new one, or one that was cut or has ended.
    pub fn begin(&mut self, number: usize, introduction: Introduction) -> Result<(), Failure> {
        let target = &self.targets[self.target_of(number)];
        let stream = target.connect(number)?;
        let path = introduction.path.as_deref().unwrap_or(&target.path);
        let head = websocket::upgrade_request(target.address, path, self.compression);
        let mut link = Link::new(stream, self.dialect, self.compression, Opening { head, introduction });
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(link.stream_mut(), Token(number), interests).doing("polling a socket")?;
        if number == self.links.len() {
            self.links.push(Slot::default());
        }
        self.links[number] = Slot { link: Some(link), is_paused: false };
        Ok(())
    }

    /// Whether link `number` is open and introduced.
    pub fn is_ready(&self, number: usize) -> bool {
        self.links[number].link.as_ref().is_some_and(Link::is_ready)
    }

    /// Ends link `number` with a reset, without a word.
    pub fn cut(&mut self, number: usize) {
        self.links[number].link = None;
    }

    /// Does not read link `number` any more; it stays open.
    pub fn pause(&mut self, number: usize) {
        self.links[number].is_paused = true;
    }

    /// Reads link `number` again.
    pub fn resume(&mut self, number: usize) {
        self.links[number].is_paused = false;
        self.unfinished.push(number);
    }

    /// From now on links from the next new one on may end without ending the run.
    pub fn forgive_from_here(&mut self) {
        self.lasting = self.links.len();
    }

    /// The links that ended since the last call, and why.
    pub fn take_endings(&mut self) -> Vec<(usize, Failure)> {
        std::mem::take(&mut self.endings)
    }

    /// As [`Fleet::turn`], waiting until `moment` at most.
    pub fn turn_until(
        &mut self,
        moment: Instant,
        take: impl FnMut(usize, Instant, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.alarm.set(moment)?;
        self.turn(ALARM_PATIENCE, take)
    }

    /// Waits at most `wait` for something to happen and handles all of it: `take` gets the lines,
    /// with the number of their link and the time of their read.
    pub fn turn(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(usize, Instant, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let wait = if self.unfinished.is_empty() { wait } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.doing("polling")?,
        }
        let Fleet { events, links, unfinished, lasting, endings, scratch, .. } = self;
        let mut visit = |number: usize, is_writable: bool, is_readable: bool, is_ending: bool| {
            let Slot { link: Some(link), is_paused } = &mut links[number] else { return Ok(None) };
            let mut work = || {
                if is_writable {
                    link.on_writable()?;
                }
                if is_readable && !*is_paused {
                    return link.on_readable(scratch, is_ending, |at, line| take(number, at, line));
                }
                Ok(Reading::Done)
            };
            match work() {
                Ok(Reading::Done) => Ok(None),
                Ok(Reading::Unfinished) => Ok(Some(number)),
                Err(failure) if number >= *lasting => {
                    links[number].link = None;
                    endings.push((number, failure));
                    Ok(None)
                }
                Err(failure) => Err(failure),
            }
        };
        let mut again = Vec::new();
        for number in std::mem::take(unfinished) {
            again.extend(visit(number, false, true, true)?);
        }
        for event in &*events {
            let Token(number) = event.token();
            if event.token() == ALARM {
                continue;
            }
            again.extend(visit(number, event.is_writable(), event.is_readable(), event.is_read_closed())?);
        }
        again.sort_unstable();
        again.dedup();
        *unfinished = again;
        Ok(())
    }

    /// Sends to link `number`; what is for one that has gone is dropped.
    pub fn send(&mut self, number: usize, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.links[number].link {
            Some(link) => link.send(bytes),
            None => Ok(()),
        }
    }
}
