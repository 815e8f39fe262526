//! The one table of what `/metrics` shows; `docs/metrics.md` is generated from it.

use super::engine_table::ENGINES;
use super::process::ProcessSample;
use super::scrape::Samples;
use super::slow::Remedy;
use super::workers::JOBS;
use super::{Counter, EngineCounter, EngineMetrics, Gauge, NodeMetrics, ShardMetrics, Stage, TlsPort, WorkerMetrics};

/// One metric: how it is called, what it means, and where its numbers come from.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub(super) source: Source,
}

/// Where a metric's numbers come from.
pub(super) enum Source {
    Counter(Counter),
    /// Counters of each shard that differ in the last label.
    Kinds(&'static [(&'static str, Counter)]),
    Gauge(Gauge),
    /// A counter of each engine.
    Engine(EngineCounter),
    /// One number of each engine.
    OfEngine(fn(&EngineMetrics) -> f64),
    /// One number of the whole node.
    Node(fn(&View<'_>) -> f64),
    Samples(fn(&View<'_>, &mut Samples)),
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
const RUNNER_AND_KIND: &[&str] = &["runner", "kind"];

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    TABLE.iter().chain(ENGINES)
}

static TABLE: &[Metric] = &[
    // --- connections ---
    shard_gauge("fanfare_connections", Gauge::Connections, "Open connections, also those that are closing."),
    shard_counter(
        "fanfare_connections_opened_total",
        Counter::ConnectionsOpened,
        "Sockets that finished their upgrade.",
    ),
    Metric {
        name: "fanfare_refusals_total",
        kind: Kind::Counter,
        labels: &["shard", "reason"],
        help: "Who was refused at the clients' port, by reason. 4xx: `head` (unreadable, too large or too slow), \
               `handshake` (no WebSocket handshake), `origin` (`client.allowed_origins`). 503: `connection_limit` and \
               `connection_rate_limit` (of `client`), `memory` (`fanfare.memory_limit`), `control_plane` (too many \
               requests wait for it), `door` (too many connections wait for an answer), `descriptors` (none is left).",
        source: Source::Kinds(&[
            ("head", Counter::RefusedForHead),
            ("handshake", Counter::RefusedForHandshake),
            ("origin", Counter::RefusedForOrigin),
            ("connection_limit", Counter::RefusedForConnectionLimit),
            ("connection_rate_limit", Counter::RefusedForRate),
            ("memory", Counter::RefusedForMemory),
            ("control_plane", Counter::RefusedForControl),
            ("door", Counter::RefusedForDoor),
            ("descriptors", Counter::RefusedForDescriptors),
        ]),
    },
    shard_counter(
        "fanfare_connections_compressed_total",
        Counter::ConnectionsCompressed,
        "Sockets that negotiated permessage-deflate.",
    ),
    Metric {
        name: "fanfare_tls_handshakes_total",
        kind: Kind::Counter,
        labels: &["shard", "outcome"],
        help: "TLS handshakes at the clients' port, by outcome: `failed` are peers that left, were too slow, \
               broke the rules or did not speak TLS.",
        source: Source::Kinds(&[("succeeded", Counter::Handshakes), ("failed", Counter::HandshakesFailed)]),
    },
    Metric {
        name: "fanfare_disconnects_total",
        kind: Kind::Counter,
        labels: &["shard", "code"],
        help: "Connections closed, by close code.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| out.codes(&[shard], metrics.disconnects.occurred()))
        }),
    },
    shard_gauge("fanfare_subscriptions", Gauge::Subscriptions, "Subscriptions of the shard's connections."),
    Metric {
        name: "fanfare_unsubscribes_total",
        kind: Kind::Counter,
        labels: &["shard", "code"],
        help: "Subscriptions that the hub ended, by code.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| out.codes(&[shard], metrics.unsubscribes.occurred()))
        }),
    },
    shard_gauge("fanfare_outbox_bytes", Gauge::OutboxBytes, "Bytes waiting for sockets to take them."),
    Metric {
        name: "fanfare_outboxes_cut_total",
        kind: Kind::Counter,
        labels: &["shard", "outcome"],
        help: "Outboxes cut because memory was above `fanfare.memory_limit`: `shrunk` where                `slow_consumer_policy` lets publications be dropped, else `closed` with their connection (3008).",
        source: Source::Kinds(&[("shrunk", Counter::OutboxesShrunk), ("closed", Counter::ConnectionsCut)]),
    },
    Metric {
        name: "fanfare_publications_dropped_total",
        kind: Kind::Counter,
        labels: &["shard", "namespace", "policy"],
        help: "Publications that slow consumers were not sent, by `slow_consumer_policy`: `drop_oldest`, \
               `conflate`, and `max_rate` for those that a newer one replaced within that rate. Counted for each \
               subscriber; the namespace is empty for channels without one.",
        source: Source::Samples(|view, out| {
            each_remedy(view, |shard, namespace, remedy, count| {
                if remedy != Remedy::Disconnect {
                    out.add(&[shard, namespace, remedy.name()], count as f64);
                }
            });
        }),
    },
    Metric {
        name: "fanfare_slow_consumers_closed_total",
        kind: Kind::Counter,
        labels: &["shard", "namespace"],
        help: "Connections closed (3008) because a publication of the namespace found no room. Those closed \
               because of a reply, or for memory, are only in `fanfare_disconnects_total`.",
        source: Source::Samples(|view, out| {
            each_remedy(view, |shard, namespace, remedy, count| {
                if remedy == Remedy::Disconnect {
                    out.add(&[shard, namespace], count as f64);
                }
            });
        }),
    },
    // --- messages ---
    shard_kinds(
        "fanfare_messages_received_total",
        "WebSocket messages from clients, by kind: JSON comes as text, Protobuf as binary.",
        &[("text", Counter::TextsReceived), ("binary", Counter::BinariesReceived)],
    ),
    shard_kinds(
        "fanfare_received_bytes_total",
        "Payload bytes of messages from clients, by kind.",
        &[("text", Counter::TextBytesReceived), ("binary", Counter::BinaryBytesReceived)],
    ),
    shard_kinds(
        "fanfare_messages_sent_total",
        "Messages put into outboxes, by kind.",
        &[
            ("reply", Counter::RepliesSent),
            ("publication", Counter::PublicationsSent),
            ("join", Counter::JoinsSent),
            ("leave", Counter::LeavesSent),
            ("other_push", Counter::OtherPushesSent),
            ("ping", Counter::PingsSent),
        ],
    ),
    shard_kinds(
        "fanfare_queued_bytes_total",
        "Bytes put into outboxes: `direct` for replies, pings and what is told to one client, `fan_out` for \
         what rooms are told.",
        &[("direct", Counter::DirectBytesQueued), ("fan_out", Counter::FanOutBytesQueued)],
    ),
    shard_counter(
        "fanfare_deflated_messages_total",
        Counter::MessagesDeflated,
        "Messages compressed: those for a room once for each format and window, whatever the number of members.",
    ),
    shard_kinds(
        "fanfare_deflate_bytes_total",
        "Payload bytes of these messages, before and after.",
        &[("before", Counter::DeflateBytesBefore), ("after", Counter::DeflateBytesAfter)],
    ),
    shard_counter(
        "fanfare_patches_total",
        Counter::PatchesMade,
        "Publications said as the difference from the one before: once for a room, whatever the number of members.",
    ),
    shard_kinds(
        "fanfare_patch_bytes_total",
        "Bytes of the data of these publications, and of their patches.",
        &[("before", Counter::PatchBytesBefore), ("after", Counter::PatchBytesAfter)],
    ),
    shard_counter(
        "fanfare_inflated_messages_total",
        Counter::MessagesInflated,
        "Messages that clients sent compressed.",
    ),
    shard_kinds(
        "fanfare_inflate_bytes_total",
        "Payload bytes of these messages, before they were expanded and after.",
        &[("before", Counter::InflateBytesBefore), ("after", Counter::InflateBytesAfter)],
    ),
    shard_counter("fanfare_sent_bytes_total", Counter::BytesSent, "Bytes that sockets took."),
    Metric {
        name: "fanfare_commands_total",
        kind: Kind::Counter,
        labels: &["shard", "command"],
        help: "Clients' commands, by kind.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| {
                metrics.commands.all().for_each(|(command, count)| out.add(&[shard, command], count as f64));
            });
        }),
    },
    Metric {
        name: "fanfare_command_errors_total",
        kind: Kind::Counter,
        labels: &["shard", "code"],
        help: "Commands answered with an error, by code.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| out.codes(&[shard], metrics.errors.occurred()))
        }),
    },
    // --- rooms and streams ---
    shard_gauge("fanfare_rooms", Gauge::Rooms, "Rooms at home on the shard."),
    shard_counter(
        "fanfare_publications_total",
        Counter::PublicationsAccepted,
        "Publications that homes on the shard accepted.",
    ),
    shard_counter(
        "fanfare_publishes_refused_total",
        Counter::PublishesRefused,
        "Publishes of clients refused because the lane to the home was full.",
    ),
    shard_counter(
        "fanfare_deliveries_lost_total",
        Counter::DeliveriesLost,
        "Deliveries that a full lane lost; subscribers with a position recover them.",
    ),
    Metric {
        name: "fanfare_flush_windows_total",
        kind: Kind::Counter,
        labels: &["shard", "end"],
        help: "Flush windows that held deliveries back, by what ended them: their time, or a full batch.",
        source: Source::Kinds(&[("time", Counter::WindowsOver), ("batch", Counter::WindowsFull)]),
    },
    Metric {
        name: "fanfare_recoveries_total",
        kind: Kind::Counter,
        labels: &["shard", "outcome"],
        help: "Recoveries that clients asked for, by outcome.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| {
                out.add(&[shard, "succeeded"], metrics.counter(Counter::RecoveriesSucceeded) as f64);
                out.add(&[shard, "failed"], metrics.counter(Counter::RecoveriesFailed) as f64);
            });
        }),
    },
    shard_gauge("fanfare_stream_bytes", Gauge::StreamBytes, "Memory of streams at home on the shard."),
    shard_counter(
        "fanfare_streams_evicted_total",
        Counter::StreamsEvicted,
        "Streams forgotten early because the memory bound was reached.",
    ),
    Metric {
        name: "fanfare_publishes_suppressed_total",
        kind: Kind::Counter,
        labels: &["shard", "reason"],
        help: "Publishes of the API that published nothing: repetitions of an idempotency_key, and versions that were \
               not newer than the history's.",
        source: Source::Kinds(&[
            ("idempotency_key", Counter::PublishesRepeated),
            ("version", Counter::VersionsOutdated),
        ]),
    },
    shard_gauge(
        "fanfare_idempotency_keys",
        Gauge::IdempotencyKeys,
        "Results of publishes that are kept for repetitions of them.",
    ),
    shard_counter(
        "fanfare_idempotency_keys_evicted_total",
        Counter::IdempotencyKeysEvicted,
        "Such results forgotten before five minutes had passed, because there were too many.",
    ),
    shard_gauge(
        "fanfare_engine_requests_under_way",
        Gauge::EngineRequests,
        "Requests that engines have not answered yet.",
    ),
    shard_counter(
        "fanfare_engine_requests_refused_total",
        Counter::EngineRequestsRefused,
        "What was not asked of an engine because too much was under way.",
    ),
    shard_counter(
        "fanfare_publications_repeated_total",
        Counter::PublicationsRepeated,
        "Publications that a broker gave again, and nobody was sent again.",
    ),
    // --- the loop ---
    Metric {
        name: "fanfare_turn_duration_seconds",
        kind: Kind::Histogram,
        labels: SHARD,
        help: "How long a turn of the event loop took.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| out.add_histogram(&[shard], [&metrics.turn]))
        }),
    },
    Metric {
        name: "fanfare_turn_stage_seconds",
        kind: Kind::Histogram,
        labels: &["shard", "stage"],
        help: "How long each stage of a turn took: read (with the commands in it), messages (of lanes and in-tray), \
               timers, fan_out, write, finish.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| {
                for stage in Stage::ALL {
                    out.add_histogram(&[shard, stage.as_str()], [&metrics.stages[*stage as usize]]);
                }
            })
        }),
    },
    Metric {
        name: "fanfare_turn_gap_seconds",
        kind: Kind::Histogram,
        labels: SHARD,
        help: "Time between two turns without a sleep: accepts, handshakes, and other programs on the core.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| out.add_histogram(&[shard], [&metrics.gap]))
        }),
    },
    Metric {
        name: "fanfare_stalls_total",
        kind: Kind::Counter,
        labels: &["shard", "longer_than"],
        help: "Turns, and times between turns, of more than 10 ms and of more than 100 ms: nobody was served.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| {
                for (name, us) in [("10ms", 10_000), ("100ms", 100_000)] {
                    let stalls = metrics.turn.longer_than(us) + metrics.gap.longer_than(us);
                    out.add(&[shard, name], stalls as f64);
                }
            })
        }),
    },
    Metric {
        name: "fanfare_loop_lag_seconds",
        kind: Kind::Histogram,
        labels: SHARD,
        help: "How late the event loop came to what was due.",
        source: Source::Samples(|view, out| {
            each_shard(view, |shard, metrics| out.add_histogram(&[shard], [&metrics.lag]))
        }),
    },
    Metric {
        name: "fanfare_heartbeat_age_seconds",
        kind: Kind::Gauge,
        labels: SHARD,
        help: "Time since the shard's last turn; /livez fails above 5 s.",
        source: Source::Samples(|view, out| {
            for (shard, age) in view.metrics.heartbeat_ages().enumerate() {
                out.add(&[&shard.to_string()], age.as_secs_f64());
            }
        }),
    },
    shard_gauge("fanfare_lane_depth", Gauge::LaneDepth, "Messages waiting to leave for other shards."),
    shard_counter(
        "fanfare_bugs_total",
        Counter::Bugs,
        "Panics caught while one connection was handled. Please report them.",
    ),
    // --- workers ---
    node_value("fanfare_jobs_submitted_total", Kind::Counter, "Jobs that the workers' queue took.", |view| {
        view.metrics.workers.submitted() as f64
    }),
    node_value(
        "fanfare_jobs_refused_total",
        Kind::Counter,
        "Jobs that found the workers' queue full; their connections were not read meanwhile.",
        |view| view.metrics.workers.refused() as f64,
    ),
    node_value("fanfare_jobs_waiting", Kind::Gauge, "Jobs in the workers' queue.", |view| {
        view.metrics.workers.waiting() as f64
    }),
    shard_gauge(
        "fanfare_jobs_held",
        Gauge::JobsHeld,
        "Jobs that wait in their shard until the workers have room for them, namespaces taking turns.",
    ),
    shard_gauge(
        "fanfare_line_bytes",
        Gauge::LineBytes,
        "Publications that workers encode, and what waits behind them, by the shard of their channels.",
    ),
    Metric {
        name: "fanfare_jobs_total",
        kind: Kind::Counter,
        labels: RUNNER_AND_KIND,
        help: "Jobs done, by kind; the rescuer took those that had waited too long.",
        source: Source::Samples(|view, out| {
            each_runner(view, |runner, threads| {
                for kind in JOBS {
                    let count: u64 = threads.iter().map(|thread| thread.kind(kind).run.count()).sum();
                    out.add(&[runner, kind], count as f64);
                }
            });
        }),
    },
    Metric {
        name: "fanfare_job_wait_seconds",
        kind: Kind::Histogram,
        labels: RUNNER_AND_KIND,
        help: "How long jobs waited in the queue.",
        source: Source::Samples(|view, out| {
            each_runner(view, |runner, threads| {
                for kind in JOBS {
                    out.add_histogram(&[runner, kind], threads.iter().map(|thread| &thread.kind(kind).wait));
                }
            });
        }),
    },
    Metric {
        name: "fanfare_job_run_seconds",
        kind: Kind::Histogram,
        labels: RUNNER_AND_KIND,
        help: "How long jobs ran, wall time.",
        source: Source::Samples(|view, out| {
            each_runner(view, |runner, threads| {
                for kind in JOBS {
                    out.add_histogram(&[runner, kind], threads.iter().map(|thread| &thread.kind(kind).run));
                }
            });
        }),
    },
    node_value(
        "fanfare_jobs_cancelled_total",
        Kind::Counter,
        "Jobs that were not run, for their connections were gone.",
        |view| view.metrics.workers.sum(WorkerMetrics::cancelled) as f64,
    ),
    node_value(
        "fanfare_jobs_late_total",
        Kind::Counter,
        "Jobs that were not run, for they had waited until their clients had given up.",
        |view| view.metrics.workers.sum(WorkerMetrics::late) as f64,
    ),
    Metric {
        name: "fanfare_job_panics_total",
        kind: Kind::Counter,
        labels: &["runner"],
        help: "Jobs that panicked. Please report them.",
        source: Source::Samples(|view, out| {
            each_runner(view, |runner, threads| {
                out.add(&[runner], threads.iter().map(WorkerMetrics::panics).sum::<u64>() as f64);
            });
        }),
    },
    // --- server API ---
    Metric {
        name: "fanfare_api_requests_total",
        kind: Kind::Counter,
        labels: &["method"],
        help: "Requests of the server API, by method.",
        source: Source::Samples(|view, out| {
            let requests = view.metrics.api.requests.all();
            requests.for_each(|(method, count)| out.add(&[method], count as f64));
        }),
    },
    Metric {
        name: "fanfare_api_errors_total",
        kind: Kind::Counter,
        labels: &["code"],
        help: "Answers of the server API with an error code, and refusals by their HTTP status.",
        source: Source::Samples(|view, out| out.codes(&[], view.metrics.api.errors.occurred())),
    },
    // --- other nodes ---
    node_value(
        "fanfare_nodes",
        Kind::Gauge,
        "Nodes of the cluster that were heard lately, this one included.",
        |view| view.metrics.nodes.present() as f64,
    ),
    node_value(
        "fanfare_nodes_lost",
        Kind::Gauge,
        "Nodes that fell silent within the last minute without a goodbye, and whose name no other has taken over.",
        |view| view.metrics.nodes.lost() as f64,
    ),
    node_value(
        "fanfare_node_connected",
        Kind::Gauge,
        "1 while this node hears what it says to all nodes; 0 where it is cut off, or has no other nodes to talk to.",
        |view| f64::from(u8::from(view.metrics.nodes.is_connected())),
    ),
    Metric {
        name: "fanfare_node_messages_sent_total",
        kind: Kind::Counter,
        labels: &["kind"],
        help: "Messages to other nodes, by kind.",
        source: Source::Samples(|view, out| each_name(view.metrics.nodes.sent.all(), out)),
    },
    Metric {
        name: "fanfare_node_messages_received_total",
        kind: Kind::Counter,
        labels: &["kind"],
        help: "Messages of nodes, by kind; what this one says to all comes back to it.",
        source: Source::Samples(|view, out| each_name(view.metrics.nodes.received.all(), out)),
    },
    Metric {
        name: "fanfare_node_messages_skipped_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Messages that were passed over: `foreign` (no node wrote them, or they are damaged), `too_large`, \
               `not_known` (of a newer node), `late` (answers that nobody waits for any more), `crowd` (of more nodes \
               than one knows).",
        source: Source::Samples(|view, out| each_name(view.metrics.nodes.skipped.all(), out)),
    },
    Metric {
        name: "fanfare_node_requests_total",
        kind: Kind::Counter,
        labels: &["command"],
        help: "What this node asked of the others, by command.",
        source: Source::Samples(|view, out| each_name(view.metrics.nodes.requests.all(), out)),
    },
    Metric {
        name: "fanfare_node_answers_missing_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Answers of other nodes that are missing: `silent`, or `not_known` where the other one is older.",
        source: Source::Samples(|view, out| each_name(view.metrics.nodes.missing.all(), out)),
    },
    // --- certificates ---
    Metric {
        name: "fanfare_tls_certificate_expiry_seconds",
        kind: Kind::Gauge,
        labels: &["port"],
        help: "Until when the port's certificate is valid, seconds since 1970.",
        source: Source::Samples(|view, out| {
            for port in TlsPort::ALL {
                if let Some(expiry) = view.metrics.certificates.expiry(port) {
                    out.add(&[port.name()], expiry as f64);
                }
            }
        }),
    },
    Metric {
        name: "fanfare_tls_reloads_total",
        kind: Kind::Counter,
        labels: &["port", "outcome"],
        help: "Certificates read anew while the node ran: `succeeded`, or `failed`, and then the old one stays.",
        source: Source::Samples(|view, out| {
            for port in TlsPort::ALL {
                let (taken, refused) = view.metrics.certificates.reloads(port);
                out.add(&[port.name(), "succeeded"], taken as f64);
                out.add(&[port.name(), "failed"], refused as f64);
            }
        }),
    },
    // --- keys of issuers ---
    Metric {
        name: "fanfare_jwks_fetches_total",
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Requests for the keys that issuers of tokens publish: `succeeded`, or `failed`, and then known keys \
               are used for an hour.",
        source: Source::Samples(|view, out| {
            let (succeeded, failed) = view.metrics.jwks.fetches();
            out.add(&["succeeded"], succeeded as f64);
            out.add(&["failed"], failed as f64);
        }),
    },
    // --- the configuration ---
    node_value(
        "fanfare_config_last_reload_success",
        Kind::Gauge,
        "0 when the last reload was refused and the configuration before it stays, otherwise 1.",
        |view| f64::from(u8::from(view.metrics.reload.was_taken())),
    ),
    node_value(
        "fanfare_config_last_reload_success_timestamp_seconds",
        Kind::Gauge,
        "When a configuration was taken last, at the start or by a reload, seconds since 1970.",
        |view| view.metrics.reload.taken_at() as f64,
    ),
    // --- the process ---
    Metric {
        name: "fanfare_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label names the version.",
        source: Source::Samples(|view, out| out.add(&[view.version], 1.0)),
    },
    node_value("fanfare_draining", Kind::Gauge, "1 while the node drains before it stops.", |view| {
        f64::from(u8::from(view.metrics.is_draining()))
    }),
    node_value(
        "fanfare_drain_progress_ratio",
        Kind::Gauge,
        "The part of the clients there were when a drain began that has gone, from 0 to 1.",
        |view| view.metrics.drain_progress(),
    ),
    node_value(
        "fanfare_memory_limit_bytes",
        Kind::Gauge,
        "`fanfare.memory_limit`, which `process_resident_memory_bytes` is held against; 0: there is none.",
        |view| view.metrics.memory.limit() as f64,
    ),
    node_value(
        "fanfare_memory_high",
        Kind::Gauge,
        "1 from when memory is above its limit until it is 5 % below: new clients are refused.",
        |view| f64::from(u8::from(view.metrics.memory.is_high())),
    ),
    node_value("process_cpu_seconds_total", Kind::Counter, "User and system time of all threads.", |view| {
        view.process.cpu.as_secs_f64()
    }),
    node_value("process_resident_memory_bytes", Kind::Gauge, "Resident memory.", |view| {
        view.process.resident_bytes as f64
    }),
    node_value("process_threads", Kind::Gauge, "Threads.", |view| view.process.threads as f64),
    node_value("process_open_fds", Kind::Gauge, "Open descriptors.", |view| view.process.descriptors as f64),
    node_value("process_max_fds", Kind::Gauge, "The soft limit of descriptors.", |view| {
        view.process.descriptors_max as f64
    }),
    node_value("process_start_time_seconds", Kind::Gauge, "When the process began, seconds since 1970.", |view| {
        view.metrics.start_seconds()
    }),
];

