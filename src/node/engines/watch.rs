//! Says when an engine is missing, and when it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::limits::{ENGINE_LOOK, ENGINE_REMINDER, PROBE_INTERVAL};
use crate::telemetry::NodeMetrics;

/// One engine as it was seen last.
struct Watched {
    /// Where it is, for people.
    place: String,
    trouble: Option<Trouble>,
}

struct Trouble {
    since: Instant,
    /// When the log said so last; `None`: not yet.
    told: Option<Instant>,
}

/// What the log says.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    Ready { after: Duration },
    NotReady { for_so_long: Duration },
}

/// Looks at the engines of `metrics`, which are at these places, for as long as the node runs.
pub async fn watch(metrics: Arc<NodeMetrics>, places: Vec<String>) {
    let begin = Instant::now();
    let mut watched: Vec<Watched> = places.into_iter().map(|place| Watched::new(place, begin)).collect();
    let mut looks = interval(ENGINE_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for (engine, watched) in metrics.engines.iter().zip(&mut watched) {
            let reason = engine.metrics.trouble();
            let words = watched.look(reason.is_some(), Instant::now());
            let (engine, kind, place) = (&*engine.name, engine.kind, watched.place.as_str());
            match words {
                Some(Words::Ready { after }) => tracing::info!(engine, kind, place, ?after, "the engine is ready"),
                Some(Words::NotReady { for_so_long }) => {
                    let reason = reason.unwrap_or_default();
                    let seconds = for_so_long.as_secs();
                    tracing::error!(
                        engine,
                        kind,
                        place,
                        seconds,
                        "the engine {reason}: trying again; not ready meanwhile"
                    );
                }
                None => {}
            }
        }
    }
}

impl Watched {
    /// Nothing answers before it was asked.
    fn new(place: String, now: Instant) -> Watched {
        Watched { place, trouble: Some(Trouble { since: now, told: None }) }
    }

    fn look(&mut self, is_in_trouble: bool, now: Instant) -> Option<Words> {
        if !is_in_trouble {
            let Trouble { since, .. } = self.trouble.take()?;
            return Some(Words::Ready { after: now - since });
        }
        let trouble = self.trouble.get_or_insert(Trouble { since: now, told: None });
        let for_so_long = now - trouble.since;
        let is_due = match trouble.told {
            // A first connection and its probe take a moment, and so does another one.
            None => for_so_long >= 2 * PROBE_INTERVAL,
            Some(told) => now - told >= ENGINE_REMINDER,
        };
        is_due.then(|| {
            trouble.told = Some(now);
            Words::NotReady { for_so_long }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_in_time_and_not_all_the_time() {
        let start = Instant::now();
        let mut watched = Watched::new("a:1".into(), start);
        let mut look = |is_in_trouble, seconds| watched.look(is_in_trouble, start + Duration::from_secs(seconds));
        let not_ready = |seconds| Some(Words::NotReady { for_so_long: Duration::from_secs(seconds) });
        let ready = |seconds| Some(Words::Ready { after: Duration::from_secs(seconds) });
        assert_eq!(look(true, 0), None, "it was hardly asked");
        assert_eq!(look(true, 2), not_ready(2));
        assert_eq!(look(true, 3), None);
        assert_eq!(look(true, 2 + ENGINE_REMINDER.as_secs()), not_ready(2 + ENGINE_REMINDER.as_secs()));
        assert_eq!(look(false, 50), ready(50));
        assert_eq!(look(false, 51), None);
        assert_eq!(look(true, 60), None, "a moment is no trouble");
        assert_eq!(look(true, 62), not_ready(2));
        assert_eq!(look(false, 70), ready(10));
    }
}
