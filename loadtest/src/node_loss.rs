//! Disturbance: one of several nodes is killed. Its clients come back to the others as SDKs do, and recover.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use memchr::memmem;
use rustix::process::{Pid, Signal, kill_process};

use crate::beside::{BesideOptions, Disturbance};
use crate::dialect::{Dialect, Position, Role};
use crate::failure::{Doing, Failure};
use crate::fleet::{Fleet, OPENING_MAX};
use crate::herd::learn_epoch;
use crate::ledger::{Faults, Ledger, Receipt};
use crate::publisher::FIRST_PUBLISH_ID;
use crate::server_options::ServerOptions;
use crate::stamp::{self, Filling};
use crate::tokens::Tokens;

#[derive(Args, Clone, Debug)]
pub struct NodeLossOptions {
    #[command(flatten)]
    pub beside: BesideOptions,
    /// Connections, spread over all nodes; those of the last node lose it
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Publications a second to all of them, from the kill on
    #[arg(long, default_value_t = 2.0)]
    pub rate: f64,
    /// Their room: the hub keeps history in the namespace `recover`
    #[arg(long, default_value = "recover:herd")]
    pub channel: String,
}

impl NodeLossOptions {
    /// Nothing is measured of the node that is killed.
    pub fn beside_survivors(&self) -> BesideOptions {
        let mut beside = self.beside.clone();
        beside.server.server_pids.pop();
        beside
    }
}

/// What SDKs wait before they come back: the least, and the most of it after many failures.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// Connections that are begun in one turn: the generator has to keep the quiet room's time.
const BEGUN_IN_TURN: usize = 16;

pub struct NodeLoss {
    options: NodeLossOptions,
    dialect: Dialect,
    tokens: Option<Tokens>,
    nodes: usize,
    victim: Pid,
    publisher: usize,
    members: Range<usize>,
    epoch: String,
    ledger: Ledger,
    /// The newest publication of each member: where it goes on.
    newest: Vec<u64>,
    /// When each publication was sent.
    sent: Vec<Instant>,
    next_due: Instant,
    /// Members that have the newest publication.
    told: usize,
    /// When the victim was killed.
    killed: Option<Instant>,
    /// Whose connection has ended, and when they come back.
    away: BinaryHeap<Reverse<(Instant, usize)>>,
    opening: Vec<usize>,
    /// Attempts that failed, of those who have not come back yet.
    failures: HashMap<usize, u32>,
    lost_node: usize,
    back: usize,
    back_seconds: f64,
    failed_attempts: u64,
    not_recovered: u64,
    /// Deliveries to those who kept their node.
    stayed_us: Histogram<u64>,
}

impl NodeLoss {
    pub fn new(options: &NodeLossOptions) -> Result<NodeLoss, Failure> {
        let server = &options.beside.server;
        let nodes = server.urls.len();
        let victim = server.server_pids.last().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(victim) = victim.filter(|_| nodes > 1 && nodes == server.server_pids.len()) else {
            return Err(Failure::new(
                "node-loss needs the --url and the --server-pid of several nodes, in the same order",
            ));
        };
        let members = options.connections as usize;
        Ok(NodeLoss {
            options: options.clone(),
            dialect: server.dialect,
            tokens: server.tokens()?,
            nodes,
            victim,
            publisher: 0,
            members: 0..0,
            epoch: String::new(),
            ledger: Ledger::new(members),
            newest: vec![0; members],
            sent: Vec::new(),
            next_due: Instant::now(),
            told: 0,
            killed: None,
            away: BinaryHeap::new(),
            opening: Vec::new(),
            failures: HashMap::new(),
            lost_node: 0,
            back: 0,
            back_seconds: 0.0,
            failed_attempts: 0,
            not_recovered: 0,
            stayed_us: Histogram::new_with_max(60_000_000, 3).expect("constant bounds are valid"),
        })
    }

    fn survivors(&self) -> Range<usize> {
        0..self.nodes - 1
    }

    fn kill(&mut self, fleet: &mut Fleet) -> Result<(), Failure> {
        self.lost_node = self.members.clone().filter(|number| self.had_lost_node(*number)).count();
        kill_process(self.victim, Signal::KILL).map_err(std::io::Error::from).doing("killing a node")?;
        fleet.open_to(self.survivors());
        let now = Instant::now();
        (self.killed, self.next_due) = (Some(now), now);
        Ok(())
    }

    /// Whether a member was opened at the node that is killed.
    fn had_lost_node(&self, number: usize) -> bool {
        number % self.nodes == self.nodes - 1
    }

    fn publish_due(&mut self, fleet: &mut Fleet, now: Instant) -> Result<(), Failure> {
        while self.next_due <= now {
            self.next_due += Duration::from_secs_f64(1.0 / self.options.rate);
            self.sent.push(now);
            self.told = 0;
            let sequence = self.published();
            let data = stamp::payload(sequence, 128, Filling::Plain);
            let mut frame = Vec::new();
            self.dialect.publish(&mut frame, FIRST_PUBLISH_ID + sequence, &self.options.channel, &data);
            fleet.send(self.publisher, &frame)?;
        }
        Ok(())
    }

