//! Which engines a configuration asks for, and what each of them does.
//!
//! Tables that come to the same engine are one: `engine.type = "redis"` keeps publications and presence and carries
//! the words of nodes over one set of connections. Namespaces name theirs by `broker_name` and
//! `presence_manager_name`.

mod disk;
mod kept;
mod nats;
mod redis;
mod table;
mod url;

use super::check::namespace_scopes;
use super::document::Value;
use super::effective::ENGINE_LISTS;
use super::keys::find_similar;
use super::settings::Scope;
use super::source::{Problems, Span};
use crate::model::EngineIndex;

pub use disk::{DiskAck, DiskSettings};
pub use nats::{JetStream, NatsLogin, NatsSettings, NatsSubjects, RawSubjects};
pub use redis::{RedisLogin, RedisPlace, RedisSentinels, RedisSettings};
pub use table::ClientTls;
pub use url::masked;

use table::Table;

/// The engines of a node, and what they do where a namespace names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnginesOptions {
    /// Beside the memory of the shards, which has index 0: the first of these has index 1.
    pub started: Vec<EngineOptions>,
    pub broker: EngineIndex,
    pub presence_manager: EngineIndex,
    /// Carries the words of nodes to one another; [`EngineIndex::MEMORY`]: this node is alone.
    pub control: EngineIndex,
}

/// What metrics call the engine that carries the words of nodes.
pub const NODES: &str = "nodes";

/// One engine to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// The table that asks for it, or its own name: `engine`, `presence_manager`, `ticks`. No two have the same.
    pub name: String,
    pub settings: EngineSettings,
    pub duties: Duties,
}

/// What an engine is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    pub publications: bool,
    pub presence: bool,
    pub control: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineSettings {
    Disk(DiskSettings),
    Redis(Box<RedisSettings>),
    Nats(Box<NatsSettings>),
}

impl EngineSettings {
    /// As `type` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            EngineSettings::Disk(_) => "disk",
            EngineSettings::Redis(_) => "redis",
            EngineSettings::Nats(_) => "nats",
        }
    }

    /// Where it is, for people; without passwords.
    pub fn place(&self) -> String {
        match self {
            EngineSettings::Disk(settings) => settings.path.display().to_string(),
            EngineSettings::Redis(settings) => settings.place(),
            EngineSettings::Nats(settings) => settings.servers.join(", "),
        }
    }

    /// Without what is of other duties.
    fn only_for(mut self, duty: Duty) -> EngineSettings {
        match &mut self {
            EngineSettings::Nats(nats) if !matches!(duty, Duty::Publications) => nats.subjects = None,
            _ => {}
        }
        self
    }

    /// Takes over what `other` says of another duty of the same engine; `false` if it is another engine.
    fn absorb(&mut self, other: &EngineSettings) -> bool {
        match (self, other) {
            (EngineSettings::Disk(one), EngineSettings::Disk(other)) => one == other,
            (EngineSettings::Redis(one), EngineSettings::Redis(other)) => one == other,
            (EngineSettings::Nats(one), EngineSettings::Nats(other)) => one.absorb(other),
            _ => false,
        }
    }

    /// Whether other nodes may be at it too.
    fn is_shared(&self) -> bool {
        !matches!(self, EngineSettings::Disk(_))
    }
}

impl EnginesOptions {
    /// The engine at this index; `None`: memory.
    pub fn find(&self, index: EngineIndex) -> Option<&EngineOptions> {
        usize::from(index.0).checked_sub(1).and_then(|at| self.started.get(at))
    }

