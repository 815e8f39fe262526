//! `fanfare doctor`: what stands in the way of serving on this machine with this configuration.
//!
//! Each check is a line: its state, what was measured, and what to do about it. Read the list in
//! `examine` first.

mod machine;
mod reach;
mod settings;

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::config::{self, DoctorArguments, Output};

use super::engines::{self, TryEngines, Verdict};
use super::server::Server;
use super::{Failure, block_on, print_json};

pub fn run(arguments: &DoctorArguments, try_engines: TryEngines) -> Result<(), Failure> {
    let checks = examine(arguments, try_engines)?;
    let failed = checks.iter().filter(|check| check.state == State::Fail).count();
    match arguments.output.output {
        Output::Text => checks.iter().for_each(Check::print),
        Output::Json => print_json(&json!({ "failed": failed, "checks": checks })),
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{failed} of {} checks failed", checks.len()))),
    }
}

fn examine(arguments: &DoctorArguments, try_engines: TryEngines) -> Result<Vec<Check>, Failure> {
    let (options, warnings) = match config::load(&arguments.local.flags()) {
        Ok(loaded) => loaded,
        // Without a configuration nothing else can be judged.
        Err(error) => return Ok(vec![Check::fail("configuration", error, "correct what is named")]),
    };
    let root = Path::new("/");
    let connections = arguments.connections;
    let mut checks = vec![
        settings::configuration(arguments.local.config.as_deref(), &warnings),
        machine::descriptors(machine::descriptors_max(root, options.pid_file.as_deref()), connections),
        machine::backlog(root),
        machine::cpu(root, options.shards),
        machine::memory(root, &options, connections),
        settings::origins(&options),
        settings::api_key(&options),
    ];
    checks.extend(machine::tracked_connections(root, connections));
    checks.extend(settings::insecure(&options));
    checks.extend(settings::certificates(&options));
    checks.extend(engines::examine(&options, try_engines).into_iter().map(|finding| match finding.verdict {
        Verdict::Good => Check::ok("engine", finding.text),
        Verdict::Odd => Check::warn("engine", finding.text, finding.fix),
        Verdict::Bad => Check::fail("engine", finding.text, finding.fix),
    }));
    if !arguments.offline {
        let server = Server::of(&options)?;
        let server = Server { api_key: arguments.key.api_key.clone().or(server.api_key.clone()), ..server };
        checks.extend(block_on(async { Ok(reach::all(&server, &options).await) })?);
    }
    Ok(checks)
}

/// One finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was measured.
    value: String,
    /// What to do; `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(name: &'static str, value: impl ToString) -> Check {
        Check { name, state: State::Ok, value: value.to_string(), fix: None }
    }

    fn warn(name: &'static str, value: impl ToString, fix: impl Into<String>) -> Check {
        Check { name, state: State::Warn, value: value.to_string(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, value: impl ToString, fix: impl Into<String>) -> Check {
        Check { name, state: State::Fail, value: value.to_string(), fix: Some(fix.into()) }
    }

    fn print(&self) {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        println!("{state:<5} {:<14} {}", self.name, self.value.replace('\n', "\n                     "));
        if let Some(fix) = &self.fix {
            println!("{:<20} fix: {fix}", "");
        }
    }
}
