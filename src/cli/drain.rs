//! `fanfare drain`: tells a server of this machine to drain and end, and waits until it has.
//!
//! By SIGTERM, so that whoever may end the process may drain it, and nobody else: there is nothing
//! to protect at a port. The signal goes by pidfd: never to another process that was given the number
//! of one that is gone.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;

use crate::config::{self, DrainArguments, Flags, Output};

use super::{Failure, print_json};

pub fn run(arguments: &DrainArguments) -> Result<(), Failure> {
    let Asked { pid, timeout } = Asked::of(arguments)?;
    let begun = Instant::now();
    let process = open(pid)?;
    signal(pid, &process)?;
    if arguments.output.output == Output::Text {
        eprintln!("fanfare: process {pid} drains");
    }
    wait(pid, &process, timeout)?;
    let seconds = begun.elapsed().as_secs_f64();
    match arguments.output.output {
        Output::Text => println!("process {pid} has ended after {seconds:.1} s"),
        Output::Json => print_json(&json!({ "pid": pid, "seconds": seconds })),
    }
    Ok(())
}

/// What the command line comes to.
struct Asked {
    pid: i32,
    timeout: Duration,
}

impl Asked {
    fn of(arguments: &DrainArguments) -> Result<Asked, Failure> {
        let flags = Flags { config: arguments.config.clone(), allow_insecure: true, ..Flags::default() };
        let options = match &arguments.config {
            Some(_) => Some(config::load(&flags).map_err(Failure::usage)?.0),
            None => None,
        };
        let drains_for = options.as_ref().map_or(UNKNOWN_DRAIN, |options| options.shutdown_timeout);
        let timeout = arguments.timeout.unwrap_or(drains_for + GRACE);
        if let Some(pid) = arguments.pid {
            return Ok(Asked { pid, timeout });
        }
        let Some(path) = options.and_then(|options| options.pid_file) else {
            return Err(Failure::usage("which process? Set pid_file and give -c FILE, or give --pid"));
        };
        let named = path.display();
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::unreachable(format!("the server is not running: {named}: {error}")))?;
        let pid = text.trim().parse().map_err(|_| Failure::usage(format!("{named} holds no process id")))?;
        Ok(Asked { pid, timeout })
    }
}

/// The process, if it is a server of this name.
fn open(pid: i32) -> Result<OwnedFd, Failure> {
    let gone = || Failure::unreachable(format!("there is no process {pid}: the server is not running"));
    let named = Pid::from_raw(pid).ok_or_else(gone)?;
    let process = pidfd_open(named, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH | Errno::INVAL => gone(),
        error => Failure::failed(format!("process {pid}: {error}")),
    })?;
    // After it was opened: what is read is about this process, or about none.
    let name = |who: &str| fs::read_to_string(format!("/proc/{who}/comm")).unwrap_or_default();
    let (its_name, own_name) = (name(&pid.to_string()), name("self"));
    match its_name == own_name {
        true => Ok(process),
        false => Err(Failure::unreachable(format!(
            "process {pid} is {:?} and no {:?}: the server is not running",
            its_name.trim(),
            own_name.trim()
        ))),
    }
}

fn signal(pid: i32, process: &OwnedFd) -> Result<(), Failure> {
    pidfd_send_signal(process, Signal::TERM).map_err(|error| match error {
        Errno::PERM => {
            Failure::failed(format!("process {pid} belongs to somebody else: drain it as its user or as root"))
        }
        error => Failure::failed(format!("process {pid}: {error}")),
    })
}

/// A pidfd is readable when its process has ended.
fn wait(pid: i32, process: &OwnedFd, time: Duration) -> Result<(), Failure> {
    let time = Timespec::try_from(time).map_err(|_| Failure::usage("--timeout is too long"))?;
    match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&time)) {
        Ok(0) => Err(Failure::failed(format!("process {pid} still drains; a second SIGTERM ends it at once"))),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::failed(format!("waiting for process {pid}: {error}"))),
    }
}

/// The default of `shutdown.timeout`.
const UNKNOWN_DRAIN: Duration = Duration::from_secs(30);

/// Chosen: from the last connection to the end of the process takes milliseconds.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::Exit;
    use super::*;

    #[test]
    fn only_servers_are_signalled() {
        let mut other = Command::new("sleep").arg("60").spawn().expect("a process");
        let pid = i32::try_from(other.id()).expect("a process id");
        assert_eq!(open(pid).expect_err("no server").exit, Exit::Unreachable);
        other.kill().expect("it is still there");
        other.wait().expect("it ends");
        assert_eq!(open(pid).expect_err("gone").exit, Exit::Unreachable);
        assert_eq!(open(0).expect_err("no process").exit, Exit::Unreachable);
    }

    #[test]
    fn the_end_is_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a process id");
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("it is there");
        assert_eq!(wait(pid, &process, Duration::ZERO).expect_err("it runs").exit, Exit::Failed);
        signal(pid, &process).expect("it is ours");
        assert_eq!(wait(pid, &process, Duration::from_secs(10)), Ok(()));
        child.wait().expect("it ended");
    }
}
