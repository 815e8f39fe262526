//! How long a call takes on the thread that makes it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of one call, CPU time of this thread, over a tenth of a second. `call` gets its number.
pub fn microseconds(mut call: impl FnMut(usize)) -> f64 {
    let begin = thread_time();
    let mut calls = 0;
    while thread_time() - begin < Duration::from_millis(100) {
        (0..4).for_each(|n| call(calls + n));
        calls += 4;
    }
    (thread_time() - begin).as_secs_f64() * 1e6 / calls as f64
}

pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
