//! Keys of what keeps and carries publications, presence and the words of nodes to one another.

use super::Row;
use crate::config::values::Kind;
use crate::limits::DISK_SEGMENTS_MIN;

/// Which engine does what.
pub const ROWS: &[Row] = &[
    (
        "engine.type",
        Kind::OneOf(&["memory", "disk", "redis", "nats"]),
        "memory",
        "What keeps history, carries publications between nodes and keeps presence ([docs/engines.md](engines.md)): \
         `memory` of this node, `disk` of this node (presence stays in memory), `redis` (also Valkey), `nats`.",
    ),
    ("broker.enabled", Kind::Flag, "false", "Publications and history are on an engine of their own."),
    ("broker.type", Kind::OneOf(BROKERS), "memory", "Which one: `memory`, `disk`, `redis`, `nats`."),
    ("presence_manager.enabled", Kind::Flag, "false", "Presence is on an engine of its own."),
    (
        "presence_manager.type",
        Kind::OneOf(PRESENCE_MANAGERS),
        "memory",
        "Which one: `memory` (each node knows its own clients), `redis`, `nats`.",
    ),
    (
        "controller.enabled",
        Kind::Flag,
        "false",
        "Nodes find and hear one another through an engine of its own; otherwise through that of publications, or of \
         presence, if it is `redis` or `nats`.",
    ),
    ("controller.type", Kind::OneOf(&["", "redis", "nats"]), "\"\"", "Which one: `redis`, `nats`."),
    (
        "brokers[].name",
        Kind::Text,
        "\"\"",
        "Name of a further engine of publications and history, for `broker_name` of namespaces.",
    ),
    ("brokers[].enabled", Kind::Flag, "false", "It is started, and may be named."),
    ("brokers[].type", Kind::OneOf(BROKERS), "memory", "As `broker.type`."),
    (
        "presence_managers[].name",
        Kind::Text,
        "\"\"",
        "Name of a further engine of presence, for `presence_manager_name` of namespaces.",
    ),
    ("presence_managers[].enabled", Kind::Flag, "false", "It is started, and may be named."),
    ("presence_managers[].type", Kind::OneOf(PRESENCE_MANAGERS), "memory", "As `presence_manager.type`."),
];

const BROKERS: &[&str] = &["memory", "disk", "redis", "nats"];
const PRESENCE_MANAGERS: &[&str] = &["memory", "redis", "nats"];

/// Settings of one kind of engine, and the tables in which they stand.
pub struct Settings {
    pub title: &'static str,
    pub scopes: &'static [&'static str],
    /// Their names are those below a scope.
    pub rows: &'static [&'static [Row]],
}

impl Settings {
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.rows.iter().copied().flatten()
    }
}

/// Where any engine may be set up.
pub const ALL: &[&str] = &["engine", "broker", "presence_manager", "controller", "brokers[]", "presence_managers[]"];
pub const OF_BROKERS: &[&str] = &["engine", "broker", "brokers[]"];
/// Where something is read.
const OF_READS: &[&str] = &["engine", "broker", "presence_manager", "brokers[]", "presence_managers[]"];
const OF_PRESENCE: &[&str] = &["engine", "presence_manager", "presence_managers[]"];

/// All of them, in the order of the reference.
pub const SETTINGS: &[Settings] = &[
    Settings { title: "Disk", scopes: OF_BROKERS, rows: &[DISK] },
    Settings {
        title: "Redis and Valkey",
        scopes: ALL,
        rows: &[REDIS, REDIS_TLS, REDIS_SENTINELS, SENTINEL_TLS, TLS_NAMES],
    },
    Settings { title: "Replicas of Redis", scopes: OF_READS, rows: &[REDIS_REPLICAS] },
    Settings { title: "Presence in Redis", scopes: OF_PRESENCE, rows: &[REDIS_PRESENCE] },
    Settings { title: "NATS", scopes: ALL, rows: &[NATS, NATS_TLS] },
    Settings { title: "Publications over NATS", scopes: OF_BROKERS, rows: &[NATS_SUBJECTS] },
];

