//! One process: starts everything in order, drains and stops in reverse.
//!
//! The order matters: descriptors are raised before anything needs many; the allowed cores are read
//! before a shard is pinned to one; ports are bound before a thread runs, so that a port in use ends
//! the start at once; workers start from this thread, which is never pinned; the control plane is
//! there before a shard can pass a request on.
//!
//! Invariants: only shard threads are pinned; whatever fails here ends the start with its reason.
//! Must never decide anything: it assembles. Read this file first, then `node/stop.rs`.

mod announce;
mod certificates;
mod control;
mod engines;
mod memory;
mod pid_file;
mod reload;
mod stop;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::config::{Configuration, Layers, Options};
use crate::engine::outlet::{Post, Ring};
use crate::handle::{Handle, TrayMessage};
use crate::io::{
    Admission, AllowedOrigins, ControlSender, JobSink, Newest, PortSharing, ShardSetup, SharedPort, bind,
    raise_descriptors, start_shard,
};
use crate::jwks::Jwks;
use crate::lane::{Ports, TrayReceiver, TraySender, mesh, tray};
use crate::limits::{JOB_DELIVERY_RETRY, JOB_DELIVERY_TRIES, JOBS_WAITING_MAX, TRAY_SLOTS};
use crate::model::ShardId;
use crate::nodes::{Cluster, NodeName};
use crate::shard::LaneMessage;
use crate::telemetry::NodeMetrics;
use crate::workers::{Done, Pool, Submitter};
use announce::{Announcement, announce};
use certificates::{Certificates, Identities};
use control::ControlPlane;
use engines::Engines;
pub use engines::try_engines;
use memory::MemoryWatch;
use pid_file::PidFile;
use reload::Reload;
use stop::{Signals, Stopping};

/// Why a node could not start, for its operator: what, where and the fix.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// In-trays of all shards, by their number.
type Trays = Arc<[TraySender<TrayMessage>]>;

/// Runs a node until a signal stops it. `layers` are what its configuration is read from again;
/// `start` is zero of its monotonic time.
pub fn run(configuration: &Configuration, layers: Layers, start: Instant) -> Result<(), StartError> {
    let options = &configuration.options;
    let io_options = io_options(options)?;
    if let Err(error) = raise_descriptors() {
        tracing::warn!(%error, "the limit of descriptors can't be raised; it bounds the number of clients");
    }
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let listeners = Listeners::bind(options)?;
    let metrics = NodeMetrics::new(options.shards, options.workers.threads, start);
    let metrics = metrics.with_namespaces(options.shard.namespaces.names());
    let metrics = Arc::new(metrics.with_engines(engines::named(&options.engines)));
    let (certificates, Identities { clients: client_tls, internal: internal_tls }) =
        Certificates::load(options, &metrics).map_err(failed("reading the certificates"))?;

    let ports = mesh(usize::from(options.shards), options.shard.lane_slots);
    let (trays, receivers): (Vec<_>, Vec<_>) =
        ports.iter().map(|ports| tray(TRAY_SLOTS, Arc::clone(ports.doorbell()))).unzip();
    let trays = Trays::from(trays);

    let workers = start_workers(options, &metrics, Arc::clone(&trays)).map_err(failed("starting the workers"))?;
    let tray_of_jwks = Arc::clone(&trays);
    let tray_of_engines = Arc::clone(&trays);
    let post = move |shard: ShardId, message| trays[shard.as_index()].try_push(message);
    let handle = Handle::new(options.shard.homes.clone(), Arc::new(post));
    let name = NodeName { uid: uuid::Uuid::new_v4().to_string(), name: options.node_name.clone() };
    let cluster = Cluster::alone(name, handle.clone(), Arc::clone(&metrics));
    let plane = ControlPlane::start(options, cluster.clone(), Arc::clone(&metrics), listeners.internal, internal_tls)
        .map_err(failed("starting the control plane"))?;
    let jwks = start_jwks(&plane, &metrics, tray_of_jwks);
    let engines = plane.runtime.block_on(async { Engines::start(options, deliver_to(tray_of_engines), &metrics) })?;
    let link = plane.runtime.block_on(async { engines::link(&options.engines, &cluster.node().uid, &metrics) })?;
    if let Some((control, messages)) = link {
        plane.runtime.spawn(cluster.join(control, messages));
    }
    let listen = || plane.runtime.block_on(async { certificates::hangups() }).map_err(failed("listening for SIGHUP"));
    plane.runtime.spawn(Reload::new(layers, configuration, &metrics).run(listen()?, handle.clone()));
    if !certificates.is_empty() {
        plane.runtime.spawn(certificates.keep_fresh(listen()?));
    }
    if let Some(watch) = MemoryWatch::new(options.memory_limit, options.shard.outbox_bytes_max, &metrics) {
        plane.runtime.spawn(watch.run(handle.clone()));
    }
    let signals = plane.runtime.block_on(async { Signals::listen() }).map_err(failed("listening for signals"))?;

    let (drained, all_drained) = mpsc::unbounded_channel();
    let shards = Shards {
        options,
        io_options,
        admission: Arc::new(Admission::new(options.admission)),
        tls: client_tls,
        cores: &cores,
        metrics: &metrics,
        control: &plane.sender,
        workers: workers.submitter(),
        jwks,
        engines: &engines,
        drained,
        start,
    };
    let threads = shards.start(ports, receivers, listeners.clients).map_err(failed("starting the shards"))?;
    let _pid_file = options.pid_file.as_deref().map(PidFile::write).transpose().map_err(failed("starting"))?;
    announce(&Announcement {
        options,
        client_address: listeners.client_address,
        internal_address: plane.address,
        cores: cores.len(),
    });

    let stopping = Stopping {
        cluster,
        metrics,
        all_drained,
        shards: threads.len(),
        port: listeners.shared,
        grace: options.shutdown_grace,
        timeout: options.shutdown_timeout,
    };
    plane.runtime.block_on(stopping.run(signals));
    for thread in threads {
        // A shard that panics aborts the process: none is missing here.
        let _ = thread.join();
    }
    Ok(())
}

