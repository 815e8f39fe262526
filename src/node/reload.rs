//! The configuration, read again while the node runs.
//!
//! At SIGHUP file, environment and flags are read as at the start. A configuration with anything wrong
//! in it is refused whole, and the running one stays. What a running node can follow goes to every
//! shard through its in-tray; the log says what that was, and what waits for a restart.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::access::{ChannelOptions, Namespaces};
use crate::config::{Changes, Configuration, Effective, EnginesOptions, Layers, Options};
use crate::handle::Handle;
use crate::limits::NAMESPACES_ADDED_MAX;
use crate::model::EngineIndex;
use crate::telemetry::NodeMetrics;

pub struct Reload {
    layers: Layers,
    /// What the node was started with.
    started: Vec<Effective>,
    /// What its shards have by now.
    running: Vec<Effective>,
    is_dev: bool,
    places: Places,
    engines: RunningEngines,
    metrics: Arc<NodeMetrics>,
}

/// The engines of the start, and the namespaces that have rooms there.
struct RunningEngines {
    options: EnginesOptions,
    /// By namespace, the empty name for channels without one. Who has a place may have rooms.
    of_namespaces: HashMap<Box<str>, (EngineIndex, EngineIndex)>,
}

/// Places of namespaces in the metrics: one that went and comes again has the place it had.
struct Places {
    by_name: HashMap<Box<str>, usize>,
    max: usize,
}

/// How a reload ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken(Changes),
    /// With the reason.
    Refused(String),
    /// Dev mode has no file.
    NothingToRead,
}

impl Reload {
    pub fn new(layers: Layers, configuration: &Configuration, metrics: &Arc<NodeMetrics>) -> Reload {
        let effective = configuration.effective();
        let names = configuration.options.shard.namespaces.names();
        Reload {
            layers,
            running: effective.clone(),
            started: effective,
            is_dev: configuration.options.dev.is_some(),
            engines: RunningEngines::new(&configuration.options),
            places: Places { max: names.len() + NAMESPACES_ADDED_MAX, by_name: names.into_iter().zip(1..).collect() },
            metrics: Arc::clone(metrics),
        }
    }

    /// Reads it at each hang-up for as long as the node runs.
    pub async fn run(mut self, mut hangups: Signal, handle: Handle) {
        while hangups.recv().await.is_some() {
            let outcome = self.reload(&handle).await;
            self.say(&outcome);
        }
    }

    async fn reload(&mut self, handle: &Handle) -> Outcome {
        if self.is_dev {
            return Outcome::NothingToRead;
        }
        let configuration = match self.layers.read() {
            Ok(configuration) => configuration,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let Some(namespaces) = self.places.give(&configuration.options.shard.namespaces, &self.metrics) else {
            let reason = format!("more than {NAMESPACES_ADDED_MAX} namespaces were added since the start; restart");
            return Outcome::Refused(reason);
        };
        for warning in &configuration.warnings {
            tracing::warn!("{warning}");
        }
        let effective = configuration.effective();
        let changes = Changes::between(&self.started, &self.running, &effective);
        if changes.for_restart.iter().any(|path| path == SKIPS_SIGNATURES) {
            // It was checked against the address of the file, and the hub listens where it did at its start.
            return Outcome::Refused(format!("{SKIPS_SIGNATURES} does not change while the hub runs: restart it"));
        }
        if let Some(reason) = self.engines.refuse(&configuration.options, &namespaces) {
            return Outcome::Refused(reason);
        }
        for (engine, named) in configuration.options.engines.started.iter().zip(&self.metrics.engines) {
            named.metrics.set_needing_store(engine.settings.needs_store());
        }
        let mut options = configuration.options.shard;
        options.namespaces = Arc::new(namespaces);
        handle.tell_options(Arc::new(options)).await;
        self.running = effective;
        Outcome::Taken(changes)
    }

    fn say(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Taken(Changes { live, for_restart }) => {
                self.metrics.reload.note(true);
                let (changed, needs_restart) = (list(live), list(for_restart));
                tracing::info!(changed, needs_restart, "took the configuration");
            }
            Outcome::Refused(reason) => {
                self.metrics.reload.note(false);
                tracing::error!(reason, "refused the configuration; the running one stays");
            }
            Outcome::NothingToRead => tracing::info!("dev mode has no configuration to read again"),
        }
    }
}

impl RunningEngines {
    fn new(options: &Options) -> RunningEngines {
        let of_namespaces = chosen(&options.shard.namespaces).collect();
        RunningEngines { options: options.engines.clone(), of_namespaces }
    }

