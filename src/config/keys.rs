//! THE table of keys: every key of Centrifugo v6 and our own, what may stand there, its default.
//!
//! The reading of files, the errors, the warnings and `docs/configuration.md` all follow this
//! table. A key is a path: `client.token.hmac_secret_key`; `[]` stands for any item of a list.
//! Source: protocol page, appendix A and section 1.3.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::not_yet;
use super::values::Kind;

/// One key that a file may hold.
#[derive(Clone, Debug)]
pub struct Key {
    /// As it would stand in the file; `""` is the empty text, `[]` the empty list.
    pub default: &'static str,
    pub status: Status,
}

#[derive(Clone, Copy, Debug)]
pub enum Status {
    Supported(Kind),
    /// Turns a knob that has no counterpart here: accepted, and nothing is missed.
    Needless,
    /// A key of Centrifugo that does nothing here yet.
    NotYet {
        /// It narrows what clients may do, or protects them: without it Fanfare is more open than
        /// the file says.
        restricts: bool,
    },
}

/// The channel options stand at each of these.
pub const CHANNEL_SCOPES: [&str; 2] = ["channel.without_namespace", "channel.namespaces[]"];

/// Every key by its path.
pub static KEYS: LazyLock<BTreeMap<String, Key>> = LazyLock::new(|| {
    let mut keys = BTreeMap::new();
    for &(path, kind, default, _) in SUPPORTED {
        keys.insert(path.to_string(), Key { default, status: Status::Supported(kind) });
    }
    for scope in CHANNEL_SCOPES {
        for &(name, kind, default, _) in CHANNEL_OPTIONS {
            keys.insert(format!("{scope}.{name}"), Key { default, status: Status::Supported(kind) });
        }
    }
    for &(path, default) in NEEDLESS {
        keys.insert(path.to_string(), Key { default, status: Status::Needless });
    }
    not_yet::add_to(&mut keys);
    keys
});

/// Whether keys begin with `path` and a dot.
pub fn is_table(path: &str) -> bool {
    has_prefix(&format!("{path}."))
}

/// Whether `path` is a list of tables with keys of their own.
pub fn is_list_of_tables(path: &str) -> bool {
    has_prefix(&format!("{path}[]."))
}

/// The shortest part of `path`, a key that does nothing here, below which nothing does: `proxies`
/// for `proxies[].endpoint`.
pub fn unused_part(path: &str) -> &str {
    let parts = path.match_indices('.').map(|(dot, _)| path[..dot].trim_end_matches("[]"));
    parts.into_iter().find(|part| !is_in_use(part)).unwrap_or(path)
}

fn is_in_use(table: &str) -> bool {
    let below = KEYS.range(table.to_string()..).take_while(|(path, _)| path.starts_with(table));
    below
        .filter(|(path, _)| path[table.len()..].starts_with(['.', '[']))
        .any(|(_, key)| !matches!(key.status, Status::NotYet { .. }))
}

fn has_prefix(prefix: &str) -> bool {
    KEYS.range(prefix.to_string()..).next().is_some_and(|(key, _)| key.starts_with(prefix))
}

/// The known key that the unknown `path` was most likely meant to be.
///
/// First one that ends alike (`allowed_origins`, `token_hmac_secret_key`: flat names of Centrifugo
/// before v6), then the most similar one, if it is similar at all.
pub fn find_nearest(path: &str) -> Option<&'static str> {
    let flat = |path: &str| path.replace(['.', '-'], "_").to_ascii_lowercase();
    let ending = format!("_{}", flat(path));
    let ends_alike = || candidates().find(|candidate| flat(candidate).ends_with(&ending));
    let similarity = |candidate: &str| strsim::normalized_damerau_levenshtein(&flat(candidate), &flat(path));
    let most_similar = || {
        candidates()
            .map(|candidate| (similarity(candidate), candidate))
            .filter(|&(similarity, _)| similarity >= SIMILARITY_MIN)
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, candidate)| candidate)
    };
    match path.contains('.') {
        true => most_similar(),
        false => ends_alike().or_else(most_similar),
    }
}

