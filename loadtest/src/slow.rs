//! Disturbance: members that stop reading, in a room whose other members go on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;

use crate::beside::Disturbance;
use crate::dialect::Role;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::ledger::{Faults, Ledger, Receipt};
use crate::publisher::FIRST_PUBLISH_ID;
use crate::server_options::ServerOptions;
use crate::stamp::{self, Filling, StampReader};

#[derive(Args, Clone, Debug)]
pub struct SlowOptions {
    #[command(flatten)]
    pub beside: crate::beside::BesideOptions,
    /// Members that read nothing while they are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub sleepers: u32,
    /// Members of the same room that read
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub readers: u32,
    /// Publications a second in their room
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// Bytes of each publication's data there
    #[arg(long, default_value_t = 16_384, value_parser = crate::fanout::payload_bytes)]
    pub payload: usize,
    /// Their room: its namespace decides what the hub does with slow members
    #[arg(long, default_value = "slow")]
    pub channel: String,
}

pub struct Slow {
    options: SlowOptions,
    readers: Range<usize>,
    sleepers: Range<usize>,
    publisher: usize,
    published: u64,
    next_due: Option<Instant>,
    ledger: Ledger,
    read_by_readers: u64,
    stamp: StampReader,
    /// Publications that the sleepers found when they woke.
    found: u64,
    sleepers_ended: u64,
    others_ended: u64,
}

/// How long the sleepers have for what waits for them once they wake.
const WAKE_TIME: Duration = Duration::from_secs(2);

impl Slow {
    pub fn new(options: &SlowOptions) -> Slow {
        Slow {
            options: options.clone(),
            readers: 0..0,
            sleepers: 0..0,
            publisher: 0,
            published: 0,
            next_due: None,
            ledger: Ledger::new(options.readers as usize),
            read_by_readers: 0,
            stamp: StampReader::default(),
            found: 0,
            sleepers_ended: 0,
            others_ended: 0,
        }
    }
}

impl Disturbance for Slow {
    fn name(&self) -> &'static str {
        "members that do not read"
    }

    fn connections(&self) -> usize {
        (self.options.sleepers + self.options.readers + 1) as usize
    }

    fn open(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let channel = |_| self.options.channel.clone();
        self.readers = server.open(fleet, self.options.readers as usize, Role::Member, channel)?;
        self.sleepers = server.open(fleet, self.options.sleepers as usize, Role::Member, channel)?;
        self.publisher = server.open(fleet, 1, Role::Publisher, channel)?.start;
        self.sleepers.clone().for_each(|number| fleet.pause(number));
        Ok(())
    }

    fn act(&mut self, _: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let now = Instant::now();
        let mut due = *self.next_due.get_or_insert(now);
        while due <= now {
            self.published += 1;
            let data = stamp::payload(self.published, self.options.payload, Filling::Plain);
            let mut frame = Vec::new();
            fleet.dialect().publish(&mut frame, FIRST_PUBLISH_ID + self.published, &self.options.channel, &data);
            fleet.send(self.publisher, &frame)?;
            due += Duration::from_secs_f64(1.0 / self.options.rate);
        }
        self.next_due = Some(due);
        Ok(())
    }

    fn receive(&mut self, number: usize, _: Instant, line: &[u8]) -> Result<(), Failure> {
        // Sleepers may be told that they missed something: that is no failure here.
        let Some(sequence) = self.stamp.read(line) else { return Ok(()) };
        if self.sleepers.contains(&number) {
            self.found += 1;
        } else if self.readers.contains(&number) && sequence <= self.published {
            let receipt = self.ledger.receive(number - self.readers.start, sequence);
            self.read_by_readers += u64::from(receipt != Receipt::Again);
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.read_by_readers == self.published * u64::from(self.options.readers)
    }

    fn end(&mut self, number: usize, _: &Failure) {
        match self.sleepers.contains(&number) {
            true => self.sleepers_ended += 1,
            false => self.others_ended += 1,
        }
    }

    fn close(mut self, fleet: &mut Fleet, _: f64) -> Result<(BTreeMap<String, f64>, Faults), Failure> {
        self.sleepers.clone().for_each(|number| fleet.resume(number));
        let end = Instant::now() + WAKE_TIME;
        while Instant::now() < end {
            let sleepers = self.sleepers.clone();
            fleet.turn(Duration::from_millis(10), |number, at, line| match sleepers.contains(&number) {
                true => self.receive(number, at, line),
                false => Ok(()),
            })?;
            for (number, why) in fleet.take_endings() {
                self.end(number, &why);
            }
        }
        let each = f64::from(self.options.sleepers);
        let counts = BTreeMap::from([
            ("publications".into(), self.published as f64),
            ("found_by_each_sleeper".into(), self.found as f64 / each),
            ("sleepers_ended".into(), self.sleepers_ended as f64),
            ("others_ended".into(), self.others_ended as f64),
        ]);
        Ok((counts, self.ledger.close(self.published)))
    }
}
