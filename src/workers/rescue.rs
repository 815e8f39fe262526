//! The end of starvation: which waiting jobs are overdue.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::{JOB_WAIT_LOOK, JOB_WAIT_MAX};

/// Knows which jobs have waited too long, without a time stamp for each.
///
/// Jobs are numbered as they enter the queue. All that had entered at a look which is
/// `JOB_WAIT_MAX` ago have waited at least that long, if they are still there. So a job is found at
/// most one `JOB_WAIT_LOOK` late, and never early.
#[derive(Default)]
pub struct Watch {
    /// When a look was taken, and how many jobs had entered by then. Oldest first; at least
    /// `JOB_WAIT_LOOK` apart, so there are few.
    looks: VecDeque<(Instant, u64)>,
    overdue: u64,
}

impl Watch {
    /// Looks at how many jobs have `entered` so far. Returns how many of them entered so long ago
    /// that they are overdue unless they have left.
    pub fn look(&mut self, now: Instant, entered: u64) -> u64 {
        if self.looks.back().is_none_or(|&(at, _)| now.duration_since(at) >= JOB_WAIT_LOOK) {
            self.looks.push_back((now, entered));
        }
        while let Some(&(at, entered)) = self.looks.front()
            && now.duration_since(at) >= JOB_WAIT_MAX
        {
            self.overdue = entered;
            self.looks.pop_front();
        }
        self.overdue
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_job_is_overdue_between_one_and_one_and_a_quarter_of_the_longest_wait() {
        let start = Instant::now();
        let mut watch = Watch::default();
        let mut look = |ms, entered| watch.look(start + Duration::from_millis(ms), entered);
        assert_eq!(look(0, 1), 0, "just entered");
        assert_eq!(look(10, 2), 0, "too soon for another look");
        assert_eq!(look(25, 3), 0);
        assert_eq!(look(99, 9), 0, "99 ms are not too long");
        assert_eq!(look(100, 9), 1);
        assert_eq!(look(124, 9), 1);
        assert_eq!(look(125, 9), 3, "the second one is found at the next look");
        assert_eq!(look(500, 9), 9);
        assert_eq!(look(600, 9), 9);
    }

    #[test]
    fn looks_are_bounded() {
        let start = Instant::now();
        let mut watch = Watch::default();
        for ms in 0..1000 {
            watch.look(start + Duration::from_millis(ms), ms);
            assert!(watch.looks.len() <= 5, "{}", watch.looks.len());
        }
    }
}
