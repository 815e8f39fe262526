//! The rows of engines in the table of metrics.

use super::engine::{EngineCounter, EngineMetrics};
use super::table::{Kind, Metric, Source};

/// The name of the engine in the configuration, and its type; `nodes` is what carries the words of nodes.
const LABELS: &[&str] = &["engine", "kind"];

pub(super) static ENGINES: &[Metric] = &[
    gauge("fanfare_engine_up", "1 while the engine answers.", |engine| flag(engine.is_up())),
    gauge(
        "fanfare_engine_ready",
        "1 while it answers and the last probe came back: what `/readyz` asks. The engine `nodes` carries what nodes say \
         to one another.",
        |engine| flag(engine.is_ready()),
    ),
    counter("fanfare_engine_requests_total", EngineCounter::Requests, "Requests of shards that it took."),
    counter(
        "fanfare_engine_failures_total",
        EngineCounter::Failures,
        "Requests answered with an error that is the engine's fault: away, or too slow.",
    ),
    counter(
        "fanfare_engine_incoming_total",
        EngineCounter::Incoming,
        "Publications, joins and leaves that were heard and given to shards.",
    ),
    counter(
        "fanfare_engine_foreign_total",
        EngineCounter::Foreign,
        "Records and messages that no hub wrote, or that are damaged: passed over.",
    ),
    counter("fanfare_engine_interruptions_total", EngineCounter::Interruptions, "How often it answered no more."),
    counter(
        "fanfare_engine_rechecked_total",
        EngineCounter::Rechecked,
        "Channels whose positions were checked because something may have been missed.",
    ),
    counter("fanfare_engine_probes_lost_total", EngineCounter::ProbesLost, "Probes that did not come back in time."),
    gauge("fanfare_engine_probe_seconds", "How long the last probe took that came back.", |engine| {
        engine.probe_delay().as_secs_f64()
    }),
    gauge(
        "fanfare_engine_clock_ahead_seconds",
        "By how much Redis' clock was ahead of this machine's when it was connected to last; 0 for others.",
        EngineMetrics::clock_ahead,
    ),
    counter(
        "fanfare_engine_replica_reads_total",
        EngineCounter::ReplicaReads,
        "Requests that a replica answered instead of its master (`redis.replica_client`).",
    ),
    counter(
        "fanfare_engine_epochs_lost_total",
        EngineCounter::EpochsLost,
        "Streams that had lost what was confirmed, and began a new epoch.",
    ),
    counter(
        "fanfare_engine_writes_total",
        EngineCounter::Writes,
        "Writes of a log, each with all that had gathered since the one before; only of the type `disk`.",
    ),
];

const fn counter(name: &'static str, counter: EngineCounter, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels: LABELS, help, source: Source::Engine(counter) }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&EngineMetrics) -> f64) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: LABELS, help, source: Source::OfEngine(read) }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
