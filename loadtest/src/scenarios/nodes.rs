//! Scenarios over several hubs that share an engine.

use super::contenders::{NODES, THREE_NODES};
use super::figures::{BACK, CPU_OF_DELIVERY, DELIVERY, P50, P99, P99_ALONE, P99_BESIDE, count};
use super::{Figure, Goal, Scenario};

pub const FANOUT: Scenario = Scenario {
    name: "nodes-fanout",
    summary: "1,000 members of one room with history, spread over nodes that share core 0 and published to at one of them, one publication at a time; CPU time is that of all nodes",
    command: "fanout",
    flags: &["--members", "1000", "--publications", "1000000", "--warm-up", "50", "--channel", "recover:loadtest"],
    seconds_flag: Some("--seconds-max"),
    contenders: NODES,
    figures: DELIVERY,
    goals: &[Goal::Ratio { of: "2 nodes, Redis", against: "1 node, memory", at_most: 1.2 }],
};

pub const ROOMS: Scenario = Scenario {
    name: "nodes-rooms",
    summary: "100 rooms with history of 20 members, spread over the nodes, 500 publications a second in all, published at all nodes in turn",
    command: "rooms",
    flags: &["--rooms", "100", "--members", "20", "--rate", "500", "--channel", "recover:loadtest"],
    seconds_flag: Some("--seconds"),
    contenders: NODES,
    figures: DELIVERY,
    goals: &[],
};

pub const LATENCY: Scenario = Scenario {
    name: "nodes-latency",
    summary: "one member, and one publisher at another node where there are several: the next publication is sent when the member has the one before",
    command: "fanout",
    flags: &["--members", "1", "--publications", "1000000", "--warm-up", "50", "--channel", "recover:loadtest"],
    seconds_flag: Some("--seconds-max"),
    contenders: NODES,
    figures: &[P50, P99, CPU_OF_DELIVERY],
    goals: &[Goal::More { of: "2 nodes, Redis", against: "1 node, memory", at_most: 1_500.0 }],
};

pub const LOSS: Scenario = Scenario {
    name: "node-loss",
    summary: "15,000 members of a room over three nodes on one Redis; one node is killed, and its members come back to the others with the SDKs' backoff and recover, while the room is published to twice a second; a quiet room on the two nodes that stay",
    command: "node-loss",
    flags: &["--connections", "15000"],
    seconds_flag: Some("--seconds"),
    contenders: &[THREE_NODES],
    figures: &[
        BACK,
        P99_BESIDE,
        P99_ALONE,
        Figure { title: "came back", unit: "connections", value: |report| count(report, "came_back") },
        Figure { title: "not recovered", unit: "connections", value: |report| count(report, "not_recovered") },
        Figure { title: "p99 to all 10,000 who stayed", unit: "us", value: |report| count(report, "stayed_p99_us") },
    ],
    goals: &[
        Goal::Value { of: "3 nodes, Redis", at_most: 20.0 },
        Goal::Bound { of: "3 nodes, Redis", figure: &P99_BESIDE, at_most: 100_000.0 },
    ],
};