    /// Takes one engine more, unless it is there already.
    fn add(&mut self, name: &str, settings: Option<EngineSettings>, duty: Duty) -> EngineIndex {
        let Some(settings) = settings.map(|settings| settings.only_for(duty)) else { return EngineIndex::MEMORY };
        let at = self.started.iter_mut().position(|known| known.settings.absorb(&settings)).unwrap_or_else(|| {
            let is_taken = self.started.iter().any(|other| other.name == name) || name == NODES;
            let name = if is_taken { format!("{name}_{}", self.started.len() + 1) } else { name.into() };
            self.started.push(EngineOptions { name, settings, duties: Duties::default() });
            self.started.len() - 1
        });
        let duties = &mut self.started[at].duties;
        match duty {
            Duty::Publications => duties.publications = true,
            Duty::Presence => duties.presence = true,
            Duty::Control => duties.control = true,
        }
        // One that is too many is a problem by itself.
        EngineIndex(u8::try_from(at + 1).unwrap_or(u8::MAX))
    }
}

#[derive(Clone, Copy)]
enum Duty {
    Publications,
    Presence,
    Control,
}

/// The engines, and the names by which namespaces choose among them.
pub struct Engines {
    pub options: EnginesOptions,
    brokers: Names,
    presence_managers: Names,
}

/// One list of engines with names.
struct Names {
    list: &'static str,
    /// `None`: it is not enabled.
    known: Vec<(String, Option<EngineIndex>)>,
}

impl Engines {
    /// What the tables ask for; what is wrong with them is added to `problems`.
    pub fn read(root: &Scope<'_>, problems: &mut Problems<'_>) -> Engines {
        let mut options = EnginesOptions::default();
        let is_wanted = !root.flag("broker.enabled") || !root.flag("presence_manager.enabled");
        let kind = root.text("engine.type").filter(|_| is_wanted).unwrap_or_default();
        let engine = read(&Table::of_root(root, "engine"), &kind, problems);
        options.broker = part(root, "broker", engine.as_ref(), Duty::Publications, &mut options, problems);
        let engine = engine.filter(EngineSettings::is_shared);
        options.presence_manager =
            part(root, "presence_manager", engine.as_ref(), Duty::Presence, &mut options, problems);
        let [brokers, presence_managers] =
            [Duty::Publications, Duty::Presence].map(|duty| Names::read(root, duty, &mut options, problems));
        options.control = control(root, &mut options, problems);
        disk::check_paths(&options, problems);
        if options.started.len() > ENGINES_MAX {
            problems.add(None, format!("these are {} engines; a node has {ENGINES_MAX}", options.started.len()));
        }
        let mut engines = Engines { options, brokers, presence_managers };
        engines.note_what_is_kept(root);
        engines
    }

    /// The engine of a namespace's publications.
    pub fn broker_of(&self, scope: &Scope<'_>) -> EngineIndex {
        self.brokers.find(scope, "broker_name").unwrap_or(self.options.broker)
    }

    /// The engine of a namespace's presence.
    pub fn presence_manager_of(&self, scope: &Scope<'_>) -> EngineIndex {
        self.presence_managers.find(scope, "presence_manager_name").unwrap_or(self.options.presence_manager)
    }

    /// Whether every namespace names engines that there are, and that keep what it needs.
    pub fn check_namespaces(&self, root: &Scope<'_>, problems: &mut Problems<'_>) {
        self.check(&root.table("channel.without_namespace"), "channel.without_namespace", problems);
        for scope in namespace_scopes(root) {
            let owner = format!("namespace {:?}", scope.text("name").unwrap_or_default());
            self.check(&scope, &owner, problems);
        }
    }

