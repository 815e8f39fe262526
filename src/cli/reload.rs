//! `fanfare reload`: tells a hub of this machine to read its configuration again.
//!
//! By SIGHUP, so that whoever may end the process may do it, and nobody else: there is nothing to
//! protect at a port. The file is checked first; how it ended the hub's log says, and the metric
//! `fanfare_config_last_reload_success`.

use rustix::process::Signal;

use super::{Failure, process};
use crate::config::{Flags, Layers, ReloadArguments};

pub fn run(arguments: ReloadArguments) -> Result<(), Failure> {
    let pid = checked_process(arguments)?;
    process::send(Signal::HUP, pid, &process::open(pid)?)?;
    println!("told process {pid} to read its configuration again; its log says how that ended");
    Ok(())
}

/// The process to tell. A configuration that is wrong is a failed check.
fn checked_process(arguments: ReloadArguments) -> Result<i32, Failure> {
    let mut pid = arguments.pid;
    if arguments.config.is_some() {
        let flags = Flags { config: arguments.config, allow_insecure: true, ..Flags::default() };
        let configuration = Layers::of_process(flags).read().map_err(Failure::failed)?;
        if let (None, Some(path)) = (pid, configuration.pid_file()) {
            pid = Some(process::read_pid(path.as_ref())?);
        }
    }
    pid.ok_or_else(|| Failure::usage("which process? Set pid_file and give -c FILE, or give --pid"))
}