const GIB: u64 = 1024 * super::MIB;

const DISK: &[Row] = &[
    ("disk.path", Kind::Text, "\"\"", "Folder of the log, for this process alone. It is made where it is missing."),
    (
        "disk.ack",
        Kind::OneOf(&["memory", "fsync"]),
        "memory",
        "When a publish is answered. `memory`: once its record is in the kernel's hands; nothing is lost by `kill -9`, \
         at most 100 ms by power loss. `fsync`: once it is on the disk.",
    ),
    (
        "disk.segment_bytes",
        Kind::Count { min: super::MIB, max: GIB },
        "67108864",
        "Bytes of one file of the log; whole files are given back.",
    ),
    (
        "disk.bytes_max",
        Kind::Count { min: DISK_SEGMENTS_MIN * super::MIB, max: 64 * 1024 * GIB },
        "4294967296",
        "Bytes of all files together, at least 16 files; above it the oldest history goes first.",
    ),
];

const REDIS: &[Row] = &[
    (
        "redis.address",
        Kind::Urls,
        "redis://127.0.0.1:6379",
        "`host:port`, or a URL: `redis://user:password@host:port/db`, `rediss://` for TLS, `unix:///path`, \
         `redis+sentinel://host:port,host:port/master`, `redis+cluster://host:port,host:port`. Of several each channel \
         has one, by a hash of its name.",
    ),
    (
        "redis.prefix",
        Kind::Text,
        "fanfare",
        "Begins all keys and channels there: clusters on one Redis need different ones.",
    ),
    (
        "redis.cluster_address",
        Kind::Urls,
        "[]",
        "Instead of `address`: nodes of a Redis Cluster, `host:port`, with commas between them in one text. Each \
         further text is a further cluster.",
    ),
    ("redis.user", Kind::Text, "\"\"", "User (ACL), where the address does not say."),
    ("redis.password", Kind::Secret, "\"\"", "Password, where the address does not say."),
    ("redis.db", Kind::Count { min: 0, max: 65_535 }, "0", "Number of the database, where the address does not say."),
    ("redis.client_name", Kind::Text, "\"\"", "How connections call themselves (`CLIENT SETNAME`); empty: not at all."),
    ("redis.connect_timeout", Kind::Duration { min: "1ms" }, "1s", "Time to connect."),
    (
        "redis.io_timeout",
        Kind::Duration { min: "1ms" },
        "4s",
        "Time for an answer after which a connection counts as broken; a request has failed before.",
    ),
];

macro_rules! tls {
    ($table:literal, $of:literal) => {
        &[
            (concat!($table, ".enabled"), Kind::Flag, "false", concat!("Connections to ", $of, " are TLS.")),
            (
                concat!($table, ".server_ca_pem"),
                Kind::Text,
                "\"\"",
                "Roots of its certificate: a path, PEM, or its base64; empty: those of the system.",
            ),
            (
                concat!($table, ".cert_pem"),
                Kind::Text,
                "\"\"",
                "The certificate that this node shows: a path, PEM, or its base64.",
            ),
            (concat!($table, ".key_pem"), Kind::Secret, "\"\"", "Private key of that certificate."),
            (
                concat!($table, ".insecure_skip_verify"),
                Kind::Flag,
                "false",
                "Its certificate is not checked; for development only.",
            ),
        ]
    };
}

const REDIS_TLS: &[Row] = tls!("redis.tls", "Redis");
const SENTINEL_TLS: &[Row] = tls!("redis.sentinel_tls", "Sentinels");
const TLS_NAMES: &[Row] = &[
    (
        "redis.tls.server_name",
        Kind::Text,
        "\"\"",
        "The name that the certificate of Redis must have; empty: that of the address.",
    ),
    ("redis.sentinel_tls.server_name", Kind::Text, "\"\"", "The same for Sentinels."),
];
const NATS_TLS: &[Row] = tls!("nats.tls", "NATS");

