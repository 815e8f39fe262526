use std::fmt;
use std::time::Duration;

use crate::machine::Allowance;

/// What one run of a scenario measured.
#[derive(Default)]
pub struct Measures {
    taken: Vec<Measure>,
    /// For who reads the log.
    pub notes: Vec<String>,
}

struct Measure {
    what: &'static str,
    took: Duration,
    promised: Duration,
}

impl Measures {
    pub fn add(&mut self, what: &'static str, took: Duration, promised: Duration) {
        self.taken.push(Measure { what, took, promised });
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What took longer than was promised, and than what else the machine did explains.
    pub fn broken(&self, allowance: Allowance) -> Vec<String> {
        let late = self.taken.iter().filter(|measure| measure.took > allowance.bound(measure.promised));
        let told = late.map(|Measure { what, took, promised }| {
            let bound = allowance.bound(*promised);
            format!("{what}: {took:?}, promised {promised:?}, and {bound:?} on a machine as busy as this one")
        });
        told.collect()
    }
}

/// All runs, a row for each scenario and what was measured in it.
#[derive(Default)]
pub struct Table(Vec<Row>);

struct Row {
    scenario: &'static str,
    what: &'static str,
    promised: Duration,
    took: Vec<Duration>,
}

impl Table {
    pub fn add(&mut self, scenario: &'static str, measures: Measures) {
        for Measure { what, took, promised } in measures.taken {
            match self.0.iter_mut().find(|row| row.scenario == scenario && row.what == what) {
                Some(row) => row.took.push(took),
                None => self.0.push(Row { scenario, what, promised, took: vec![took] }),
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario | measured | promise | median | longest | times |\n|---|---|---|---|---|---|")?;
        for row in &self.0 {
            let mut took = row.took.clone();
            took.sort();
            let (median, longest) = (milliseconds(took[took.len() / 2]), milliseconds(took[took.len() - 1]));
            let (promised, count) = (milliseconds(row.promised), took.len());
            writeln!(f, "| {} | {} | {promised} | {median} | {longest} | {count} |", row.scenario, row.what)?;
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
