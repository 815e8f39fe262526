//! The tables: who may import whom, which outside crates, and the exceptions with their reasons.

/// One folder (or file) under `src/` and what it may name.
pub struct Row {
    pub folder: &'static str,
    /// Folders of ours. `limits` and `telemetry` are open to all.
    pub may_use: &'static [&'static str],
    /// Outside crates, besides std.
    pub crates: &'static [&'static str],
    /// Whether it decides only: no socket, thread, clock, lock or async.
    pub purity: Purity,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purity {
    Pure,
    Effects,
}

use Purity::{Effects, Pure};

/// Lowest layer first, as in ARCHITECTURE.md.
pub const ROWS: &[Row] = &[
    Row { folder: "limits", may_use: &[], crates: &[], purity: Pure },
    Row { folder: "delta", may_use: &[], crates: &[], purity: Pure },
    Row { folder: "model", may_use: &[], crates: &["ahash", "bytes", "uuid"], purity: Pure },
    Row {
        folder: "telemetry",
        may_use: &[],
        crates: &["prometheus", "rustix", "tracing", "tracing_subscriber"],
        purity: Effects,
    },
    Row {
        folder: "trust",
        may_use: &[],
        // aws_lc_rs: the part of rustls that has this name.
        crates: &["aws_lc_rs", "rustls", "rustls_native_certs"],
        purity: Effects,
    },
    Row { folder: "lane", may_use: &[], crates: &["rtrb"], purity: Effects },
    Row { folder: "ws", may_use: &[], crates: &["bytes", "zlib_rs"], purity: Pure },
    Row {
        folder: "access",
        may_use: &["model"],
        crates: &["aws_lc_rs", "base64", "bytes", "globset", "memchr", "regex", "regex_syntax", "serde", "serde_json"],
        purity: Pure,
    },
    Row { folder: "room", may_use: &["model"], crates: &["bytes"], purity: Pure },
    Row {
        folder: "protocol",
        may_use: &["delta", "model", "ws"],
        crates: &["bytes", "memchr", "prost", "serde", "serde_json"],
        purity: Pure,
    },
    // Engines to come have sockets; the contract and the memory engine are pure (PURE_FILES).
    Row {
        folder: "engine",
        may_use: &["model", "lane", "trust"],
        crates: &[
            "ahash",
            "async_nats",
            "base64",
            "bytes",
            "crc32c",
            "fastrand",
            "futures_util",
            "memchr",
            "prost",
            "rustls",
            "serde_json",
            "tokio",
            "tokio_rustls",
            "tracing",
        ],
        purity: Effects,
    },
    Row {
        folder: "workers",
        may_use: &["model", "ws", "protocol", "access", "lane"],
        crates: &["bytes", "crossbeam_queue", "rustix", "thread_priority", "tracing"],
        purity: Effects,
    },
    Row {
        folder: "shard",
        may_use: &["delta", "model", "ws", "protocol", "access", "room", "lane", "engine", "workers"],
        crates: &["ahash", "bytes", "fastrand"],
        purity: Pure,
    },
    Row {
        folder: "jwks",
        may_use: &["access", "model", "trust", "workers"],
        // aws_lc_rs: its tests make keys.
        crates: &["aws_lc_rs", "bytes", "http_body_util", "hyper", "hyper_rustls", "hyper_util", "tokio", "tracing"],
        purity: Effects,
    },
    Row {
        folder: "io",
        may_use: &["shard", "ws", "lane", "model", "trust"],
        crates: &[
            // The part of rustls that has this name.
            "aws_lc_rs",
            "axum",
            "bytes",
            "compio_buf",
            "compio_driver",
            "core_affinity",
            "globset",
            "hyper",
            "hyper_util",
            "mio",
            "rustix",
            "rustls",
            "socket2",
            "tokio",
            "tracing",
            "tungstenite",
        ],
        purity: Effects,
    },
    Row { folder: "handle", may_use: &["shard", "model", "lane"], crates: &["tokio", "tracing"], purity: Effects },
    Row {
        folder: "nodes",
        may_use: &["engine", "handle", "model"],
        crates: &["bytes", "prost", "tokio", "tracing"],
        purity: Effects,
    },
    Row {
        folder: "api",
        may_use: &["model", "handle", "nodes"],
        crates: &[
            "axum",
            "base64",
            "bytes",
            "http_body_util",
            "hyper",
            "hyper_util",
            "serde",
            "serde_json",
            "subtle",
            "tokio",
            "tower",
            "tracing",
        ],
        purity: Effects,
    },
    Row { folder: "console", may_use: &["model", "handle"], crates: &["axum", "tokio", "tower"], purity: Effects },
    Row {
        folder: "config",
        may_use: &["model", "access", "shard", "workers", "io", "api", "console"],
        crates: &[
            "base64",
            "clap",
            "clap_complete",
            "regex",
            "saphyr_parser",
            "serde",
            "serde_json",
            "strsim",
            "toml",
            "uuid",
        ],
        purity: Effects,
    },
    Row {
        folder: "cli",
        may_use: &["access", "config", "io", "jwks", "trust"],
        crates: &[
            "bytes",
            "clap",
            "clap_complete",
            "fastrand",
            "futures_util",
            "http_body_util",
            "hyper",
            "hyper_util",
            "rustix",
            "rustls",
            "serde",
            "serde_json",
            "tokio",
            "tokio_rustls",
            "tokio_tungstenite",
        ],
        purity: Effects,
    },
    Row { folder: "node", may_use: EVERYTHING, crates: ANY_CRATE, purity: Effects },
    Row { folder: "main", may_use: EVERYTHING, crates: ANY_CRATE, purity: Effects },
    // The map of the folders; it declares, and names none of them in code.
    Row { folder: "lib", may_use: &[], crates: &[], purity: Pure },
];

