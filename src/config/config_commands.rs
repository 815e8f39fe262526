//! Arguments of `fanfare config` and `fanfare reload`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::flags::Flags;
use super::source::Format;

/// Write, check and show configurations
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a configuration to begin with: every key with its default, and fresh secrets
    Init(InitArguments),
    /// Read the configuration as the hub would, and say everything that is wrong or odd
    Check(CheckArguments),
    /// Show every value that holds, with what set it; secrets are masked
    Show(ShowArguments),
    /// Print the JSON Schema of configurations
    Schema,
}

#[derive(Args, Clone, Debug)]
pub struct CheckArguments {
    #[command(flatten)]
    pub flags: Flags,

    /// Connect to the engines too, as the hub would
    #[arg(long)]
    pub connect: bool,
}

#[derive(Args, Clone, Debug)]
pub struct InitArguments {
    #[arg(long, value_enum, default_value_t)]
    pub format: InitFormat,

    /// Write this file, which must not be there; -: print it [default: fanfare.<format>]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InitFormat {
    #[default]
    Toml,
    Yaml,
    Json,
}

impl InitFormat {
    pub fn format(self) -> Format {
        match self {
            InitFormat::Toml => Format::Toml,
            InitFormat::Yaml => Format::Yaml,
            InitFormat::Json => Format::Json,
        }
    }
}

#[derive(Args, Clone, Debug)]
pub struct ShowArguments {
    #[command(flatten)]
    pub flags: Flags,

    #[arg(long, value_enum, default_value_t)]
    pub output: ShowOutput,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ShowOutput {
    #[default]
    Toml,
    Json,
}

#[derive(Args, Clone, Debug)]
pub struct ReloadArguments {
    /// The configuration of the running hub: it is checked first, and its pid_file says which process it is
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,

    /// The process, for example 1 in a container
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
}
