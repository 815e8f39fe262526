//! THE table of keys: every key of Centrifugo v6 and our own, what may stand there, its default.
//!
//! The reading of files, the errors, the warnings and `docs/configuration.md` all follow this
//! table. A key is a path: `client.token.hmac_secret_key`; `[]` stands for any item of a list.
//! The rows stand in the files of `keys/`, by group. Source: protocol page, appendix A and section 1.3.

mod channel;
mod client;
mod endpoints;
mod engines;
mod listening;
mod node;
mod tokens;

pub use channel::CHANNEL_OPTIONS;
pub use engines::{SETTINGS as ENGINE_SETTINGS, Settings as EngineSettings};

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

impl Key {
    pub fn is_supported(&self) -> bool {
        matches!(self.status, Status::Supported(_))
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Status {
    Supported(Kind),
    /// Turns a knob that has no counterpart here: accepted, and nothing is missed.
    Needless,
    /// Asks for what is done otherwise here, for this reason: accepted, and who sets it is told.
    Otherwise(&'static str),
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
    for &(path, kind, default, _) in supported() {
        keys.insert(path.to_string(), Key { default, status: Status::Supported(kind) });
    }
    for scope in CHANNEL_SCOPES {
        for &(name, kind, default, _) in CHANNEL_OPTIONS {
            keys.insert(format!("{scope}.{name}"), Key { default, status: Status::Supported(kind) });
        }
    }
    for (scope, &(name, kind, default, _)) in engine_settings() {
        keys.insert(format!("{scope}.{name}"), Key { default, status: Status::Supported(kind) });
    }
    for &(path, default) in NEEDLESS {
        keys.insert(path.to_string(), Key { default, status: Status::Needless });
    }
    for &(scopes, name, default, status) in OF_ENGINES {
        for scope in scopes {
            keys.insert(format!("{scope}.{name}"), Key { default, status });
        }
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
    let ends_alike = || {
        let alike = |candidate: &&'static str| flat(candidate).ends_with(&ending);
        let keys = supported().map(|(path, ..)| *path).filter(alike).min_by_key(|path| path.len());
        keys.or_else(|| candidates().find(alike))
    };
    let most_similar = || find_similar(&flat(path), candidates().map(|candidate| (flat(candidate), candidate)));
    match path.contains('.') {
        true => most_similar(),
        false => ends_alike().or_else(most_similar),
    }
}

/// What stands beside the name that is most similar to `name`, if one is similar at all.
pub fn find_similar<T>(name: &str, candidates: impl Iterator<Item = (String, T)>) -> Option<T> {
    let similarity = |candidate: &str| strsim::normalized_damerau_levenshtein(candidate, name);
    candidates
        .map(|(candidate, meant)| (similarity(&candidate), meant))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, meant)| meant)
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
pub type Row = (&'static str, Kind, &'static str, &'static str);

/// All keys but the channel options and the settings of engines, in the order of the reference. Upper bounds of counts are
/// chosen: generous, and small enough that a slip of the hand does not take the machine's memory.
pub fn supported() -> impl Iterator<Item = &'static Row> {
    let groups = [
        listening::ROWS,
        client::ROWS,
        tokens::CONNECTION_ROWS,
        tokens::SUBSCRIPTION_ROWS,
        channel::ROWS,
        engines::ROWS,
        endpoints::ROWS,
        node::ROWS,
    ];
    groups.into_iter().flatten()
}

/// The settings of engines, each with every table in which it stands.
pub fn engine_settings() -> impl Iterator<Item = (&'static str, &'static Row)> {
    let of = |scope| ENGINE_SETTINGS.iter().filter(move |settings| settings.scopes.contains(&scope));
    let scopes = ENGINE_SETTINGS.iter().map(|settings| settings.scopes).max_by_key(|scopes| scopes.len());
    let scopes = scopes.unwrap_or_default().iter().copied();
    scopes.flat_map(move |scope| of(scope).flat_map(|settings| settings.rows()).map(move |row| (scope, row)))
}

const MIB: u64 = 1024 * 1024;

/// Knobs of Go's network library, and of services that Fanfare does not have to be told to leave.
const NEEDLESS: &[(&str, &str)] = &[
    // Users are always counted beside clients.
    ("engine.redis.presence_user_mapping", "false"),
    ("presence_manager.redis.presence_user_mapping", "false"),
    // Commands of different connections never wait for one another, and publishes of one to the same channel run
    // side by side (ARCHITECTURE.md, "Rules that make it hold").
    ("client.concurrency", "0"),
    // A room that lags behind its stream is sent the stream (docs/guarantees.md): nobody has to come back for it.
    ("client.channel_position_max_time_lag", "0"),
    ("usage_stats.disabled", "false"),
    ("websocket.read_buffer_size", "0"),
    ("websocket.use_write_buffer_pool", "false"),
    ("websocket.write_buffer_size", "0"),
];

/// Settings of engines, the tables in which they stand, and why nothing follows them.
const OF_ENGINES: &[(&[&str], &str, &str, Status)] = &[
    // RESP2 is what Fanfare speaks with every server.
    (engines::ALL, "redis.force_resp2", "false", Status::Needless),
    (engines::OF_BROKERS, "redis.history_use_lists", "false", Status::Otherwise(LISTS)),
    (engines::ALL, "redis.tls.client_ca_pem", "\"\"", Status::Otherwise(CLIENT_CA)),
    (engines::ALL, "redis.sentinel_tls.client_ca_pem", "\"\"", Status::Otherwise(CLIENT_CA)),
];

const LISTS: &str = "history is in streams, which every Redis since 5.0 has; lists can't be paged or recovered from";
const CLIENT_CA: &str = "this node is the client there, and checks the server: see server_ca_pem";

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
        let of_channels = CHANNEL_SCOPES.len() * CHANNEL_OPTIONS.len();
        let supported = supported().count() + of_channels + engine_settings().count();
        let count = |wanted: fn(&Status) -> bool| KEYS.values().filter(|key| wanted(&key.status)).count();
        assert_eq!(count(|status| matches!(status, Status::Supported(_))), supported);
        let of_engines: usize = OF_ENGINES.iter().map(|(scopes, ..)| scopes.len()).sum();
        let others = count(|status| matches!(status, Status::Needless | Status::Otherwise(_)));
        assert_eq!(others, NEEDLESS.len() + of_engines);
    }

    #[test]
    fn unused_parts_are_as_large_as_they_can_be() {
        assert_eq!(unused_part("proxies[].endpoint"), "proxies");
        assert_eq!(unused_part("client.proxy.connect.http.tls.enabled"), "client.proxy");
        assert_eq!(
            unused_part("client.connect_code_to_unidirectional_disconnect.enabled"),
            "client.connect_code_to_unidirectional_disconnect"
        );
        assert_eq!(unused_part("channel.namespaces[].map.mode"), "channel.namespaces[].map");
        assert_eq!(unused_part("pid_file"), "pid_file");
    }
}
