//! Idle connections in several processes of the server at once: what one process has no descriptors for.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::failure::{Doing, Failure};
use crate::running::Server;
use crate::runs::Generator;
use crate::servers::{Programs, Recipe};

/// Long enough that all connections of all processes are open at the same time: opening takes a
/// process some seconds, and all of them share the machine.
const HOLD_SECONDS_OF_EACH: usize = 6;

/// Starts `processes` servers and a generator for each, with `flags`, at the same time.
///
/// Returns a report as that of one idle run, summed, with the memory that the whole machine lost.
pub fn run(recipe: &Recipe, programs: &Programs, processes: u16, flags: &[&str]) -> Result<Value, Failure> {
    let servers: Vec<Server> = (0..processes).map(|_| recipe.start(programs, None)).collect::<Result<_, _>>()?;
    let hold = (HOLD_SECONDS_OF_EACH * servers.len()).to_string();
    let flags = [flags, &["--opening", "32", "--hold-seconds", &hold]].concat();
    let available_before = available_bytes()?;
    let (reports, available_after) = thread::scope(|scope| {
        let runs: Vec<_> =
            servers.iter().map(|server| scope.spawn(|| Generator::default().run("idle", server, &flags))).collect();
        // The least that is seen while they run is what all of them together took.
        let mut least = available_before;
        while !runs.iter().all(thread::ScopedJoinHandle::is_finished) {
            least = least.min(available_bytes().unwrap_or(least));
            thread::sleep(std::time::Duration::from_millis(200));
        }
        let reports = runs.into_iter().map(|run| run.join().expect("a run does not panic"));
        (reports.collect::<Result<Vec<Value>, Failure>>(), least)
    });
    let reports = reports?;
    let sum = |field: &str| reports.iter().filter_map(|report| report[field].as_f64()).sum::<f64>();
    let (connections, before, after) =
        (sum("connections"), sum("server_pss_bytes_before"), sum("server_pss_bytes_after"));
    Ok(json!({
        "processes": processes,
        "connections": connections,
        "server_pss_bytes_before": before,
        "server_pss_bytes_after": after,
        "bytes_per_connection": (after - before) / connections,
        "machine_bytes_per_connection": (available_before.saturating_sub(available_after)) as f64 / connections,
    }))
}

/// What the kernel says that programs could still have (`MemAvailable`).
fn available_bytes() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/meminfo").doing("reading /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Failure::new("/proc/meminfo has no MemAvailable"))
}
