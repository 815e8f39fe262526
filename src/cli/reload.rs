//! `fanfare reload`: tells a hub of this machine to read its configuration again.
//!
//! By SIGHUP, so that whoever may end the process may do it, and nobody else: there is nothing to
//! protect at a port. The file is checked first; how it ended the hub's log says, and the metric
//! `fanfare_config_last_reload_success`. The signal goes by pidfd, to a process of our own name: never
//! to another that was given the number of one that is gone.
//!
//! Exit codes: 0 the hub was told, 1 the configuration is wrong, or there is no hub, 2 it is not said
//! which one.

use std::fs;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::config::{Flags, Layers, ReloadArguments};

pub fn run(arguments: ReloadArguments) -> ExitCode {
    match reload(arguments) {
        Ok(pid) => {
            println!("told process {pid} to read its configuration again; its log says how that ended");
            ExitCode::SUCCESS
        }
        Err((code, problem)) => {
            eprintln!("fanfare: {problem}");
            ExitCode::from(code)
        }
    }
}

/// Returns the process that was told. Errors: exit code and reason.
fn reload(arguments: ReloadArguments) -> Result<i32, (u8, String)> {
    let mut pid = arguments.pid;
    if arguments.config.is_some() {
        let flags = Flags { config: arguments.config, allow_insecure: true, ..Flags::default() };
        let configuration = Layers::of_process(flags).read().map_err(|error| (FAILED, error.to_string()))?;
        if let (None, Some(path)) = (pid, configuration.pid_file()) {
            pid = Some(read_pid(&path)?);
        }
    }
    let Some(pid) = pid else {
        return Err((USAGE, "which process? Set pid_file and give -c FILE, or give --pid".into()));
    };
    tell(pid).map_err(|problem| (FAILED, problem))?;
    Ok(pid)
}

fn read_pid(path: &str) -> Result<i32, (u8, String)> {
    let text = fs::read_to_string(path).map_err(|error| (FAILED, format!("no hub is running: {path}: {error}")))?;
    text.trim().parse().map_err(|_| (FAILED, format!("{path} holds no process id")))
}

fn tell(pid: i32) -> Result<(), String> {
    let gone = || format!("there is no process {pid}: no hub is running");
    let named = Pid::from_raw(pid).ok_or_else(gone)?;
    let process = pidfd_open(named, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH | Errno::INVAL => gone(),
        error => format!("process {pid}: {error}"),
    })?;
    // After it was opened: what is read is about this process, or about none.
    let name = |who: &str| fs::read_to_string(format!("/proc/{who}/comm")).unwrap_or_default();
    let (its_name, own_name) = (name(&pid.to_string()), name("self"));
    if its_name != own_name {
        return Err(format!("process {pid} is {:?} and no {:?}", its_name.trim(), own_name.trim()));
    }
    pidfd_send_signal(process, Signal::HUP).map_err(|error| match error {
        Errno::PERM => format!("process {pid} belongs to somebody else: tell it as its user or as root"),
        error => format!("process {pid}: {error}"),
    })
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
