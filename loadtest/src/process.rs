//! What a process costs, as the kernel counts it.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

use crate::failure::{Doing, Failure};

/// The run time of each thread of some processes.
///
/// From `/proc/PID/task/*/schedstat`: nanoseconds of the scheduler, against the 10 ms ticks of
/// `/proc/PID/stat`. A thread that ends between two readings is not counted; the servers under test
/// keep theirs.
#[derive(Debug)]
pub struct CpuReading(HashMap<String, u64>);

impl CpuReading {
    pub fn take(pids: &[u32]) -> Result<CpuReading, Failure> {
        // Ids of threads are the machine's: no two processes have the same.
        let mut threads = HashMap::new();
        for pid in pids {
            CpuReading::read(*pid, &mut threads)?;
        }
        Ok(CpuReading(threads))
    }

    fn read(pid: u32, threads: &mut HashMap<String, u64>) -> Result<(), Failure> {
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).doing(format_args!("reading {tasks}"))? {
            let task = task.doing(format_args!("reading {tasks}"))?;
            // A thread may end between the listing and this.
            let Ok(schedstat) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let run_ns = schedstat.split_whitespace().next().and_then(|first| first.parse().ok());
            let run_ns = run_ns.ok_or_else(|| Failure::new(format!("{tasks}: schedstat reads {schedstat:?}")))?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), run_ns);
        }
        Ok(())
    }

    /// CPU time of all threads since `earlier`; threads that are new count whole.
    pub fn since(&self, earlier: &CpuReading) -> Duration {
        let run_ns = |(thread, now): (&String, &u64)| now.saturating_sub(*earlier.0.get(thread).unwrap_or(&0));
        Duration::from_nanos(self.0.iter().map(run_ns).sum())
    }
}

/// Reads both ends of a measured phase.
pub struct Meter {
    server_pids: Vec<u32>,
    server: CpuReading,
    own: CpuReading,
    begin: Instant,
}

/// What a phase took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub seconds: f64,
    /// All threads of all processes of the server; `None` when none is known.
    pub server_cpu: Option<Duration>,
    pub own_cpu: Duration,
}

impl Meter {
    pub fn start(server_pids: &[u32]) -> Result<Meter, Failure> {
        let server = CpuReading::take(server_pids)?;
        let own = CpuReading::take(&[std::process::id()])?;
        Ok(Meter { server_pids: server_pids.to_vec(), server, own, begin: Instant::now() })
    }

    pub fn stop(&self) -> Result<Spent, Failure> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let server_cpu = CpuReading::take(&self.server_pids)?.since(&self.server);
        let server_cpu = (!self.server_pids.is_empty()).then_some(server_cpu);
        let own_cpu = CpuReading::take(&[std::process::id()])?.since(&self.own);
        Ok(Spent { seconds, server_cpu, own_cpu })
    }
}

impl Spent {
    /// Microseconds of the server's CPU for each of `count`.
    pub fn server_us_each(&self, count: u64) -> Option<f64> {
        self.server_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / count.max(1) as f64)
    }

    /// The same of the generator's.
    pub fn own_us_each(&self, count: u64) -> f64 {
        self.own_cpu.as_secs_f64() * 1e6 / count.max(1) as f64
    }
}

/// Memory that processes would give back by ending: their private pages and their share of the
/// others (Pss of `/proc/PID/smaps_rollup`), in bytes. Kernel memory of their sockets is not in it.
pub fn pss_bytes(pids: &[u32]) -> Result<u64, Failure> {
    pids.iter().map(|pid| pss_bytes_of(*pid)).sum()
}

fn pss_bytes_of(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).doing(format_args!("reading {path}"))?;
    let kib =
        rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Failure::new(format!("{path} has no Pss line")))
}

/// Descriptors that the process has open.
pub fn descriptors(pid: u32) -> Result<usize, Failure> {
    let path = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&path).doing(format_args!("reading {path}"))?.count())
}

/// Raises this process's soft limit of descriptors to the hard one, and fails when that is not
/// enough for `connections`.
pub fn raise_descriptor_limit(connections: usize) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Standard streams, poll set, /proc files and some to spare.
    const OTHERS: u64 = 32;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(std::io::Error::from)
        .doing("raising the limit of descriptors")?;
    match maximum {
        Some(limit) if limit < connections as u64 + OTHERS => Err(Failure::new(format!(
            "{connections} connections need more descriptors than the hard limit of {limit}; \
             raise it (ulimit -Hn) or run several generators"
        ))),
        _ => Ok(()),
    }
}

/// Lets every other thread of this core go first, where the kernel allows that.
pub fn lower_this_thread() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_err() {
        eprintln!("the kernel refuses SCHED_IDLE: what disturbs may hold up what measures");
    }
}

/// Keeps this thread on `core`.
pub fn pin_to_core(core: usize) -> Result<(), Failure> {
    match core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        true => Ok(()),
        false => Err(Failure::new(format!("this process may not run on core {core}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_is_counted() {
        let pid = std::process::id();
        let before = CpuReading::take(&[pid]).expect("own threads");
        let begin = std::time::Instant::now();
        while CpuReading::take(&[pid]).expect("own threads").since(&before) < Duration::from_millis(20) {
            assert!(begin.elapsed() < Duration::from_secs(30), "20 ms of work are never counted");
        }
    }

    #[test]
    fn own_memory_is_counted() {
        let pid = std::process::id();
        let before = pss_bytes(&[pid]).expect("own memory");
        let block = vec![1_u8; 32 << 20];
        let grown = pss_bytes(&[pid]).expect("own memory") - before;
        assert!((30 << 20..40 << 20).contains(&grown), "{grown} bytes for {}", block.len());
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let failure = CpuReading::take(&[u32::MAX]).expect_err("no such process");
        assert!(failure.to_string().contains("/proc/4294967295/task"), "{failure}");
    }
}