    /// Why these options can't be taken while the node runs: rooms stay on the engines that they began on.
    fn refuse(&mut self, options: &Options, namespaces: &Namespaces) -> Option<String> {
        if !options.engines.are_those_of(&self.options) {
            return Some("engines do not change while the hub runs: restart it".into());
        }
        let moved = chosen(namespaces)
            .find(|(name, engines)| self.of_namespaces.get(name).is_some_and(|before| before != engines));
        if let Some((name, _)) = moved {
            let owner =
                if name.is_empty() { "channels without a namespace".into() } else { format!("namespace {name:?}") };
            return Some(format!(
                "broker_name and presence_manager_name of {owner} do not change while the hub runs: restart it"
            ));
        }
        self.of_namespaces.extend(chosen(namespaces));
        None
    }
}

/// Which engines each namespace has chosen.
fn chosen(namespaces: &Namespaces) -> impl Iterator<Item = (Box<str>, (EngineIndex, EngineIndex))> {
    let engines = |options: &ChannelOptions| (options.broker, options.presence_manager);
    let named = namespaces.by_name.iter().map(move |(name, options)| (name.clone(), engines(options)));
    named.chain([("".into(), engines(&namespaces.without))])
}

impl Places {
    /// The namespaces with their places, new ones with new places; `None` when there is none left.
    fn give(&mut self, namespaces: &Namespaces, metrics: &NodeMetrics) -> Option<Namespaces> {
        namespaces.placed(|name| {
            if let Some(place) = self.by_name.get(name) {
                return Some(*place);
            }
            let place = Some(self.by_name.len() + 1).filter(|place| *place <= self.max)?;
            metrics.name_namespace(place, name);
            self.by_name.insert(name.into(), place);
            Some(place)
        })
    }
}

/// The first keys of many.
fn list(paths: &[String]) -> String {
    match paths.len() {
        0 => "nothing".into(),
        count @ ..=LISTED_MAX => paths[..count].join(", "),
        count => format!("{} and {} more", paths[..LISTED_MAX].join(", "), count - LISTED_MAX),
    }
}

/// Goes to the shards with the keys of tokens, and opens the hub to whoever reaches it.
const SKIPS_SIGNATURES: &str = "client.insecure_skip_token_signature_verify";

