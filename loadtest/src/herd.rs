//! Disturbance: all members of a room are cut at once and come back, and ask for what they missed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use clap::Args;
use memchr::memmem;

use crate::beside::{CONNECTIONS, Disturbance};
use crate::dialect::{Dialect, Position, Role};
use crate::failure::Failure;
use crate::fleet::{Fleet, OPENING_MAX};
use crate::ledger::{Faults, Ledger, Receipt};
use crate::publisher::FIRST_PUBLISH_ID;
use crate::server_options::ServerOptions;
use crate::stamp::{self, Filling};
use crate::tokens::Tokens;

#[derive(Args, Clone, Debug)]
pub struct HerdOptions {
    #[command(flatten)]
    pub beside: crate::beside::BesideOptions,
    /// Connections that are cut and come back
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Publications that they miss
    #[arg(long, default_value_t = 10)]
    pub missed: u64,
    /// Their room: the hub keeps history in the namespace `recover`
    #[arg(long, default_value = "recover:herd")]
    pub channel: String,
}

/// Published before the cut, so that there is a position to go on from.
const PUBLISHED_BEFORE: u64 = 3;

/// Sockets that are cut, and connections that are begun, in one turn: the generator has to keep the
/// quiet room's time.
const CUT_IN_TURN: usize = 100;
const BEGUN_IN_TURN: usize = 16;

pub struct Herd {
    options: HerdOptions,
    dialect: Dialect,
    tokens: Option<Tokens>,
    members: Range<usize>,
    publisher: usize,
    published: u64,
    /// Told by a server that can recover.
    epoch: Option<String>,
    ledger: Ledger,
    received: u64,
    stage: Stage,
    cut_at: Option<Instant>,
    all_cut_after: f64,
    all_back_after: f64,
    all_told_after: f64,
    failed: u64,
}

#[derive(Debug)]
enum Stage {
    Quiet,
    Cutting {
        next: usize,
    },
    Returning {
        next: usize,
        opening: Vec<usize>,
    },
    /// One more publication is on its way to all.
    Telling,
    Done,
}

impl Herd {
    pub fn new(options: &HerdOptions) -> Result<Herd, Failure> {
        Ok(Herd {
            options: options.clone(),
            dialect: options.beside.server.dialect,
            tokens: options.beside.server.tokens()?,
            members: 0..0,
            publisher: 0,
            published: 0,
            epoch: None,
            ledger: Ledger::new(options.connections as usize),
            received: 0,
            stage: Stage::Quiet,
            cut_at: None,
            all_cut_after: 0.0,
            all_back_after: 0.0,
            all_told_after: 0.0,
            failed: 0,
        })
    }

    fn publish(&mut self, fleet: &mut Fleet, count: u64) -> Result<(), Failure> {
        let mut frames = Vec::new();
        for _ in 0..count {
            self.published += 1;
            let data = stamp::payload(self.published, 128, Filling::Plain);
            self.dialect.publish(&mut frames, FIRST_PUBLISH_ID + self.published, &self.options.channel, &data);
        }
        fleet.send(self.publisher, &frames)
    }

    fn begin(&mut self, fleet: &mut Fleet, number: usize) -> Result<(), Failure> {
        let token = self.tokens.as_ref().map(|tokens| tokens.sign(number)).transpose()?;
        // Offsets count publications, and ours are the only ones: the offset is the sequence number.
        let from = Position { epoch: self.epoch.clone().unwrap_or_default(), offset: PUBLISHED_BEFORE };
        let introduction = match self.epoch {
            Some(_) => self.dialect.introduce_again(token.as_deref(), &self.options.channel, &from),
            None => self.dialect.introduce(Role::Member, token.as_deref(), &self.options.channel),
        };
        fleet.begin(number, introduction)
    }

    fn since_cut(&self) -> f64 {
        self.cut_at.map_or(0.0, |at| at.elapsed().as_secs_f64())
    }

    fn go_on(&mut self, fleet: &mut Fleet, stage: Stage) -> Result<Stage, Failure> {
        match stage {
            Stage::Quiet => {
                self.cut_at = Some(Instant::now());
                Ok(Stage::Cutting { next: self.members.start })
            }
            Stage::Cutting { next } => {
                let end = (next + CUT_IN_TURN).min(self.members.end);
                (next..end).for_each(|number| fleet.cut(number));
                if end < self.members.end {
                    return Ok(Stage::Cutting { next: end });
                }
                self.all_cut_after = self.since_cut();
                self.publish(fleet, self.options.missed)?;
                Ok(Stage::Returning { next: self.members.start, opening: Vec::new() })
            }
            Stage::Returning { mut next, mut opening } => {
                opening.retain(|number| !fleet.is_ready(*number));
                let mut begun = 0;
                while next < self.members.end && begun < BEGUN_IN_TURN && opening.len() < OPENING_MAX {
                    self.begin(fleet, next)?;
                    opening.push(next);
                    (next, begun) = (next + 1, begun + 1);
                }
                if next < self.members.end || !opening.is_empty() {
                    return Ok(Stage::Returning { next, opening });
                }
                self.all_back_after = self.since_cut();
                self.received = 0;
                self.publish(fleet, 1)?;
                Ok(Stage::Telling)
            }
            Stage::Telling if self.received >= self.members.len() as u64 => {
                self.all_told_after = self.since_cut();
                Ok(Stage::Done)
            }
            stage => Ok(stage),
        }
    }
}