    fn check(&self, scope: &Scope<'_>, owner: &str, problems: &mut Problems<'_>) {
        self.brokers.check(scope, "broker_name", owner, problems);
        self.presence_managers.check(scope, "presence_manager_name", owner, problems);
        let mut refuse = |key: &str, what: &str, index: EngineIndex, reason: &str, fix: &str| {
            let name = self.options.find(index).map_or("", |engine| &engine.name);
            let message = format!("{owner} has {what}, and its engine {name:?} {reason}: {fix}");
            problems.add(scope.span(key), message);
        };
        let (broker, presence_manager) = (self.broker_of(scope), self.presence_manager_of(scope));
        if scope.count("history_size") > 0
            && let Some(reason) = self.nats(broker).and_then(NatsSettings::why_no_history)
        {
            refuse("history_size", "history", broker, reason, "take another one by broker_name");
        }
        if (scope.flag("presence") || scope.flag("join_leave"))
            && let Some(nats) = self.nats(presence_manager)
            && nats.jetstream == JetStream::Off
        {
            let fix = "set nats.jetstream = \"auto\" there, or take another one by presence_manager_name";
            let key = if scope.flag("presence") { "presence" } else { "join_leave" };
            refuse(key, key, presence_manager, "is NATS with jetstream = \"off\"", fix);
        }
    }

    fn nats(&self, index: EngineIndex) -> Option<&NatsSettings> {
        match &self.options.find(index)?.settings {
            EngineSettings::Nats(settings) => Some(settings),
            _ => None,
        }
    }
}

/// The engine of `broker` or `presence_manager` if the table is enabled, or else that of `engine`.
fn part(
    root: &Scope<'_>,
    name: &'static str,
    engine: Option<&EngineSettings>,
    duty: Duty,
    options: &mut EnginesOptions,
    problems: &mut Problems<'_>,
) -> EngineIndex {
    if !root.flag(&format!("{name}.enabled")) {
        return options.add("engine", engine.cloned(), duty);
    }
    let kind = root.text(&format!("{name}.type")).unwrap_or_default();
    let settings = read(&Table::of_root(root, name), &kind, problems);
    options.add(name, settings, duty)
}

/// What `table` says of an engine of this kind; `None`: memory, or a problem.
fn read(table: &Table<'_>, kind: &str, problems: &mut Problems<'_>) -> Option<EngineSettings> {
    match kind {
        "disk" => disk::read(table, problems).map(EngineSettings::Disk),
        "redis" => Some(EngineSettings::Redis(Box::new(redis::read(table, problems)))),
        "nats" => Some(EngineSettings::Nats(Box::new(nats::read(table, problems)))),
        _ => None,
    }
}

/// That of `controller`, or the first one that other nodes may be at: publications', then presence's, then any.
fn control(root: &Scope<'_>, options: &mut EnginesOptions, problems: &mut Problems<'_>) -> EngineIndex {
    if root.flag("controller.enabled") {
        let Some(kind) = root.text("controller.type") else {
            problems
                .add(root.span("controller.enabled"), "controller.enabled is true, and there is no controller.type");
            return EngineIndex::MEMORY;
        };
        let settings = read(&Table::of_root(root, "controller"), &kind, problems);
        return options.add("controller", settings, Duty::Control);
    }
    let all = (1..).map(EngineIndex).take(options.started.len());
    let mut candidates = [options.broker, options.presence_manager].into_iter().chain(all);
    let is_shared = |index: &EngineIndex| options.find(*index).is_some_and(|engine| engine.settings.is_shared());
    let Some(chosen) = candidates.find(is_shared) else { return EngineIndex::MEMORY };
    options.started[usize::from(chosen.0) - 1].duties.control = true;
    chosen
}

impl Names {
    fn read(root: &Scope<'_>, duty: Duty, options: &mut EnginesOptions, problems: &mut Problems<'_>) -> Names {
        let (list, item) = match duty {
            Duty::Publications => ENGINE_LISTS[0],
            Duty::Presence | Duty::Control => ENGINE_LISTS[1],
        };
        let mut known: Vec<(String, Option<EngineIndex>)> = Vec::new();
        for scope in root.tables(list, item) {
            let Some(name) = scope.text("name") else {
                problems.add(scope.start(), format!("an item of {list} needs a name"));
                continue;
            };
            if known.iter().any(|(other, _)| *other == name) {
                problems.add(scope.span("name"), format!("there is another {name:?} in {list}"));
                continue;
            }
            let kind = scope.text("type").unwrap_or_default();
            let table = Table::of_item(&scope, list, &name);
            let index = scope.flag("enabled").then(|| options.add(&name, read(&table, &kind, problems), duty));
            known.push((name, index));
        }
        Names { list, known }
    }