const REDIS_SENTINELS: &[Row] = &[
    (
        "redis.sentinel_address",
        Kind::Urls,
        "[]",
        "Instead of `address`: Sentinels, `host:port`, with commas between them in one text.",
    ),
    ("redis.sentinel_master_name", Kind::Text, "\"\"", "The name by which Sentinels know the master."),
    ("redis.sentinel_user", Kind::Text, "\"\"", "User at the Sentinels."),
    ("redis.sentinel_password", Kind::Secret, "\"\"", "Password at the Sentinels."),
    ("redis.sentinel_client_name", Kind::Text, "\"\"", "How connections to Sentinels call themselves."),
];

const REDIS_REPLICAS: &[Row] = &[(
    "redis.replica_client.enabled",
    Kind::Flag,
    "false",
    "Pages of the history and presence are read from a replica of each master, where there is one; they may be a little \
     old. Recovery is always the master's.",
)];

const REDIS_PRESENCE: &[Row] = &[
    (
        "redis.presence_ttl",
        Kind::Duration { min: "2s" },
        "60s",
        "As `fanfare.presence_ttl`, which wins where both are set.",
    ),
    (
        "redis.presence_hash_field_ttl",
        Kind::Flag,
        "false",
        "Redis ends presence by itself, field by field of a hash: less memory and work there. It needs Redis 7.4 or \
         Valkey 9.0, and all nodes must agree.",
    ),
];

const NATS: &[Row] = &[
    ("nats.url", Kind::Urls, "nats://localhost:4222", "`nats://user:password@host:port` or `tls://`, one or several."),
    (
        "nats.prefix",
        Kind::Text,
        "fanfare",
        "Begins all subjects, streams and buckets: clusters on one NATS need different ones.",
    ),
    ("nats.user", Kind::Text, "\"\"", "User, where the URL does not say."),
    ("nats.password", Kind::Secret, "\"\"", "Password, where the URL does not say."),
    ("nats.token", Kind::Secret, "\"\"", "Token, instead of user and password."),
    ("nats.nkey_seed", Kind::Secret, "\"\"", "Seed of an NKey, instead of user and password."),
    (
        "nats.credentials_file",
        Kind::Text,
        "\"\"",
        "Path of a `.creds` file (JWT and seed), instead of user and password.",
    ),
    ("nats.dial_timeout", Kind::Duration { min: "1ms" }, "1s", "Time to connect."),
    (
        "nats.write_timeout",
        Kind::Duration { min: "1ms" },
        "1s",
        "Time for a write after which a connection counts as broken.",
    ),
    (
        "nats.jetstream",
        Kind::OneOf(&["auto", "on", "off"]),
        "auto",
        "Whether history and presence are kept in JetStream: `auto`: where the server has it; `on`: a server without it \
         is an error; `off`: publications are carried and not kept. An option of Fanfare.",
    ),
    (
        "nats.replicas",
        Kind::Count { min: 1, max: 5 },
        "1",
        "Servers that keep a copy of each stream. An option of Fanfare.",
    ),
];

const NATS_SUBJECTS: &[Row] = &[
    (
        "nats.allow_wildcards",
        Kind::Flag,
        "false",
        "Clients may subscribe to channels with `*` and `>`, which stand for parts of names; such channels have \
         publications alone.",
    ),
    (
        "nats.raw_mode.enabled",
        Kind::Flag,
        "false",
        "Channels are subjects and publications bare data, to join what others publish; without history.",
    ),
    ("nats.raw_mode.prefix", Kind::Text, "\"\"", "Begins the subjects of that."),
    (
        "nats.raw_mode.channel_replacements",
        Kind::Pairs,
        "{}",
        "Texts in a channel's name, each with what stands for it in the subject: `{ \":\" = \".\" }`.",
    ),
];
