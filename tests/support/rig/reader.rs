//! A client that behaves as an SDK does: it comes back whenever it is cut, to another hub if it must, and recovers.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::{message, text};
use super::balancer::Balancer;
use super::client::{Client, Refusal};
use super::journal::{Event, Journal, Position, Start};

/// SDKs wait from half a second up to 20 s; so long no test runs.
const BACKOFF_MAX: Duration = Duration::from_millis(400);

/// Silence past the ping interval after which a connection counts as dead.
const PING_DELAY_MAX: Duration = Duration::from_secs(3);

/// From this code of an unsubscribe on an SDK subscribes again.
const RESUBSCRIBE_FROM: u64 = 2500;

/// A reader that runs until it is told to stop.
pub struct Reader {
    pub number: u32,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Begins at the hub of its number, and goes on to the next whenever one fails.
    pub fn start(number: u32, hubs: &Balancer, channels: &[&str], journal: &Journal) -> Reader {
        let (stop, stopped) = watch::channel(false);
        let run = Run {
            number,
            hubs: hubs.clone(),
            turn: number as usize,
            positions: channels.iter().map(|channel| ((*channel).to_owned(), None)).collect(),
            journal: journal.clone(),
        };
        Reader { number, stop, task: tokio::spawn(run.until(stopped)) }
    }

    pub fn user(number: u32) -> String {
        format!("reader-{number}")
    }

    /// Ends it; what went wrong inside comes out here.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("the reader did not panic");
    }
}

struct Run {
    number: u32,
    hubs: Balancer,
    /// Which hub is next.
    turn: usize,
    /// Channels, with the position in those that have one.
    positions: HashMap<String, Option<Position>>,
    journal: Journal,
}

impl Run {
    async fn until(mut self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.come_back_always() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn come_back_always(&mut self) {
        let mut failures = 0;
        loop {
            let user = Reader::user(self.number);
            let refusal = match Client::connect(self.hubs.pick(self.turn), &user).await {
                Ok(client) => {
                    failures = 0;
                    self.serve(client).await
                }
                Err(refusal) => {
                    self.journal.write(Event::Refused { reader: self.number, reason: format!("{refusal:?}") });
                    refusal
                }
            };
            if is_final(&refusal) {
                return;
            }
            failures += 1;
            self.turn += 1;
            tokio::time::sleep(backoff(failures)).await;
        }
    }

    /// One connection, from its first subscribe to its end.
    async fn serve(&mut self, mut client: Client) -> Refusal {
        let mut subscribed = Vec::new();
        let refusal = self.read(&mut client, &mut subscribed).await;
        for channel in subscribed {
            self.end(&channel, &format!("{refusal:?}"));
        }
        refusal
    }

    async fn read(&mut self, client: &mut Client, subscribed: &mut Vec<String>) -> Refusal {
        for channel in self.positions.keys().cloned().collect::<Vec<_>>() {
            if let Err(refusal) = self.subscribe(client, &channel, subscribed).await {
                return refusal;
            }
        }
        let silence_max = client.ping + PING_DELAY_MAX;
        loop {
            let push = match tokio::time::timeout(silence_max, client.push_or_ping()).await {
                Ok(Ok(Some(push))) => push,
                Ok(Ok(None)) => continue,
                Ok(Err(refusal)) => return refusal,
                Err(_) => return Refusal::Unreachable("no ping".into()),
            };
            if let Err(refusal) = self.take(client, &push, subscribed).await {
                return refusal;
            }
        }
    }

    async fn take(&mut self, client: &mut Client, push: &Value, subscribed: &mut Vec<String>) -> Result<(), Refusal> {
        let channel = text(&push["channel"]);
        if push["pub"].is_object() {
            self.receive(&channel, &push["pub"]);
        } else if let Some(code) = push["unsubscribe"]["code"].as_u64() {
            subscribed.retain(|of| *of != channel);
            self.end(&channel, &format!("unsubscribed {code}"));
            if code >= RESUBSCRIBE_FROM {
                return self.subscribe(client, &channel, subscribed).await;
            }
            self.positions.remove(&channel);
        }
        Ok(())
    }

    /// Asks until it is subscribed; temporary errors are asked again, as SDKs do.
    async fn subscribe(
        &mut self,
        client: &mut Client,
        channel: &str,
        subscribed: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let mut failures = 0;
        loop {
            let asked = self.positions[channel].clone();
            let params = match &asked {
                Some(position) => json!({"recover": true, "epoch": position.epoch, "offset": position.offset}),
                None => json!({}),
            };
            match client.subscribe_with(channel, params).await {
                Ok(reply) => {
                    subscribed.push(channel.to_owned());
                    self.begin(channel, asked.is_some(), &reply);
                    return Ok(());
                }
                Err(Refusal::Code(_)) if failures < 20 => {
                    failures += 1;
                    tokio::time::sleep(backoff(failures)).await;
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    fn begin(&mut self, channel: &str, was_recovering: bool, reply: &Value) {
        let is_recovered = reply["recovered"].as_bool().unwrap_or(false);
        let start = match (was_recovering, is_recovered) {
            (true, true) => Start::Recovered,
            (true, false) => Start::NotRecovered,
            (false, _) => Start::New,
        };
        let position = reply["positioned"]
            .as_bool()
            .unwrap_or(false)
            .then(|| Position { epoch: text(&reply["epoch"]), offset: reply["offset"].as_u64().unwrap_or(0) });
        self.positions.insert(channel.to_owned(), position.clone());
        self.journal.write(Event::Subscribed { reader: self.number, channel: channel.to_owned(), start, position });
        for publication in reply["publications"].as_array().into_iter().flatten() {
            self.receive(channel, publication);
        }
    }

    fn receive(&mut self, channel: &str, publication: &Value) {
        let offset = publication["offset"].as_u64().unwrap_or(0);
        if let Some(Some(position)) = self.positions.get_mut(channel) {
            position.offset = offset;
        }
        let (reader, message) = (self.number, message(publication));
        self.journal.write(Event::Received { reader, channel: channel.to_owned(), message, offset });
    }

    fn end(&self, channel: &str, reason: &str) {
        let (channel, reason) = (channel.to_owned(), reason.to_owned());
        self.journal.write(Event::Ended { reader: self.number, channel, reason });
    }
}

/// Whether an SDK would not come back.
fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Closed(3500..=3999 | 4500..=4999))
}

/// Full jitter, as the SDKs have it, in the time of tests.
pub fn backoff(failures: u32) -> Duration {
    let most = (Duration::from_millis(25) * 2u32.pow(failures.min(8))).min(BACKOFF_MAX);
    most.mul_f64(fastrand::f64())
}
