//! The engines that the configuration asks for: started beside the shards, and watched.
//!
//! An engine connects by itself and goes on trying, so a start never waits for a broker. Until each answers, `/readyz`
//! says 503 and the log says which one is missing; what it is asked meanwhile fails at once (error 100).

mod kinds;
mod probe;
mod watch;

use std::sync::Arc;

pub use probe::try_engines;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::StartError;
use crate::config::{Duties, EngineOptions, EngineSettings, EnginesOptions, NODES, Options};
use crate::engine::contract::{Control, Engine, Request};
use crate::engine::outlet::{Outlet, Post, Ring};
use crate::io::RequestSink;
use crate::model::{EngineIndex, ShardId};
use crate::telemetry::{EngineMetrics, NamedEngine, NodeMetrics};

/// One engine that runs, or why it can't.
type Started = Result<Arc<dyn Engine>, String>;

/// All engines of the node but the shards' memory.
pub struct Engines {
    /// By their index, from 1 on; `None` where one only carries the words of nodes.
    started: Arc<[Option<Arc<dyn Engine>>]>,
}

/// The way to the other nodes: what is said to them, and what they say.
pub type Link = (Arc<dyn Control>, mpsc::Receiver<Bytes>);

/// The engines as metrics name them, in the order of their indexes; last the connection that carries the words of
/// nodes, unless it is all that its engine is there for.
pub fn named(options: &EnginesOptions) -> Vec<NamedEngine> {
    let started = options.started.iter().map(|engine| NamedEngine::new(&engine.name, engine.settings.kind()));
    let nodes = of_nodes(options).filter(|engine| is_asked(engine));
    started.chain(nodes.map(|engine| NamedEngine::new(NODES, engine.settings.kind()))).collect()
}

/// What carries the words of nodes.
fn of_nodes(options: &EnginesOptions) -> Option<&EngineOptions> {
    options.find(options.control)
}

/// Whether shards ask it anything.
fn is_asked(engine: &EngineOptions) -> bool {
    engine.duties.publications || engine.duties.presence
}

/// Connects this node, which others call `uid`, with the others on the current runtime. `None`: it is alone.
pub fn link(options: &EnginesOptions, uid: &str, metrics: &NodeMetrics) -> Result<Option<Link>, StartError> {
    let Some(engine) = of_nodes(options) else { return Ok(None) };
    let at = if is_asked(engine) { options.started.len() } else { usize::from(options.control.0) - 1 };
    let metrics = Arc::clone(&metrics.engines[at].metrics);
    let linked = kinds::start_control(&engine.settings, uid, metrics);
    linked.map(Some).map_err(|reason| StartError(format!("starting the engine {:?}: {reason}", engine.name)))
}

impl Engines {
    /// On the current runtime. Errors: an engine of this node, such as a log on its disk, can't be used.
    pub fn start(
        options: &Options,
        (post, ring): (Arc<Post>, Arc<Ring>),
        metrics: &Arc<NodeMetrics>,
    ) -> Result<Engines, StartError> {
        let start = |settings: &EngineSettings, outlet: Outlet, metrics| {
            kinds::start(settings, outlet.with_ring(Arc::clone(&ring)), metrics)
        };
        let engines = Engines::start_with(options, &post, metrics, start)?;
        let all = options.engines.started.iter().chain(of_nodes(&options.engines));
        let places = all.map(|engine| engine.settings.place()).collect();
        tokio::spawn(watch::watch(Arc::clone(metrics), places));
        Ok(engines)
    }

    fn start_with(
        options: &Options,
        post: &Arc<Post>,
        metrics: &NodeMetrics,
        start: impl Fn(&EngineSettings, Outlet, Arc<EngineMetrics>) -> Started,
    ) -> Result<Engines, StartError> {
        let mut started = Vec::new();
        for ((engine, named), index) in options.engines.started.iter().zip(&metrics.engines).zip(1..) {
            say(engine);
            let outlet = Outlet::new(EngineIndex(index), options.shard.homes.clone(), Arc::clone(post));
            let running = is_asked(engine).then(|| start(&engine.settings, outlet, Arc::clone(&named.metrics)));
            let failed = |reason| StartError(format!("starting the engine {:?}: {reason}", engine.name));
            started.push(running.transpose().map_err(failed)?);
        }
        Ok(Engines { started: started.into() })
    }

    /// Where a shard puts its requests.
    pub fn sink(&self, shard: ShardId) -> RequestSink {
        let (started, to_wake) = (Arc::clone(&self.started), Arc::clone(&self.started));
        RequestSink {
            submit: Box::new(move |request| submit(&started, shard, request)),
            wake: Box::new(move || to_wake.iter().flatten().for_each(|engine| engine.wake())),
        }
    }
}

fn submit(started: &[Option<Arc<dyn Engine>>], shard: ShardId, request: Request) -> Result<(), Request> {
    let at = usize::from(request.engine.0).checked_sub(1);
    let engine = at.and_then(|at| started.get(at)?.as_ref());
    engine.expect("namespaces name engines that were started").submit_one_of_several(shard, request)
}

