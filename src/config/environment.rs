//! Variables of the environment: a layer over the file.
//!
//! `FANFARE_<PATH>` sets a key, the path in capitals with single underscores as in Centrifugo;
//! `CENTRIFUGO_<PATH>` does the same, and ours wins. What underscores leave open the table of keys
//! settles: a name is compared with the names of all keys, never taken apart. A list of tables is
//! named by one variable (`FANFARE_CHANNEL_NAMESPACES="chat news"`, or a JSON array), and the options
//! of its items by others (`FANFARE_CHANNEL_NAMESPACES_CHAT_PRESENCE=true`), also of those that the
//! file names. `<NAME>_FILE` is the path of a file that holds a secret.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, LazyLock};

use super::document::{self, Entry, Item, Table, Value, find};
use super::keys::{KEYS, Key, Status, find_similar};
use super::source::{Problems, Span};

/// Ours first: it wins.
const PREFIXES: [&str; 2] = ["FANFARE_", "CENTRIFUGO_"];

/// The variables with our prefixes.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<Variable>);

#[derive(Clone, Debug)]
struct Variable {
    name: Arc<str>,
    /// The name behind the prefix.
    suffix: String,
    value: String,
    is_ours: bool,
}

/// What a variable sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A whole list of tables, by its path.
    List(&'static str),
    /// A key by its path.
    Key(&'static str),
    /// A key of an item: path of the list, place of the item, path below it.
    Item(&'static str, usize, &'static str),
}

impl Environment {
    pub fn of_process() -> Environment {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Environment::new(env::vars_os().map(|(name, value)| (lossy(name), lossy(value))))
    }

    /// Those that are empty count as not set: that is what is left of a variable that somebody
    /// forgot to fill in.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let at = PREFIXES.iter().position(|prefix| name.starts_with(prefix)).filter(|_| !value.is_empty())?;
            let suffix = name[PREFIXES[at].len()..].to_string();
            let is_elsewhere = at == 0 && OF_COMMANDS.contains(&suffix.as_str());
            (!is_elsewhere).then(|| Variable { name: name.as_str().into(), suffix, value, is_ours: at == 0 })
        });
        let mut variables: Vec<Variable> = ours.collect();
        variables.sort_by(|one, other| one.name.cmp(&other.name));
        Environment(variables)
    }

    /// Whether a variable sets a key, so that it is no dev mode.
    pub fn sets_keys(&self) -> bool {
        self.0.iter().any(|variable| resolve(&variable.suffix, &|_| Vec::new()).is_some())
    }

    /// Puts the variables over `table`. Unknown ones are problems if `is_strict`, otherwise warnings.
    pub fn lay_over(&self, table: &mut Table, is_strict: bool, problems: &mut Problems<'_>) {
        let mut set: BTreeMap<Target, &Variable> = BTreeMap::new();
        let lists = self.0.iter().filter_map(|variable| match resolve(&variable.suffix, &|_| Vec::new()) {
            Some((target @ Target::List(_), _)) => Some((target, variable)),
            _ => None,
        });
        for (target, variable) in lists {
            take(&mut set, target, variable, problems);
        }
        for (target, variable) in std::mem::take(&mut set) {
            if let Target::List(path) = target {
                set_list(table, path, variable, problems);
            }
        }
        for variable in &self.0 {
            match resolve(&variable.suffix, &|list| names(table, list)) {
                Some((Target::List(_), _)) => {}
                Some((target, _)) => take(&mut set, target, variable, problems),
                None if is_of_kubernetes(variable) => {}
                None => unknown(variable, &|list| names(table, list), is_strict, problems),
            }
        }
        for (target, variable) in set {
            set_key(table, &target, variable, problems);
        }
    }
}

/// One variable for each target: ours wins, and two of ours are a problem.
fn take<'a>(
    set: &mut BTreeMap<Target, &'a Variable>,
    target: Target,
    variable: &'a Variable,
    problems: &mut Problems<'_>,
) {
    let Some(other) = set.get(&target).copied() else {
        set.insert(target, variable);
        return;
    };
    if other.is_ours == variable.is_ours {
        let message = format!("{} and {} set the same key", other.name, variable.name);
        return problems.add(Some(variable.span()), message);
    }
    let (winner, loser) = if variable.is_ours { (variable, other) } else { (other, variable) };
    problems.warn(Some(loser.span()), format!("{} is set too, and wins", winner.name));
    set.insert(target, winner);
}

/// What a variable sets, and whether it is the path of a file; `None` when no key has that name.
/// `names_of` gives the names of a list's items.
fn resolve(suffix: &str, names_of: &dyn Fn(&str) -> Vec<String>) -> Option<(Target, bool)> {
    let exactly = |suffix: &str| resolve_exactly(suffix, names_of);
    exactly(suffix).map(|target| (target, false)).or_else(|| {
        let target = exactly(suffix.strip_suffix("_FILE")?)?;
        may_be_in_a_file(key_of(&target)?).then_some((target, true))
    })
}

