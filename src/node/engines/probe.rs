//! Tries the engines of a configuration without a node: `fanfare doctor`, `fanfare config check --connect`.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use super::{Started, kinds};
use crate::cli::Tried;
use crate::config::{EngineSettings, Options};
use crate::engine::outlet::{Outlet, Post};
use crate::limits::PROBE_INTERVAL;
use crate::model::EngineIndex;
use crate::telemetry::EngineMetrics;

/// Starts every engine that is elsewhere as the hub would, until a message came back through each, or for some
/// seconds. A log on this node's disk is left alone: a hub may be using it.
pub fn try_engines(options: &Options) -> Vec<Tried> {
    try_with(options, PATIENCE, kinds::start)
}

fn try_with(
    options: &Options,
    patience: Duration,
    start: impl Fn(&EngineSettings, Outlet, Arc<EngineMetrics>) -> Started,
) -> Vec<Tried> {
    let elsewhere = options.engines.started.iter().filter(|engine| !matches!(engine.settings, EngineSettings::Disk(_)));
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let tried = |name| Tried { name, outcome: Err(error.to_string()), clock_ahead: 0.0 };
            return elsewhere.map(|engine| tried(engine.name.clone())).collect();
        }
    };
    let nobody: Arc<Post> = Arc::new(|_, _| Ok(()));
    runtime.block_on(async {
        let trials: Vec<_> = elsewhere
            .map(|engine| {
                let metrics = Arc::<EngineMetrics>::default();
                let outlet = Outlet::new(EngineIndex(1), options.shard.homes.clone(), Arc::clone(&nobody));
                (engine, start(&engine.settings, outlet, Arc::clone(&metrics)), metrics)
            })
            .collect();
        let until = Instant::now() + patience;
        // That there is nothing to keep it with does not change by waiting.
        let is_settled = |metrics: &EngineMetrics| metrics.is_ready() || metrics.is_up() && metrics.misses_store();
        let is_open =
            |(_, started, metrics): &(_, Started, Arc<EngineMetrics>)| started.is_ok() && !is_settled(metrics);
        while trials.iter().any(is_open) && Instant::now() < until {
            sleep(LOOK).await;
        }
        let outcomes = trials.into_iter().map(|(engine, started, metrics)| {
            let place = format!("{} at {}", engine.settings.kind(), engine.settings.place());
            let outcome = match (started, metrics.trouble()) {
                (Err(reason), _) => Err(format!("{place}: {reason}")),
                (Ok(_), Some(reason)) => Err(format!("{place} {reason}")),
                (Ok(_), None) => Ok(format!("{place}, {:.1} ms away", metrics.probe_delay().as_secs_f64() * 1e3)),
            };
            Tried { name: engine.name.clone(), outcome, clock_ahead: metrics.clock_ahead() }
        });
        outcomes.collect()
    })
}

/// Chosen: a first connection, a second try of it, and a probe.
const PATIENCE: Duration = Duration::from_secs(4).saturating_add(PROBE_INTERVAL);
const LOOK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, read};
    use crate::engine::contract::{Engine, Request};
    use crate::model::ShardId;

    struct Deaf;

    impl Engine for Deaf {
        fn submit(&self, _: ShardId, request: Request) -> Result<(), Request> {
            Err(request)
        }
    }

    #[test]
    fn each_engine_is_tried_and_the_disk_left_alone() {
        let text = "engine.type = \"redis\"\n[broker]\nenabled = true\ntype = \"nats\"\nnats.url = \"nats://a:pw@b\"\n\
                    [[brokers]]\nname = \"log\"\nenabled = true\ntype = \"disk\"\ndisk.path = \"/a\"\n\
                    [[brokers]]\nname = \"bad\"\nenabled = true\ntype = \"nats\"\nnats.prefix = \"x\"\n";
        let (options, _) = read("a.toml", text, &Flags::default()).expect("a good file");
        let tried = try_with(&options, Duration::ZERO, |settings, _, metrics| {
            match settings {
                EngineSettings::Nats(nats) if nats.prefix == "x" => return Err("no key".into()),
                EngineSettings::Redis(_) => {
                    metrics.set_up(true);
                    metrics.probed(Some(Duration::from_millis(2)));
                    metrics.set_clock_ahead(-2_000_000);
                }
                _ => {}
            }
            Ok(Arc::new(Deaf))
        });
        let expected = [
            ("broker", Err("nats at b:4222 does not answer".to_string()), 0.0),
            ("engine", Ok("redis at 127.0.0.1:6379, 2.0 ms away".to_string()), -2.0),
            ("bad", Err("nats at localhost:4222: no key".to_string()), 0.0),
        ];
        let expected = expected.map(|(name, outcome, clock_ahead)| Tried { name: name.into(), outcome, clock_ahead });
        assert_eq!(tried, expected);
    }
}
