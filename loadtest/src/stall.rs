//! Disturbance: senders of large payloads, each to a few members, as fast as they are delivered.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;

use crate::beside::Disturbance;
use crate::dialect::{Dialect, Role};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::ledger::{Faults, Ledger, Receipt};
use crate::publisher::FIRST_PUBLISH_ID;
use crate::server_options::ServerOptions;
use crate::stamp::{self, Filling, StampReader};

#[derive(Args, Clone, Debug)]
pub struct StallOptions {
    #[command(flatten)]
    pub beside: crate::beside::BesideOptions,
    /// Senders, each with a room of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub senders: u32,
    /// Members of each sender's room
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Bytes of each sender's payloads
    #[arg(long, default_value_t = 1_048_576, value_parser = crate::fanout::payload_bytes)]
    pub payload: usize,
}

pub struct Stall {
    options: StallOptions,
    first_member: usize,
    rooms: Vec<Room>,
    ledger: Ledger,
    stamp: StampReader,
    ended: u64,
}

#[derive(Debug)]
struct Room {
    publisher: usize,
    published: u64,
    missing: u32,
}

impl Stall {
    pub fn new(options: &StallOptions) -> Stall {
        let members = (options.senders * options.members) as usize;
        Stall {
            options: options.clone(),
            first_member: 0,
            rooms: Vec::new(),
            ledger: Ledger::new(members),
            stamp: StampReader::default(),
            ended: 0,
        }
    }

    fn dialect(&self) -> Dialect {
        self.options.beside.server.dialect
    }
}

fn channel(room: usize) -> String {
    format!("heavy-{room}")
}

impl Disturbance for Stall {
    fn name(&self) -> &'static str {
        "senders of large payloads"
    }

    fn connections(&self) -> usize {
        (self.options.senders * (self.options.members + 1)) as usize
    }

    fn open(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let (senders, members) = (self.options.senders as usize, self.options.members as usize);
        self.first_member =
            server.open(fleet, senders * members, Role::Member, |number| channel(number / members))?.start;
        let publishers = server.open(fleet, senders, Role::Publisher, channel)?;
        self.rooms = publishers.map(|publisher| Room { publisher, published: 0, missing: 0 }).collect();
        Ok(())
    }

    fn act(&mut self, _: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let dialect = self.dialect();
        for (number, room) in self.rooms.iter_mut().enumerate().filter(|(_, room)| room.missing == 0) {
            room.published += 1;
            room.missing = self.options.members;
            let data = stamp::payload(room.published, self.options.payload, Filling::Plain);
            let mut frame = Vec::new();
            dialect.publish(&mut frame, FIRST_PUBLISH_ID + room.published, &channel(number), &data);
            fleet.send(room.publisher, &frame)?;
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, _: Instant, line: &[u8]) -> Result<(), Failure> {
        let Some(sequence) = self.stamp.read(line) else { return self.dialect().hear(line).map(drop) };
        let member = number - self.first_member;
        let room = self.rooms.get_mut(member / self.options.members as usize);
        let room = room.filter(|room| sequence <= room.published);
        let room =
            room.ok_or_else(|| Failure::new(format!("publication {sequence} on connection {number}: whose?")))?;
        if self.ledger.receive(member, sequence) == Receipt::First {
            room.missing = room.missing.saturating_sub(1);
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.rooms.iter().all(|room| room.missing == 0)
    }

    fn end(&mut self, number: usize, why: &Failure) {
        eprintln!("connection {number} ended: {why}");
        self.ended += 1;
    }

    fn close(self, _: &mut Fleet, seconds: f64) -> Result<(BTreeMap<String, f64>, Faults), Failure> {
        let published: Vec<u64> = self.rooms.iter().map(|room| room.published).collect();
        let members = self.options.members as usize;
        let bytes = published.iter().sum::<u64>() as f64 * members as f64 * self.options.payload as f64;
        let faults = self.ledger.close_each(|member| published[member / members]);
        let counts = BTreeMap::from([
            ("publications".into(), published.iter().sum::<u64>() as f64),
            ("delivered_mib_per_second".into(), bytes / seconds / 1_048_576.0),
            ("ended".into(), self.ended as f64),
        ]);
        Ok((counts, faults))
    }
}
