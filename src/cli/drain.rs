//! `fanfare drain`: tells a server of this machine to drain and end, and waits until it has.
//!
//! By SIGTERM, so that whoever may end the process may drain it, and nobody else: there is nothing
//! to protect at a port.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use serde_json::json;

use crate::config::{self, DrainArguments, Flags, Output};

use super::{Failure, print_json, process};

pub fn run(arguments: &DrainArguments) -> Result<(), Failure> {
    let Asked { pid, timeout } = Asked::of(arguments)?;
    let begun = Instant::now();
    let server = process::open(pid)?;
    process::send(Signal::TERM, pid, &server)?;
    if arguments.output.output == Output::Text {
        eprintln!("fanfare: process {pid} drains");
    }
    wait(pid, &server, timeout)?;
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
        Ok(Asked { pid: process::read_pid(&path)?, timeout })
    }
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

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::super::Exit;
    use super::*;

    #[test]
    fn the_end_is_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a process id");
        let child_process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("it is there");
        assert_eq!(wait(pid, &child_process, Duration::ZERO).expect_err("it runs").exit, Exit::Failed);
        process::send(Signal::TERM, pid, &child_process).expect("it is ours");
        assert_eq!(wait(pid, &child_process, Duration::from_secs(10)), Ok(()));
        child.wait().expect("it ended");
    }
}
