//! Reading a document by the table of keys: first every key is checked, then values are asked for.

use std::time::Duration;

use super::document::{Entry, Table, Value, find_path};
use super::keys::{self, KEYS, Key, Status};
use super::source::{Problems, Span};
use super::values::{Setting, is_default};

/// A part of Centrifugo's file that is set to something else than its defaults, and that does
/// nothing here yet: a key, or a table with all keys in it.
pub struct Missing {
    pub path: String,
    /// Of the first such key.
    pub span: Span,
    pub restricts: bool,
}

/// Checks all keys below `path` against the table: unknown ones and wrong values are problems;
/// those that do nothing here yet are added to `missing`, each part once.
pub fn check(table: &Table, path: &str, problems: &mut Problems<'_>, missing: &mut Vec<Missing>) {
    for entry in table {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        match KEYS.get(&path) {
            Some(key) => check_value(entry, &path, key, problems, missing),
            None => check_tables(entry, &path, problems, missing),
        }
    }
}

/// Checks what is no key by itself, so it should be a table of keys or a list of such tables.
fn check_tables(entry: &Entry, path: &str, problems: &mut Problems<'_>, missing: &mut Vec<Missing>) {
    let (is_list, is_table) = (keys::is_list_of_tables(path), keys::is_table(path));
    match &entry.value {
        Value::Null if is_list || is_table => {}
        Value::Table(table) if is_table => check(table, path, problems, missing),
        Value::List(items) if is_list => {
            for item in items {
                match &item.value {
                    Value::Table(table) => check(table, &format!("{path}[]"), problems, missing),
                    value => {
                        let message = format!("an item of {path} is {}; it should be a table", value.describe(true));
                        problems.add(Some(item.span.clone()), message);
                    }
                }
            }
        }
        value if is_list || is_table => {
            let expected = if is_list { "a list of tables" } else { "a table" };
            let found = value.describe(true);
            problems.add(Some(entry.span.clone()), format!("{path} is {found}; it should be {expected}"));
        }
        _ => {
            let message = match keys::find_nearest(path) {
                Some(nearest) => format!("unknown key {path}; did you mean {nearest}?"),
                None => format!("unknown key {path}"),
            };
            problems.add(Some(entry.key_span.clone()), message);
        }
    }
}

fn check_value(entry: &Entry, path: &str, key: &Key, problems: &mut Problems<'_>, missing: &mut Vec<Missing>) {
    match key.status {
        Status::Supported(kind) => {
            if entry.value != Value::Null && kind.read(&entry.value).is_none() {
                let found = entry.value.describe(kind.is_secret());
                problems.add(Some(entry.span.clone()), format!("{path} is {found}; it should be {}", kind.describe()));
            }
        }
        Status::Needless => {}
        Status::NotYet { .. } | Status::Otherwise(_) if is_default(&entry.value, key.default) => {}
        Status::Otherwise(reason) => {
            problems.warn(Some(entry.key_span.clone()), format!("{path} does nothing here: {reason}"));
        }
        Status::NotYet { restricts } => {
            let path = keys::unused_part(path);
            match missing.iter_mut().find(|known| known.path == path) {
                Some(known) => known.restricts |= restricts,
                None => missing.push(Missing { path: path.into(), span: entry.key_span.clone(), restricts }),
            }
        }
    }
}

/// One table of the document with the path that the table of keys knows it by. Values that the
/// file does not set, or that [`check`] refused, are the defaults.
pub struct Scope<'a> {
    table: &'a [Entry],
    path: &'static str,
}

impl<'a> Scope<'a> {
    pub fn root(table: &'a Table) -> Scope<'a> {
        Scope { table, path: "" }
    }

    /// The table at `path`, which need not be there.
    pub fn table(&self, path: &'static str) -> Scope<'a> {
        match self.find(path).map(|entry| &entry.value) {
            Some(Value::Table(table)) => Scope { table, path },
            _ => Scope { table: &[], path },
        }
    }

    /// The tables of the list at `path`; `item_path` is that of its items.
    pub fn tables(&self, path: &str, item_path: &'static str) -> Vec<Scope<'a>> {
        let Some(Value::List(items)) = self.find(path).map(|entry| &entry.value) else {
            return Vec::new();
        };
        let tables = items.iter().filter_map(|item| match &item.value {
            Value::Table(table) => Some(Scope { table: table.as_slice(), path: item_path }),
            _ => None,
        });
        tables.collect()
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.setting(name) {
            Setting::Flag(flag) => flag,
            _ => panic!("{name} is no flag"),
        }
    }

    pub fn count(&self, name: &str) -> usize {
        match self.setting(name) {
            Setting::Count(count) => count as usize,
            _ => panic!("{name} is no count"),
        }
    }

    pub fn duration(&self, name: &str) -> Duration {
        match self.setting(name) {
            Setting::Duration(duration) => duration,
            _ => panic!("{name} is no duration"),
        }
    }

    /// `None` when it is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.setting(name) {
            Setting::Text(text) => (!text.is_empty()).then_some(text),
            _ => panic!("{name} is no text"),
        }
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.setting(name) {
            Setting::Texts(texts) => texts,
            _ => panic!("{name} is no list of texts"),
        }
    }

    pub fn pairs(&self, name: &str) -> Vec<(String, String)> {
        match self.setting(name) {
            Setting::Pairs(pairs) => pairs,
            _ => panic!("{name} is no table of texts"),
        }
    }

    /// Whether `name` is what it would be if nobody set it.
    pub fn is_default(&self, name: &str) -> bool {
        self.setting(name) == Scope { table: &[], path: self.path }.setting(name)
    }

    /// Whether `name` is set to something else than nothing, also where it does nothing here yet.
    pub fn is_set(&self, name: &str) -> bool {
        let empty = Value::Text(String::new());
        self.find(name).is_some_and(|entry| entry.value != empty && entry.value != Value::Null)
    }

    /// Where the value of `name` stands, if the file sets it.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.find(name).map(|entry| entry.span.clone())
    }

    /// Where the table begins: at its first key.
    pub fn start(&self) -> Option<Span> {
        self.table.first().map(|entry| entry.key_span.clone())
    }

    /// What the table of keys calls `name`.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    pub fn setting(&self, name: &str) -> Setting {
        let path = self.path_of(name);
        let Some(Key { default, status: Status::Supported(kind) }) = KEYS.get(&path) else {
            panic!("{path} is read, so it is a supported key");
        };
        let set = self.find(name).and_then(|entry| kind.read(&entry.value));
        set.or_else(|| kind.read(&Value::of_default(default))).expect("the table's defaults are of their kinds")
    }

    /// What sets `path`, if something does.
    pub fn find(&self, path: &str) -> Option<&'a Entry> {
        find_path(self.table, path)
    }
}
