//! The table of scenarios.

use super::figures::{
    CONNECTIONS, CPU_OF_CONNECTION, CPU_OF_DELIVERY, CPU_OF_ECHO, CPU_TO_CONNECT, DELIVERY, ECHO, MEMORY_OF_CONNECTION,
    MEMORY_OF_MACHINE, MEMORY_OF_PROCESS, P50, P99, P99_ALONE, P99_BESIDE, RATE_OF_CONNECTIONS, TWO_SHARDS_FIGURES,
    count, grown_kib,
};
use super::{Contender, Figure, Goal, Scenario};
use crate::brokers::Engine;
use crate::servers::{Peer, Recipe};

const HUB: Contender = Contender::plain(Peer::Hub, "hub");
const UWS: Contender = Contender::plain(Peer::Uws, "uws");
const NODE_WS: Contender = Contender::plain(Peer::NodeWs, "node-ws");
const SOCKET_IO: Contender = Contender::plain(Peer::SocketIo, "socket-io");
const NATS: Contender = Contender::plain(Peer::Nats, "nats");
const NCHAN: Contender = Contender::plain(Peer::Nchan, "nchan");

/// What the kernel takes for the same deliveries.
const FLOOR: Contender = Contender::plain(Peer::Floor, "floor");

const ALL: &[Contender] = &[HUB, UWS, NODE_WS, SOCKET_IO, NATS, NCHAN, FLOOR];

/// Large payloads wait whole for a member: the bound of what waits must be above them.
const ROOMY: Recipe = Recipe { outbox_bytes_max: Some(16 << 20), ..Recipe::plain(Peer::Hub) };

const fn deflating(peer: Peer) -> Recipe {
    Recipe { deflate: true, ..Recipe::plain(peer) }
}

const fn kept_by(engine: Engine) -> Recipe {
    Recipe { engine, ..Recipe::plain(Peer::Hub) }
}

/// The hub with each of its engines.
const ENGINES: &[Contender] = &[
    HUB,
    Contender::new("hub, disk", kept_by(Engine::Disk)),
    Contender::new("hub, disk with fsync", kept_by(Engine::DiskFsync)),
    Contender::new("hub, Redis", kept_by(Engine::Redis)),
    Contender::new("hub, NATS", kept_by(Engine::Nats)),
];