/// Chosen: a line that a person still reads.
const LISTED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::config::{Environment, Flags};
    use crate::handle::TrayMessage;
    use crate::model::Homes;
    use crate::shard;

    /// A node of two shards of which there is only the configuration.
    struct Bench {
        path: PathBuf,
        _folder: tempfile::TempDir,
        reload: Reload,
        handle: Handle,
        told: Arc<Mutex<Vec<Arc<shard::Options>>>>,
    }

    impl Bench {
        fn new(text: &str) -> Bench {
            let folder = tempfile::tempdir().expect("there is room for a folder");
            let path = folder.path().join("a.toml");
            fs::write(&path, text).expect("it can be written");
            let flags = Flags { config: Some(path.clone()), ..Flags::default() };
            let layers = Layers { environment: Environment::default(), flags };
            let configuration = layers.read().expect("it is right");
            let names = configuration.options.shard.namespaces.names();
            let engines = super::super::engines::named(&configuration.options.engines);
            let metrics = NodeMetrics::new(2, 1, Instant::now()).with_namespaces(names).with_engines(engines);
            let metrics = Arc::new(metrics);
            let told: Arc<Mutex<Vec<_>>> = Arc::default();
            let posted = Arc::clone(&told);
            let post = move |_, message| {
                let TrayMessage::Options(options) = message else { panic!("nothing else is told") };
                posted.lock().expect("nobody panicked").push(options);
                Ok(())
            };
            let handle = Handle::new(Homes::new(2, 0), Arc::new(post));
            Bench { reload: Reload::new(layers, &configuration, &metrics), path, _folder: folder, handle, told }
        }

        async fn write(&mut self, text: &str) -> Outcome {
            fs::write(&self.path, text).expect("it can be written");
            let outcome = self.reload.reload(&self.handle).await;
            self.reload.say(&outcome);
            outcome
        }

        fn told(&self) -> Vec<Arc<shard::Options>> {
            std::mem::take(&mut self.told.lock().expect("nobody panicked"))
        }

        fn check_metric(&self, was_taken: bool) {
            assert_eq!(self.reload.metrics.reload.was_taken(), was_taken);
        }
    }

    fn taken(live: &[&str], for_restart: &[&str]) -> Outcome {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_string()).collect();
        Outcome::Taken(Changes { live: owned(live), for_restart: owned(for_restart) })
    }

    #[tokio::test]
    async fn every_shard_is_told_what_it_can_follow() {
        let mut bench = Bench::new("");
        let outcome = bench.write("client.channel_limit = 7\nhttp_server.port = 1\n").await;
        assert_eq!(outcome, taken(&["client.channel_limit"], &["http_server.port"]));
        let told = bench.told();
        assert_eq!(told.iter().map(|options| options.channels_max).collect::<Vec<_>>(), [7, 7]);
        // What waits for a restart is said again each time.
        assert_eq!(
            bench.write("client.channel_limit = 7\nhttp_server.port = 1").await,
            taken(&[], &["http_server.port"])
        );
        bench.check_metric(true);
    }

    #[tokio::test]
    async fn a_bad_file_is_refused_whole() {
        let mut bench = Bench::new("");
        for bad in ["client.channel_limit = 7\nclient.channel_limi = 7", "client.channel_limit = 0", "client = ["] {
            let Outcome::Refused(reason) = bench.write(bad).await else { panic!("taken: {bad}") };
            assert!(reason.contains("a.toml:"), "{reason}");
            assert_eq!(bench.told().len(), 0);
            bench.check_metric(false);
        }
        assert_eq!(bench.write("client.channel_limit = 7").await, taken(&["client.channel_limit"], &[]));
        bench.check_metric(true);
        fs::remove_file(&bench.path).expect("it is there");
        assert!(matches!(bench.reload.reload(&bench.handle).await, Outcome::Refused(_)));
    }

    /// The file may say another address, where that would be allowed; the socket stays where it is.
    #[tokio::test]
    async fn a_reload_does_not_open_a_public_hub() {
        let mut bench = Bench::new("");
        let opened = format!("{SKIPS_SIGNATURES} = true\nhttp_server.address = \"127.0.0.1\"\n");
        let Outcome::Refused(reason) = bench.write(&opened).await else { panic!("taken") };
        assert!(reason.contains("restart"), "{reason}");
        assert_eq!(bench.told().len(), 0);
        let Outcome::Taken(_) = bench.write("client.insecure = true\nhttp_server.address = \"127.0.0.1\"").await else {
            panic!("refused")
        };
        let running = shard::Options::default();
        assert!(!running.renewed_by(&bench.told()[0]).insecure, "shards leave that as it was");
    }

    #[tokio::test]
    async fn rooms_stay_on_their_engines() {
        let brokers = "[[brokers]]\nname = \"ticks\"\nenabled = true\ntype = \"redis\"\n";
        let chat = "[[channel.namespaces]]\nname = \"chat\"\n";
        let on_ticks = "broker_name = \"ticks\"\n";
        let mut bench = Bench::new(&[brokers, chat].concat());
        let news = "[[channel.namespaces]]\nname = \"news\"\n";
        let outcome = bench.write(&[brokers, chat, news, on_ticks].concat()).await;
        assert_eq!(outcome, taken(&["channel.namespaces[news]"], &[]));
        assert_eq!(bench.told()[0].namespaces.by_name["news"].broker, EngineIndex(1));
        for (bad, why) in [
            ([brokers, chat, on_ticks, news, on_ticks].concat(), "of namespace \"chat\" do not change"),
            ([brokers, chat, news].concat(), "of namespace \"news\" do not change"),
            ([&brokers.replace("redis", "nats"), chat, news, on_ticks].concat(), "engines do not change"),
        ] {
            let Outcome::Refused(reason) = bench.write(&bad).await else { panic!("taken: {bad}") };
            assert!(reason.contains(why), "{reason}");
            assert_eq!(bench.told().len(), 0);
        }
    }

    #[tokio::test]
    async fn history_that_is_new_may_be_more_than_an_engine_can_keep() {
        let nats = "engine.type = \"nats\"\n";
        let mut bench = Bench::new(nats);
        let metrics = Arc::clone(&bench.reload.metrics);
        let engine = &metrics.engines[0].metrics;
        engine.set_lacking_store(true);
        let history = "[channel.without_namespace]\nhistory_size = 9\nhistory_ttl = \"60s\"\n";
        for (text, misses) in [([nats, history].concat(), true), (nats.to_owned(), false)] {
            assert!(matches!(bench.write(&text).await, Outcome::Taken(_)), "the engine is the same");
            assert_eq!(engine.misses_store(), misses);
        }
    }

    #[tokio::test]
    async fn namespaces_keep_their_places() {
        let namespace = |name: &str| format!("[[channel.namespaces]]\nname = \"{name}\"\n");
        let mut bench = Bench::new(&[namespace("one"), namespace("two")].concat());
        let outcome = bench.write(&[namespace("new"), namespace("two")].concat()).await;
        assert_eq!(outcome, taken(&["channel.namespaces[new]", "channel.namespaces[one]"], &[]));
        let place = |bench: &Bench, name: &str| bench.told()[0].namespaces.by_name[name].place;
        assert_eq!(place(&bench, "new"), 3);
        bench.write(&[namespace("new"), namespace("two")].concat()).await;
        assert_eq!(place(&bench, "two"), 2);
        bench.write(&namespace("one")).await;
        assert_eq!(place(&bench, "one"), 1, "the place it had");

        let many: String = (0..=NAMESPACES_ADDED_MAX).map(|number| namespace(&format!("n{number}"))).collect();
        assert!(matches!(bench.write(&many).await, Outcome::Refused(_)));
        assert_eq!(bench.told().len(), 0);
    }
}