fn resolve_exactly(suffix: &str, names_of: &dyn Fn(&str) -> Vec<String>) -> Option<Target> {
    if let Some(path) = NAMES.keys.get(suffix) {
        return Some(Target::Key(path));
    }
    let list = NAMES
        .lists
        .iter()
        .find(|list| suffix.strip_prefix(&list.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))?;
    let Some(rest) = suffix.strip_prefix(&list.name)?.strip_prefix('_') else {
        return Some(Target::List(list.path));
    };
    let items = names_of(list.path).into_iter().enumerate().filter_map(|(place, name)| {
        let option = rest.strip_prefix(&variable_name(&name))?.strip_prefix('_')?;
        Some((name.len(), Target::Item(list.path, place, list.options.get(option)?)))
    });
    // Of `chat` and `chat_news` the longer name is meant.
    items.max_by_key(|(length, _)| *length).map(|(_, target)| target)
}

fn key_of(target: &Target) -> Option<&'static Key> {
    match target {
        Target::List(_) => None,
        Target::Key(path) => KEYS.get(*path),
        Target::Item(list, _, option) => KEYS.get(&format!("{list}[].{option}")),
    }
}

fn may_be_in_a_file(key: &Key) -> bool {
    match key.status {
        Status::Supported(kind) => kind.is_secret(),
        Status::NotYet { .. } | Status::Otherwise(_) => true,
        Status::Needless => false,
    }
}

fn set_list(table: &mut Table, path: &str, variable: &Variable, problems: &mut Problems<'_>) {
    let span = variable.span();
    let value = match is_json_list(&variable.value) {
        true => match document::parse_json_value(&variable.value, &span, problems) {
            Some(value) => value,
            None => return,
        },
        false => Value::List(variable.value.split_whitespace().map(|name| named(name, &span)).collect()),
    };
    if document::find_path(table, path).is_some() {
        problems.warn(Some(span.clone()), format!("it stands for all of {path}, and the file's are passed over"));
    }
    document::set(table, path, value, &span);
}

/// An item that has a name and nothing else yet.
fn named(name: &str, span: &Span) -> Item {
    let name =
        Entry { key: "name".into(), key_span: span.clone(), span: span.clone(), value: Value::Text(name.into()) };
    Item { span: span.clone(), value: Value::Table(vec![name]) }
}

fn set_key(table: &mut Table, target: &Target, variable: &Variable, problems: &mut Problems<'_>) {
    let Some(key) = key_of(target) else { return };
    let is_file = resolve(&variable.suffix, &|list| names(table, list)).is_some_and(|(_, is_file)| is_file);
    let Some(value) = value(key, variable, is_file, problems) else { return };
    match target {
        Target::List(_) => {}
        Target::Key(path) => document::set(table, path, value, &variable.span()),
        Target::Item(list, place, option) => {
            if let Some(Item { value: Value::Table(item), .. }) = document::items_mut(table, list).get_mut(*place) {
                document::set(item, option, value, &variable.span());
            }
        }
    }
}

/// A list may be written as JSON, or with spaces between its texts, a table is JSON; all else is a text, which the
/// key's kind reads.
fn value(key: &Key, variable: &Variable, is_file: bool, problems: &mut Problems<'_>) -> Option<Value> {
    let is_list = match key.status {
        Status::Supported(kind) => kind.is_list(),
        _ => key.default == "[]",
    };
    let is_table = key.default == "{}";
    let span = variable.span();
    match key.status {
        Status::Supported(_) if is_file => read_secret(variable, problems).map(Value::Text),
        _ if is_table || (is_list && is_json_list(&variable.value)) => {
            document::parse_json_value(&variable.value, &span, problems)
        }
        _ if is_list => {
            let texts = variable.value.split_whitespace();
            Some(Value::List(texts.map(|text| Item { span: span.clone(), value: Value::Text(text.into()) }).collect()))
        }
        _ => Some(Value::Text(variable.value.clone())),
    }
}

/// The text of the file that the variable names, without the newline that editors end it with.
fn read_secret(variable: &Variable, problems: &mut Problems<'_>) -> Option<String> {
    let mut text = String::new();
    let file = File::open(&variable.value);
    match file.and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)) {
        Err(error) => problems.add(Some(variable.span()), format!("{}: {error}", variable.value)),
        Ok(_) if text.len() as u64 > SECRET_BYTES_MAX => {
            problems.add(Some(variable.span()), format!("{} is too large for a secret", variable.value));
        }
        Ok(_) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            return Some(line.strip_suffix('\r').unwrap_or(line).into());
        }
    }
    None
}

fn unknown(variable: &Variable, names_of: &dyn Fn(&str) -> Vec<String>, is_strict: bool, problems: &mut Problems<'_>) {
    let prefix = &variable.name[..variable.name.len() - variable.suffix.len()];
    let message = match find_nearest(&variable.suffix, names_of) {
        Some(nearest) => format!("no key has this name; did you mean {prefix}{nearest}?"),
        None => "no key has this name".into(),
    };
    match is_strict {
        true => problems.add(Some(variable.span()), message),
        false => problems.warn(Some(variable.span()), message),
    }
}

