//! A small run of every scenario against the hub, for CI: exactness, not speed.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::report::FanoutReport;
use crate::runs::Generator;
use crate::servers::{PLAIN_CHANNEL, PRESENCE_CHANNEL, Recipe};

/// One shard, and more shards than most machines of CI have cores.
const SHARDS: [u16; 2] = [1, 4];

const PUBLICATIONS: u64 = 200;
const FANOUT: [&str; 6] = ["--members", "100", "--publications", "200", "--seconds-max", "8"];
const IDLE: [&str; 4] = ["--connections", "500", "--hold-seconds", "1"];

#[derive(Args, Clone, Debug)]
pub struct SmokeOptions {
    /// The hub's binary
    #[arg(long, default_value = "target/release/fanfare")]
    pub hub: PathBuf,
}

/// Runs everything and prints each result. Returns whether all of it was exact.
pub fn run(options: &SmokeOptions) -> Result<bool, Failure> {
    let generator = Generator::default();
    let mut is_exact = true;
    for shards in SHARDS {
        let server = Recipe::Hub { binary: options.hub.clone(), shards }.start(None)?;
        let mut check = |report: FanoutReport| {
            println!("\n{report}");
            is_exact &= report.faults.is_none() && report.stalls == 0 && report.publications == PUBLICATIONS;
        };
        println!("\n=== {shards} shards");
        for in_flight in ["1", "16"] {
            check(generator.fanout(&server, &[&FANOUT[..], &["--in-flight", in_flight]].concat())?);
        }
        check(generator.fanout_by_api(&server, &[&FANOUT[..], &["--in-flight", "16"]].concat())?);
        for channel in [PLAIN_CHANNEL, PRESENCE_CHANNEL] {
            println!("\n{}", generator.idle(&server, &[&IDLE[..], &["--channel", channel]].concat())?);
        }
    }
    Ok(is_exact)
}
