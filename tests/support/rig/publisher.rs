//! An application that publishes numbered messages, each with an idempotency key, and again until it is confirmed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::{Api, Failure};
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
    pub fn start(load: Load, hubs: &[SocketAddr], journal: &Journal) -> Publisher {
        let (stop, stopped) = watch::channel(false);
        let hub = load.publisher as usize % hubs.len();
        let apis = hubs.iter().map(|hub| Api::new(*hub)).collect();
        let run = Run { load, apis, hub, journal: journal.clone(), stopped };
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
    apis: Vec<Api>,
    hub: usize,
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
            match self.apis[self.hub].publish(&channel, message, Some(&key)).await {
                Ok(position) => return self.journal.write(Event::Confirmed { channel, message, position }),
                Err(failure) => self.journal.write(Event::Unconfirmed { channel, message, reason: told(&failure) }),
            }
            self.hub = (self.hub + 1) % self.apis.len();
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