impl Disturbance for Herd {
    fn name(&self) -> &'static str {
        "a herd that is cut and comes back"
    }

    fn connections(&self) -> usize {
        self.options.connections as usize + 1
    }

    fn open(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let channel = |_| self.options.channel.clone();
        self.publisher = server.open(fleet, 1, Role::Publisher, channel)?.start;
        self.members = server.open(fleet, self.options.connections as usize, Role::Member, channel)?;
        self.epoch = learn_epoch(server, fleet, self.members.start, &self.options.channel)?;
        self.publish(fleet, PUBLISHED_BEFORE)
    }

    fn act(&mut self, _: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = self.go_on(fleet, stage)?;
        Ok(())
    }

    fn receive(&mut self, number: usize, _: Instant, line: &[u8]) -> Result<(), Failure> {
        let mut is_publication = false;
        for sequence in stamp::all_in(line) {
            is_publication = true;
            if !self.members.contains(&number) || sequence > self.published {
                return Err(Failure::new(format!("publication {sequence} on connection {number}: whose?")));
            }
            let receipt = self.ledger.receive(number - self.members.start, sequence);
            self.received += u64::from(receipt == Receipt::First && sequence == self.published);
        }
        if is_publication { Ok(()) } else { self.dialect.hear(line).map(drop) }
    }

    fn end(&mut self, number: usize, why: &Failure) {
        eprintln!("connection {number} ended: {why}");
        self.failed += 1;
        if let Stage::Returning { opening, .. } = &mut self.stage {
            opening.retain(|opening| *opening != number);
        }
    }

    fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Done)
    }

    fn close(self, _: &mut Fleet, _: f64) -> Result<(BTreeMap<String, f64>, Faults), Failure> {
        let mut faults = self.ledger.close(self.published);
        let recovers = self.epoch.is_some();
        let mut counts = BTreeMap::from([
            (CONNECTIONS.into(), self.members.len() as f64),
            ("cut_seconds".into(), self.all_cut_after),
            ("back_seconds".into(), self.all_back_after),
            ("told_seconds".into(), self.all_told_after),
            ("failed".into(), self.failed as f64),
            ("recovers".into(), f64::from(u8::from(recovers))),
        ]);
        if !recovers {
            // Nobody promised them what they missed.
            counts.insert("missed_for_good".into(), faults.lost as f64);
            faults.lost = 0;
        }
        Ok((counts, faults))
    }
}

const SHORT: std::time::Duration = std::time::Duration::from_millis(10);

/// Opens member `number` once more, for the epoch in the answer to its subscribe command: [`ServerOptions::open`]
/// shows it to nobody. `None`: the server keeps nothing to recover.
pub fn learn_epoch(
    server: &ServerOptions,
    fleet: &mut Fleet,
    number: usize,
    channel: &str,
) -> Result<Option<String>, Failure> {
    let token = server.tokens()?.map(|tokens| tokens.sign(number)).transpose()?;
    fleet.cut(number);
    fleet.begin(number, server.dialect.introduce(Role::Member, token.as_deref(), channel))?;
    let mut epoch = None;
    while !fleet.is_ready(number) {
        fleet.turn(SHORT, |_, _, line| {
            epoch = epoch.take().or_else(|| find_epoch(line));
            Ok(())
        })?;
    }
    Ok(epoch)
}

/// The epoch in the answer to a subscribe command.
fn find_epoch(line: &[u8]) -> Option<String> {
    const KEY: &[u8] = br#""epoch":""#;
    let begin = memmem::find(line, KEY)? + KEY.len();
    let end = begin + memchr::memchr(b'"', &line[begin..])?;
    String::from_utf8(line[begin..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_found_in_the_answer() {
        let answer = br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"xyz","positioned":true}}"#;
        assert_eq!(find_epoch(answer).as_deref(), Some("xyz"));
        assert_eq!(find_epoch(br#"{"id":2,"subscribe":{}}"#), None);
    }
}
