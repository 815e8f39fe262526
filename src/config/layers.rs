//! File, environment and flags, laid over one another and read as one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::document::{Table, Value};
use super::environment::Environment;
use super::flags::Flags;
use super::load::build;
use super::options::Options;
use super::settings::{self, Missing, Scope};
use super::source::{ConfigError, Format, Problems, Source, Span, Warning};
use super::{advice, check, dev, document};

/// Where a configuration comes from, to read it again.
#[derive(Clone, Debug)]
pub struct Layers {
    pub environment: Environment,
    pub flags: Flags,
}

impl Layers {
    /// The environment of this process under these flags.
    pub fn of_process(flags: Flags) -> Layers {
        Layers { environment: Environment::of_process(), flags }
    }

    pub fn read(&self) -> Result<Configuration, ConfigError> {
        load_under(&self.environment, &self.flags)
    }
}

/// A configuration that was read and is right.
pub struct Configuration {
    pub source: Source,
    /// File, environment and flags as one tree.
    pub table: Table,
    pub options: Options,
    /// What does nothing, or may not be meant as it is.
    pub warnings: Vec<Warning>,
    /// What is right by itself, and leaves a hub that hardly anybody can want.
    pub advice: Vec<Warning>,
}

/// Reads the file that the flags name under the environment of the process; dev mode with neither.
pub fn load(flags: &Flags) -> Result<(Options, Vec<Warning>), ConfigError> {
    load_under(&Environment::of_process(), flags).map(|Configuration { options, warnings, .. }| (options, warnings))
}

/// The same under this environment.
pub fn load_under(environment: &Environment, flags: &Flags) -> Result<Configuration, ConfigError> {
    match &flags.config {
        Some(path) => read_layers(read_file(path)?, environment, flags),
        None if environment.sets_keys() => read_layers(Source::none(), environment, flags),
        None => dev::configuration(environment, flags),
    }
}

/// The options of a file with this name and text, without an environment.
pub fn read(name: &str, text: &str, flags: &Flags) -> Result<(Options, Vec<Warning>), ConfigError> {
    let source = Source { format: format_of(name)?, name: name.into(), text: text.into() };
    let Configuration { options, warnings, .. } = read_layers(source, &Environment::default(), flags)?;
    Ok((options, warnings))
}

/// Flags over the environment over the file.
///
/// All that is wrong is told at once; only broken syntax hides the rest of the file.
pub fn read_layers(source: Source, environment: &Environment, flags: &Flags) -> Result<Configuration, ConfigError> {
    let mut problems = Problems::new(&source);
    let mut table = document::parse(&source, &mut problems);
    environment.lay_over(&mut table, flags.strict, &mut problems);
    for (flag, path, value) in flags.settings() {
        document::set(&mut table, path, Value::Text(value), &Span::Flag(flag));
    }
    let mut missing = Vec::new();
    settings::check(&table, "", &mut problems, &mut missing);
    match flags.strict {
        true => refuse(&missing, &mut problems),
        false => warn(&missing, &mut problems),
    }
    let root = Scope::root(&table);
    let options = build(&root, flags, &mut problems);
    check::all(&root, &options, flags.allow_insecure, &mut problems);
    let advice = advice::all(&root, &options, &source);
    let warnings = problems.into_result()?;
    Ok(Configuration { source, table, options, warnings, advice })
}

impl Configuration {
    /// Where the process id is written, if it is.
    pub fn pid_file(&self) -> Option<String> {
        match &document::find_path(&self.table, "pid_file")?.value {
            Value::Text(path) if !path.is_empty() => Some(path.clone()),
            _ => None,
        }
    }
}

fn read_file(path: &Path) -> Result<Source, ConfigError> {
    let name = path.display().to_string();
    let format = format_of(&name)?;
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match file {
        Err(error) => Err(ConfigError::new(format!("{name}: {error}"))),
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => {
            Err(ConfigError::new(format!("{name}: a configuration has no more than {FILE_BYTES_MAX} bytes")))
        }
        Ok(_) => Ok(Source { name, text, format }),
    }
}

fn format_of(name: &str) -> Result<Format, ConfigError> {
    let message = || format!("{name}: a configuration file ends in .toml, .yaml, .yml or .json");
    Format::of(name).ok_or_else(|| ConfigError::new(message()))
}

fn refuse(missing: &[Missing], problems: &mut Problems<'_>) {
    for Missing { path, span, .. } in missing {
        problems.add(Some(span.clone()), format!("{path} does nothing here yet, and --strict refuses such keys"));
    }
}

/// One warning for all keys of Centrifugo that do nothing here.
fn warn(missing: &[Missing], problems: &mut Problems<'_>) {
    let list = |chosen: &dyn Fn(&&Missing) -> bool| {
        let chosen = missing.iter().filter(chosen);
        let chosen = chosen.map(|Missing { path, span, .. }| format!("{path} ({})", problems.place_of(span)));
        chosen.collect::<Vec<_>>().join(", ")
    };
    let (all, restricting) = (list(&|_| true), list(&|missing| missing.restricts));
    let mut text = format!("these keys of Centrifugo do nothing here yet: {all}");
    if !restricting.is_empty() {
        text = format!("{text}; without {restricting} this node is more open than the file says");
    }
    if !missing.is_empty() {
        problems.warn(None, text);
    }
}

/// Chosen: some hundred thousand namespaces; a device without an end is no configuration.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
