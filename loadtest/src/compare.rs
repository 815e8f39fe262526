//! The figures: contenders in turn, server on one core, generator on the other.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::failure::Failure;
use crate::machine::{self, Machine};
use crate::many;
use crate::runs::Generator;
use crate::saved::{Measured, Run, Saved};
use crate::scenarios::{Contender, Cores, SCENARIOS, Scenario};
use crate::servers::{Peer, Programs};

/// The scenarios of a comparison that names none: CPU time, about 10 minutes.
const DEFAULT: &str = "fanout-1,fanout-16,paced-32,rooms,echo";

#[derive(Args, Clone, Debug)]
pub struct CompareOptions {
    #[command(flatten)]
    programs: Programs,
    /// Which scenarios, with commas between; `all` for all of them
    #[arg(long, value_delimiter = ',', default_value = DEFAULT, value_parser = scenario_names())]
    scenario: Vec<String>,
    /// Only contenders of these peers, with commas between
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Runs of each contender; the tables give their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Length of each measured phase
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Also writes all runs to this file, as JSON; what it has of other scenarios stays in it
    #[arg(long)]
    save: Option<PathBuf>,
}

fn scenario_names() -> clap::builder::PossibleValuesParser {
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).chain(["all"]).collect();
    names.into()
}

/// Makes all runs; what is going on goes to standard error.
pub fn run(options: &CompareOptions) -> Result<Saved, Failure> {
    let mut measured = Saved::default();
    let is_wanted = |scenario: &&Scenario| options.scenario.iter().any(|name| name == scenario.name || name == "all");
    for scenario in SCENARIOS.iter().filter(is_wanted) {
        let begin = Instant::now();
        let one = measure(options, scenario)?;
        eprintln!("{}: {:.0} s", scenario.name, begin.elapsed().as_secs_f64());
        if let Some(file) = &options.save {
            // Read anew: another comparison may have written to it meanwhile.
            let mut saved = Saved::read(file)?;
            saved.put(one.clone());
            saved.write(file)?;
        }
        measured.put(one);
    }
    Ok(measured)
}

fn measure(options: &CompareOptions, scenario: &Scenario) -> Result<Measured, Failure> {
    let is_wanted = |peer| options.peers.is_empty() || options.peers.contains(&peer);
    let mut contenders: Vec<&Contender> =
        scenario.contenders.iter().filter(|contender| is_wanted(contender.recipe.peer)).collect();
    let mut peers: Vec<Peer> = contenders.iter().map(|contender| contender.recipe.peer).collect();
    peers.dedup();
    let mut versions = peers.iter().map(|peer| peer.version(&options.programs)).collect::<Result<Vec<_>, _>>()?;
    for contender in &contenders {
        versions.extend(contender.recipe.engine.version()?);
    }
    versions.dedup();
    let machine = Machine::look()?;
    let (mut runs, mut problems) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        for contender in &contenders {
            eprint!("{} {round}/{} {}: ", scenario.name, options.rounds, contender.label);
            match run_once(options, scenario, contender) {
                Ok(report) => {
                    let first = &scenario.figures[0];
                    eprintln!("{:.3} {}", (first.value)(&report).unwrap_or(f64::NAN), first.unit);
                    runs.push(Run { contender: contender.label.into(), round, report });
                }
                Err(failure) => {
                    eprintln!("{failure}");
                    problems.push(format!("{}, round {round}: {failure}", contender.label));
                }
            }
        }
        // Whatever comes and goes on the machine meets another one first in the next round.
        let count = contenders.len();
        contenders.rotate_left(1.min(count));
    }
    Ok(Measured {
        scenario: scenario.name.into(),
        date: machine::first_line_of(Path::new("date"), &["-u", "+%Y-%m-%d"])?,
        machine,
        versions,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        seconds: scenario.seconds_flag.map(|_| options.seconds),
        runs,
        problems,
    })
}

/// On a fresh process: what one run leaves behind in memory would be the next one's.
fn run_once(
    options: &CompareOptions,
    scenario: &Scenario,
    contender: &Contender,
) -> Result<serde_json::Value, Failure> {
    if contender.processes > 0 {
        let flags = [scenario.flags, contender.flags].concat();
        return many::run(&contender.recipe, &options.programs, contender.processes, &flags);
    }
    let core = match contender.cores {
        Cores::One => Some(options.server_core),
        Cores::All => None,
    };
    let server = contender.recipe.start(&options.programs, core)?;
    let generator = Generator { core: Some(options.generator_core) };
    let seconds = options.seconds.to_string();
    let mut flags = [scenario.flags, contender.flags].concat();
    if let Some(flag) = scenario.seconds_flag {
        flags.extend([flag, &seconds]);
    }
    generator.run(scenario.command, &server, &flags)
}
