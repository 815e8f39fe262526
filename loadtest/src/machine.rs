//! Where figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Runnable tasks over the last minute when the run began: other work blurs figures.
    pub load_at_start: String,
}

impl Machine {
    pub fn look() -> Result<Machine, Failure> {
        let read = |path: &str| fs::read_to_string(path).doing(format_args!("reading {path}"));
        let value_of = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let memory_kib = value_of(&read("/proc/meminfo")?, "MemTotal").trim_end_matches(" kB").parse::<f64>();
        Ok(Machine {
            cpu: value_of(&read("/proc/cpuinfo")?, "model name"),
            cores: std::thread::available_parallelism().doing("counting cores")?.get(),
            memory_gib: memory_kib.unwrap_or(f64::NAN) / (1024.0 * 1024.0),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_at_start: read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

/// The first line that `program` prints.
pub fn first_line_of(program: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.doing(format_args!("starting {} {}", program.display(), arguments.join(" ")))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}
