//! One process: starts everything in order, drains and stops in reverse.
//!
//! The order matters: descriptors are raised before anything needs many; the allowed cores are read
//! before a shard is pinned to one; ports are bound before a thread runs, so that a port in use ends
//! the start at once; workers start from this thread, which is never pinned; the control plane is
//! there before a shard can pass a request on. Invariants: this file assembles and decides nothing;
//! only shard threads are pinned. Must never be imported by any but `main`. Read this file first.

mod announce;
mod control;
mod stop;

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::config::Options;
use crate::handle::{Handle, TrayMessage};
use crate::io::{AllowedOrigins, JobSink, ShardSetup, bind, raise_descriptors, start_shard};
use crate::lane::{TraySender, mesh, tray};
use crate::limits::{JOB_DELIVERY_RETRY, JOB_DELIVERY_TRIES, JOBS_WAITING_MAX, TRAY_SLOTS};
use crate::model::ShardId;
use crate::telemetry::NodeMetrics;
use crate::workers::{Done, Pool, Submitter};
use announce::{Announcement, announce};
use control::ControlPlane;
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

/// Runs a node until a signal stops it. `start` is zero of its monotonic time.
pub fn run(options: &Options, start: Instant) -> Result<(), StartError> {
    if let Err(error) = raise_descriptors() {
        tracing::warn!(%error, "the limit of descriptors can't be raised; it bounds the number of clients");
    }
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let metrics = Arc::new(NodeMetrics::new(options.shards, options.workers.threads, start));

    let listeners =
        bind(options.client_address, usize::from(options.shards)).map_err(failed("listening for clients"))?;
    let client_address = listeners
        .first()
        .expect("there is at least one shard")
        .local_addr()
        .map_err(failed("listening for clients"))?;
    let internal_listener = match options.internal_address {
        Some(address) => Some(TcpListener::bind(address).map_err(failed(format!("the internal port, {address}")))?),
        None => None,
    };

    let ports = mesh(usize::from(options.shards), options.shard.lane_slots);
    let (trays, receivers): (Vec<_>, Vec<_>) =
        ports.iter().map(|ports| tray(TRAY_SLOTS, ports.doorbell().clone())).unzip();
    let trays: Arc<[TraySender<TrayMessage>]> = trays.into();
    let workers = start_workers(options, &metrics, Arc::clone(&trays)).map_err(failed("starting the workers"))?;

    let posting = Arc::clone(&trays);
    let post = move |shard: ShardId, message| posting[shard.as_index()].try_push(message);
    let handle = Handle::new(options.shard.homes.clone(), Arc::new(post));
    let plane = ControlPlane::start(options, handle.clone(), Arc::clone(&metrics), internal_listener)
        .map_err(failed("starting the control plane"))?;
    let signals = plane.runtime.block_on(async { Signals::listen() }).map_err(failed("listening for signals"))?;

    let io_options = Arc::new(io_options(options)?);
    let shard_options = Arc::new(options.shard.clone());
    let (drained, all_drained) = mpsc::unbounded_channel();
    let mut threads = Vec::with_capacity(receivers.len());
    for ((index, (ports, tray)), listener) in ports.into_iter().zip(receivers).enumerate().zip(listeners) {
        let drained = drained.clone();
        let setup = ShardSetup {
            id: ShardId(u16::try_from(index).expect("shards are counted in 16 bits")),
            // More shards than cores share them.
            core: cores.get(index % cores.len().max(1)).copied(),
            listener,
            ports,
            tray,
            shard_options: Arc::clone(&shard_options),
            io_options: Arc::clone(&io_options),
            metrics: Arc::clone(&metrics.shards[index]),
            control: plane.sender.clone(),
            jobs: submit_to(workers.submitter()),
            seed: random_seed(),
            start,
            drained: Box::new(move || {
                // The node may have stopped waiting.
                let _ = drained.send(());
            }),
        };
        threads.push(start_shard(setup).map_err(failed("starting a shard"))?);
    }
    announce(&Announcement { options, client_address, internal_address: plane.address, cores: cores.len() });

    let stopping = Stopping { handle, metrics, all_drained, shards: threads.len(), timeout: options.shutdown_timeout };
    plane.runtime.block_on(stopping.run(signals));
    join(threads);
    Ok(())
}

/// The pool, whose jobs' ends go back through the in-trays.
fn start_workers(options: &Options, metrics: &NodeMetrics, trays: Arc<[TraySender<TrayMessage>]>) -> io::Result<Pool> {
    Pool::start(options.workers.threads, JOBS_WAITING_MAX, Arc::clone(&metrics.workers), move |shard, done| {
        deliver(&trays, shard, done);
    })
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

fn submit_to(workers: Submitter) -> JobSink {
    Box::new(move |job| workers.submit(job))
}

fn io_options(options: &Options) -> Result<crate::io::Options, StartError> {
    let origins = options.http.allowed_origins.iter().map(String::as_str);
    let allowed_origins = AllowedOrigins::parse(origins).map_err(|error| StartError(error.to_string()))?;
    Ok(crate::io::Options {
        websocket_path: options.http.websocket_path.as_str().into(),
        echo_path: options.http.echo.then(|| ECHO_PATH.into()),
        allowed_origins,
        ..crate::io::Options::default()
    })
}

/// Says what failed, before the reason.
fn failed(what: impl fmt::Display) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError(format!("{what}: {error}"))
}

/// 64 of the 122 random bits of a UUID, away from its version.
fn random_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0.rotate_left(16) ^ uuid::Uuid::new_v4().as_u64_pair().1
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        // A shard that panics aborts the process, so none is missing here.
        let _ = thread.join();
    }
}

/// Where the echo endpoint of conformance tests is.
const ECHO_PATH: &str = "/echo";
