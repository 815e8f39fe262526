//! The NATS engine: core subjects carry, JetStream keeps.
//!
//! # What it promises
//!
//! * **Plain channels** (no history) are core subjects, `<prefix>.ch.<channel>`: at most once. What is published while
//!   the connection breaks is lost, and nobody learns of it. The answer to a publish says that it was sent.
//! * **Channels with history** are kept by JetStream, and hold the whole contract. The answer says that the server
//!   has stored it: NATS writes files without waiting for the disk, so a server that is killed loses nothing, and one
//!   whose power fails may lose what it had confirmed. Servers in a cluster keep `replicas` copies.
//! * **Presence** is in a bucket of JetStream's key-value store (`presence.rs`).
//! * **Node messages** are core subjects (`control.rs`). **Raw mode** publishes and hears bare payloads, to join
//!   publishers of others: no history, joins or leaves. A **wildcard** channel hears others and has no stream.
//! * A server without JetStream is asked nothing of what it can't do: history and presence are refused (108), and the
//!   engine is not ready if a namespace has them.
//! * **Idempotency keys** are known to all nodes; those of plain channels without JetStream to the one that published.
//!
//! # Why the history holds
//!
//! Each kind of retention is a stream of the server (`log.rs`), with one subject for each channel. A message of it, an
//! [`Entry`](entry::Entry), says epoch and offset of its publications, the newest version, and what the last publishes
//! with a key came to. So the newest message of a subject is all there is to know of a channel, and
//!
//! * **Append is one step.** The next entry is made from the newest one, and stored with
//!   `Nats-Expected-Last-Subject-Sequence`: the server refuses it unless that is still the newest, whoever else
//!   publishes. By induction, entries of one epoch have offsets without gap in the order of the subject; position,
//!   version and key results change together with the append, or not at all. A refused node looks again.
//! * **Failed is unknown, never twice.** An entry whose answer is lost is stored or not; it can't be stored late, behind
//!   another, because what it expects is gone then. The next step begins by asking for the newest message.
//! * **Keys.** A repeated publish is found in the newest entry, or by the server (`Nats-Msg-Id`, five minutes), also
//!   when both go to it at once. A key's publish travels alone; others of a channel go together (`driver.rs`).
//! * **Order of what is heard.** Nobody listens to a log's subject: what the server refuses is heard there too. What it
//!   has stored it sends on (`republish`) to the channel's subject, in the order of the stream, on one connection for
//!   each node. So listeners hear entries in order, each at most once; a subscription that missed some (a broken
//!   connection, a subscriber that was too slow) is named in a recheck, and its home reads.
//! * **Listen before read.** A subscription is answered when a message to itself came back through it: the server has
//!   it then. Whatever is stored later is heard, whatever was stored before is read from the stream's leader.
//! * **Epochs** are random, drawn by whoever writes the first entry of a subject: also when the subject is empty
//!   because all of it expired, was purged or lost. A stream that ends before what was sent of it (whoever reads says
//!   so) or published by this node (it remembers), or behind a message that nobody of ours wrote, goes on with an entry
//!   of a new epoch and no publications. History is the run of entries that ends at the newest and has no gap: what
//!   does not fit is never given to anybody.
//! * **A log created anew** has other subjects than the former (`log.rs`), so what a node knew of that one is refused.
//! * **Time.** The server keeps a message for `max(history_ttl, history_meta_ttl)`, since position and epoch are in it.
//!   `history_ttl` is applied by readers, from the time that the newest entry says; what had expired when more came
//!   is below that entry's floor. Nodes' clocks differ by their error only. A channel that has been quiet for longer
//!   loses all but its newest message (`quiet.rs`).
//!
//! # Bounds
//!
//! The server keeps at most `history_size` messages of a channel. A read asks for the newest one and for those before
//! it that are wanted, 16 at a time; above 256 publications the server makes a consumer, which costs more and in a
//! cluster wants its leader. A channel with members costs this node 5.5 KiB (measured at 10,000), most of it the
//! client library's queue for one subscription.
//!
//! Read `driver.rs` first, then `job.rs`, `append.rs`, `log.rs`; then `ear.rs` and `link.rs`.

mod append;
mod complaints;
mod control;
mod driver;
mod ear;
mod entry;
mod history;
mod jetstream;
mod job;
mod link;
mod log;
mod options;
mod presence;
mod quiet;
mod reader;
mod subjects;
mod tail;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::contract::{Engine, Request};
use super::outlet::Outlet;
use crate::limits::REQUESTS_MAX;
use crate::model::ShardId;
use crate::telemetry::EngineMetrics;
use driver::Driver;
use ear::Ear;
use job::Arrived;
use subjects::Subjects;

pub use control::start_control;
pub use options::{Credentials, Options, RawMode, UseJetStream};

/// Starts the engine on the runtime of the caller. Never fails: while NATS is away it says so, and tries again.
pub fn start(options: Options, outlet: Outlet, metrics: Arc<EngineMetrics>) -> Arc<dyn Engine> {
    let subjects = Arc::new(Subjects::new(&options));
    let replicas = options.replicas;
    let sessions = link::keep(options, Arc::clone(&metrics));
    let start_shard = |shard| {
        let (requests, requests_receiver) = mpsc::channel(REQUESTS_MAX);
        let (ear, orders) = mpsc::channel(REQUESTS_MAX);
        let driver = Driver {
            shard,
            requests: requests_receiver,
            ear,
            sessions: sessions.clone(),
            outlet: outlet.clone(),
            subjects: Arc::clone(&subjects),
            metrics: Arc::clone(&metrics),
            replicas,
            complaints: complaints::Complaints::default(),
            state: driver::State::default(),
        };
        let ear = Ear {
            shard,
            orders,
            sessions: sessions.clone(),
            outlet: outlet.clone(),
            subjects: Arc::clone(&subjects),
            metrics: Arc::clone(&metrics),
            state: ear::State::default(),
        };
        tokio::spawn(driver.run());
        tokio::spawn(ear.run());
        requests
    };
    Arc::new(Nats { drivers: (0..outlet.shards()).map(ShardId).map(start_shard).collect() })
}

/// Each shard's requests go to a driver of its own.
struct Nats {
    drivers: Vec<mpsc::Sender<Arrived>>,
}

impl Engine for Nats {
    fn submit(&self, from: ShardId, request: Request) -> Result<(), Request> {
        let arrived = Arrived { request, at: Instant::now() };
        self.drivers[from.as_index()].try_send(arrived).map_err(|refused| refused.into_inner().request)
    }
}
