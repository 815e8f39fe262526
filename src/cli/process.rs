//! A server of this machine, as a process that is signalled.
//!
//! The signal goes by pidfd, to a process of our own name: never to another that was given the number of
//! one that is gone.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Failure;

/// The process that a server has written into its `pid_file`.
pub fn read_pid(path: &Path) -> Result<i32, Failure> {
    let named = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::unreachable(format!("the server is not running: {named}: {error}")))?;
    text.trim().parse().map_err(|_| Failure::usage(format!("{named} holds no process id")))
}

/// The process, if it is a server of this name.
pub fn open(pid: i32) -> Result<OwnedFd, Failure> {
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

pub fn send(signal: Signal, pid: i32, process: &OwnedFd) -> Result<(), Failure> {
    pidfd_send_signal(process, signal).map_err(|error| match error {
        Errno::PERM => {
            Failure::failed(format!("process {pid} belongs to somebody else: ask it as its user or as root"))
        }
        error => Failure::failed(format!("process {pid}: {error}")),
    })
}

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
}