/// The ports, bound.
struct Listeners {
    /// One for each shard.
    clients: Vec<TcpListener>,
    /// The same, if the port is to be left to another process.
    shared: Option<SharedPort>,
    /// Where they are, if the configuration asked for any free port.
    client_address: SocketAddr,
    internal: Option<TcpListener>,
}

impl Listeners {
    fn bind(options: &Options) -> Result<Listeners, StartError> {
        let what = "listening for clients";
        let sharing = options.client_port_sharing;
        let clients = bind(options.client_address, usize::from(options.shards), sharing).map_err(failed(what))?;
        let is_shared = sharing == PortSharing::WithOthers;
        let shared = is_shared.then(|| SharedPort::of(&clients)).transpose().map_err(failed(what))?;
        let first = clients.first().expect("there is at least one shard");
        let client_address = first.local_addr().map_err(failed(what))?;
        let internal = options.internal_address.map(|address| {
            let what = format!("listening on the internal port {address} (choose another with --internal_port)");
            TcpListener::bind(address).map_err(failed(what))
        });
        Ok(Listeners { client_address, internal: internal.transpose()?, shared, clients })
    }
}

/// What all shards are started with.
struct Shards<'a> {
    options: &'a Options,
    io_options: Arc<crate::io::Options>,
    admission: Arc<Admission>,
    tls: Option<Newest>,
    /// More shards than cores share them.
    cores: &'a [core_affinity::CoreId],
    metrics: &'a NodeMetrics,
    control: &'a ControlSender,
    workers: Submitter,
    jwks: Jwks,
    engines: &'a Engines,
    drained: mpsc::UnboundedSender<()>,
    start: Instant,
}

impl Shards<'_> {
    fn start(
        self,
        ports: Vec<Ports<LaneMessage>>,
        trays: Vec<TrayReceiver<TrayMessage>>,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let shard_options = Arc::new(self.options.shard.clone());
        let mut threads = Vec::with_capacity(ports.len());
        for (((index, ports), tray), listener) in ports.into_iter().enumerate().zip(trays).zip(listeners) {
            let drained = self.drained.clone();
            let id = ShardId(u16::try_from(index).expect("shards are counted in 16 bits"));
            threads.push(start_shard(ShardSetup {
                id,
                core: self.cores.get(index % self.cores.len().max(1)).copied(),
                listener,
                ports,
                tray,
                shard_options: Arc::clone(&shard_options),
                io_options: Arc::clone(&self.io_options),
                admission: Arc::clone(&self.admission),
                tls: self.tls.clone(),
                metrics: Arc::clone(&self.metrics.shards[index]),
                control: self.control.clone(),
                jobs: submit_to(self.workers.clone(), self.jwks.clone()),
                requests: self.engines.sink(id),
                seed: random_seed(),
                start: self.start,
                drained: Box::new(move || {
                    // The node may have stopped waiting.
                    let _ = drained.send(());
                }),
            })?);
        }
        Ok(threads)
    }
}