const fn shard_counter(name: &'static str, counter: Counter, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels: SHARD, help, source: Source::Counter(counter) }
}

const fn shard_kinds(name: &'static str, help: &'static str, kinds: &'static [(&'static str, Counter)]) -> Metric {
    Metric { name, kind: Kind::Counter, labels: &["shard", "kind"], help, source: Source::Kinds(kinds) }
}

const fn shard_gauge(name: &'static str, gauge: Gauge, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: SHARD, help, source: Source::Gauge(gauge) }
}

const fn node_value(name: &'static str, kind: Kind, help: &'static str, value: fn(&View<'_>) -> f64) -> Metric {
    Metric { name, kind, labels: &[], help, source: Source::Node(value) }
}

impl Metric {
    /// Takes all samples of the metric.
    pub(super) fn read(&self, view: &View<'_>, out: &mut Samples) {
        match self.source {
            Source::Counter(counter) => {
                each_shard(view, |shard, metrics| out.add(&[shard], metrics.counter(counter) as f64));
            }
            Source::Kinds(kinds) => each_shard(view, |shard, metrics| {
                for (kind, counter) in kinds {
                    out.add(&[shard, kind], metrics.counter(*counter) as f64);
                }
            }),
            Source::Gauge(gauge) => each_shard(view, |shard, metrics| out.add(&[shard], metrics.gauge(gauge) as f64)),
            Source::Engine(counter) => each_engine(view, |labels, engine| out.add(labels, engine.get(counter) as f64)),
            Source::OfEngine(value) => each_engine(view, |labels, engine| out.add(labels, value(engine))),
            Source::Node(value) => out.add(&[], value(view)),
            Source::Samples(read) => read(view, out),
        }
    }
}

fn each_shard(view: &View<'_>, mut take: impl FnMut(&str, &ShardMetrics)) {
    for (index, metrics) in view.metrics.shards.iter().enumerate() {
        take(&index.to_string(), metrics);
    }
}

/// Shard, namespace, remedy and count of what was done about slow consumers.
fn each_remedy(view: &View<'_>, mut take: impl FnMut(&str, &str, Remedy, u64)) {
    each_shard(view, |shard, metrics| {
        for (namespace, remedy, count) in metrics.remedies.occurred() {
            take(shard, view.metrics.namespace(namespace), remedy, count);
        }
    });
}

/// Counts by the metric's only label.
fn each_name(counts: impl Iterator<Item = (&'static str, u64)>, out: &mut Samples) {
    counts.for_each(|(name, count)| out.add(&[name], count as f64));
}

fn each_engine(view: &View<'_>, mut take: impl FnMut(&[&str], &EngineMetrics)) {
    for engine in &view.metrics.engines {
        take(&[&engine.name, engine.kind], &engine.metrics);
    }
}

fn each_runner(view: &View<'_>, mut take: impl FnMut(&str, &[WorkerMetrics])) {
    for (runner, threads) in view.metrics.workers.by_runner() {
        take(runner, threads);
    }
}
