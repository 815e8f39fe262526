//! `fanfare completions`: made from the same table of flags as the help.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::config::CommandLine;

use super::Failure;

pub fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(shell, &mut CommandLine::command(), "fanfare", &mut script);
    io::stdout().write_all(&script).map_err(Failure::failed)
}
