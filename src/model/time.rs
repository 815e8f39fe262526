//! Time as an argument: read once a turn by io, never inside the pure folders.

use std::time::Duration;

/// The instant of the turn that is being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the process (or the simulation) began. Every time-out runs on it.
    pub monotonic: Duration,
    /// Wall clock, milliseconds since 1970 (UTC). Only token expiry looks at it, and who connects may be told.
    pub unix_millis: i64,
}

impl Now {
    pub fn unix_seconds(self) -> i64 {
        self.unix_millis.div_euclid(1000)
    }
}