/// Which engine is used, and for what.
fn say(engine: &EngineOptions) {
    let Duties { publications, presence, control } = engine.duties;
    let all = [(publications, "publications"), (presence, "presence"), (control, "nodes")];
    let duties: Vec<&str> = all.into_iter().filter(|(is_one, _)| *is_one).map(|(_, name)| name).collect();
    let (kind, place, duties) = (engine.settings.kind(), engine.settings.place(), duties.join(", "));
    tracing::info!(engine = engine.name, kind, place, duties, "uses an engine");
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::config::{Flags, read};
    use crate::engine::contract::{Event, Operation, Outcome, RequestId};
    use crate::model::{ChannelName, ErrorCode};

    /// Answers the first request of each channel, and takes no second one.
    struct Fake {
        outlet: Outlet,
        asked: Mutex<Vec<ChannelName>>,
    }

    impl Engine for Fake {
        fn submit(&self, from: ShardId, request: Request) -> Result<(), Request> {
            let mut asked = self.asked.lock().expect("nobody panicked");
            if asked.contains(&request.channel) {
                return Err(request);
            }
            asked.push(request.channel);
            let event = Event::Done { id: request.id, outcome: Ok(Outcome::Listening) };
            self.outlet.put_blocking(from, event).expect("the tray has room");
            Ok(())
        }
    }

    fn options(text: &str) -> Options {
        read("a.toml", text, &Flags::default()).expect("a good file").0
    }

    fn metrics(options: &Options) -> NodeMetrics {
        NodeMetrics::new(2, 1, Instant::now()).with_engines(named(&options.engines))
    }

    #[test]
    fn requests_go_to_the_engine_they_name_and_answers_to_the_shard() {
        let options = options(
            "fanfare.shards = 2\nengine.type = \"redis\"\n[controller]\nenabled = true\ntype = \"nats\"\n[[brokers]]\n\
             name = \"ticks\"\nenabled = true\ntype = \"nats\"\nnats.prefix = \"ticks\"\n",
        );
        let metrics = metrics(&options);
        let said: Arc<Mutex<Vec<(ShardId, Event)>>> = Arc::default();
        let heard = Arc::clone(&said);
        let post: Arc<Post> = Arc::new(move |shard, event| {
            heard.lock().expect("nobody panicked").push((shard, event));
            Ok(())
        });
        let kinds = Mutex::new(Vec::new());
        let engines = Engines::start_with(&options, &post, &metrics, |settings, outlet, _| {
            kinds.lock().expect("nobody panicked").push((settings.kind(), outlet.engine()));
            Ok(Arc::new(Fake { outlet, asked: Mutex::default() }))
        });
        let engines = engines.unwrap_or_else(|error| panic!("{error}"));
        // The third one has nothing to keep.
        assert_eq!(*kinds.lock().expect("nobody panicked"), [("redis", EngineIndex(1)), ("nats", EngineIndex(2))]);

        let sink = engines.sink(ShardId(1)).submit;
        let request = |engine, id| Request {
            engine: EngineIndex(engine),
            id: RequestId(id),
            channel: ChannelName::parse("chat", 9).expect("it is short"),
            operation: Operation::Listen,
        };
        assert!(sink(request(1, 1)).is_ok() && sink(request(2, 2)).is_ok());
        assert_eq!(sink(request(2, 3)).map_err(|request| request.id), Err(RequestId(3)), "there is no room");
        let said = std::mem::take(&mut *said.lock().expect("nobody panicked"));
        let ids: Vec<_> = said
            .into_iter()
            .map(|(shard, event)| match event {
                Event::Done { id, outcome: Ok::<_, ErrorCode>(Outcome::Listening) } => (shard, id),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, [(ShardId(1), RequestId(1)), (ShardId(1), RequestId(2))]);
    }

    #[test]
    fn what_carries_the_words_of_nodes_has_a_name() {
        let names = |text: &str| {
            let named = named(&options(text).engines);
            named.iter().map(|engine| format!("{} {}", engine.name, engine.kind)).collect::<Vec<_>>()
        };
        assert_eq!(names(""), [""; 0]);
        assert_eq!(names("engine.type = \"redis\""), ["engine redis", "nodes redis"]);
        assert_eq!(names("engine.type = \"disk\"\nengine.disk.path = \"/a\""), ["engine disk"]);
        assert_eq!(names("controller.enabled = true\ncontroller.type = \"nats\""), ["controller nats"]);
    }

    #[test]
    fn one_that_cannot_start_is_named() {
        let options = options("engine.type = \"disk\"\nengine.disk.path = \"/a\"");
        let metrics = metrics(&options);
        let post: Arc<Post> = Arc::new(|_, _| Ok(()));
        let failed = Engines::start_with(&options, &post, &metrics, |_, _, _| Err("/a: no room".into()));
        let Err(StartError(text)) = failed else { panic!("started") };
        assert_eq!(text, "starting the engine \"engine\": /a: no room");
    }
}
