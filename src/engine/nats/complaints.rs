//! What an operator is told of refusals, without a line for each.

use std::time::{Duration, Instant};

use ahash::AHashMap;
use tracing::{error, warn};

use super::jetstream::Refusal;

/// Says each kind of refusal once a minute.
#[derive(Default)]
pub struct Complaints {
    said: AHashMap<Refusal, Instant>,
}

impl Complaints {
    pub fn say(&mut self, refusal: Refusal, channel: &str) {
        let now = Instant::now();
        let is_new = self.said.get(&refusal).is_none_or(|said| now.duration_since(*said) >= PAUSE);
        if !is_new {
            return;
        }
        self.said.retain(|_, said| now.duration_since(*said) < PAUSE);
        self.said.insert(refusal, now);
        match refusal {
            Refusal::NoJetStream => error!(
                "channel {channel} has history or presence, and NATS has no JetStream: refused (108); \
                 enable JetStream on the server, or take them out of the namespace"
            ),
            Refusal::NameTaken => error!(
                "channel {channel}: {refusal}: refused (108); give this cluster a prefix of its own, or delete the stream"
            ),
            refusal => warn!("NATS did not take what channel {channel} has to keep: {refusal}"),
        }
    }
}

const PAUSE: Duration = Duration::from_secs(60);