/// Paths to suggest, those that are supported first: keys, and the tables that hold them.
fn candidates() -> impl Iterator<Item = &'static str> {
    let all = || KEYS.iter().map(|(path, key)| (path.as_str(), key));
    let supported = all().filter(|(_, key)| matches!(key.status, Status::Supported(_))).map(|(path, _)| path);
    let others = all().filter(|(_, key)| !matches!(key.status, Status::Supported(_))).map(|(path, _)| path);
    let tables = all().flat_map(|(path, _)| path.match_indices('.').map(|(dot, _)| path[..dot].trim_end_matches("[]")));
    supported.chain(others).chain(tables)
}

/// Chosen: `http_server.prot` is 0.94 from `http_server.port`; unrelated keys are below 0.5.
const SIMILARITY_MIN: f64 = 0.6;

/// Path, kind, default, and one sentence for the reference.
type Row = (&'static str, Kind, &'static str, &'static str);

const MIB: u64 = 1024 * 1024;

/// Paths, kinds, defaults and meanings. Upper bounds of counts are chosen: generous, and small
/// enough that a slip of the hand does not take the machine's memory.
pub const SUPPORTED: &[Row] = &[
    ("http_server.address", Kind::Address, "\"\"", "IP address that clients connect to; empty: every IPv4 address."),
    ("http_server.port", Kind::Port { optional: false }, "8000", "Port that clients connect to; 0: a free one."),
    (
        "http_server.internal_address",
        Kind::Address,
        "\"\"",
        "IP address of the internal port; empty: that of `address`.",
    ),
    (
        "http_server.internal_port",
        Kind::Port { optional: true },
        "\"\"",
        "Port where API, metrics, health and page are served instead; empty: at `port`.",
    ),
    ("log.level", Kind::OneOf(super::options::LogLevel::NAMES), "info", "The least severe level that is logged."),
    ("log.file", Kind::Text, "\"\"", "File to append the log to; empty: standard output."),
    (
        "client.allowed_origins",
        Kind::Texts,
        "[]",
        "Patterns of the origins that browsers may connect from (`https://*.example.com`, `*`); empty: no browser may.",
    ),
    (
        "client.token.hmac_secret_key",
        Kind::Secret,
        "\"\"",
        "Secret of connection tokens signed with HS256, HS384 or HS512.",
    ),
    (
        "client.token.rsa_public_key",
        Kind::Secret,
        "\"\"",
        "Public key (PEM) of connection tokens signed with RS256, RS384 or RS512.",
    ),
    (
        "client.allow_anonymous_connect_without_token",
        Kind::Flag,
        "false",
        "Clients without a token are let in, as anonymous users.",
    ),
    (
        "client.insecure",
        Kind::Flag,
        "false",
        "Tokens are not asked for and every permission is granted; for development only.",
    ),
    ("client.ping_interval", Kind::Duration { min: "1s" }, "25s", "Time between two pings to a client."),
    (
        "client.pong_timeout",
        Kind::Duration { min: "100ms" },
        "8s",
        "Time for a client to answer a ping; less than `ping_interval`.",
    ),
    (
        "client.stale_close_delay",
        Kind::Duration { min: "100ms" },
        "10s",
        "Time for a new client to send its connect command.",
    ),
    (
        "client.expired_close_delay",
        Kind::Duration { min: "0s" },
        "25s",
        "Time to refresh an expired connection before it is closed.",
    ),
    ("client.channel_limit", Kind::Count { min: 1, max: 100_000 }, "128", "Subscriptions of one connection."),
    (
        "client.queue_max_size",
        Kind::Count { min: 1, max: 1024 * MIB },
        "1048576",
        "Bytes that may wait for a slow client before it is disconnected.",
    ),
    (
        "client.presence_update_interval",
        Kind::Duration { min: "1s" },
        "27s",
        "Time between two updates of a client's presence; less than `fanfare.presence_ttl`.",
    ),
    (
        "client.channel_position_check_delay",
        Kind::Duration { min: "1s" },
        "40s",
        "Time between two checks of a positioned subscription.",
    ),
    (
        "client.history_max_publication_limit",
        Kind::Count { min: 1, max: 100_000 },
        "300",
        "Publications in one answer to a client's history command.",
    ),
    (
        "client.recovery_max_publication_limit",
        Kind::Count { min: 1, max: 100_000 },
        "300",
        "Publications that one subscription may recover.",
    ),
    ("channel.max_length", Kind::Count { min: 1, max: 65_535 }, "255", "Bytes of a channel's name."),
    (
        "channel.history_meta_ttl",
        Kind::Duration { min: "1s" },
        "720h",
        "How long offset and epoch of a channel outlive its last publication, where a namespace does not say.",
    ),
    (
        "channel.private_prefix",
        Kind::Text,
        "$",
        "Begins the names of channels that need a subscription token; empty: none does.",
    ),
    (
        "channel.namespace_boundary",
        Kind::Text,
        ":",
        "Ends the namespace's name in a channel's name; empty: no channel has a namespace.",
    ),
    (
        "channel.namespaces[].name",
        Kind::Text,
        "\"\"",
        "Name of the namespace: at least two of letters, digits, `-`, `_` and `.`.",
    ),
    ("http_api.disabled", Kind::Flag, "false", "Switches the server API off."),
    ("http_api.handler_prefix", Kind::Path, "/api", "Path before the API's methods."),
    ("http_api.key", Kind::Secret, "\"\"", "Key that API requests carry; empty: every request is refused (401)."),
    (
        "http_api.external",
        Kind::Flag,
        "false",
        "Serves the API at the clients' port although there is an internal one.",
    ),
    ("http_api.insecure", Kind::Flag, "false", "Serves the API without a key; for development only."),
    ("websocket.handler_prefix", Kind::Path, "/connection/websocket", "Path of the WebSocket endpoint."),
    (
        "websocket.message_size_limit",
        Kind::Count { min: 128, max: 64 * MIB },
        "65536",
        "Bytes of one message from a client.",
    ),
    (
        "websocket.write_timeout",
        Kind::Duration { min: "1ms" },
        "1000ms",
        "Time for a connection that is cut to take the rest of what waits for it.",
    ),
    ("prometheus.enabled", Kind::Flag, "false", "Serves metrics."),
    ("prometheus.handler_prefix", Kind::Path, "/metrics", "Path of the metrics."),
    (
        "health.enabled",
        Kind::Flag,
        "false",
        "Serves Centrifugo's health endpoint (`/livez` and `/readyz` are always there).",
    ),
    ("health.handler_prefix", Kind::Path, "/health", "Path of the health endpoint."),
    ("node.name", Kind::Text, "\"\"", "How the node calls itself; empty: host name and port."),
    ("shutdown.timeout", Kind::Duration { min: "0s" }, "30s", "Time to drain connections at the end."),
    ("fanfare.shards", Kind::Count { min: 0, max: 128 }, "0", "Threads that own connections; 0: one for each core."),
    (
        "fanfare.workers",
        Kind::Count { min: 0, max: 256 },
        "0",
        "Threads for signatures and other heavy work, below the shards' priority; 0: one for each core.",
    ),
    ("fanfare.presence_ttl", Kind::Duration { min: "2s" }, "60s", "How long presence outlives its last update."),
    (
        "fanfare.shard_memory_limit",
        Kind::Count { min: MIB, max: 1024 * 1024 * MIB },
        "268435456",
        "Bytes of history that one shard keeps.",
    ),
];

const HISTORY_MAX: u64 = 1_000_000;

/// Options of `channel.without_namespace` and of each of `channel.namespaces[]`.
pub const CHANNEL_OPTIONS: &[Row] = &[
    ("presence", Kind::Flag, "false", "Keeps who is subscribed."),
    ("join_leave", Kind::Flag, "false", "Tells subscribers who ask for it who joins and leaves."),
    ("force_push_join_leave", Kind::Flag, "false", "Tells it also to those who do not ask; needs `join_leave`."),
    ("history_size", Kind::Count { min: 0, max: HISTORY_MAX }, "0", "Publications kept; together with `history_ttl`."),
    ("history_ttl", Kind::Duration { min: "0s" }, "0s", "How long a publication is kept, in whole seconds."),
    (
        "history_meta_ttl",
        Kind::Duration { min: "0s" },
        "0s",
        "How long offset and epoch outlive the last publication; 0s: `channel.history_meta_ttl`.",
    ),
    ("force_positioning", Kind::Flag, "false", "Every subscription is told when it missed a publication."),
    ("allow_positioning", Kind::Flag, "false", "Those that ask for it are."),
    (
        "force_recovery",
        Kind::Flag,
        "false",
        "Every subscription gets what it missed when it comes back; needs history.",
    ),
    ("allow_recovery", Kind::Flag, "false", "Those that ask for it do."),
    ("allow_subscribe_for_client", Kind::Flag, "false", "Users may subscribe without a subscription token."),
    ("allow_subscribe_for_anonymous", Kind::Flag, "false", "Anonymous users too."),
    ("allow_publish_for_client", Kind::Flag, "false", "Users may publish."),
    ("allow_publish_for_subscriber", Kind::Flag, "false", "Users who are subscribed may publish."),
    ("allow_publish_for_anonymous", Kind::Flag, "false", "Anonymous users too, where one of the two above lets users."),
    ("allow_presence_for_client", Kind::Flag, "false", "Users may ask who is subscribed."),
    ("allow_presence_for_subscriber", Kind::Flag, "false", "Users who are subscribed may ask."),
    (
        "allow_presence_for_anonymous",
        Kind::Flag,
        "false",
        "Anonymous users too, where one of the two above lets users.",
    ),
    ("allow_history_for_client", Kind::Flag, "false", "Users may ask for history."),
    ("allow_history_for_subscriber", Kind::Flag, "false", "Users who are subscribed may ask."),
    ("allow_history_for_anonymous", Kind::Flag, "false", "Anonymous users too, where one of the two above lets users."),
    (
        "slow_consumer_policy",
        Kind::OneOf(&["disconnect", "drop_oldest", "conflate"]),
        "disconnect",
        "For subscribers that take publications slower than they come. `disconnect`: the connection is closed (3008) \
         when `client.queue_max_size` is reached. `drop_oldest`: the oldest publications are dropped then. `conflate`: \
         a newer publication takes the place of one that waits; when the bound is reached nevertheless, the connection \
         is closed. A positioned subscription is unsubscribed (2500) instead of missing something, to recover. \
         An option of Fanfare.",
    ),
    (
        "conflate_tag",
        Kind::Text,
        "\"\"",
        "Only publications with the same value of this tag are conflated, and those without the tag with each other; \
         empty: those of the channel. Needs `conflate`. An option of Fanfare.",
    ),
];

/// Knobs of Go's network library, and of services that Fanfare does not have to be told to leave.
const NEEDLESS: &[(&str, &str)] = &[
    ("usage_stats.disabled", "false"),
    ("websocket.read_buffer_size", "0"),
    ("websocket.use_write_buffer_pool", "false"),
    ("websocket.write_buffer_size", "0"),
];

#[cfg(test)]
mod tests {
    use super::super::document::Value;
    use super::*;

    #[test]
    fn defaults_are_of_their_kinds() {
        for (path, key) in KEYS.iter() {
            if let Status::Supported(kind) = key.status {
                assert!(kind.read(&Value::of_default(key.default)).is_some(), "{path} = {}", key.default);
            }
        }
    }

    #[test]
    fn no_key_is_a_table_too() {
        for path in KEYS.keys() {
            assert!(!is_table(path) && !is_list_of_tables(path), "{path}");
        }
    }

    #[test]
    fn each_key_stands_in_one_table() {
        let supported = SUPPORTED.len() + CHANNEL_SCOPES.len() * CHANNEL_OPTIONS.len();
        let count = |wanted: fn(&Status) -> bool| KEYS.values().filter(|key| wanted(&key.status)).count();
        assert_eq!(count(|status| matches!(status, Status::Supported(_))), supported);
        assert_eq!(count(|status| matches!(status, Status::Needless)), NEEDLESS.len());
    }

    #[test]
    fn unused_parts_are_as_large_as_they_can_be() {
        assert_eq!(unused_part("proxies[].endpoint"), "proxies");
        assert_eq!(unused_part("client.proxy.connect.http.tls.enabled"), "client.proxy");
        assert_eq!(unused_part("client.token.audience"), "client.token.audience");
        assert_eq!(unused_part("channel.namespaces[].map.mode"), "channel.namespaces[].map");
        assert_eq!(unused_part("pid_file"), "pid_file");
    }
}