pub const EVERYTHING: &[&str] = &["*"];
pub const ANY_CRATE: &[&str] = &["*"];

/// Open to every folder: bounds, and counters to count into.
pub const OPEN_TO_ALL: &[&str] = &["limits", "telemetry"];

/// Paths inside a folder that those outside of it may not name, with who is excepted.
///
/// (user, path it may not begin with, why)
pub const CLOSED_PATHS: &[(&str, &str, &str)] = &[
    ("shard", "engine::disk", "the shard knows the contract and the memory engine"),
    ("shard", "engine::redis", "the shard knows the contract and the memory engine"),
    ("shard", "engine::nats", "the shard knows the contract and the memory engine"),
    ("shard", "workers::Pool", "the shard names jobs; io hands them to the pool"),
    ("shard", "workers::pool", "the shard names jobs; io hands them to the pool"),
    ("nodes", "engine::disk", "nodes know the contract"),
    ("nodes", "engine::redis", "nodes know the contract"),
    ("nodes", "engine::nats", "nodes know the contract"),
    ("handle", "shard::Shard", "the handle sends messages; it never sees a shard's state"),
];

/// Files of an effectful folder that decide only.
pub const PURE_FILES: &[&str] = &[
    "src/engine/contract.rs",
    "src/engine/disk/entry.rs",
    "src/engine/disk/format.rs",
    "src/engine/memory.rs",
    "src/engine/memory/",
    "src/engine/presence.rs",
    "src/engine/record.rs",
    "src/engine/results.rs",
    "src/engine/stream.rs",
    "src/jwks/cache.rs",
    "src/workers/jobs.rs",
];

/// What a pure folder never names, and why.
pub const IMPURE: &[(&str, &str)] = &[
    ("tokio", "no runtime in a pure folder"),
    ("std::net", "no sockets in a pure folder"),
    ("std::thread", "no threads in a pure folder"),
    ("std::fs", "no files in a pure folder"),
    ("std::env::var", "no environment in a pure folder"),
    ("Instant::now", "`now` is an argument"),
    ("SystemTime", "`now` is an argument"),
    ("async fn", "no async across the wall"),
    ("async move", "no async across the wall"),
    (".await", "no async across the wall"),
    ("Mutex", "state has one owner; no locks in the data plane"),
    ("RwLock", "state has one owner; no locks in the data plane"),
    ("println!", "a pure folder says nothing; it returns"),
];

/// Outside crates that only test code may name, in any folder.
pub const TEST_CRATES: &[&str] = &[
    "base64",
    "fastrand",
    "futures_util",
    "http_body_util",
    "jsonwebtoken",
    "loom",
    "proptest",
    "regex",
    "serde_json",
    "tempfile",
    "tokio",
    "tokio_tungstenite",
    "tungstenite",
];

/// Words that the style guide bans from names, and what to do instead.
pub const BANNED_NAMES: &[(&str, &str)] = &[
    ("fn get_", "name the thing, or `find_` when it is looked up"),
    ("Manager", "say what it does"),
    ("Helper", "say what it does"),
    ("mod utils", "a noun for each file"),
    ("mod helpers", "a noun for each file"),
];

/// Lines of a file, past which a reason must stand in `LONG_FILES`.
pub const LINES_MAX: usize = 400;

/// (file, its own bound, the reason)
pub const LONG_FILES: &[(&str, usize, &str)] = &[
    ("src/config/keys.rs", 500, "the one table of keys, a row for each"),
    ("src/limits.rs", 600, "the one list of bounds, each with its reason"),
    ("src/telemetry/table.rs", 800, "the one table of metrics, a row for each"),
];

/// Crates of which the tree may hold one version only, and why a second one hurts.
pub const ONE_VERSION: &[(&str, &str)] = &[
    ("tungstenite", "two codecs would disagree about one wire"),
    ("hyper", "the shard hands its requests to the control plane's router"),
    ("tokio", "a runtime does not know the other's timers"),
    ("mio", "sockets move between the runtime and the shard's poll set"),
];

/// Crates that must not come in, and why. `ring` is not among them: the lock file names it for a feature of
/// rustls-webpki that nothing switches on. `make audit` looks at what is really built, and bans it there.
pub const BANNED_CRATES: &[(&str, &str)] =
    &[("openssl-sys", "aws-lc-rs is the one crypto provider"), ("native-tls", "aws-lc-rs is the one crypto provider")];
