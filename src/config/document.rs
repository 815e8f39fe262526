//! A configuration file as a tree in which every key and value knows its place.
//!
//! TOML, YAML and JSON come to the same tree, so all that follows is written once.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::source::{Format, Problems, Source, Span};
use super::yaml;

/// Keys with their values, in the order of the file.
pub type Table = Vec<Entry>;

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub span: Span,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON's null: as if the key were not there.
    Null,
    Flag(bool),
    Whole(i64),
    Text(String),
    /// Numbers with a fraction or beyond 64 bits, and TOML's dates: no option is one.
    Other(&'static str),
    List(Vec<Item>),
    Table(Table),
}

#[derive(Clone, Debug)]
pub struct Item {
    pub span: Span,
    pub value: Value,
}

/// Reads the tree. Broken syntax is added to `problems`, and the tree is empty then.
pub fn parse(source: &Source, problems: &mut Problems<'_>) -> Table {
    match source.format {
        Format::Toml => parse_toml(&source.text, problems),
        Format::Yaml => yaml::parse(&source.text, problems),
        Format::Json => parse_json(source, problems),
    }
}

fn parse_toml(text: &str, problems: &mut Problems<'_>) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return toml_table(table.into_inner());
    }
    let mut lines = Vec::new();
    for error in errors.into_iter().take(SYNTAX_ERRORS_MAX) {
        // What follows the first error of a line are often its consequences.
        let span = error.span().map(Span::of);
        let line = span.as_ref().map(|span| problems.place_of(span));
        if !lines.contains(&line) {
            lines.push(line);
            problems.add(span, error.message());
        }
    }
    Table::new()
}

fn toml_table(table: DeTable<'_>) -> Table {
    let mut entries: Table = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: Span::of(key.span()),
            key: key.into_inner().into_owned(),
            span: Span::of(value.span()),
            value: toml_value(value.into_inner()),
        })
        .collect();
    entries.sort_by(|one, other| one.key_span.cmp(&other.key_span));
    entries
}

fn toml_value(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or(Value::Other("a number beyond 64 bits"), Value::Whole),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| Item { span: Span::of(item.span()), value: toml_value(item.into_inner()) })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(toml_table(table)),
    }
}

fn parse_json(source: &Source, problems: &mut Problems<'_>) -> Table {
    let raw: &RawValue = match serde_json::from_str(&source.text) {
        Ok(raw) => raw,
        Err(error) => {
            let offset = offset_of(&source.text, error.line(), error.column());
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            problems.add(Some(Span::File(offset, offset)), message);
            return Table::new();
        }
    };
    let mut json = Json { text: &source.text, depth: 0, problems };
    match json.value(raw) {
        Value::Table(table) => table,
        _ => {
            let span = json.span_of(raw.get());
            json.problems.add(Some(span), "a configuration is an object: { \"key\": value }");
            Table::new()
        }
    }
}

/// serde_json counts columns in bytes, and the column is that of the last byte read.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let line_start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    line_start + column.saturating_sub(1)
}

/// serde_json tells no places, but the raw text that it lends lies inside the file's text: where
/// it begins is where the value stands.
struct Json<'a, 'p, 's> {
    text: &'a str,
    /// Lists and tables around what is read.
    depth: usize,
    problems: &'p mut Problems<'s>,
}

impl Json<'_, '_, '_> {
    fn span_of(&self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        Span::File(start, start + part.len())
    }

    /// The syntax of `raw` is known to be right; only nested values are left to read.
    fn value(&mut self, raw: &RawValue) -> Value {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if self.depth == DEPTH_MAX => {
                self.problems.add(Some(self.span_of(text)), "this is nested too deeply");
                Value::Null
            }
            Some(b'{') => self.inside(|json| json.table(text)),
            Some(b'[') => self.inside(|json| {
                let items: Vec<&RawValue> = serde_json::from_str(text).expect("the syntax was checked");
                let items = items.into_iter().map(|raw| Item { span: json.span_of(raw.get()), value: json.value(raw) });
                Value::List(items.collect())
            }),
            Some(b'"') => serde_json::from_str(text).map_or(Value::Other("a text with a broken escape"), Value::Text),
            Some(b't' | b'f') => Value::Flag(text == "true"),
            Some(b'n') => Value::Null,
            _ => match text.parse() {
                Ok(number) => Value::Whole(number),
                Err(_) => Value::Other("a number with a fraction or beyond 64 bits"),
            },
        }
    }

    fn inside(&mut self, read: impl FnOnce(&mut Self) -> Value) -> Value {
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn table(&mut self, text: &str) -> Value {
        let Ok(Pairs(pairs)) = serde_json::from_str(text) else {
            return Value::Other("a table with a broken key");
        };
        let mut entries = Table::new();
        for (raw_key, raw) in pairs {
            let key_span = self.span_of(raw_key.get());
            let Ok(key) = serde_json::from_str::<String>(raw_key.get()) else {
                return Value::Other("a table with a broken key");
            };
            if entries.iter().any(|entry| entry.key == key) {
                self.problems.add(Some(key_span.clone()), format!("the key {key} stands here twice"));
            }
            entries.push(Entry { key, key_span, span: self.span_of(raw.get()), value: self.value(raw) });
        }
        Value::Table(entries)
    }
}