    /// What the namespace's `key` names, if it names one.
    fn find(&self, scope: &Scope<'_>, key: &str) -> Option<EngineIndex> {
        let name = scope.text(key)?;
        self.known.iter().find(|(known, _)| *known == name)?.1
    }

    fn check(&self, scope: &Scope<'_>, key: &str, owner: &str, problems: &mut Problems<'_>) {
        let (Some(name), list) = (scope.text(key), self.list) else { return };
        match self.known.iter().find(|(known, _)| *known == name) {
            Some((_, Some(_))) => {}
            Some((_, None)) => {
                let message = format!("{owner} has {key} {name:?}, which is not enabled: set enabled = true in {list}");
                problems.add(scope.span(key), message);
            }
            None => problems.add(scope.span(key), self.unknown(&name, key, owner)),
        }
    }

    fn unknown(&self, name: &str, key: &str, owner: &str) -> String {
        let list = self.list;
        let nearest = find_similar(name, self.known.iter().map(|(known, _)| (known.clone(), known)));
        let names: Vec<String> = self.known.iter().map(|(known, _)| format!("{known:?}")).collect();
        let hint = match (nearest, names.is_empty()) {
            (Some(nearest), _) => format!("; did you mean {nearest:?}?"),
            (None, true) => format!(": {list} is empty"),
            (None, false) => format!(": {list} has {}", names.join(", ")),
        };
        format!("{owner} has {key} {name:?}, and {list} has none of that name{hint}")
    }
}

/// The key that says how long presence outlives its last update.
pub fn presence_ttl_key(root: &Scope<'_>) -> &'static str {
    const OURS: &str = "fanfare.presence_ttl";
    let is_redis = |key: &str| root.text(key).as_deref() == Some("redis");
    let of_redis = match root.flag("presence_manager.enabled") {
        true => is_redis("presence_manager.type").then_some("presence_manager.redis.presence_ttl"),
        false => is_redis("engine.type").then_some("engine.redis.presence_ttl"),
    };
    of_redis.filter(|key| root.is_set(key) && !root.is_set(OURS)).unwrap_or(OURS)
}

/// Settings that nothing reads: each with where it begins, and why.
pub fn unused(root: &Scope<'_>) -> Vec<(Span, String)> {
    let mut found = Vec::new();
    let parts = ["engine", "broker", "presence_manager", "controller"];
    let is_enabled = |part: &str| part == "engine" || root.flag(&format!("{part}.enabled"));
    for part in parts {
        let kind = root.text(&format!("{part}.type")).unwrap_or_default();
        for table in ["disk", "redis", "nats"] {
            let path = format!("{part}.{table}");
            let Some(entry) = root.find(&path).filter(|entry| says_something(&entry.value)) else { continue };
            if !is_enabled(part) {
                let reason = format!("{path} is not used: {part}.enabled is false");
                found.push((entry.key_span.clone(), reason));
            } else if kind != table {
                found.push((entry.key_span.clone(), format!("{path} is not used: {part}.type is {kind:?}")));
            }
        }
    }
    let hides = |part: &str| root.flag(&format!("{part}.enabled"));
    if root.text("engine.type").as_deref() != Some("memory") && hides("broker") && hides("presence_manager") {
        let message = "engine.type is not used: broker and presence_manager are enabled, and stand for it".to_string();
        found.extend(root.span("engine.type").map(|span| (span, message)));
    }
    found
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Table(table) => table.iter().any(|entry| says_something(&entry.value)),
        _ => true,
    }
}

/// Chosen: each has connections and tasks of its own, and nobody needs a dozen.
const ENGINES_MAX: usize = 16;
