//! An application that publishes numbered messages, each with an idempotency key, and again until it is confirmed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::{Api, Failure};
use super::balancer::Balancer;
use super::journal::{Event, Journal, Message};
use super::reader::backoff;

/// A publisher that runs until it is told to stop.
pub struct Publisher {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What to do with a publish that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// With the same key, at the next hub.
    UntilConfirmed,
    /// For channels that promise nothing.
    Never,
}

#[derive(Clone, Debug)]
pub struct Load {
    pub publisher: u32,
    pub channel: String,
    /// Time from one message to the next.
    pub every: Duration,
    pub retry: Retry,
}

impl Publisher {
    pub fn start(load: Load, hubs: &Balancer, journal: &Journal) -> Publisher {
        let (stop, stopped) = watch::channel(false);
        let turn = load.publisher as usize;
        let run = Run { load, hubs: hubs.clone(), turn, apis: HashMap::new(), journal: journal.clone(), stopped };
        Publisher { stop, task: tokio::spawn(run.publish_all()) }
    }

    /// Ends after the message that is under way is confirmed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        super::within("the last publish", super::PATIENCE, self.task).await.expect("the publisher did not panic");
    }
}

struct Run {
    load: Load,
    hubs: Balancer,
    /// Which hub is next.
    turn: usize,
    /// A connection to each hub.
    apis: HashMap<SocketAddr, Api>,
    journal: Journal,
    stopped: watch::Receiver<bool>,
}

impl Run {
    async fn publish_all(mut self) {
        let mut number = 0;
        let mut due = Instant::now();
        while !*self.stopped.borrow() {
            number += 1;
            self.publish(Message { publisher: self.load.publisher, number }).await;
            due = (due + self.load.every).max(Instant::now());
            tokio::time::sleep_until(due.into()).await;
        }
    }

    async fn publish(&mut self, message: Message) {
        let key = format!("{}-{}", message.publisher, message.number);
        let mut failures = 0;
        loop {
            let channel = self.load.channel.clone();
            self.journal.write(Event::Sent { channel: channel.clone(), message });
            let hub = self.hubs.pick(self.turn);
            let api = self.apis.entry(hub).or_insert_with(|| Api::new(hub));
            match api.publish(&channel, message, Some(&key)).await {
                Ok(position) => return self.journal.write(Event::Confirmed { channel, message, position }),
                Err(failure) => self.journal.write(Event::Unconfirmed { channel, message, reason: told(&failure) }),
            }
            self.turn += 1;
            if self.load.retry == Retry::Never {
                return;
            }
            failures += 1;
            tokio::time::sleep(backoff(failures)).await;
        }
    }
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::Refused(code, _) => format!("error {code}"),
        Failure::NoAnswer(reason) => format!("no answer: {reason}"),
    }
}
