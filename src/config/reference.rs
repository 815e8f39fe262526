//! `docs/configuration.md`, written from the table of keys.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::effective::{LIVE_KEYS, LIVE_TABLES};
use super::environment::variable_name;
use super::keys::{
    CHANNEL_OPTIONS, CHANNEL_SCOPES, ENGINE_SETTINGS, EngineSettings, KEYS, Key, Status, supported, unused_part,
};
use super::values::Kind;

/// The whole page.
pub fn markdown() -> String {
    let mut page = String::from(HEAD).replace(LIVE, &live());
    let mut section = "";
    for &(path, kind, default, meaning) in supported() {
        let (name, _) = path.split_once('.').unwrap_or((path, ""));
        if name != section {
            section = name;
            head(&mut page, &format!("`{}`", name.trim_end_matches("[]")));
        }
        row(&mut page, path, &in_environment(path), kind, default, meaning);
    }
    head(&mut page, "Options of channels");
    for &(name, kind, default, meaning) in CHANNEL_OPTIONS {
        row(&mut page, name, &format!("..._{}", variable_name(name)), kind, default, meaning);
    }
    write!(page, "\n{AFTER_CHANNEL_OPTIONS}").expect("a String takes everything");
    write!(page, "\n{ENGINES}").expect("a String takes everything");
    for settings in ENGINE_SETTINGS {
        engine(&mut page, settings);
    }
    write!(page, "\n{NOT_YET}").expect("a String takes everything");
    not_yet(&mut page);
    page
}

/// The settings of one kind of engine, by their paths in the first table that takes them.
fn engine(page: &mut String, settings: &EngineSettings) {
    head(page, settings.title);
    let first = settings.scopes[0];
    for &(name, kind, default, meaning) in settings.rows() {
        let path = format!("{first}.{name}");
        row(page, &path, &in_environment(&path), kind, default, meaning);
    }
    let others: Vec<String> =
        settings.scopes[1..].iter().map(|scope| format!("`{}`", scope.trim_end_matches("[]"))).collect();
    writeln!(page, "\nThe same in {}.", others.join(", ")).expect("a String takes everything");
}

/// The keys that a reload changes, as a sentence lists them.
fn live() -> String {
    let tables = LIVE_TABLES.iter().map(|table| format!("`{table}*`"));
    let keys = LIVE_KEYS.iter().filter(|key| KEYS.get(**key).is_some_and(Key::is_supported));
    tables.chain(keys.map(|key| format!("`{key}`"))).collect::<Vec<_>>().join(", ")
}

fn head(page: &mut String, title: &str) {
    let table = "| Key | Value | Default | Meaning | Variable |\n|---|---|---|---|---|";
    writeln!(page, "\n## {title}\n\n{table}").expect("a String takes everything");
}

fn row(page: &mut String, path: &str, variable: &str, kind: Kind, default: &str, meaning: &str) {
    let kind = kind_name(kind);
    writeln!(page, "| `{path}` | {kind} | `{default}` | {meaning} | `{variable}` |")
        .expect("a String takes everything");
}

