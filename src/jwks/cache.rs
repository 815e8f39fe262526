//! Which published keys are known, who waits for which, and when they are asked for: decisions only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{KeyQuestion, KeySet};
use crate::limits;

/// The keys behind each URL. `W` is whoever asks.
pub struct Cache<W> {
    /// By the URL, which is made of the issuer: a `kid` says nothing without it.
    places: HashMap<Box<str>, Place<W>>,
    /// Askers that wait, of all places together.
    waiting: usize,
    strangers: Budget,
}

struct Place<W> {
    known: Option<Known>,
    /// When it was last asked for, and what became of that.
    attempt: Option<Attempt>,
    /// With the names of the keys that they need.
    waiting: Vec<(Box<str>, W)>,
    /// When somebody last asked.
    used: Duration,
}

struct Known {
    keys: Arc<KeySet>,
    since: Duration,
}

struct Attempt {
    begun: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    UnderWay,
    Succeeded,
    Failed,
}

/// What an asker is told.
#[derive(Clone, Debug)]
pub enum Answer {
    /// All that the issuer publishes, whether the key that was asked for is among it or not.
    Keys(Arc<KeySet>),
    /// They are not known now; they may be later.
    Unavailable,
}

/// What follows from a question.
pub struct Asked<W> {
    /// At once; otherwise the asker waits.
    pub answer: Option<(W, Answer)>,
    /// Ask for the keys behind the question's URL.
    pub fetch: bool,
}

impl<W> Default for Cache<W> {
    fn default() -> Cache<W> {
        Cache { places: HashMap::new(), waiting: 0, strangers: Budget::default() }
    }
}

impl<W> Cache<W> {
    pub fn ask(&mut self, now: Duration, question: &KeyQuestion, asker: W) -> Asked<W> {
        let unavailable = |asker| Asked { answer: Some((asker, Answer::Unavailable)), fetch: false };
        if !self.make_room(&question.url) {
            return unavailable(asker);
        }
        let place = self.places.entry(question.url.clone()).or_default();
        place.used = now;
        let known = place.find_known(now);
        let has_key = known.as_ref().is_some_and(|keys| keys.has(&question.kid));
        let fetch = place.is_due(now, has_key) && (known.is_some() || self.strangers.take(now));
        if fetch {
            place.attempt = Some(Attempt { begun: now, state: State::UnderWay });
        }
        match known {
            Some(keys) if has_key => Asked { answer: Some((asker, Answer::Keys(keys))), fetch },
            // Whoever lacks a key waits for the next answer, if there is one to come.
            _ if place.is_under_way() && self.waiting < limits::JWKS_WAITING_MAX => {
                place.waiting.push((question.kid.clone(), asker));
                self.waiting += 1;
                Asked { answer: None, fetch }
            }
            // It was asked for a moment ago, and the issuer had no such key.
            Some(keys) if place.has_succeeded() => Asked { answer: Some((asker, Answer::Keys(keys))), fetch },
            _ => Asked { fetch, ..unavailable(asker) },
        }
    }

    /// What asking for the keys behind `url` came to, `None` for nothing: whom to tell what.
    pub fn fetched(&mut self, now: Duration, url: &str, keys: Option<KeySet>) -> Vec<(W, Answer)> {
        let Some(place) = self.places.get_mut(url) else { return Vec::new() };
        let state = if keys.is_some() { State::Succeeded } else { State::Failed };
        if let Some(attempt) = &mut place.attempt {
            attempt.state = state;
        }
        if let Some(keys) = keys {
            place.known = Some(Known { keys: keys.into(), since: now });
        }
        let known = place.find_known(now);
        let waiting = std::mem::take(&mut place.waiting);
        self.waiting -= waiting.len();
        let answer = |kid: &str| match &known {
            // A key that the old set lacks may be in the one that could not be had.
            Some(keys) if state == State::Succeeded || keys.has(kid) => Answer::Keys(Arc::clone(keys)),
            _ => Answer::Unavailable,
        };
        waiting.into_iter().map(|(kid, asker)| (asker, answer(&kid))).collect()
    }

    /// Whether `url` has a place, or may have one: that of the one which was not used for longest, of those
    /// that gave no keys if there are such.
    fn make_room(&mut self, url: &str) -> bool {
        if self.places.contains_key(url) || self.places.len() < limits::JWKS_PLACES_MAX {
            return true;
        }
        let idle = self.places.iter().filter(|(_, place)| !place.is_under_way());
        let oldest = idle.min_by_key(|(_, place)| (place.known.is_some(), place.used));
        let Some(url) = oldest.map(|(url, _)| url.clone()) else { return false };
        self.places.remove(&url);
        true
    }
}

impl<W> Default for Place<W> {
    fn default() -> Place<W> {
        Place { known: None, attempt: None, waiting: Vec::new(), used: Duration::ZERO }
    }
}

impl<W> Place<W> {
    /// The keys, unless they are too old to be believed.
    fn find_known(&self, now: Duration) -> Option<Arc<KeySet>> {
        let known = self.known.as_ref().filter(|known| now < known.since + limits::JWKS_SERVED_MAX)?;
        Some(Arc::clone(&known.keys))
    }

    /// Whether to ask for the keys now.
    fn is_due(&self, now: Duration, has_key: bool) -> bool {
        let Some(attempt) = &self.attempt else { return true };
        let wait = match attempt.state {
            State::UnderWay => return false,
            State::Failed => limits::JWKS_RETRY_MIN,
            State::Succeeded if has_key => limits::JWKS_REFRESH_AFTER,
            // Anybody can make up names of keys.
            State::Succeeded => limits::JWKS_UNKNOWN_KID_MIN,
        };
        now >= attempt.begun + wait
    }

    fn is_under_way(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.state == State::UnderWay)
    }

    fn has_succeeded(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.state == State::Succeeded)
    }
}

/// Requests to URLs that have given no keys yet: anybody whose token names an issuer that a pattern lets
/// pass can cause one.
#[derive(Default)]
struct Budget {
    minute: u64,
    taken: u32,
}

impl Budget {
    fn take(&mut self, now: Duration) -> bool {
        let minute = now.as_secs() / 60;
        if minute != self.minute {
            *self = Budget { minute, taken: 0 };
        }
        let has_left = self.taken < limits::JWKS_STRANGERS_PER_MINUTE;
        self.taken += u32::from(has_left);
        has_left
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
