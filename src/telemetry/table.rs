//! The one table of what `/metrics` shows; `docs/metrics.md` is generated from it.

use super::process::{ProcessSample, start_time_seconds};
use super::scrape::Samples;
use super::{Counter, Gauge, NodeMetrics, ShardMetrics, WorkerMetrics};

/// One metric: how it is called, what it means, and where its numbers come from.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub(super) read: fn(&View<'_>, &mut Samples),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// Of seconds; the buckets are `histogram::BOUNDS_US`.
    Histogram,
}

/// What one scrape looks at.
pub(super) struct View<'a> {
    pub metrics: &'a NodeMetrics,
    pub process: ProcessSample,
    pub version: &'a str,
}

const SHARD: &[&str] = &["shard"];

pub static TABLE: &[Metric] = &[
    // --- connections ---
    Metric {
        name: "fanfare_connections",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Open connections, also those that are closing.",
        read: |view, out| gauge(view, out, Gauge::Connections),
    },
    Metric {
        name: "fanfare_connections_opened_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Sockets that finished their upgrade.",
        read: |view, out| counter(view, out, Counter::ConnectionsOpened),
    },
    Metric {
        name: "fanfare_upgrades_refused_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "HTTP heads that did not become a connection.",
        read: |view, out| counter(view, out, Counter::UpgradesRefused),
    },
    Metric {
        name: "fanfare_disconnects_total",
        kind: Kind::Counter,
        labels: &["shard", "code"],
        help: "Connections closed, by close code (docs: the table of codes).",
        read: |view, out| each_shard(view, |shard, metrics| out.codes(&[shard], metrics.disconnects.occurred())),
    },
    Metric {
        name: "fanfare_subscriptions",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Subscriptions of the shard's connections.",
        read: |view, out| gauge(view, out, Gauge::Subscriptions),
    },
    Metric {
        name: "fanfare_unsubscribes_total",
        kind: Kind::Counter,
        labels: &["shard", "code"],
        help: "Subscriptions that the hub ended, by code.",
        read: |view, out| each_shard(view, |shard, metrics| out.codes(&[shard], metrics.unsubscribes.occurred())),
    },
    Metric {
        name: "fanfare_outbox_bytes",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Bytes waiting for sockets to take them.",
        read: |view, out| gauge(view, out, Gauge::OutboxBytes),
    },
    // --- messages ---
    Metric {
        name: "fanfare_messages_received_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "WebSocket messages from clients.",
        read: |view, out| counter(view, out, Counter::MessagesReceived),
    },
    Metric {
        name: "fanfare_received_bytes_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Payload bytes of messages from clients.",
        read: |view, out| counter(view, out, Counter::BytesReceived),
    },
    Metric {
        name: "fanfare_messages_sent_total",
        kind: Kind::Counter,
        labels: &["shard", "kind"],
        help: "Messages put into outboxes, by kind.",
        read: |view, out| {
            each_shard(view, |shard, metrics| {
                for (kind, counter) in [
                    ("reply", Counter::RepliesSent),
                    ("publication", Counter::PublicationsSent),
                    ("join", Counter::JoinsSent),
                    ("leave", Counter::LeavesSent),
                    ("other_push", Counter::OtherPushesSent),
                    ("ping", Counter::PingsSent),
                ] {
                    out.add(&[shard, kind], metrics.counter(counter) as f64);
                }
            });
        },
    },
    Metric {
        name: "fanfare_sent_bytes_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Bytes that sockets took.",
        read: |view, out| counter(view, out, Counter::BytesSent),
    },
    Metric {
        name: "fanfare_commands_total",
        kind: Kind::Counter,
        labels: &["shard", "command"],
        help: "Clients' commands, by kind.",
        read: |view, out| {
            each_shard(view, |shard, metrics| {
                metrics.commands.all().for_each(|(command, count)| out.add(&[shard, command], count as f64));
            });
        },
    },
    Metric {
        name: "fanfare_command_errors_total",
        kind: Kind::Counter,
        labels: &["shard", "code"],
        help: "Commands answered with an error, by code.",
        read: |view, out| each_shard(view, |shard, metrics| out.codes(&[shard], metrics.errors.occurred())),
    },
    // --- rooms and streams ---
    Metric {
        name: "fanfare_rooms",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Rooms at home on the shard.",
        read: |view, out| gauge(view, out, Gauge::Rooms),
    },
    Metric {
        name: "fanfare_publications_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Publications that homes on the shard accepted.",
        read: |view, out| counter(view, out, Counter::PublicationsAccepted),
    },
    Metric {
        name: "fanfare_publishes_refused_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Publishes of clients refused because the lane to the home was full.",
        read: |view, out| counter(view, out, Counter::PublishesRefused),
    },
    Metric {
        name: "fanfare_deliveries_lost_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Deliveries that a full lane lost; subscribers with a position recover them.",
        read: |view, out| counter(view, out, Counter::DeliveriesLost),
    },
    Metric {
        name: "fanfare_recoveries_total",
        kind: Kind::Counter,
        labels: &["shard", "outcome"],
        help: "Recoveries that clients asked for, by outcome.",
        read: |view, out| {
            each_shard(view, |shard, metrics| {
                out.add(&[shard, "succeeded"], metrics.counter(Counter::RecoveriesSucceeded) as f64);
                out.add(&[shard, "failed"], metrics.counter(Counter::RecoveriesFailed) as f64);
            });
        },
    },
    Metric {
        name: "fanfare_stream_bytes",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Memory of streams and presence at home on the shard.",
        read: |view, out| gauge(view, out, Gauge::StreamBytes),
    },
    Metric {
        name: "fanfare_streams_evicted_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Streams forgotten early because the memory bound was reached.",
        read: |view, out| counter(view, out, Counter::StreamsEvicted),
    },
    // --- the loop ---
    Metric {
        name: "fanfare_turn_duration_seconds",
        kind: Kind::Histogram,
        labels: SHARD,
        help: "How long a turn of the event loop took.",
        read: |view, out| each_shard(view, |shard, metrics| out.add_histogram(&[shard], &metrics.turn)),
    },
    Metric {
        name: "fanfare_loop_lag_seconds",
        kind: Kind::Histogram,
        labels: SHARD,
        help: "How late the event loop came to what was due.",
        read: |view, out| each_shard(view, |shard, metrics| out.add_histogram(&[shard], &metrics.lag)),
    },
    Metric {
        name: "fanfare_heartbeat_age_seconds",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Time since the shard's last turn; /livez fails above 5 s.",
        read: |view, out| {
            for (shard, age) in view.metrics.heartbeat_ages().enumerate() {
                out.add(&[&shard.to_string()], age.as_secs_f64());
            }
        },
    },
    Metric {
        name: "fanfare_lane_depth",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Messages waiting to leave for other shards.",
        read: |view, out| gauge(view, out, Gauge::LaneDepth),
    },
    Metric {
        name: "fanfare_bugs_total",
        kind: Kind::Counter,
        labels: SHARD,
        help: "Panics caught while one connection was handled. Please report them.",
        read: |view, out| counter(view, out, Counter::Bugs),
    },
    // --- workers ---
    Metric {
        name: "fanfare_jobs_submitted_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Jobs that the workers' queue took.",
        read: |view, out| out.add(&[], view.metrics.workers.submitted() as f64),
    },
    Metric {
        name: "fanfare_jobs_refused_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Jobs that found the workers' queue full; their connections were not read meanwhile.",
        read: |view, out| out.add(&[], view.metrics.workers.refused() as f64),
    },
    Metric {
        name: "fanfare_jobs_waiting",
        kind: Kind::Gauge,
        labels: &[],
        help: "Jobs in the workers' queue.",
        read: |view, out| out.add(&[], view.metrics.workers.waiting() as f64),
    },
    Metric {
        name: "fanfare_jobs_total",
        kind: Kind::Counter,
        labels: &["worker", "kind"],
        help: "Jobs done, by kind; worker `rescue` took those that had waited too long.",
        read: |view, out| {
            each_worker(view, |worker, metrics| {
                metrics.jobs.all().for_each(|(kind, count)| out.add(&[worker, kind], count as f64));
            });
        },
    },
    Metric {
        name: "fanfare_job_wait_seconds",
        kind: Kind::Histogram,
        labels: &["worker"],
        help: "How long jobs waited for a worker.",
        read: |view, out| each_worker(view, |worker, metrics| out.add_histogram(&[worker], &metrics.wait)),
    },
    Metric {
        name: "fanfare_job_run_seconds",
        kind: Kind::Histogram,
        labels: &["worker"],
        help: "How long jobs ran, wall time.",
        read: |view, out| each_worker(view, |worker, metrics| out.add_histogram(&[worker], &metrics.run)),
    },
    Metric {
        name: "fanfare_job_panics_total",
        kind: Kind::Counter,
        labels: &["worker"],
        help: "Jobs that panicked. Please report them.",
        read: |view, out| each_worker(view, |worker, metrics| out.add(&[worker], metrics.panics() as f64)),
    },
    // --- server API ---
    Metric {
        name: "fanfare_api_requests_total",
        kind: Kind::Counter,
        labels: &["method"],
        help: "Requests of the server API, by method.",
        read: |view, out| {
            let requests = view.metrics.api.requests.all();
            requests.for_each(|(method, count)| out.add(&[method], count as f64));
        },
    },
    Metric {
        name: "fanfare_api_errors_total",
        kind: Kind::Counter,
        labels: &["code"],
        help: "Answers of the server API with an error code, and refusals by their HTTP status.",
        read: |view, out| out.codes(&[], view.metrics.api.errors.occurred()),
    },
    // --- the process ---
    Metric {
        name: "fanfare_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label names the version.",
        read: |view, out| out.add(&[view.version], 1.0),
    },
    Metric {
        name: "fanfare_draining",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while the node drains before it stops.",
        read: |view, out| out.add(&[], f64::from(u8::from(view.metrics.is_draining()))),
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "User and system time of all threads.",
        read: |view, out| out.add(&[], view.process.cpu.as_secs_f64()),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Resident memory.",
        read: |view, out| out.add(&[], view.process.resident_bytes as f64),
    },
    Metric {
        name: "process_threads",
        kind: Kind::Gauge,
        labels: &[],
        help: "Threads.",
        read: |view, out| out.add(&[], view.process.threads as f64),
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open descriptors.",
        read: |view, out| out.add(&[], view.process.descriptors as f64),
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "The soft limit of descriptors.",
        read: |view, out| out.add(&[], view.process.descriptors_max as f64),
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process began, seconds since 1970.",
        read: |view, out| out.add(&[], start_time_seconds(view.metrics.uptime())),
    },
];

fn counter(view: &View<'_>, out: &mut Samples, counter: Counter) {
    each_shard(view, |shard, metrics| out.add(&[shard], metrics.counter(counter) as f64));
}

fn gauge(view: &View<'_>, out: &mut Samples, gauge: Gauge) {
    each_shard(view, |shard, metrics| out.add(&[shard], metrics.gauge(gauge) as f64));
}

fn each_shard(view: &View<'_>, mut take: impl FnMut(&str, &ShardMetrics)) {
    for (index, metrics) in view.metrics.shards.iter().enumerate() {
        take(&index.to_string(), metrics);
    }
}

fn each_worker(view: &View<'_>, mut take: impl FnMut(&str, &WorkerMetrics)) {
    for (worker, metrics) in view.metrics.workers.threads() {
        take(&worker, metrics);
    }
}