/// The variable that sets the key at `path`.
fn in_environment(path: &str) -> String {
    match path.split_once("[].") {
        Some((list, option)) => format!("FANFARE_{}_<NAME>_{}", variable_name(list), variable_name(option)),
        None => format!("FANFARE_{}", variable_name(path)),
    }
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Flag => "true, false".into(),
        Kind::Count { min, max } => format!("{min} to {max}"),
        Kind::CountOr { names, min, max } => {
            let names: String = names.iter().map(|name| format!("`{name}`, ")).collect();
            format!("{names}{min} to {max}")
        }
        Kind::Duration { min: "0s" } => "duration".into(),
        Kind::Duration { min } => format!("duration from `{min}`"),
        Kind::DurationOr { names, min, max } => {
            let names: String = names.iter().map(|name| format!("`{name}`, ")).collect();
            format!("{names}duration from `{min}` to `{max}`")
        }
        Kind::Text | Kind::Secret => "text".into(),
        Kind::OneOf(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        Kind::SomeOf(names) => {
            format!("list of {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
        Kind::Texts => "list of texts".into(),
        Kind::Urls => "address, or a list".into(),
        Kind::Pairs => "table of texts".into(),
        Kind::Address => "IP address".into(),
        Kind::Port { .. } => "port".into(),
        Kind::Path => "path".into(),
    }
}

/// A line for whole sections of Centrifugo's file, and one for each section of which parts work.
fn not_yet(page: &mut String) {
    let mut sections: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for (path, key) in KEYS.iter() {
        let Status::NotYet { restricts } = key.status else { continue };
        let part = unused_part(path);
        let below = |scope: &&'static str| Some((*scope, part.strip_prefix(*scope)?.strip_prefix('.')?));
        let (section, name) = CHANNEL_SCOPES.iter().find_map(below).or(part.split_once('.')).unwrap_or(("", part));
        *sections.entry(section).or_default().entry(name).or_default() |= restricts;
    }
    // Both scopes have the same options; the second stands for both.
    sections.remove(CHANNEL_SCOPES[0]);
    for (section, names) in sections {
        let names = names.into_iter().map(|(name, restricts)| format!("`{}{name}`", if restricts { "!" } else { "" }));
        let names = names.collect::<Vec<_>>().join(", ");
        let line = if section.is_empty() { format!("- {names}") } else { format!("- `{section}`: {names}") };
        writeln!(page, "{line}").expect("a String takes everything");
    }
}

/// Stands in [`HEAD`] for the keys that are live.
const LIVE: &str = "LIVE";

const HEAD: &str = "\
# Configuration

<!-- Written from the table in src/config/keys.rs: `UPDATE=1 cargo test --test config` writes it again. -->

`fanfare -c FILE` reads one file, TOML (`.toml`), YAML (`.yaml`, `.yml`) or JSON (`.json`), with the
structure and the keys of Centrifugo v6. `fanfare --help` lists the flags. Flags win over the environment, and the
environment over the file. Without a file, and without a variable that sets a key, the hub runs in dev
mode, as if it were given [`src/config/dev.toml`](../src/config/dev.toml).

- A key that neither Fanfare nor Centrifugo knows is an error, with its line and the nearest known key.
- A key of Centrifugo that does nothing here yet is named in one warning at start when the file sets it
  to something else than its default; `--strict` makes it an error. They are listed at the end.
- One that is done otherwise here says so in a warning of its own: `redis.history_use_lists` (history is in streams),
  `client_ca_pem` of Redis (a client checks servers). `redis.force_resp2` is how it is spoken anyway.
- `client.concurrency`, `usage_stats.disabled` and the sizes of `websocket` buffers are taken at any value, and change
  nothing: connections never wait for one another's commands, and one connection's publishes to the same channel run
  side by side whatever the number.
- `client.channel_position_max_time_lag` too: a position check that finds a broker's pushes behind its stream sends the
  room what the stream has, instead of sending its subscribers away.
- Durations have units: `\"25s\"`, `\"1m30s\"`, `\"720h\"`, `\"300ms\"`.
- `client.insecure`, `http_api.insecure` and dev mode are refused at addresses that other machines can
  reach, unless `--allow-insecure` is given.
- `/livez` and `/readyz` are always served. With `http_server.internal_port`, the API, metrics, health
  and the page are served at that port only; `http_api.external` brings the API back.

## Commands

- `fanfare config init [--format toml|yaml|json] [FILE]` writes a file to begin with: every key with its default,
  commented out, and fresh secrets. It does not overwrite.
- `fanfare config check [-c FILE] [--strict] [--connect]` reads the configuration as the hub would and says all that is wrong, with
  line, column and the nearest known key, and what is odd. It ends with 0, or with 1 if something is wrong, with
  `--strict` also if something is odd. `--connect` connects to the engines too, and ends with 1 if one can't be used.
- `fanfare config show [-c FILE] [--output json]` shows every value that holds, with what set it: the default, a line
  of the file, a variable, a flag. Secrets are masked.
- `fanfare config schema` prints the JSON Schema, for editors and pipelines.
- `fanfare reload [-c FILE] [--pid PID]` checks the file and sends SIGHUP to the hub that `pid_file` or `--pid` names.

## The environment

Each key has a variable: `FANFARE_` and its path in capitals, with single underscores, as in Centrifugo.
`CENTRIFUGO_` and the path is read too; where both are set ours wins, and a warning says so. An empty
variable counts as not set.

- Lists of texts have spaces between them, or are JSON: `FANFARE_CLIENT_ALLOWED_ORIGINS=\"https://a.example
  https://b.example\"`.
- Lists of tables are named by one variable and filled by others, also those that the file names:
  `FANFARE_CHANNEL_NAMESPACES=\"chat news\"` and `FANFARE_CHANNEL_NAMESPACES_CHAT_PRESENCE=true`. In the
  variable's name all but letters and digits becomes `_`. A JSON array does it in one:
  `FANFARE_CHANNEL_NAMESPACES='[{\"name\": \"chat\", \"presence\": true}]'`. Either stands for the file's whole list.
- `<VARIABLE>_FILE` is the path of a file with a secret, without the newline at its end:
  `FANFARE_HTTP_API_KEY_FILE=/run/secrets/api_key`.
- A variable that no key has is named in a warning, with the nearest name; `--strict` makes it an error.
  Those that Kubernetes sets for a service called `fanfare` are passed over.
- `FANFARE_CONFIG` stands for `-c`.

## Reload

At SIGHUP file, environment and flags are read again. All or nothing: where anything is wrong the reason is logged,
`fanfare_config_last_reload_success` is 0, and the running configuration stays. Otherwise the log says which keys
changed, and which wait for a restart. Connections stay. A running hub follows LIVE (but not
`channel.max_length`); the others need a restart. Certificates are read again too ([tls.md](tls.md)); dev mode has nothing to read.

What is asked each time is new from the next time on: permissions, limits, what history keeps, which tokens are
good. What a subscription was granted when it began it keeps until it ends: position, recovery, deltas, presence, joins
and leaves. How publications are given (`flush_*`, `slow_consumer_policy`, `conflate_tag`, `max_rate`) changes for
subscribers that are there already, in the turns after; only where they may read deltas, and publications may be
dropped from now on, the channel stays as it is until its last subscriber of a shard has left. Who is subscribed to a
namespace that is gone stays so and is given nothing more. The shards follow one after the other, within milliseconds.

## The file

In TOML a key such as `client.ping_interval` stands in its table:

```toml
[client]
ping_interval = \"25s\"
```
";

const AFTER_CHANNEL_OPTIONS: &str = "\
In the environment `...` is `FANFARE_CHANNEL_WITHOUT_NAMESPACE`, or `FANFARE_CHANNEL_NAMESPACES_<NAME>`.
They stand in `channel.without_namespace`, for channels without a namespace, and in each of
`channel.namespaces`, for channels whose name begins with the namespace's name and `:`.

```toml
[channel.without_namespace]
allow_subscribe_for_client = true

[[channel.namespaces]]
name = \"chat\"
history_size = 100
history_ttl = \"10m\"
```
";

const ENGINES: &str = "\
## Engines

`engine.type` says which engine does everything; `broker`, `presence_manager` and `controller` put a part on another
one, and the lists `brokers` and `presence_managers` put namespaces there. Tables with the same settings are one engine.
A table is read only where its `type` says so. What each engine promises: [docs/engines.md](engines.md). A running hub
keeps the engines it was started with: a reload that changes them is refused.

```toml
[engine]
type = \"redis\"
redis.address = \"redis://10.0.0.5:6379\"

[[brokers]]
name = \"ticks\"
enabled = true
type = \"nats\"
nats.url = \"nats://10.0.0.6:4222\"

[[channel.namespaces]]
name = \"rates\"
broker_name = \"ticks\"
```
";

const NOT_YET: &str = "\
## Keys of Centrifugo that do nothing here yet

`!` marks those that narrow what clients may do, or protect them: without them this hub is more open
than the file says, and the warning at start says which they are.

";
