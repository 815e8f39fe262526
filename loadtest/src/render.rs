//! Saved runs as Markdown and plots, between markers of a document: so that the document never says
//! anything else than the runs.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::failure::{Doing, Failure};
use crate::machine::Machine;
use crate::plot::{self, Fit};
use crate::runs;
use crate::saved::{Measured, Saved};
use crate::scenarios::{SCENARIOS, Scenario};
use crate::spread;

#[derive(Args, Clone, Debug)]
pub struct RenderOptions {
    /// The runs: what `compare --save` wrote
    #[arg(long, default_value = "docs/plots/runs.json")]
    runs: PathBuf,
    /// The document, with `<!-- figures: NAME -->` and `<!-- end of figures -->` around each part
    #[arg(long, default_value = "docs/performance.md")]
    document: PathBuf,
    /// The directory of the plots, beside the document
    #[arg(long, default_value = "docs/plots")]
    plots: PathBuf,
    /// Writes nothing, and fails where the document or a plot says something else than the runs
    #[arg(long)]
    check: bool,
}

const BEGIN: &str = "<!-- figures: ";
const BEGIN_END: &str = " -->\n";
const END: &str = "<!-- end of figures -->";

/// The part that says where and how all was measured.
const CIRCUMSTANCES: &str = "circumstances";

pub fn run(options: &RenderOptions) -> Result<(), Failure> {
    let saved = Saved::read(&options.runs)?;
    let document = &options.document;
    let old = fs::read_to_string(document).doing(format_args!("reading {}", document.display()))?;
    let mut files = vec![(document.clone(), fill_in(&old, &saved)?)];
    for measured in &saved.scenarios {
        let plot = plot::draw(find(measured)?, measured);
        files.push((options.plots.join(format!("{}.svg", measured.scenario)), plot));
    }
    for (file, text) in files {
        match options.check {
            false => fs::write(&file, text).doing(format_args!("writing {}", file.display()))?,
            true if fs::read_to_string(&file).ok().as_ref() == Some(&text) => {}
            true => {
                let what = format!("{} does not say what the runs say: `loadtest render`", file.display());
                return Err(Failure::new(what));
            }
        }
    }
    Ok(())
}

fn find(measured: &Measured) -> Result<&'static Scenario, Failure> {
    let name = &measured.scenario;
    Scenario::find(name).ok_or_else(|| Failure::new(format!("the runs have a scenario `{name}` that nobody knows")))
}

/// The document with each part made anew.
fn fill_in(document: &str, saved: &Saved) -> Result<String, Failure> {
    let mut text = String::new();
    let mut rest = document;
    let mut wanted: BTreeSet<&str> = saved.scenarios.iter().map(|measured| measured.scenario.as_str()).collect();
    while let Some(begin) = rest.find(BEGIN) {
        let (before, marked) = rest.split_at(begin);
        let name = &marked[BEGIN.len()..];
        let name_end = name.find(BEGIN_END).ok_or_else(|| Failure::new("a marker of figures has no end"))?;
        let name = &name[..name_end];
        let end = marked.find(END).ok_or_else(|| Failure::new(format!("the figures `{name}` have no end")))?;
        let part = match saved.scenarios.iter().find(|measured| measured.scenario == name) {
            _ if name == CIRCUMSTANCES => circumstances(saved),
            Some(measured) => part(find(measured)?, measured),
            None => return Err(Failure::new(format!("the document wants `{name}`, which was not measured"))),
        };
        wanted.remove(name);
        write!(text, "{before}{BEGIN}{name}{BEGIN_END}\n{part}\n{END}").expect("a string takes all");
        rest = &marked[end + END.len()..];
    }
    match wanted.first() {
        Some(name) => Err(Failure::new(format!("`{name}` was measured and has no place in the document"))),
        None => Ok(text + rest),
    }
}

/// Table, plot and verdicts of one scenario.
fn part(scenario: &Scenario, measured: &Measured) -> String {
    let mut text = table(scenario, measured);
    let name = scenario.name;
    let _ = writeln!(text, "\n![{name}: {}](plots/{name}.svg)\n", scenario.figures[0].title);
    for fact in facts(scenario, measured) {
        let _ = writeln!(text, "- {fact}");
    }
    text
}

fn table(scenario: &Scenario, measured: &Measured) -> String {
    let mut text = format!("{}.\n\n|", upper_first(scenario.summary));
    for title in [if scenario.is_line() { "connections" } else { "server" }.to_owned()]
        .into_iter()
        .chain(scenario.figures.iter().map(|figure| format!("{} ({})", figure.title, figure.unit)))
    {
        let _ = write!(text, " {title} |");
    }
    let _ = writeln!(text, "\n|{}", "---|".repeat(1 + scenario.figures.len()));
    for contender in scenario.contenders {
        let spreads: Vec<_> = scenario.figures.iter().map(|figure| measured.spread(contender.label, figure)).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "| {} |", contender.label);
        for spread in spreads {
            let _ = write!(text, " {} |", spread.map_or("–".into(), |spread| spread.to_string()));
        }
        text.push('\n');
    }
    text
}

