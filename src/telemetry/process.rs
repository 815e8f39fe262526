//! What the kernel says about this process.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// One look at the process. A value that could not be read is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessSample {
    /// User and system time of all threads.
    pub cpu: Duration,
    pub resident_bytes: u64,
    pub threads: u64,
    pub descriptors: u64,
    /// The soft limit of descriptors.
    pub descriptors_max: u64,
}

impl ProcessSample {
    pub fn take() -> ProcessSample {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ProcessSample {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            resident_bytes: resident_bytes_in(&status),
            threads: find_number(&status, "Threads:"),
            descriptors: count_descriptors(),
            descriptors_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        }
    }
}

/// Memory of the process that is in RAM, without the rest of a sample: about 30 us. 0 if it could not be read.
pub fn resident_bytes() -> u64 {
    resident_bytes_in(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn resident_bytes_in(status: &str) -> u64 {
    find_number(status, "VmRSS:") * 1024
}

/// The number behind `field` in the text of /proc/self/status.
fn find_number(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The size of /proc/self/fd is its number of entries since Linux 6.2, and 0 before; then they
/// are counted, which takes milliseconds with 100,000 of them.
fn count_descriptors() -> u64 {
    match fs::metadata("/proc/self/fd").map_or(0, |metadata| metadata.len()) {
        0 => fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        size => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_says_something_plausible() {
        let sample = ProcessSample::take();
        assert!(sample.resident_bytes > 100_000, "{sample:?}");
        assert!(sample.threads >= 1, "{sample:?}");
        assert!(sample.descriptors >= 3 && sample.descriptors <= sample.descriptors_max, "{sample:?}");
        assert!(sample.cpu > Duration::ZERO, "{sample:?}");
    }

    #[test]
    fn numbers_are_found_by_field() {
        let status = "VmPeak:\t 10 kB\nVmRSS:\t  2048 kB\nThreads:\t7\n";
        assert_eq!(find_number(status, "VmRSS:"), 2048);
        assert_eq!(find_number(status, "Threads:"), 7);
        assert_eq!(find_number(status, "Missing:"), 0);
    }
}
