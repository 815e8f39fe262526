//! What holds: every supported key with its value and with what set it.

use std::collections::BTreeMap;

use super::document::{Entry, Value};
use super::keys::{CHANNEL_OPTIONS, CHANNEL_SCOPES, KEYS, Status, engine_settings, supported};
use super::layers::Configuration;
use super::settings::Scope;
use super::source::Span;
use super::values::{Kind, Setting};

/// One key as it holds.
#[derive(Clone, Debug)]
pub struct Effective {
    /// As in the file, namespaces by their names: `channel.namespaces[chat].presence`.
    pub path: String,
    pub value: Setting,
    /// As it is written; secrets too.
    pub text: Value,
    /// `None`: the default.
    pub set_by: Option<Span>,
    pub kind: Kind,
}

/// What differs between two configurations, in the order of the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A running node follows these.
    pub live: Vec<String>,
    /// The next start will follow these.
    pub for_restart: Vec<String>,
}

impl Configuration {
    /// Every supported key in the order of the reference, and the options of each namespace.
    pub fn effective(&self) -> Vec<Effective> {
        let root = Scope::root(&self.table);
        let plain = supported().map(|(path, ..)| *path).filter(|path| !path.contains("[]"));
        let mut all: Vec<Effective> = plain.map(|path| effective(&root, path, path, path.into())).collect();
        for (name, ..) in CHANNEL_OPTIONS {
            let key = format!("{}.{name}", CHANNEL_SCOPES[0]);
            all.push(effective(&root, &key, &key, key.clone()));
        }
        for (scope, (name, ..)) in engine_settings().filter(|(scope, _)| !scope.ends_with("[]")) {
            let key = format!("{scope}.{name}");
            all.push(effective(&root, &key, &key, key.clone()));
        }
        for (list, item) in [("channel.namespaces", CHANNEL_SCOPES[1])].into_iter().chain(ENGINE_LISTS) {
            for scope in root.tables(list, item) {
                let named = scope.text("name").unwrap_or_default();
                for name in names_below(item) {
                    let path = format!("{list}[{named}].{name}");
                    all.push(effective(&scope, &format!("{item}.{name}"), name, path));
                }
            }
        }
        all
    }
}

/// Keys of the items of a list, in the order of the reference.
fn names_below(item: &str) -> Vec<&'static str> {
    let own = supported().filter_map(|(path, ..)| path.strip_prefix(item)?.strip_prefix('.'));
    let of_channels = CHANNEL_OPTIONS.iter().filter(|_| item == CHANNEL_SCOPES[1]).map(|(name, ..)| *name);
    let of_engines = engine_settings().filter(|(scope, _)| *scope == item).map(|(_, (name, ..))| *name);
    own.chain(of_channels).chain(of_engines).collect()
}

/// Lists of engines with names, and the scopes of their items.
pub const ENGINE_LISTS: [(&str, &str); 2] = [("brokers", "brokers[]"), ("presence_managers", "presence_managers[]")];

fn effective(scope: &Scope<'_>, key: &str, name: &str, path: String) -> Effective {
    let Status::Supported(kind) = KEYS[key].status else { panic!("{key} is a supported key") };
    let entry: Option<&Entry> = scope.find(name).filter(|entry| entry.value != Value::Null);
    Effective {
        path,
        value: scope.setting(name),
        text: entry.map_or_else(|| Value::of_default(KEYS[key].default), |entry| entry.value.clone()),
        set_by: entry.map(|entry| entry.span.clone()),
        kind,
    }
}

impl Changes {
    /// What is other in `new`: than in `running` where a node follows, than at its start where not.
    pub fn between(started: &[Effective], running: &[Effective], new: &[Effective]) -> Changes {
        let by_path = |all: &[Effective]| -> BTreeMap<String, Setting> {
            all.iter().map(|effective| (effective.path.clone(), effective.value.clone())).collect()
        };
        let (started, running, new_values) = (by_path(started), by_path(running), by_path(new));
        let mut changes = Changes::default();
        let gone = running.keys().filter(|path| !new_values.contains_key(*path));
        for path in new.iter().map(|effective| &effective.path).chain(gone) {
            let (before, list) = match is_live(path) {
                true => (&running, &mut changes.live),
                false => (&started, &mut changes.for_restart),
            };
            if before.get(path) != new_values.get(path) {
                list.push(path.clone());
            }
        }
        changes.live = join_namespaces(changes.live, &running, &new_values);
        changes
    }
}