/// What stands below the plot: goals, the line's terms, exactness, problems.
fn facts(scenario: &Scenario, measured: &Measured) -> Vec<String> {
    let verdicts = scenario.goals.iter().filter_map(|goal| goal.judge(scenario, measured));
    let mut facts: Vec<String> = verdicts.map(|verdict| verdict.text).collect();
    if scenario.is_line()
        && let Some(Fit { at_zero, of_each, explained }) = Fit::of(&plot::points(scenario, measured))
    {
        let unit = scenario.figures[0].unit;
        facts.push(format!(
            "least squares: {} {unit} and {} {unit} for each thousand connections (R² {explained:.4})",
            spread::number(at_zero),
            spread::number(of_each * 1000.0)
        ));
    }
    let inexact = measured.runs.iter().filter(|run| !runs::is_exact(&run.report));
    let inexact: Vec<String> = inexact.map(|run| faults(&run.contender, run.round, &run.report)).collect();
    if scenario.command != "idle" {
        facts.push(match inexact.is_empty() {
            true => "Nothing was lost, duplicated or reordered in any run.".into(),
            false => format!("**Not exact**: {}.", inexact.join("; ")),
        });
    }
    facts.extend(measured.problems.iter().map(|problem| format!("No result: {}", problem.replace('\n', " "))));
    facts
}

fn faults(contender: &str, round: u32, report: &serde_json::Value) -> String {
    let counts = ["lost", "duplicated", "reordered", "stalls"].map(|fault| (fault, report[fault].as_u64()));
    let counts = counts.iter().filter_map(|(fault, count)| count.filter(|n| *n > 0).map(|n| format!("{n} {fault}")));
    format!("{contender} in round {round} ({})", counts.collect::<Vec<_>>().join(", "))
}

fn circumstances(saved: &Saved) -> String {
    let mut text = String::from("| scenario | date | rounds | seconds | load | command |\n|---|---|---|---|---|---|\n");
    let (mut machines, mut versions) = (BTreeSet::new(), BTreeSet::new());
    // In the order of the document, whatever order they were measured in.
    let in_order =
        SCENARIOS.iter().filter_map(|scenario| saved.scenarios.iter().find(|one| one.scenario == scenario.name));
    for measured in in_order {
        let Measured { scenario, date, machine, command, seconds, runs, .. } = measured;
        let rounds = runs.iter().map(|run| run.round).max().unwrap_or(0);
        let seconds = seconds.map_or("–".into(), spread::number);
        let load = &machine.load_at_start;
        let _ = writeln!(text, "| {scenario} | {date} | {rounds} | {seconds} | {load} | `{command}` |");
        let Machine { cpu, cores, memory_gib, kernel, .. } = machine;
        machines.insert(format!("{cpu}, {cores} cores, {memory_gib:.0} GiB, Linux {kernel}"));
        versions.extend(measured.versions.iter().cloned());
    }
    let _ = writeln!(text, "\n*load*: runnable tasks over the last minute when the scenario began.\n");
    for machine in machines {
        let _ = writeln!(text, "- Machine: {machine}");
    }
    for version in versions {
        let _ = writeln!(text, "- {version}");
    }
    text
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

impl Saved {
    /// Whether every delivery was exact, and every run had a result.
    pub fn is_exact(&self) -> bool {
        self.scenarios
            .iter()
            .all(|measured| measured.problems.is_empty() && measured.runs.iter().all(|run| runs::is_exact(&run.report)))
    }

    pub fn are_goals_met(&self) -> bool {
        self.scenarios.iter().all(|measured| {
            let Some(scenario) = Scenario::find(&measured.scenario) else { return true };
            scenario.goals.iter().filter_map(|goal| goal.judge(scenario, measured)).all(|verdict| verdict.is_met)
        })
    }
}

impl fmt::Display for Saved {
    /// Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for measured in &self.scenarios {
            if let Some(scenario) = Scenario::find(&measured.scenario) {
                writeln!(f, "## {}\n\n{}", scenario.name, table(scenario, measured))?;
                for fact in facts(scenario, measured) {
                    writeln!(f, "- {fact}")?;
                }
                writeln!(f)?;
            }
        }
        write!(f, "{}", circumstances(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in the repository is what its runs say.
    #[test]
    fn the_document_says_what_the_runs_say() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let options = RenderOptions {
            runs: root.join("docs/plots/runs.json"),
            document: root.join("docs/performance.md"),
            plots: root.join("docs/plots"),
            check: true,
        };
        run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn parts_that_have_no_runs_are_named() {
        let failure = fill_in("a <!-- figures: echo -->\n<!-- end of figures -->", &Saved::default());
        assert!(failure.expect_err("not measured").to_string().contains("echo"));
        let failure = fill_in("a <!-- figures: circumstances -->\n", &Saved::default());
        assert!(failure.expect_err("no end").to_string().contains("no end"));
    }
}
