//! How long to wait before the next connection.

use std::time::Duration;

/// Doubles with each connection that came to nothing, and takes any part of that, so that many clients of a
/// server that was gone don't come back at once. The bounds are those of the SDKs.
#[derive(Default)]
pub struct Backoff {
    failed: u32,
}

impl Backoff {
    pub fn next(&mut self) -> Duration {
        self.within(fastrand::f64())
    }

    /// `part` of the whole: 0 to 1.
    fn within(&mut self, part: f64) -> Duration {
        let whole = DELAY_MIN.saturating_mul(1 << self.failed.min(16)).min(DELAY_MAX);
        self.failed += 1;
        whole.mul_f64(part)
    }
}

const DELAY_MIN: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let wholes: Vec<u128> = (0..8).map(|_| backoff.within(1.0).as_millis()).collect();
        assert_eq!(wholes, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
        assert_eq!(Backoff::default().within(0.5), Duration::from_millis(250));
    }
}
