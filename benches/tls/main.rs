//! What TLS costs: memory of an idle connection, CPU time of a delivery, and what a quiet room notices
//! of thousands of handshakes.
//!
//! The hub is the release binary on core 0, the clients are here on core 1, everything on loopback.
//! Plain and TLS runs are made in turn, each with a hub of its own; medians and spread are printed.
//! `cargo bench --bench tls` takes about three minutes; words after `--` pick parts (`memory`,
//! `delivery`, `storm`). Nothing is asserted, since times are no test.

mod client;
mod hub;
mod storm;

use std::time::{Duration, Instant};

use client::Client;
use hub::{Hub, Port};

const ROUNDS: usize = 5;

/// Connections of the memory part. Each has a user of its own.
const IDLE: usize = 2_000;

const MEMBERS: usize = 1_000;
const DELIVERIES: u64 = 100_000;

/// Handshakes at once, and how often the quiet room is published to meanwhile.
const HANDSHAKES: usize = 5_000;
const EVERY: Duration = Duration::from_millis(5);
const ALONE: Duration = Duration::from_secs(4);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [storm, address, count] = &words[..]
        && storm == storm::COMMAND
    {
        return storm::run(address, count.parse().expect("a number of handshakes"));
    }
    hub::use_core(1);
    let is_asked = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if is_asked("memory") {
        compare("memory of an idle connection (bytes, Pss)", idle_bytes);
    }
    if is_asked("delivery") {
        compare("CPU of a delivery, 1 in flight (us)", |port| delivery_us(port, 1));
        compare("CPU of a delivery, 16 in flight (us)", |port| delivery_us(port, 16));
    }
    if is_asked("storm") {
        compare("CPU of an opening, handshake included (us)", opening_us);
        quiet_room_in_a_storm();
    }
}

/// Measures both ports in turn and prints medians.
fn compare(what: &str, mut measure: impl FnMut(Port) -> f64) {
    let (mut plain, mut tls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(measure(Port::Plain));
        tls.push(measure(Port::Tls));
    }
    let ratio = median(&mut tls) / median(&mut plain);
    println!("{what:<50} ws {:<28} wss {:<28} ratio {ratio:.2}", spread(&mut plain), spread(&mut tls));
}

fn idle_bytes(port: Port) -> f64 {
    let hub = Hub::start(port);
    // What the first ones bring with them (buffers that all share) is not theirs.
    let _first: Vec<Client> = (0..10).map(|user| Client::enter(&hub, user, "room")).collect();
    let before = hub.pss_bytes();
    let clients: Vec<Client> = (10..10 + IDLE).map(|user| Client::enter(&hub, user, "room")).collect();
    std::thread::sleep(Duration::from_secs(1));
    (hub.pss_bytes() as f64 - before as f64) / clients.len() as f64
}

fn delivery_us(port: Port, in_flight: u64) -> f64 {
    let hub = Hub::start(port);
    let mut members: Vec<Client> = (0..MEMBERS).map(|user| Client::enter(&hub, user, "room")).collect();
    let mut publisher = Client::enter(&hub, MEMBERS, "another");
    let rounds = DELIVERIES / (MEMBERS as u64 * in_flight);
    let mut next = 1;
    let mut publish_to_all = |rounds: u64| {
        for _ in 0..rounds {
            publisher.publish("room", next..next + in_flight);
            next += in_flight;
            for member in &mut members {
                member.read_to(next - 1);
            }
        }
    };
    publish_to_all(rounds / 10);
    let before = hub.cpu();
    publish_to_all(rounds);
    let deliveries = rounds * MEMBERS as u64 * in_flight;
    (hub.cpu() - before).as_secs_f64() * 1e6 / deliveries as f64
}

fn opening_us(port: Port) -> f64 {
    let hub = Hub::start(port);
    let _first = Client::enter(&hub, 0, "room");
    let before = hub.cpu();
    let clients: Vec<Client> = (1..=1_000).map(|user| Client::enter(&hub, user, "room")).collect();
    (hub.cpu() - before).as_secs_f64() * 1e6 / clients.len() as f64
}

fn quiet_room_in_a_storm() {
    let (mut alone, mut beside, mut took) = (Percentiles::default(), Percentiles::default(), Vec::new());
    for _ in 0..ROUNDS {
        let hub = Hub::start(Port::Tls);
        let mut room = Room::open(&hub);
        let begun = Instant::now();
        alone.add(room.publish_while(|| begun.elapsed() < ALONE));
        let mut storm = storm::Storm::prepare(&hub.address(), HANDSHAKES);
        let begun = storm.begin();
        beside.add(room.publish_while(|| !storm.is_over()));
        took.push(begun.elapsed().as_secs_f64());
    }
    println!("quiet room alone (ms):                        {alone}");
    println!("beside {HANDSHAKES} handshakes in {} s (ms):  {beside}", spread(&mut took));
}

/// A room of two that is published to every 5 ms.
struct Room {
    publisher: Client,
    listener: Client,
    next: u64,
}

impl Room {
    fn open(hub: &Hub) -> Room {
        Room { publisher: Client::enter(hub, 0, "another"), listener: Client::enter(hub, 1, "quiet"), next: 1 }
    }

    /// Latencies from when each publication was due, in milliseconds.
    fn publish_while(&mut self, mut goes_on: impl FnMut() -> bool) -> Vec<f64> {
        let mut latencies = Vec::new();
        let mut due = Instant::now();
        while goes_on() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.publisher.publish("quiet", self.next..self.next + 1);
            self.listener.read_to(self.next);
            latencies.push(due.elapsed().as_secs_f64() * 1e3);
            self.next += 1;
            due += EVERY;
        }
        latencies
    }
}

/// Percentiles of several rounds.
#[derive(Default)]
struct Percentiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
    most: Vec<f64>,
}

impl Percentiles {
    fn add(&mut self, mut latencies: Vec<f64>) {
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
        self.p50.push(at(0.5));
        self.p99.push(at(0.99));
        self.most.push(at(1.0));
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, most] = [&self.p50, &self.p99, &self.most].map(|values| spread(&mut values.clone()));
        write!(f, "p50 {p50}  p99 {p99}  most {most}")
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median, and the least and the most.
fn spread(values: &mut [f64]) -> String {
    let median = median(values);
    let digits = if median >= 100.0 { 0 } else { 2 };
    format!("{median:.digits$} [{:.digits$} to {:.digits$}]", values[0], values[values.len() - 1])
}
