//! A small run of every scenario against the hub, for CI: exactness, not speed.

use clap::Args;
use serde_json::Value;

use crate::brokers::Engine;
use crate::failure::Failure;
use crate::running::Server;
use crate::runs::{self, Generator};
use crate::servers::{PLAIN_CHANNEL, PRESENCE_CHANNEL, Peer, Programs, Recipe};

/// One shard, and more shards than most machines of CI have cores.
const SHARDS: [u16; 2] = [1, 4];

const FANOUT: &[&str] = &["--members", "100", "--publications", "200", "--seconds-max", "8"];
const CONNECT: &[&str] = &["--connections", "500", "--warm-up", "100"];
const IDLE: &[&str] = &["--connections", "500", "--hold-seconds", "0.5"];
const BESIDE: &[&str] = &["--seconds", "0.8", "--quiet-rate", "100"];

/// (what it is called, the subcommand, its flags)
const RUNS: &[(&str, &str, &[&str])] = &[
    ("paced", "rooms", &["--rooms", "1", "--members", "50", "--rate", "1000", "--burst", "32", "--seconds", "0.5"]),
    ("a flush window", "rooms", &["--rooms", "1", "--channel", "window5:a", "--rate", "1000", "--seconds", "0.5"]),
    ("rooms", "rooms", &["--rooms", "20", "--members", "10", "--rate", "400", "--seconds", "0.5"]),
    ("echo", "echo", &["--connections", "16", "--seconds", "0.5"]),
    ("stall", "stall", &["--senders", "2", "--members", "2"]),
    ("slow, disconnect", "slow", &["--rate", "300", "--payload", "32768"]),
    ("slow, drop_oldest", "slow", &["--rate", "300", "--payload", "32768", "--channel", "drop:slow"]),
    ("slow, conflate", "slow", &["--rate", "300", "--payload", "32768", "--channel", "conflate:slow"]),
    ("churn", "churn", &["--rate", "200"]),
    ("verify", "churn", &["--rate", "0", "--at-once", "16", "--rsa-tokens"]),
    ("herd", "herd", &["--connections", "500"]),
];

#[derive(Args, Clone, Debug)]
pub struct SmokeOptions {
    #[command(flatten)]
    pub programs: Programs,
}

/// Runs everything and prints each result. Returns whether all of it was exact.
pub fn run(options: &SmokeOptions) -> Result<bool, Failure> {
    let mut is_exact = true;
    for shards in SHARDS {
        let recipe = Recipe { shards, outbox_bytes_max: Some(4 << 20), ..Recipe::plain(Peer::Hub) };
        let server = recipe.start(&options.programs, None)?;
        println!("\n=== {shards} shards");
        is_exact &= fanouts(&server, &[])?;
        for (name, command, flags) in RUNS {
            let beside = if ["rooms", "echo"].contains(command) { &[][..] } else { BESIDE };
            is_exact &= check(name, &Generator::default().run(command, &server, &[beside, flags].concat())?);
        }
        let report = Generator::default().run("connect", &server, CONNECT)?;
        is_exact &= check("connect", &report);
        for channel in [PLAIN_CHANNEL, PRESENCE_CHANNEL] {
            let report = Generator::default().run("idle", &server, &[IDLE, &["--channel", channel]].concat())?;
            is_exact &= check(&format!("idle in {channel}"), &report);
        }
        drop(server);
        let server = Recipe { deflate: true, ..recipe }.start(&options.programs, None)?;
        is_exact &= fanouts(&server, &["--deflate", "--payload", "512", "--filling", "text"])?;
    }
    println!("\n=== 3 nodes on one Redis");
    let server =
        Recipe { engine: Engine::Redis, nodes: 3, ..Recipe::plain(Peer::Hub) }.start(&options.programs, None)?;
    is_exact &= fanouts(&server, &["--channel", "recover:a"])?;
    let flags = [BESIDE, &["--connections", "600"]].concat();
    is_exact &= check("the loss of a node", &Generator::default().run("node-loss", &server, &flags)?);
    Ok(is_exact)
}

fn fanouts(server: &Server, flags: &[&str]) -> Result<bool, Failure> {
    let generator = Generator::default();
    let mut is_exact = true;
    for in_flight in ["1", "16"] {
        let report = generator.run("fanout", server, &[FANOUT, &["--in-flight", in_flight], flags].concat())?;
        let is_whole = report["publications"] == 200;
        is_exact &= check(&format!("fan-out, {in_flight} in flight {}", flags.join(" ")), &report) && is_whole;
    }
    let report = generator.fanout_by_api(server, &[FANOUT, &["--in-flight", "16"], flags].concat())?;
    Ok(is_exact & check("fan-out by the server API", &report))
}

/// Prints a report. Returns whether it is exact, and nobody was cut who should not be.
fn check(name: &str, report: &Value) -> bool {
    let count = |name: &str| report["counts"][name].as_f64().unwrap_or(0.0);
    let failed: f64 =
        ["failed", "held_up", "ended", "others_ended", "missed_for_good", "not_recovered"].into_iter().map(count).sum();
    let is_exact = runs::is_exact(report) && failed == 0.0;
    let is_empty = report["deliveries"] == 0 || report["echoes"] == 0;
    let is_well = is_exact && !is_empty;
    let work = ["deliveries", "echoes", "connections"].into_iter().find(|field| report[*field].is_u64());
    match (is_well, work) {
        (true, Some(field)) => println!("well   {name}: {} {field}", report[field]),
        (true, None) => println!("well   {name}: {}", report["counts"]),
        (false, _) => println!("WRONG  {name}: {report}"),
    }
    is_well
}
