//! The file of a comparison: every single run, and where it was made.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Doing, Failure};
use crate::machine::Machine;

/// Scenarios in the order of the document, each with the circumstances of its own measurement: they
/// may have been measured one by one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    pub scenarios: Vec<Measured>,
}

/// One scenario, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub scenario: String,
    pub date: String,
    pub machine: Machine,
    pub versions: Vec<String>,
    pub command: String,
    /// Length of each measured phase, where the scenario has one.
    pub seconds: Option<f64>,
    pub runs: Vec<Run>,
    /// Runs without a result, and why.
    pub problems: Vec<String>,
}

/// What the generator reported of one contender in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub contender: String,
    pub round: u32,
    pub report: Value,
}

impl Saved {
    /// Reads a file; one that is not there is empty.
    pub fn read(file: &Path) -> Result<Saved, Failure> {
        if !file.exists() {
            return Ok(Saved::default());
        }
        let text = fs::read_to_string(file).doing(format_args!("reading {}", file.display()))?;
        serde_json::from_str(&text).doing(format_args!("reading {}", file.display()))
    }

    /// Puts `measured` in the place of what the file had of the same scenario.
    pub fn put(&mut self, measured: Measured) {
        match self.scenarios.iter_mut().find(|old| old.scenario == measured.scenario) {
            Some(old) => *old = measured,
            None => self.scenarios.push(measured),
        }
    }

    /// A line for each run, so that a new measurement is a readable difference.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let mut text = String::from("{\"scenarios\":[");
        for (index, measured) in self.scenarios.iter().enumerate() {
            let Measured { scenario, date, machine, versions, command, seconds, runs, problems } = measured;
            let head = serde_json::json!({
                "scenario": scenario, "date": date, "machine": machine, "versions": versions, "command": command,
                "seconds": seconds, "problems": problems,
            });
            let head = head.to_string();
            text += if index > 0 { ",\n" } else { "\n" };
            text += head.trim_end_matches('}');
            text += ",\"runs\":[";
            for (index, run) in runs.iter().enumerate() {
                text += if index > 0 { ",\n" } else { "\n" };
                text += &serde_json::to_string(run).doing("writing a run")?;
            }
            text += "]}";
        }
        text += "]}\n";
        fs::write(file, text).doing(format_args!("writing {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("runs.json");
        assert!(Saved::read(&file).expect("empty").scenarios.is_empty());
        let run = |round| Run { contender: "hub".into(), round, report: serde_json::json!({"lost": 0}) };
        let measured = |scenario: &str, rounds: u32| Measured {
            scenario: scenario.into(),
            date: "2026-11-26".into(),
            machine: Machine::look().expect("a machine"),
            versions: vec!["hub: 0.1.0".into()],
            command: "loadtest compare".into(),
            seconds: Some(2.0),
            runs: (1..=rounds).map(run).collect(),
            problems: vec![],
        };
        let mut saved = Saved::default();
        saved.put(measured("echo", 1));
        saved.put(measured("rooms", 2));
        saved.put(measured("echo", 3));
        saved.write(&file).expect("written");
        let read = Saved::read(&file).expect("read");
        let counts: Vec<_> = read.scenarios.iter().map(|one| (one.scenario.as_str(), one.runs.len())).collect();
        assert_eq!(counts, [("echo", 3), ("rooms", 2)]);
    }
}
