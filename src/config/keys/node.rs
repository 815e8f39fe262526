//! Keys of the process, and those that are ours.

use super::{MIB, Row};
use crate::config::values::Kind;

pub const ROWS: &[Row] = &[
    ("node.name", Kind::Text, "\"\"", "How the node calls itself; empty: host name and port."),
    (
        "pid_file",
        Kind::Text,
        "\"\"",
        "File that holds the process id as long as the node runs, for `fanfare drain`; empty: none.",
    ),
    (
        "shutdown.grace",
        Kind::Duration { min: "0s" },
        "0s",
        "Time at the end in which the node only says that it is not ready, so that balancers stop sending clients.",
    ),
    (
        "shutdown.timeout",
        Kind::Duration { min: "0s" },
        "30s",
        "Time to drain connections at the end, `shutdown.grace` included.",
    ),
    ("fanfare.shards", Kind::Count { min: 0, max: 128 }, "0", "Threads that own connections; 0: one for each core."),
    (
        "fanfare.workers",
        Kind::Count { min: 0, max: 256 },
        "0",
        "Threads for signatures and other heavy work, below the shards' priority; 0: one for each core.",
    ),
    (
        "fanfare.io_uring",
        Kind::Flag,
        "true",
        "Hands the kernel many sends in one system call, where it allows that (Linux 5.6 and later; the default \
         seccomp profiles of Docker and containerd do not); elsewhere each send is a system call, at about a \
         sixth more CPU.",
    ),
    ("fanfare.presence_ttl", Kind::Duration { min: "2s" }, "60s", "How long presence outlives its last update."),
    (
        "fanfare.unconnected_limit",
        Kind::Count { min: 1, max: 100_000_000 },
        "16384",
        "Open sockets of this node whose connect command has not come, shared evenly by the shards; for one more, \
         the one that has waited longest is closed with 3013.",
    ),
    (
        "fanfare.memory_limit",
        Kind::CountOr { names: &["auto", "off"], min: 16 * MIB, max: 1024 * 1024 * MIB },
        "auto",
        "Bytes of resident memory above which new clients are refused (503) and the largest outboxes are cut. \
         `auto`: nine tenths of the control group's limit (a container's, or systemd's `MemoryMax`); without \
         one, none.",
    ),
    (
        "fanfare.shard_memory_limit",
        Kind::Count { min: MIB, max: 1024 * 1024 * MIB },
        "268435456",
        "Bytes of history that one shard keeps.",
    ),
];