/// The pool, whose jobs' ends go back through the in-trays.
fn start_workers(options: &Options, metrics: &NodeMetrics, trays: Trays) -> io::Result<Pool> {
    Pool::start(
        options.workers.threads,
        JOBS_WAITING_MAX,
        options.shard.compression,
        Arc::clone(&metrics.workers),
        move |shard, done| {
            deliver(&trays, shard, done);
        },
    )
}

/// Puts a job's end into its shard's tray. A full one is tried again: the connection waits for it,
/// and a worker has nothing better to do than to let the shard catch up.
fn deliver(trays: &[TraySender<TrayMessage>], shard: ShardId, done: Done) {
    let mut message = TrayMessage::Done(done);
    for _ in 0..JOB_DELIVERY_TRIES {
        match trays[shard.as_index()].try_push(message) {
            Ok(()) => return,
            Err(returned) => message = returned,
        }
        thread::sleep(JOB_DELIVERY_RETRY);
    }
    tracing::error!(%shard, "the shard stands still: a job's end could not be delivered");
}

/// Fetches what issuers publish, on the control plane.
fn start_jwks(plane: &ControlPlane, metrics: &NodeMetrics, trays: Trays) -> Jwks {
    let deliver = move |shard: ShardId, done| match trays[shard.as_index()].try_push(TrayMessage::Done(done)) {
        Err(TrayMessage::Done(done)) => Err(done),
        _ => Ok(()),
    };
    let (jwks, service) = Jwks::new(Arc::clone(&metrics.jwks), Arc::new(deliver));
    plane.runtime.spawn(service);
    jwks
}

/// Puts what engines say into the trays, and wakes their shards.
fn deliver_to(trays: Trays) -> (Arc<Post>, Arc<Ring>) {
    let to_ring = Arc::clone(&trays);
    let post = move |shard: ShardId, event| match trays[shard.as_index()].try_push_quietly(TrayMessage::Engine(event)) {
        Err(TrayMessage::Engine(event)) => Err(event),
        _ => Ok(()),
    };
    (Arc::new(post), Arc::new(move |shard: ShardId| to_ring[shard.as_index()].ring()))
}

/// To the workers, or first to where the keys of a token are.
fn submit_to(workers: Submitter, jwks: Jwks) -> JobSink {
    Box::new(move |job| match job.work.awaits_keys() {
        None => workers.submit(job),
        Some(_) => jwks.submit(job),
    })
}

fn io_options(options: &Options) -> Result<Arc<crate::io::Options>, StartError> {
    let origins = options.http.allowed_origins.iter().map(String::as_str);
    let allowed_origins = AllowedOrigins::parse(origins).map_err(|error| StartError(error.to_string()))?;
    let user_header = options.http.user_header.as_ref().map(|name| name.parse()).transpose();
    let user_header =
        user_header.map_err(|_| StartError("client.user_id_http_header is no name of a header".into()))?;
    Ok(Arc::new(crate::io::Options {
        websocket_path: options.http.websocket_path.as_str().into(),
        io_uring: options.http.io_uring,
        echo_path: options.http.echo.then(|| ECHO_PATH.into()),
        allowed_origins,
        user_header,
        compression: options.http.compression,
        ..crate::io::Options::default()
    }))
}

/// Says what failed, before the reason.
fn failed(what: impl fmt::Display) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError(format!("{what}: {error}"))
}

/// Two UUIDs make 64 bits that are all random: their fixed bits lie apart.
fn random_seed() -> u64 {
    let random = || uuid::Uuid::new_v4().as_u64_pair().0;
    random() ^ random().rotate_left(32)
}

/// Where the echo endpoint of conformance tests is.
const ECHO_PATH: &str = "/echo";
