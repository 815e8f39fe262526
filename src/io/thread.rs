//! One shard's thread: everything that lives on it, put together.

use std::io::{self, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::lane::{Ports, TrayReceiver};
use crate::limits;
use crate::model::ShardId;
use crate::shard::{self, EngineRequest, Job, LaneMessage, Shard, TrayMessage};
use crate::telemetry::ShardMetrics;

use super::accept::accept;
use super::admission::Admission;
use super::door::{ControlSender, Door, Told};
use super::event_loop::EventLoop;
use super::poller::Poller;
use super::ring::Ring;
use super::sockets::Sockets;
use super::tls::{Buffers, Newest, Ration};

/// Where jobs go; gives one back when the workers' queue is full.
pub type JobSink = Box<dyn Fn(Job) -> Result<(), Job> + Send>;

/// Where requests to engines go.
pub struct RequestSink {
    /// Gives one back when the engine's queue is full.
    pub submit: Box<dyn Fn(EngineRequest) -> Result<(), EngineRequest> + Send>,
    /// What was submitted is to be looked at.
    pub wake: Box<dyn Fn() + Send>,
}

/// All that one shard needs. It starts with nothing of the process's around it but this.
pub struct ShardSetup {
    pub id: ShardId,
    /// The core to pin the thread to. One of those that were allowed before any thread was pinned:
    /// a pinned thread sees only its own.
    pub core: Option<CoreId>,
    /// One of those that [`super::bind`] made.
    pub listener: TcpListener,
    pub ports: Ports<LaneMessage>,
    pub tray: TrayReceiver<TrayMessage>,
    pub shard_options: Arc<shard::Options>,
    pub io_options: Arc<super::Options>,
    /// The same one for all shards.
    pub admission: Arc<Admission>,
    /// What TLS is spoken with; `None`: the port is plain.
    pub tls: Option<Newest>,
    pub metrics: Arc<ShardMetrics>,
    pub control: ControlSender,
    pub jobs: JobSink,
    pub requests: RequestSink,
    pub seed: u64,
    /// Zero of monotonic time, the same for all shards.
    pub start: Instant,
    /// Called once, on the shard's thread: it was told to drain, has closed its port, answered every
    /// request in its door, and has no connection left. It stays the home of its rooms until
    /// `TrayMessage::Stop`, for those shards that drain longer.
    pub drained: Box<dyn FnOnce() + Send>,
}

/// Starts the shard's thread. It ends after `TrayMessage::Stop`.
///
/// A panic outside of one connection's handling aborts the process: a node that has lost a shard
/// would look alive and deliver nothing.
pub fn start_shard(setup: ShardSetup) -> io::Result<JoinHandle<()>> {
    let id = setup.id;
    assert_eq!(setup.ports.id(), id.as_index(), "each shard has its own ports");
    std::thread::Builder::new().name(format!("shard-{id}")).spawn(move || {
        match catch_unwind(AssertUnwindSafe(|| run(setup))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => abort(id, &format!("could not start: {error}")),
            Err(_) => abort(id, "panicked outside of a connection's handling"),
        }
    })
}

fn abort(id: ShardId, what: &str) -> ! {
    // Not through the log, which may need a thread that is no more.
    let _ = writeln!(io::stderr(), "fanfare: shard {id} {what}; the process ends");
    std::process::abort()
}

fn run(setup: ShardSetup) -> io::Result<()> {
    if let Some(core) = setup.core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(shard = setup.id.0, core = core.id, "can't pin the shard to its core; it runs unpinned");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, live(setup))
}

/// `None`: the operator wants no ring, or there is none to be had.
fn open_ring(id: ShardId, is_wanted: bool) -> Option<Ring> {
    if !is_wanted {
        return None;
    }
    Ring::open()
        .inspect_err(|error| {
            tracing::info!(shard = id.0, %error, "there is no io_uring here: each send is a system call of its own");
        })
        .ok()
}

async fn live(setup: ShardSetup) -> io::Result<()> {
    let (draining, mut drains) = watch::channel(false);
    let (full, is_full) = watch::channel(false);
    let ration = Rc::new(Ration::new(limits::HANDSHAKE_SHARE));
    let tls = setup.tls.map(|newest| (newest, Rc::clone(&ration)));
    let told = Told { draining: drains.clone(), full: is_full };
    let ring = open_ring(setup.id, setup.io_options.io_uring);
    let (admission, metrics) = (Arc::clone(&setup.admission), Arc::clone(&setup.metrics));
    let (door, arriving) = Door::new(setup.io_options, setup.control, admission, metrics, told, tls);
    let listener = tokio::net::TcpListener::from_std(setup.listener)?;

    let poller = Poller::new(limits::POLL_EVENTS_MAX)?;
    let waker = poller.waker()?;
    // A wake that fails is made good by the heartbeat's.
    setup.ports.doorbell().hang(move || drop(waker.wake()));

    let turns = EventLoop {
        shard: Shard::new(setup.id, Arc::clone(&setup.shard_options), Arc::clone(&setup.metrics), setup.seed),
        poller,
        sockets: Sockets::new(setup.admission),
        ring,
        batch: Vec::with_capacity(limits::RING_SENDS_MAX),
        outcomes: Vec::with_capacity(limits::RING_SENDS_MAX),
        scratch: vec![0; limits::READ_SCRATCH_BYTES].into(),
        tls_buffers: Buffers::default(),
        ration,
        arriving,
        arrived: None,
        ports: setup.ports,
        tray: setup.tray,
        jobs: setup.jobs,
        requests: setup.requests,
        metrics: setup.metrics,
        start: setup.start,
        sends_max: setup.shard_options.slice_sends_max,
        bytes_max: setup.shard_options.slice_bytes_max,
        draining,
        full,
        drained: Some(setup.drained),
        stopping: false,
        lapped_at: Duration::ZERO,
        turned_at: None,
    };
    let mut turns = pin!(turns.run());
    // Accepting runs inside the same future, so that its panic too reaches the thread.
    tokio::select! {
        biased;
        () = &mut turns => return Ok(()),
        never = accept(listener, door) => match never {},
        // The listener is dropped: from here on the port belongs to who comes after us.
        _ = drains.wait_for(|draining| *draining) => {}
    }
    turns.await;
    Ok(())
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
