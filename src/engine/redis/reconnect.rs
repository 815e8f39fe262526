//! Connecting until it succeeds: quickly at first, then not too often, and without filling the log.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::dial::NoConnection;
use super::options::Address;

/// Where a server is at the moment; `None` while nobody knows.
pub type Place = watch::Receiver<Option<Address>>;

/// One connection's tries.
pub struct Attempts {
    /// For the log.
    purpose: &'static str,
    /// In a row; connections that broke at once among them.
    failed: u32,
    /// Before the next try.
    pause: Duration,
    connected_at: Option<Instant>,
    /// What was last said in the log, and when.
    said: Option<(String, Instant)>,
}

impl Attempts {
    pub fn new(purpose: &'static str) -> Attempts {
        Attempts { purpose, failed: 0, pause: Duration::ZERO, connected_at: None, said: None }
    }

    /// Tries with `connect` until there is a connection.
    ///
    /// `None`: the place is given up, nobody needs the server any more.
    pub async fn connect<T, F>(&mut self, place: &mut Place, connect: impl Fn(Address) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, NoConnection>>,
    {
        loop {
            if !self.pause.is_zero() {
                tokio::select! {
                    () = sleep(self.pause) => (),
                    changed = place.changed() => changed.ok()?,
                }
            }
            if place.has_changed().is_err() {
                return None;
            }
            let Some(address) = place.borrow_and_update().clone() else {
                place.changed().await.ok()?;
                continue;
            };
            match connect(address.clone()).await {
                Ok(connected) => {
                    self.connected_at = Some(Instant::now());
                    self.say("connected to Redis", &address, None);
                    return Some(connected);
                }
                Err(problem) => {
                    self.failed += 1;
                    self.pause = pause_after(self.failed, problem.is_lasting(), fastrand::f64());
                    self.say("no connection to Redis: trying on", &address, Some(problem.to_string()));
                }
            }
        }
    }

    /// The connection broke. The next one is tried at once, unless this one had hardly begun.
    pub fn broke(&mut self, place: &Place, reason: String) {
        let has_lived = self.connected_at.take().is_some_and(|at| at.elapsed() > LIFE_MIN);
        self.failed = if has_lived { 0 } else { self.failed + 1 };
        self.pause = if has_lived { Duration::ZERO } else { pause_after(self.failed, false, fastrand::f64()) };
        if let Some(address) = &*place.borrow() {
            self.say("the connection to Redis broke: connecting again", address, Some(reason));
        }
    }

    /// Says it in the log, unless it is what was just said.
    fn say(&mut self, what: &'static str, address: &Address, trouble: Option<String>) {
        let Some(reason) = trouble else {
            // Of one that comes and goes nobody wants to hear each time.
            if self.failed == 0 || self.said.take().is_some() {
                tracing::info!(purpose = self.purpose, address = %address, "{what}");
            }
            return;
        };
        if self.said.as_ref().is_none_or(|(said, at)| *said != reason || at.elapsed() > REPEAT_AFTER) {
            tracing::error!(purpose = self.purpose, address = %address, reason, "{what}");
            self.said = Some((reason, Instant::now()));
        }
    }
}

/// Doubles from a hundredth to half a second, and comes out between half and all of it by `random`, so that nodes
/// don't come in step. Where trying on is no use until somebody acts it is long from the start.
fn pause_after(failed: u32, is_lasting: bool, random: f64) -> Duration {
    let full = match is_lasting {
        true => PAUSE_LASTING,
        false => PAUSE_MAX.min(PAUSE_MIN * (1 << failed.saturating_sub(1).min(10))),
    };
    full.mul_f64(0.5 + random / 2.0)
}

const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Chosen: publishing again within two seconds after the server is back, and a thousand nodes are 3,000 tries a second.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A connection that broke sooner counts as one that failed.
const LIFE_MIN: Duration = Duration::from_secs(1);
const PAUSE_LASTING: Duration = Duration::from_secs(5);
/// The same trouble is said again after that long.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<u128> = (1..9).map(|failed| pause_after(failed, false, 1.0).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(pause_after(u32::MAX, false, 0.0), PAUSE_MAX / 2);
        assert_eq!(pause_after(1, true, 1.0), PAUSE_LASTING);
    }
}