fn find_nearest(suffix: &str, names_of: &dyn Fn(&str) -> Vec<String>) -> Option<String> {
    let of_items = NAMES.lists.iter().flat_map(|list| {
        let named = names_of(list.path).into_iter().map(|name| format!("{}_{}", list.name, variable_name(&name)));
        let options = |item: String| list.options.keys().map(move |option| format!("{item}_{option}"));
        named.flat_map(options).chain([list.name.clone()])
    });
    find_similar(suffix, NAMES.keys.keys().cloned().chain(of_items).map(|name| (name.clone(), name)))
}

/// What Kubernetes tells every container about a service that has our name.
fn is_of_kubernetes(variable: &Variable) -> bool {
    let Variable { suffix, value, .. } = variable;
    let is_part = |part: &str| suffix.starts_with(part) || suffix.contains(&format!("_{part}"));
    let ends = ["_ADDR", "_PORT", "_PROTO"];
    is_part("SERVICE_HOST")
        || is_part("SERVICE_PORT")
        || (is_part("PORT") && (value.contains("://") || ends.iter().any(|end| suffix.ends_with(end))))
}

/// The names of a list's items, empty for those that have none.
fn names(table: &Table, path: &str) -> Vec<String> {
    let Some(Entry { value: Value::List(items), .. }) = document::find_path(table, path) else {
        return Vec::new();
    };
    let name = |item: &Item| match &item.value {
        Value::Table(table) => match find(table, "name").map(|entry| &entry.value) {
            Some(Value::Text(name)) => name.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    items.iter().map(name).collect()
}

fn is_json_list(value: &str) -> bool {
    value.trim_start().starts_with('[')
}

/// A path or a name as it stands in the name of a variable.
pub fn variable_name(path: &str) -> String {
    path.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

impl Variable {
    fn span(&self) -> Span {
        Span::Variable(Arc::clone(&self.name))
    }
}

/// Every name of a variable, without its prefix.
struct Names {
    /// Paths of keys.
    keys: BTreeMap<String, &'static str>,
    lists: Vec<List>,
}

/// A list of tables that have names.
struct List {
    path: &'static str,
    name: String,
    /// Paths below an item.
    options: BTreeMap<String, &'static str>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { keys: BTreeMap::new(), lists: Vec::new() };
    for path in KEYS.keys() {
        let Some((list, option)) = path.split_once("[].") else {
            names.keys.insert(variable_name(path), path);
            continue;
        };
        let place = names.lists.iter().position(|known| known.path == list).unwrap_or_else(|| {
            names.lists.push(List { path: list, name: variable_name(list), options: BTreeMap::new() });
            names.lists.len() - 1
        });
        names.lists[place].options.insert(variable_name(option), option);
    }
    names
});

/// Variables of ours that say something to commands and set no key.
const OF_COMMANDS: &[&str] = &["CONFIG"];

/// Chosen: a chain of certificates or a large key set fits, a device without an end does not.
const SECRET_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_have_one_name() {
        let is_in_a_list = |path: &&String| path.contains("[].");
        assert_eq!(NAMES.keys.len(), KEYS.keys().filter(|path| !is_in_a_list(path)).count());
        assert_eq!(
            NAMES.lists.iter().map(|list| list.options.len()).sum::<usize>(),
            KEYS.keys().filter(is_in_a_list).count()
        );
        for list in &NAMES.lists {
            assert!(list.options.contains_key("NAME"), "{} has items without a name", list.path);
            assert!(!NAMES.keys.contains_key(&list.name), "{}", list.path);
        }
    }

    #[test]
    fn no_key_is_the_file_of_another() {
        for (name, path) in &NAMES.keys {
            let of = name.strip_suffix("_FILE").and_then(|name| NAMES.keys.get(name));
            assert_eq!(of, None, "{path}");
        }
    }

    #[test]
    fn the_longer_name_is_meant() {
        let names_of = |_: &str| vec!["chat".to_string(), "chat-allow".into(), "b".into()];
        let check = |suffix: &str, expected: Option<(usize, &str)>| {
            let target = resolve(suffix, &names_of).map(|(target, _)| target);
            let expected = expected.map(|(place, option)| (place, option.to_string()));
            let found = target.map(|target| match target {
                Target::Item("channel.namespaces", place, option) => (place, option.to_string()),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected, "{suffix}");
        };
        check("CHANNEL_NAMESPACES_CHAT_PRESENCE", Some((0, "presence")));
        check("CHANNEL_NAMESPACES_CHAT_ALLOW_PRESENCE", Some((1, "presence")));
        check("CHANNEL_NAMESPACES_CHAT_ALLOW_RECOVERY", Some((0, "allow_recovery")));
        check("CHANNEL_NAMESPACES_D_PRESENCE", None);
        check("CHANNEL_NAMESPACES_CHAT", None);
    }
}
