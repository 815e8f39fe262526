//! A message that a listener sends to itself: so it knows that it hears.

use std::time::{Duration, Instant};

/// One is on its way at a time; it is sent again until it comes back.
#[derive(Debug)]
pub struct Probe {
    topic: String,
    number: u64,
    /// Since when it is on its way.
    sent: Option<Instant>,
}

impl Probe {
    pub fn new(topic: String) -> Probe {
        Probe { topic, number: 0, sent: None }
    }

    pub fn topic(&self) -> &String {
        &self.topic
    }

    /// What to send, and for how long it has not come back.
    pub fn next(&mut self) -> (Vec<u8>, Duration) {
        let waited = match self.sent {
            Some(sent) => sent.elapsed(),
            None => {
                self.number += 1;
                self.sent = Some(Instant::now());
                Duration::ZERO
            }
        };
        (self.number.to_string().into_bytes(), waited)
    }

    /// After how long the one on its way came back; `None`: that is another one.
    pub fn came_back(&mut self, message: &[u8]) -> Option<Duration> {
        match message == self.number.to_string().as_bytes() {
            true => self.sent.take().map(|sent| sent.elapsed()),
            false => None,
        }
    }

    /// The connection is another one: what was on its way is not heard on it.
    pub fn forget(&mut self) {
        self.sent = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_comes_back_once() {
        let mut probe = Probe::new("t".to_owned());
        let (first, waited) = probe.next();
        assert_eq!(waited, Duration::ZERO);
        assert_eq!(probe.next().0, first, "it is sent again");
        assert!(probe.came_back(b"0").is_none() && probe.came_back(&first).is_some());
        assert!(probe.came_back(&first).is_none(), "that was the second copy");
        assert_ne!(probe.next().0, first);
    }
}
