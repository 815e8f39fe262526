//! `fanfare version`.

use serde_json::json;

use crate::config::{Output, OutputArguments};

use super::{Failure, print_json};

pub fn run(arguments: OutputArguments) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match arguments.output {
        Output::Text => println!("fanfare {version}"),
        Output::Json => print_json(&json!({
            "name": "fanfare",
            "version": version,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        })),
    }
    Ok(())
}