/// A namespace that came or went is one change, not as many as it has options.
fn join_namespaces(
    paths: Vec<String>,
    before: &BTreeMap<String, Setting>,
    after: &BTreeMap<String, Setting>,
) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for path in paths {
        let namespace = path.split_once("].").map(|(namespace, _)| format!("{namespace}]"));
        let name = namespace.as_ref().map(|namespace| format!("{namespace}.name"));
        let is_whole = name.is_some_and(|name| before.contains_key(&name) != after.contains_key(&name));
        let change = if is_whole { namespace.unwrap_or(path) } else { path };
        if joined.last() != Some(&change) {
            joined.push(change);
        }
    }
    joined
}

/// Whether a running node follows the key at `path` when its configuration is read again.
///
/// The others are in sockets, threads and memory that exist, or clients were told them.
pub fn is_live(path: &str) -> bool {
    (LIVE_TABLES.iter().any(|table| path.starts_with(table)) && path != "channel.max_length")
        || LIVE_KEYS.contains(&path)
}

/// All keys that begin so, but for `channel.max_length`, which the API checks by too.
pub const LIVE_TABLES: &[&str] = &["channel.", "client.token.", "client.subscription_token."];

pub const LIVE_KEYS: &[&str] = &[
    "client.allow_anonymous_connect_without_token",
    "client.disallow_anonymous_connection_tokens",
    "client.connect_include_server_time",
    "client.stale_close_delay",
    "client.expired_close_delay",
    "client.expired_sub_close_delay",
    "client.channel_limit",
    "client.subscribe_to_user_personal_channel.enabled",
    "client.subscribe_to_user_personal_channel.personal_channel_namespace",
    "client.presence_update_interval",
    "client.channel_position_check_delay",
    "client.history_max_publication_limit",
    "client.recovery_max_publication_limit",
    "fanfare.presence_ttl",
    "fanfare.unconnected_limit",
    "engine.redis.presence_ttl",
    "presence_manager.redis.presence_ttl",
];

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::super::flags::Flags;
    use super::super::layers::read_layers;
    use super::super::source::{Format, Source};
    use super::*;
    use crate::shard;

    fn read(text: &str) -> Configuration {
        let source = Source { name: "a.toml".into(), text: text.into(), format: Format::Toml };
        read_layers(source, &Environment::default(), &Flags::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn changes(before: &str, after: &str) -> Changes {
        let (before, after) = (read(before).effective(), read(after).effective());
        Changes::between(&before, &before, &after)
    }

    #[test]
    fn changes_are_told_by_their_keys() {
        let chat = "[[channel.namespaces]]\nname = \"chat\"\n";
        let found = changes(
            &format!("[client]\nping_interval = \"60s\"\n{chat}"),
            &format!(
                "[client]\nping_interval = \"1m\"\nchannel_limit = 1\n[http_server]\nport = 1\n{chat}presence = true\n"
            ),
        );
        assert_eq!(found.live, ["client.channel_limit", "channel.namespaces[chat].presence"]);
        assert_eq!(found.for_restart, ["http_server.port"]);
        assert_eq!(changes("", chat).live, ["channel.namespaces[chat]"]);
        assert_eq!(changes(chat, "").live, ["channel.namespaces[chat]"]);
        assert_eq!(changes(chat, chat), Changes::default());
    }

    /// A value of the kind that is not the default, as a text.
    fn another(kind: Kind, default: &str) -> Option<String> {
        Some(match kind {
            Kind::Flag => (default == "false").to_string(),
            Kind::Count { min, max } => if default == max.to_string() { min } else { max }.to_string(),
            Kind::Duration { .. } => "7s".into(),
            Kind::Text => "/x".into(),
            _ => return None,
        })
    }

    /// What a shard takes of new options is what the keys say: no more, and no less.
    #[test]
    fn shards_follow_the_keys_that_are_said_to_be_live() {
        let base = read("");
        let running = shard::Options { ..base.options.shard.clone() };
        let mut seen = 0;
        for (path, kind, default, _) in supported().filter(|(path, ..)| !path.contains("[]")) {
            let Some(value) = another(*kind, default) else { continue };
            let source = Source { name: "a.toml".into(), text: format!("{path} = \"{value}\""), format: Format::Toml };
            // Some need more than themselves; the rest is what this is about.
            let Ok(new) = read_layers(source, &Environment::default(), &Flags::default()) else { continue };
            let new = new.options.shard;
            let same_homes = shard::Options { homes: running.homes.clone(), ..new };
            let renewed = running.renewed_by(&same_homes);
            let reaches_shards = format!("{same_homes:?}") != format!("{:?}", base.options.shard);
            let follows = format!("{renewed:?}") != format!("{:?}", running.renewed_by(&base.options.shard));
            assert!(!follows || is_live(path), "{path} takes effect without a restart, and is not said to");
            assert!(!(reaches_shards && is_live(path)) || follows, "{path} is said to be live, and needs a restart");
            seen += usize::from(follows);
        }
        assert!(seen > 5, "{seen}");
    }
}