    fn published(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Lets in who has waited long enough, and counts who has arrived.
    fn bring_back(&mut self, fleet: &mut Fleet, killed: Instant, now: Instant) -> Result<(), Failure> {
        let arrived = self.opening.extract_if(.., |number| fleet.is_ready(*number)).collect::<Vec<_>>();
        for number in arrived {
            self.failures.remove(&number);
            self.back += 1;
            self.back_seconds = (now - killed).as_secs_f64();
        }
        for _ in 0..BEGUN_IN_TURN.min(OPENING_MAX - self.opening.len()) {
            let Some(Reverse((_, number))) = self.away.peek().copied().filter(|Reverse((due, _))| *due <= now) else {
                break;
            };
            self.away.pop();
            let token = self.tokens.as_ref().map(|tokens| tokens.sign(number)).transpose()?;
            // Offsets count publications, and ours are the only ones: the offset is the sequence number.
            let offset = self.newest[number - self.members.start];
            let from = Position { epoch: self.epoch.clone(), offset };
            fleet.begin(number, self.dialect.introduce_again(token.as_deref(), &self.options.channel, &from))?;
            self.opening.push(number);
        }
        Ok(())
    }
}

impl Disturbance for NodeLoss {
    fn name(&self) -> &'static str {
        "the loss of a node"
    }

    fn quiet_servers(&self) -> Option<Range<usize>> {
        Some(self.survivors())
    }

    fn connections(&self) -> usize {
        self.options.connections as usize + 1
    }

    fn open(&mut self, server: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        let channel = |_| self.options.channel.clone();
        self.publisher = server.open(fleet, 1, Role::Publisher, channel)?.start;
        fleet.open_to(0..self.nodes);
        self.members = server.open(fleet, self.options.connections as usize, Role::Member, channel)?;
        let epoch = learn_epoch(server, fleet, self.members.start, &self.options.channel)?;
        self.epoch = epoch.ok_or_else(|| Failure::new("node-loss needs a room with history to recover from"))?;
        Ok(())
    }

    fn act(&mut self, _: &ServerOptions, fleet: &mut Fleet) -> Result<(), Failure> {
        match self.killed {
            None => self.kill(fleet),
            Some(killed) => {
                let now = Instant::now();
                self.publish_due(fleet, now)?;
                self.bring_back(fleet, killed, now)
            }
        }
    }

    fn receive(&mut self, number: usize, at: Instant, line: &[u8]) -> Result<(), Failure> {
        if has(line, br#""was_recovering":true"#) && !has(line, br#""recovered":true"#) {
            self.not_recovered += 1;
        }
        let mut is_publication = false;
        for sequence in stamp::all_in(line) {
            is_publication = true;
            if !self.members.contains(&number) || sequence > self.published() {
                return Err(Failure::new(format!("publication {sequence} on connection {number}: whose?")));
            }
            let member = number - self.members.start;
            let receipt = self.ledger.receive(member, sequence);
            self.newest[member] = self.newest[member].max(sequence);
            if receipt == Receipt::First {
                self.told += usize::from(sequence == self.published());
                if !self.had_lost_node(number) {
                    let latency = at.saturating_duration_since(self.sent[sequence as usize - 1]);
                    self.stayed_us.saturating_record(latency.as_micros() as u64);
                }
            }
        }
        if is_publication { Ok(()) } else { self.dialect.hear(line).map(drop) }
    }

    fn end(&mut self, number: usize, why: &Failure) {
        if number == self.publisher {
            eprintln!("the publisher's connection ended: {why}");
            return;
        }
        let failures = self.failures.entry(number).or_insert(0);
        if let Some(place) = self.opening.iter().position(|opening| *opening == number) {
            self.opening.swap_remove(place);
            self.failed_attempts += 1;
            *failures += 1;
        }
        self.away.push(Reverse((Instant::now() + backoff(number, *failures), number)));
    }

    fn is_busy(&self) -> bool {
        self.back < self.lost_node || !self.is_settled()
    }

    fn is_settled(&self) -> bool {
        self.away.is_empty() && self.opening.is_empty() && self.told >= self.members.len()
    }

    fn close(self, _: &mut Fleet, _: f64) -> Result<(BTreeMap<String, f64>, Faults), Failure> {
        let published = self.published();
        let counts = BTreeMap::from([
            ("lost_their_node".into(), self.lost_node as f64),
            ("came_back".into(), self.back as f64),
            ("back_seconds".into(), self.back_seconds),
            ("failed_attempts".into(), self.failed_attempts as f64),
            ("not_recovered".into(), self.not_recovered as f64),
            ("published".into(), published as f64),
            ("stayed_p50_us".into(), self.stayed_us.value_at_quantile(0.5) as f64),
            ("stayed_p99_us".into(), self.stayed_us.value_at_quantile(0.99) as f64),
        ]);
        Ok((counts, self.ledger.close(published)))
    }
}

fn has(line: &[u8], text: &[u8]) -> bool {
    memmem::find(line, text).is_some()
}

/// Full jitter, as in the SDKs. What chance decides is the same in each run.
fn backoff(number: usize, failures: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (number, failures).hash(&mut hasher);
    let chance = hasher.finish() as f64 / u64::MAX as f64;
    let most = BACKOFF_MIN * 2_u32.pow(failures.min(6));
    (BACKOFF_MIN + most.mul_f64(chance)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_come_back_are_spread() {
        let waits: Vec<Duration> = (0..1_000).map(|number| backoff(number, 0)).collect();
        assert!(waits.iter().all(|wait| (BACKOFF_MIN..=2 * BACKOFF_MIN).contains(wait)));
        let early = waits.iter().filter(|wait| **wait < Duration::from_millis(750)).count();
        assert!((400..600).contains(&early), "{early} of 1,000 in the first half");
        assert!((0..1_000).all(|number| backoff(number, 40) <= BACKOFF_MAX));
    }
}
