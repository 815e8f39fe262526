//! Configuration from outside: text in, options or the exact text of errors and warnings out.

use std::{env, fs};

use fanfare::config::{self, ConfigError, Configuration, Environment, Flags, Options};

mod advice;
mod channels;
mod commands;
mod deltas;
mod engines;
mod environment;
mod errors;
mod options;
mod property;
mod subscriptions;
mod tls;
mod tokens;
mod yaml;

/// The options of a file that is accepted without a word.
fn options(name: &str, text: &str) -> Options {
    let (options, warnings) = config::read(name, text, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(warnings, [], "{text}");
    options
}

/// What is read from a file under an environment of lines `NAME=value`.
fn read_under(text: &str, variables: &str, flags: &Flags) -> Result<Configuration, ConfigError> {
    let pairs = variables.lines().filter_map(|line| line.trim().split_once('='));
    let environment = Environment::new(pairs.map(|(name, value)| (name.into(), value.into())));
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("there is room for a file");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("there is room for a file");
    config::load_under(&environment, &Flags { config: Some(file.path().into()), ..flags.clone() })
}

/// The whole text of the error that refuses a file.
fn error(name: &str, text: &str, flags: &Flags) -> String {
    match config::read(name, text, flags) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_reference_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = config::reference_markdown();
    if env::var_os("UPDATE").is_some() {
        fs::write(path, &page).expect("docs can be written");
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/configuration.md is stale: UPDATE=1 cargo test --test config writes it again");
}
