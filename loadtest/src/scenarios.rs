//! What a comparison measures: each scenario with its contenders, figures and goals.
//!
//! The goals are the project's own, set before the measurement.

use crate::servers::{Peer, Recipe};

mod contenders;
mod figures;
mod nodes;
mod table;

pub use table::SCENARIOS;

/// One scenario of a comparison.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// What happens, in a sentence.
    pub summary: &'static str,
    /// The subcommand that runs it, and its flags for every contender.
    pub command: &'static str,
    pub flags: &'static [&'static str],
    /// The flag that takes the length of the measured phase, if there is one.
    pub seconds_flag: Option<&'static str>,
    pub contenders: &'static [Contender],
    /// The first one is drawn.
    pub figures: &'static [Figure],
    pub goals: &'static [Goal],
}

/// Who is measured in a scenario, and how.
#[derive(Debug)]
pub struct Contender {
    pub label: &'static str,
    pub recipe: Recipe,
    pub flags: &'static [&'static str],
    pub cores: Cores,
    /// Servers that run at the same time, each with a generator of its own and on all cores; 0: one
    /// server, on `cores`.
    pub processes: u16,
    /// Where it stands on the plot's axis, when the scenario is about a count.
    pub count: Option<u32>,
}

/// Which cores a server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The server's own.
    One,
    /// All, the generator's too.
    All,
}

/// One number of a report.
#[derive(Debug)]
pub struct Figure {
    pub title: &'static str,
    pub unit: &'static str,
    pub value: fn(&serde_json::Value) -> Option<f64>,
}

/// What a figure of a contender may be at most: the first one, where the goal names none.
#[derive(Debug)]
pub enum Goal {
    /// So much of another contender's.
    Ratio { of: &'static str, against: &'static str, at_most: f64 },
    /// So much in its own unit.
    Value { of: &'static str, at_most: f64 },
    /// The same of a figure that is not the first.
    Bound { of: &'static str, figure: &'static Figure, at_most: f64 },
    /// So much more than another contender's.
    More { of: &'static str, against: &'static str, at_most: f64 },
    /// The quiet room's p99 beside a disturbance: so much of its p99 alone, or so much more,
    /// whichever is larger.
    Beside { of: &'static str, ratio: f64, more_us: f64 },
}

impl Scenario {
    pub fn find(name: &str) -> Option<&'static Scenario> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Whether its contenders differ by a count: it is drawn as a line.
    pub fn is_line(&self) -> bool {
        self.contenders.iter().any(|contender| contender.count.is_some())
    }
}

impl Contender {
    const fn new(label: &'static str, recipe: Recipe) -> Contender {
        Contender { label, recipe, flags: &[], cores: Cores::One, processes: 0, count: None }
    }

    const fn plain(peer: Peer, label: &'static str) -> Contender {
        Contender::new(label, Recipe::plain(peer))
    }

    const fn with_flags(self, flags: &'static [&'static str]) -> Contender {
        Contender { flags, ..self }
    }

    const fn on_all_cores(self) -> Contender {
        Contender { cores: Cores::All, ..self }
    }

    const fn in_processes(self, processes: u16) -> Contender {
        Contender { processes, ..self }
    }

    const fn at(self, count: u32) -> Contender {
        Contender { count: Some(count), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn goals_name_contenders() {
        for scenario in SCENARIOS {
            let labels: HashSet<_> = scenario.contenders.iter().map(|contender| contender.label).collect();
            assert_eq!(labels.len(), scenario.contenders.len(), "{}: two contenders of one name", scenario.name);
            for goal in scenario.goals {
                let named = match goal {
                    Goal::Ratio { of, against, .. } | Goal::More { of, against, .. } => vec![of, against],
                    Goal::Value { of, .. } | Goal::Bound { of, .. } | Goal::Beside { of, .. } => vec![of],
                };
                assert!(named.iter().all(|label| labels.contains(*label)), "{}: {goal:?}", scenario.name);
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
