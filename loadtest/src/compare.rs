//! The figures: the hub and the Node peer in turn, server on one core, generator on the other.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::failure::{Doing, Failure};
use crate::fanout::Waiting;
use crate::figures::Figure;
use crate::machine::{self, Machine};
use crate::report::{FanoutReport, IdleReport};
use crate::runs::Generator;
use crate::servers::{PLAIN_CHANNEL, PRESENCE_CHANNEL, Recipe};

#[derive(Args, Clone, Debug)]
pub struct CompareOptions {
    /// The hub's binary
    #[arg(long, default_value = "target/release/fanfare")]
    hub: PathBuf,
    /// The directory of the Node room server
    #[arg(long, default_value = "loadtest/peers/node-ws")]
    node_ws: PathBuf,
    /// Runs of each kind; the table gives their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Members of the fan-out
    #[arg(long, default_value_t = 1_000)]
    members: u32,
    /// Idle connections
    #[arg(long, default_value_t = 15_000)]
    connections: u32,
    /// Length of each measured fan-out, seconds
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// What the generator does when nothing has come
    #[arg(long, value_enum, default_value_t = Waiting::Sleep)]
    waiting: Waiting,
    /// Also writes all runs to this file, as JSON
    #[arg(long)]
    save: Option<PathBuf>,
}

/// All runs of both servers, in the order in which they were made.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub machine: Machine,
    pub command_line: String,
    pub versions: Vec<String>,
    pub figures: Vec<Figure>,
    pub hub: Runs,
    pub node_ws: Runs,
}

/// The runs of one server; the places of a list are its repeats.
#[derive(Debug, Default, Serialize)]
pub struct Runs {
    pub one_in_flight: Vec<FanoutReport>,
    pub sixteen_in_flight: Vec<FanoutReport>,
    pub idle: Vec<IdleReport>,
    /// Only of servers that have presence.
    pub idle_with_presence: Vec<IdleReport>,
}

/// Makes all runs; what is going on goes to standard error.
pub fn run(options: &CompareOptions) -> Result<Comparison, Failure> {
    let machine = Machine::look()?;
    let hub_recipe = Recipe::Hub { binary: options.hub.clone(), shards: 1 };
    let node_recipe = Recipe::NodeWs { directory: options.node_ws.clone() };
    let (mut hub, mut node_ws) = (Runs::default(), Runs::default());
    for repeat in 1..=options.repeats {
        // In turn, so that whatever else the machine does meets both.
        eprintln!("repeat {repeat} of {}", options.repeats);
        run_once(options, &node_recipe, &mut node_ws)?;
        run_once(options, &hub_recipe, &mut hub)?;
        hub.idle_with_presence.push(idle(options, &hub_recipe, PRESENCE_CHANNEL)?);
    }
    let comparison = Comparison {
        machine,
        command_line: std::env::args().collect::<Vec<_>>().join(" "),
        versions: versions(options)?,
        figures: Figure::all(&hub, &node_ws),
        hub,
        node_ws,
    };
    if let Some(file) = &options.save {
        let json = serde_json::to_string_pretty(&comparison).doing("writing the runs")?;
        fs::write(file, json).doing(format_args!("writing {}", file.display()))?;
    }
    Ok(comparison)
}

fn run_once(options: &CompareOptions, recipe: &Recipe, runs: &mut Runs) -> Result<(), Failure> {
    let server = recipe.start(Some(options.server_core))?;
    let (members, seconds) = (options.members.to_string(), options.seconds.to_string());
    let waiting = match options.waiting {
        Waiting::Sleep => "sleep",
        Waiting::Spin => "spin",
    };
    // The time bounds the phase, not the count.
    let flags = ["--members", &members, "--seconds-max", &seconds, "--publications", "1000000", "--waiting", waiting];
    let generator = Generator { core: Some(options.generator_core) };
    for (in_flight, list) in [("1", &mut runs.one_in_flight), ("16", &mut runs.sixteen_in_flight)] {
        let report = generator.fanout(&server, &[&flags[..], &["--in-flight", in_flight]].concat())?;
        eprintln!("{report}");
        list.push(report);
    }
    drop(server);
    runs.idle.push(idle(options, recipe, PLAIN_CHANNEL)?);
    Ok(())
}

/// On a fresh process: memory that fan-out left behind would hide what connections need.
fn idle(options: &CompareOptions, recipe: &Recipe, channel: &str) -> Result<IdleReport, Failure> {
    let server = recipe.start(Some(options.server_core))?;
    let generator = Generator { core: Some(options.generator_core) };
    let connections = options.connections.to_string();
    let report = generator.idle(&server, &["--connections", &connections, "--channel", channel])?;
    eprintln!("{report}");
    Ok(report)
}

fn versions(options: &CompareOptions) -> Result<Vec<String>, Failure> {
    let package = options.node_ws.join("node_modules/ws/package.json");
    let package = fs::read_to_string(&package).doing(format_args!("reading {}", package.display()))?;
    let package: serde_json::Value = serde_json::from_str(&package).doing("reading the version of ws")?;
    Ok(vec![
        format!("hub: {}, 1 shard", machine::first_line_of(&options.hub, "version")?),
        format!("node {}", machine::first_line_of(Path::new("node"), "--version")?),
        format!("ws {}", package["version"].as_str().unwrap_or("unknown")),
    ])
}