/// Each scenario, in the order of the document.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fanout-1",
        summary: "1,000 members of one room, 128 bytes; the next publication is sent when every member has the one before",
        command: "fanout",
        flags: &["--members", "1000", "--in-flight", "1", "--publications", "1000000", "--warm-up", "50"],
        seconds_flag: Some("--seconds-max"),
        contenders: ALL,
        figures: DELIVERY,
        goals: &[
            Goal::Ratio { of: "hub", against: "uws", at_most: 0.9 },
            Goal::Ratio { of: "hub", against: "node-ws", at_most: 0.75 },
            Goal::Ratio { of: "hub", against: "socket-io", at_most: 0.5 },
        ],
    },
    Scenario {
        name: "fanout-16",
        summary: "the same with sixteen publications in flight: publications wait, and a server may join them",
        command: "fanout",
        flags: &["--members", "1000", "--in-flight", "16", "--publications", "1000000", "--warm-up", "200"],
        seconds_flag: Some("--seconds-max"),
        contenders: ALL,
        figures: DELIVERY,
        goals: &[
            Goal::Ratio { of: "hub", against: "uws", at_most: 0.8 },
            Goal::Ratio { of: "hub", against: "node-ws", at_most: 0.1 },
            Goal::Ratio { of: "hub", against: "socket-io", at_most: 0.1 },
        ],
    },
    Scenario {
        name: "paced-32",
        summary: "32 publications 1 ms apart to 100 members, then a pause; below saturation, so that only a flush window joins",
        command: "rooms",
        flags: &["--rooms", "1", "--members", "100", "--rate", "1000", "--burst", "32"],
        seconds_flag: Some("--seconds"),
        contenders: &[
            HUB,
            Contender::plain(Peer::Hub, "hub, 1 ms window").with_flags(&["--channel", "window1:loadtest"]),
            Contender::plain(Peer::Hub, "hub, 5 ms window").with_flags(&["--channel", "window5:loadtest"]),
            UWS,
            NODE_WS,
            SOCKET_IO,
            NATS,
            NCHAN,
        ],
        figures: DELIVERY,
        goals: &[
            Goal::Ratio { of: "hub, 1 ms window", against: "uws", at_most: 0.8 },
            Goal::Ratio { of: "hub, 5 ms window", against: "uws", at_most: 0.5 },
        ],
    },
    Scenario {
        name: "rooms",
        summary: "100 rooms of 20 members, 500 publications a second in all, each room with a publisher of its own",
        command: "rooms",
        flags: &["--rooms", "100", "--members", "20", "--rate", "500"],
        seconds_flag: Some("--seconds"),
        contenders: ALL,
        figures: DELIVERY,
        goals: &[
            Goal::Ratio { of: "hub", against: "uws", at_most: 0.9 },
            Goal::Ratio { of: "hub", against: "node-ws", at_most: 0.75 },
        ],
    },
    Scenario {
        name: "echo",
        summary: "64 connections, each alone in a room: publishes, and goes on when it has the reply and the push back",
        command: "echo",
        flags: &["--connections", "64"],
        seconds_flag: Some("--seconds"),
        contenders: ALL,
        figures: ECHO,
        goals: &[Goal::Ratio { of: "hub", against: "uws", at_most: 1.0 }],
    },
    Scenario {
        name: "engines-publish",
        summary: "256 connections, each alone in a room with history: publishes, and goes on when it has the reply and the push back; the broker shares a core with the generator",
        command: "echo",
        flags: &["--connections", "256", "--channel", "recover:loadtest"],
        seconds_flag: Some("--seconds"),
        contenders: ENGINES,
        figures: ECHO,
        goals: &[Goal::Value { of: "hub, Redis", at_most: 33.0 }],
    },
    Scenario {
        name: "engines-latency",
        summary: "one connection does the same: what an engine adds to the way from publish to push",
        command: "echo",
        flags: &["--connections", "1", "--channel", "recover:loadtest"],
        seconds_flag: Some("--seconds"),
        contenders: ENGINES,
        figures: &[P50, P99, CPU_OF_ECHO],
        goals: &[],
    },
    Scenario {
        name: "engines-fanout",
        summary: "1,000 members of one room with history, 128 bytes; the next publication is sent when every member has the one before",
        command: "fanout",
        flags: &["--members", "1000", "--publications", "1000000", "--warm-up", "50", "--channel", "recover:loadtest"],
        seconds_flag: Some("--seconds-max"),
        contenders: ENGINES,
        figures: DELIVERY,
        goals: &[
            Goal::Ratio { of: "hub, disk", against: "hub", at_most: 1.2 },
            Goal::Ratio { of: "hub, Redis", against: "hub", at_most: 1.2 },
            Goal::Ratio { of: "hub, NATS", against: "hub", at_most: 1.2 },
        ],
    },
    Scenario {
        name: "deflate",
        summary: "1,000 members, one publication at a time, 512 bytes of chat-like JSON; compressed where it says so",
        command: "fanout",
        flags: &[
            "--members",
            "1000",
            "--in-flight",
            "1",
            "--publications",
            "1000000",
            "--warm-up",
            "20",
            "--payload",
            "512",
            "--filling",
            "text",
        ],
        seconds_flag: Some("--seconds-max"),
        contenders: &[
            HUB,
            Contender::new("hub, deflate", deflating(Peer::Hub)).with_flags(&["--deflate"]),
            UWS,
            Contender::new("uws, deflate", deflating(Peer::Uws)).with_flags(&["--deflate"]),
            NODE_WS,
            Contender::new("node-ws, deflate", deflating(Peer::NodeWs)).with_flags(&["--deflate"]),
        ],
        figures: DELIVERY,
        goals: &[
            Goal::Ratio { of: "hub, deflate", against: "hub", at_most: 1.15 },
            Goal::Ratio { of: "hub, deflate", against: "node-ws, deflate", at_most: 0.1 },
        ],
    },
    Scenario {
        name: "two-shards-1",
        summary: "one room over two shards, one publication at a time, 1,000 members; the hub shares both cores with the generator",
        command: "fanout",
        flags: &["--members", "1000", "--in-flight", "1", "--publications", "1000000", "--warm-up", "50"],
        seconds_flag: Some("--seconds-max"),
        contenders: TWO_SHARDS,
        figures: TWO_SHARDS_FIGURES,
        goals: &[Goal::Ratio { of: "hub, 2 shards", against: "hub, 1 shard", at_most: 1.15 }],
    },
    Scenario {
        name: "two-shards-16",
        summary: "the same with sixteen in flight",
        command: "fanout",
        flags: &["--members", "1000", "--in-flight", "16", "--publications", "1000000", "--warm-up", "200"],
        seconds_flag: Some("--seconds-max"),
        contenders: TWO_SHARDS,
        figures: TWO_SHARDS_FIGURES,
        goals: &[Goal::Ratio { of: "hub, 2 shards", against: "hub, 1 shard", at_most: 1.05 }],
    },
    Scenario {
        name: "stall",
        summary: "a quiet room, 20 members at 200 publications a second, beside 4 senders of 1 MiB JSON to 4 members each, as fast as they go",
        command: "stall",
        flags: &[],
        seconds_flag: Some("--seconds"),
        contenders: &[Contender::new("hub", ROOMY), UWS, NODE_WS, SOCKET_IO],
        figures: &[
            P99_BESIDE,
            P99_ALONE,
            Figure {
                title: "large payloads delivered",
                unit: "MiB/s",
                value: |report| count(report, "delivered_mib_per_second"),
            },
        ],
        goals: &[Goal::Beside { of: "hub", ratio: 1.5, more_us: 2_000.0 }],
    },
    Scenario {
        name: "verify",
        summary: "the quiet room beside 64 connections that come with RS256 tokens, subscribe and vanish, as fast as they can",
        command: "churn",
        flags: &["--rate", "0", "--at-once", "64", "--rsa-tokens"],
        seconds_flag: Some("--seconds"),
        contenders: &[HUB],
        figures: &[P99_BESIDE, P99_ALONE, CPU_OF_CONNECTION, CONNECTIONS],
        goals: &[Goal::Beside { of: "hub", ratio: 1.5, more_us: 2_000.0 }],
    },
    Scenario {
        name: "slow",
        summary: "10 of 20 members of a room stop reading while 100 publications a second of 64 KiB go to it; a quiet room beside it",
        command: "slow",
        flags: &["--payload", "65536"],
        seconds_flag: Some("--seconds"),
        contenders: &[
            Contender::plain(Peer::Hub, "hub, disconnect"),
            Contender::plain(Peer::Hub, "hub, drop_oldest").with_flags(&["--channel", "drop:slow"]),
            Contender::plain(Peer::Hub, "hub, conflate").with_flags(&["--channel", "conflate:slow"]),
            UWS,
            NODE_WS,
            SOCKET_IO,
            NATS,
        ],
        figures: &[
            Figure { title: "growth of memory", unit: "KiB", value: grown_kib },
            P99_BESIDE,
            P99_ALONE,
            Figure { title: "slow members cut off", unit: "of 10", value: |report| count(report, "sleepers_ended") },
            Figure {
                title: "found by each on waking",
                unit: "publications",
                value: |report| count(report, "found_by_each_sleeper"),
            },
        ],
        goals: &[],
    },
    Scenario {
        name: "churn",
        summary: "500 connections a second come, subscribe and vanish with a reset; a quiet room beside them",
        command: "churn",
        flags: &[],
        seconds_flag: Some("--seconds"),
        contenders: ALL,
        figures: &[CPU_OF_CONNECTION, P99_BESIDE, P99_ALONE, CONNECTIONS],
        goals: &[],
    },
    Scenario {
        name: "connect",
        summary: "10,000 people come with HS256 tokens of their own, connect and subscribe to one channel, 64 handshakes in flight; they stay",
        command: "connect",
        flags: &["--connections", "10000", "--in-flight", "64"],
        seconds_flag: None,
        contenders: ALL,
        figures: &[CPU_TO_CONNECT, RATE_OF_CONNECTIONS],
        goals: &[Goal::Value { of: "hub", at_most: 80.0 }],
    },
    Scenario {
        name: "herd",
        summary: "15,000 members of a room are cut and come back at once, and recover the 10 publications that they missed; a quiet room beside them",
        command: "herd",
        flags: &["--connections", "15000"],
        seconds_flag: Some("--seconds"),
        contenders: &[HUB, UWS, NODE_WS, SOCKET_IO],
        figures: &[
            CPU_OF_CONNECTION,
            Figure { title: "until all are back", unit: "s", value: |report| count(report, "back_seconds") },
            P99_BESIDE,
            P99_ALONE,
            Figure {
                title: "missed for good",
                unit: "publications",
                value: |report| Some(count(report, "missed_for_good").unwrap_or(0.0)),
            },
        ],
        goals: &[],
    },
    Scenario {
        name: "idle",
        summary: "15,000 connections of different users, each subscribed to one channel, that only answer pings: growth of Pss",
        command: "idle",
        flags: &["--connections", "15000", "--hold-seconds", "2"],
        seconds_flag: None,
        contenders: &[
            HUB,
            Contender::plain(Peer::Hub, "hub, presence").with_flags(&["--channel", "present:loadtest"]),
            UWS,
            NODE_WS,
            SOCKET_IO,
            NATS,
            NCHAN,
        ],
        figures: &[
            Figure {
                title: "memory of an idle connection",
                unit: "B",
                value: |report| report["bytes_per_connection"].as_f64(),
            },
            Figure {
                title: "server CPU to open one",
                unit: "us",
                value: |report| report["server_cpu_us_per_opening"].as_f64(),
            },
            Figure { title: "opened", unit: "1/s", value: |report| report["connections_per_second"].as_f64() },
        ],
        goals: &[Goal::Value { of: "hub", at_most: 600.0 }],
    },
    Scenario {
        name: "scale-memory",
        summary: "idle connections in one process: memory against their count",
        command: "idle",
        flags: &["--hold-seconds", "1"],
        seconds_flag: None,
        contenders: &[
            at("1,000", 1_000, &["--connections", "1000"]),
            at("4,000", 4_000, &["--connections", "4000"]),
            at("7,000", 7_000, &["--connections", "7000"]),
            at("10,000", 10_000, &["--connections", "10000"]),
            at("13,000", 13_000, &["--connections", "13000"]),
            at("16,000", 16_000, &["--connections", "16000"]),
            at("19,000", 19_000, &["--connections", "19000"]),
        ],
        figures: &[MEMORY_OF_PROCESS, MEMORY_OF_CONNECTION],
        goals: &[Goal::Value { of: "10,000", at_most: 16_384.0 }],
    },
    Scenario {
        name: "scale-processes",
        summary: "idle connections in 1 to 5 processes of 18,000 each, all at once: memory against their count",
        command: "idle",
        flags: &["--connections", "18000"],
        seconds_flag: None,
        contenders: &[
            at("18,000", 18_000, &[]).in_processes(1),
            at("36,000", 36_000, &[]).in_processes(2),
            at("54,000", 54_000, &[]).in_processes(3),
            at("72,000", 72_000, &[]).in_processes(4),
            at("90,000", 90_000, &[]).in_processes(5),
        ],
        figures: &[MEMORY_OF_PROCESS, MEMORY_OF_CONNECTION, MEMORY_OF_MACHINE],
        goals: &[],
    },
    Scenario {
        name: "scale-cpu",
        summary: "all connections of one process in one room, one publication at a time: CPU of a publication against their count",
        command: "fanout",
        flags: &["--in-flight", "1", "--publications", "1000000", "--warm-up", "3"],
        seconds_flag: Some("--seconds-max"),
        contenders: &[
            at("1,000", 1_000, &["--members", "1000"]),
            at("4,000", 4_000, &["--members", "4000"]),
            at("7,000", 7_000, &["--members", "7000"]),
            at("10,000", 10_000, &["--members", "10000"]),
            at("13,000", 13_000, &["--members", "13000"]),
            at("16,000", 16_000, &["--members", "16000"]),
            at("19,000", 19_000, &["--members", "19000"]),
        ],
        figures: &[
            Figure {
                title: "server CPU for a publication",
                unit: "ms",
                value: |report| {
                    let us = report["server_cpu_us_per_delivery"].as_f64()?;
                    Some(us * report["members"].as_f64()? / 1000.0)
                },
            },
            CPU_OF_DELIVERY,
            P99,
        ],
        goals: &[],
    },
];

const TWO_SHARDS: &[Contender] = &[
    Contender::plain(Peer::Hub, "hub, 1 shard").on_all_cores(),
    Contender::new("hub, 2 shards", Recipe { shards: 2, ..Recipe::plain(Peer::Hub) }).on_all_cores(),
];

const fn at(label: &'static str, count: u32, flags: &'static [&'static str]) -> Contender {
    Contender::plain(Peer::Hub, label).with_flags(flags).at(count)
}
