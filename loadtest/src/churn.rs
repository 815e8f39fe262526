//! Disturbance: connections that come, subscribe, and vanish without a word.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use clap::Args;

use crate::beside::{CONNECTIONS, Disturbance};
use crate::dialect::{Dialect, Role};
use crate::failure::Failure;
use crate::fleet::{Fleet, OPENING_MAX, OPENING_PATIENCE};
use crate::ledger::Faults;
use crate::server_options::ServerOptions;
use crate::tokens::Tokens;

#[derive(Args, Clone, Debug)]
pub struct ChurnOptions {
    #[command(flatten)]
    pub beside: crate::beside::BesideOptions,
    /// Connections a second; 0: as many as the server takes
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Connections that are being opened at a time, at most
    #[arg(long, default_value_t = OPENING_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    pub at_once: u32,
}

pub struct Churn {
    rate: f64,
    at_once: usize,
    dialect: Dialect,
    tokens: Option<Tokens>,
    /// Numbers of links that nobody uses.
    free: Vec<usize>,
    opening: VecDeque<(usize, Instant)>,
    next_due: Option<Instant>,
    begun: u64,
    opened: u64,
    failed: u64,
    /// Times that a connection was due and all links were in use.
    held_up: u64,
}

impl Churn {
    pub fn new(options: &ChurnOptions) -> Result<Churn, Failure> {
        Ok(Churn {
            rate: options.rate,
            at_once: options.at_once as usize,
            dialect: options.beside.server.dialect,
            tokens: options.beside.server.tokens()?,
            free: Vec::new(),
            opening: VecDeque::new(),
            next_due: None,
            begun: 0,
            opened: 0,
            failed: 0,
            held_up: 0,
        })
    }

    fn begin(&mut self, fleet: &mut Fleet, number: usize) -> Result<(), Failure> {
        let token = self.tokens.as_ref().map(|tokens| tokens.sign(self.begun as usize)).transpose()?;
        fleet.begin(number, self.dialect.introduce(Role::Member, token.as_deref(), "churn"))?;
        self.opening.push_back((number, Instant::now()));
        self.begun += 1;
        Ok(())
    }

    /// Cuts those that are open, and gives up those that waited too long.
    fn cut_opened(&mut self, fleet: &mut Fleet) {
        let mut waiting = VecDeque::new();
        while let Some((number, since)) = self.opening.pop_front() {
            if fleet.is_ready(number) {
                self.opened += 1;
            } else if since.elapsed() > OPENING_PATIENCE {
                self.failed += 1;
            } else {
                waiting.push_back((number, since));
                continue;
            }
            fleet.cut(number);
            self.free.push(number);
        }
        self.opening = waiting;
    }
}

impl Disturbance for Churn {
    fn name(&self) -> &'static str {
        "connections that come and vanish"
    }

    fn connections(&self) -> usize {
        self.at_once
    }

    fn open(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let links = server.open(fleet, self.at_once, Role::Member, |_| "churn".into())?;
        self.free = links.inspect(|number| fleet.cut(*number)).collect();
        Ok(())
    }

    fn act(&mut self, _: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        self.cut_opened(fleet);
        if self.rate == 0.0 {
            for number in std::mem::take(&mut self.free) {
                self.begin(fleet, number)?;
            }
            return Ok(());
        }
        let now = Instant::now();
        let mut due = *self.next_due.get_or_insert(now);
        while due <= now {
            due += Duration::from_secs_f64(1.0 / self.rate);
            let Some(number) = self.free.pop() else {
                self.held_up += 1;
                continue;
            };
            self.begin(fleet, number)?;
        }
        self.next_due = Some(due);
        Ok(())
    }

    fn receive(&mut self, _: usize, _: Instant, line: &[u8]) -> Result<(), Failure> {
        self.dialect.hear(line).map(drop)
    }

    fn end(&mut self, number: usize, why: &Failure) {
        eprintln!("connection {number} ended: {why}");
        let before = self.opening.len();
        self.opening.retain(|(opening, _)| *opening != number);
        if self.opening.len() < before {
            self.failed += 1;
            self.free.push(number);
        }
    }

    fn close(self, _: &mut Fleet, seconds: f64) -> Result<(BTreeMap<String, f64>, Faults), Failure> {
        let counts = BTreeMap::from([
            (CONNECTIONS.into(), self.opened as f64),
            ("connections_per_second".into(), self.opened as f64 / seconds),
            ("failed".into(), self.failed as f64),
            ("held_up".into(), self.held_up as f64),
        ]);
        Ok((counts, Faults::default()))
    }
}
