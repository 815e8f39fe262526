//! `fanfare config init | check | show | schema`.
//!
//! Exit codes: 0 done, 1 the configuration is wrong (with --strict also when it is odd), or the file is
//! there already, or an engine can't be used (--connect); 2 the command line is wrong.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{
    self, CheckArguments, ConfigCommand, InitArguments, InitFormat, Layers, Options, ShowArguments, ShowOutput,
    initial_text, schema_json,
};

use super::engines::{self, Finding, TryEngines, Verdict};

pub fn run(command: ConfigCommand, try_engines: TryEngines) -> ExitCode {
    let outcome = match command {
        ConfigCommand::Init(arguments) => init(&arguments),
        ConfigCommand::Check(arguments) => check(arguments, try_engines),
        ConfigCommand::Show(arguments) => show(arguments),
        ConfigCommand::Schema => print(&schema_json()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Readable by its owner alone: it holds secrets.
fn init(arguments: &InitArguments) -> Result<(), String> {
    let text = initial_text(arguments.format.format());
    let path = arguments.file.clone().unwrap_or_else(|| default_name(arguments.format));
    if path.as_os_str() == "-" {
        return print(&text);
    }
    let named = path.display();
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{named} is there already, and stays as it is"),
        _ => format!("{named}: {error}"),
    })?;
    print(&format!("wrote {named}; start with: fanfare -c {named}"))
}

fn default_name(format: InitFormat) -> PathBuf {
    match format {
        InitFormat::Toml => "fanfare.toml".into(),
        InitFormat::Yaml => "fanfare.yaml".into(),
        InitFormat::Json => "fanfare.json".into(),
    }
}

fn check(arguments: CheckArguments, try_engines: TryEngines) -> Result<(), String> {
    let is_strict = arguments.flags.strict;
    let configuration = Layers::of_process(arguments.flags).read().map_err(|error| error.to_string())?;
    if arguments.connect {
        connect(&configuration.options, try_engines)?;
    }
    let odd: Vec<String> = configuration
        .warnings
        .iter()
        .chain(&configuration.advice)
        .map(|warning| format!("warning: {warning}"))
        .collect();
    for warning in &odd {
        eprintln!("{warning}");
    }
    let named = &configuration.source.name;
    match odd.len() {
        0 => print(&format!("{named} is right")),
        count if is_strict => Err(format!("{named} has {count} warnings, and --strict takes none")),
        count => print(&format!("{named} can be used; it has {count} warnings")),
    }
}

/// Says of each engine whether it can be used from here.
fn connect(options: &Options, try_engines: TryEngines) -> Result<(), String> {
    let (mut ready, mut missing) = (Vec::new(), Vec::new());
    for Finding { verdict, text, fix } in engines::examine(options, try_engines) {
        match verdict {
            Verdict::Good => ready.push(text),
            Verdict::Odd => eprintln!("warning: {text}\n  fix: {fix}"),
            Verdict::Bad => missing.push(format!("{text}\n  fix: {fix}")),
        }
    }
    if !ready.is_empty() {
        print(&ready.join("\n"))?;
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
}

fn show(arguments: ShowArguments) -> Result<(), String> {
    let configuration = Layers::of_process(arguments.flags).read().map_err(|error| error.to_string())?;
    print(&match arguments.output {
        ShowOutput::Toml => config::show_toml(&configuration),
        ShowOutput::Json => config::show_json(&configuration),
    })
}

/// A reader that has enough, such as `head`, is no trouble.
fn print(text: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
