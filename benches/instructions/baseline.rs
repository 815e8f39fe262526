//! The stored counts, and what a new one means beside them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Counts by subject, and the compiler that they are of.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Baseline {
    pub rustc: String,
    instructions: BTreeMap<String, f64>,
}

/// A new count beside the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// By more than a tenth: the baseline would hide the next rise.
    Better,
    /// By more than a tenth.
    Worse,
    /// There is no stored count.
    New,
}

impl Verdict {
    pub fn of(old: Option<f64>, new: f64) -> Verdict {
        match old {
            None => Verdict::New,
            Some(old) if new > old * (1.0 + TOLERANCE) => Verdict::Worse,
            Some(old) if new < old * (1.0 - TOLERANCE) => Verdict::Better,
            Some(_) => Verdict::Same,
        }
    }
}

impl Baseline {
    /// The stored one; empty when there is none yet.
    pub fn load() -> Baseline {
        match std::fs::read_to_string(path()) {
            Ok(text) => serde_json::from_str(&text).expect("benches/baseline.json was written by this bench"),
            Err(_) => Baseline::default(),
        }
    }

    /// An empty one.
    pub fn of_this_compiler() -> Baseline {
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let output = Command::new(rustc).arg("--version").output().expect("the compiler is there");
        Baseline { rustc: String::from_utf8_lossy(&output.stdout).trim().to_owned(), instructions: BTreeMap::new() }
    }

    pub fn count_of(&self, subject: &str) -> Option<f64> {
        self.instructions.get(subject).copied()
    }

    pub fn set(&mut self, subject: &str, count: f64) {
        self.instructions.insert(subject.to_owned(), count);
    }

    pub fn save(&self) {
        let text = serde_json::to_string_pretty(self).expect("counts are plain numbers");
        std::fs::write(path(), text + "\n").expect("benches/baseline.json can be written");
    }
}

/// Whether what is counted becomes the baseline.
pub fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json")
}

/// How far a count may move unseen. Chosen: far above what allocator and hash seeds move it by.
const TOLERANCE: f64 = 0.1;