/// The members of a JSON object in order, also those with the same key.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'de>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Value {
    /// The value of a default in the table of keys.
    pub fn of_default(default: &str) -> Value {
        match default {
            "[]" => Value::List(Vec::new()),
            "{}" => Value::Table(Table::new()),
            "\"\"" => Value::Text(String::new()),
            text => Value::Text(text.into()),
        }
    }

    /// What an error calls this value; a secret is not quoted.
    pub fn describe(&self, is_secret: bool) -> String {
        match self {
            Value::Null => "null".into(),
            Value::Flag(flag) => flag.to_string(),
            Value::Whole(_) if is_secret => "a number".into(),
            Value::Whole(number) => number.to_string(),
            Value::Text(_) if is_secret => "a text".into(),
            Value::Text(text) => format!("{text:?}"),
            Value::Other(what) => (*what).into(),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.value == other.value
    }
}

/// Chosen: nobody reads more of them, and each costs a look through the file for its line.
const SYNTAX_ERRORS_MAX: usize = 100;

/// Chosen: the table of keys has no more than 7 levels, and reading a level takes stack.
pub const DEPTH_MAX: usize = 32;

/// The value of a text of JSON that one variable holds: all of it has that one place.
pub fn parse_json_value(text: &str, place: &Span, problems: &mut Problems<'_>) -> Option<Value> {
    let raw: &RawValue = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            problems.add(Some(place.clone()), format!("this is no JSON: {error}"));
            return None;
        }
    };
    let source = Source { name: String::new(), text: text.into(), format: Format::Json };
    let mut inner = Problems::new(&source);
    let mut value = Json { text, depth: 0, problems: &mut inner }.value(raw);
    problems.take_over(inner, place);
    move_to(&mut value, place);
    Some(value)
}

fn move_to(value: &mut Value, place: &Span) {
    match value {
        Value::List(items) => items.iter_mut().for_each(|item| {
            item.span = place.clone();
            move_to(&mut item.value, place);
        }),
        Value::Table(table) => table.iter_mut().for_each(|entry| {
            (entry.key_span, entry.span) = (place.clone(), place.clone());
            move_to(&mut entry.value, place);
        }),
        _ => {}
    }
}

/// Puts `value` at `path`, over what is there; tables on the way begin to exist. Where something
/// else than a table is in the way nothing is changed: that is a problem by itself.
pub fn set(table: &mut Table, path: &str, value: Value, place: &Span) {
    let (key, below) = path.split_once('.').map_or((path, None), |(key, below)| (key, Some(below)));
    let Some(below) = below else {
        table.retain(|entry| entry.key != key);
        table.push(Entry { key: key.into(), key_span: place.clone(), span: place.clone(), value });
        return;
    };
    let at = table.iter().rposition(|entry| entry.key == key).unwrap_or_else(|| {
        let (key_span, span) = (place.clone(), place.clone());
        table.push(Entry { key: key.into(), key_span, span, value: Value::Null });
        table.len() - 1
    });
    if table[at].value == Value::Null {
        table[at].value = Value::Table(Table::new());
    }
    if let Value::Table(inner) = &mut table[at].value {
        set(inner, below, value, place);
    }
}

/// The items of the list at `path`, none if there is no list.
pub fn items_mut<'a>(table: &'a mut Table, path: &str) -> &'a mut [Item] {
    let (key, below) = path.split_once('.').map_or((path, None), |(key, below)| (key, Some(below)));
    let entry = table.iter_mut().rev().find(|entry| entry.key == key).map(|entry| &mut entry.value);
    match (entry, below) {
        (Some(Value::Table(inner)), Some(below)) => items_mut(inner, below),
        (Some(Value::List(items)), None) => items,
        _ => &mut [],
    }
}

/// The entry at `path`, through tables.
pub fn find_path<'a>(mut table: &'a [Entry], path: &str) -> Option<&'a Entry> {
    let mut names = path.split('.').peekable();
    loop {
        let entry = find(table, names.next()?)?;
        match &entry.value {
            _ if names.peek().is_none() => return Some(entry),
            Value::Table(below) => table = below,
            _ => return None,
        }
    }
}

/// The entry of `key`; the last one if there are several.
pub fn find<'a>(table: &'a [Entry], key: &str) -> Option<&'a Entry> {
    table.iter().rev().find(|entry| entry.key == key)
}
