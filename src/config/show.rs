//! `fanfare config show`: what holds, and what set it.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::{Map, json};

use super::document::Value;
use super::effective::Effective;
use super::engines::masked;
use super::keys::{Row, engine_settings};
use super::layers::Configuration;
use super::source::Span;
use super::values::Kind;

/// As TOML, with what set each value behind it. Secrets are masked.
pub fn toml(configuration: &Configuration) -> String {
    let mut page = String::new();
    let mut open = String::new();
    for effective in sorted(configuration) {
        let (table, key) = table_and_key(&effective.path);
        if table != open {
            let header = match table.split_once('[') {
                Some((list, _)) => format!("\n[[{list}]]"),
                None => format!("\n[{table}]"),
            };
            writeln!(page, "{header}").expect("a String takes everything");
            open = table.into();
        }
        let line = format!("{key} = {}", toml_value(&value(&effective)));
        writeln!(page, "{line:<48} # {}", source(configuration, &effective)).expect("a String takes everything");
    }
    page.trim_start().into()
}

/// As an object of paths, each with its value and what set it.
pub fn json(configuration: &Configuration) -> String {
    let settings: Map<String, serde_json::Value> = sorted(configuration)
        .iter()
        .map(|effective| {
            let setting = json!({ "value": value(effective), "source": source(configuration, effective) });
            (effective.path.clone(), setting)
        })
        .collect();
    format!("{:#}", serde_json::Value::Object(settings))
}

/// Those without a table first: TOML wants it so. Then table by table. Tables of engines' settings in which nothing
/// is set are left out.
fn sorted(configuration: &Configuration) -> Vec<Effective> {
    let mut all = configuration.effective();
    let used: HashSet<String> =
        all.iter().filter(|effective| effective.set_by.is_some()).filter_map(engine_table).collect();
    all.retain(|effective| engine_table(effective).is_none_or(|table| used.contains(&table)));
    let mut tables: Vec<String> = Vec::new();
    let table = |effective: &Effective| table_and_key(&effective.path).0.to_string();
    for effective in &all {
        let table = table(effective);
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    all.sort_by_key(|effective| {
        let table = table(effective);
        (!table.is_empty(), tables.iter().position(|known| *known == table))
    });
    all
}

/// An item of a list is one table, however deep its keys are.
fn table_and_key(path: &str) -> (&str, &str) {
    let of_item = path.find("].").map(|end| (&path[..=end], &path[end + 2..]));
    of_item.or(path.rsplit_once('.')).unwrap_or(("", path))
}

fn value(effective: &Effective) -> serde_json::Value {
    let is_empty = effective.text == Value::Text(String::new());
    match (&effective.text, effective.kind) {
        (_, Kind::Secret) if !is_empty => json!("***"),
        (Value::Flag(flag), _) => json!(flag),
        (Value::Whole(number), _) => json!(number),
        (Value::List(items), Kind::Urls) => items.iter().map(|item| without_password(&item.value)).collect(),
        (text, Kind::Urls) => without_password(text),
        (Value::List(items), _) => items.iter().map(|item| plain(&item.value)).collect(),
        (Value::Table(table), _) => table.iter().map(|entry| (entry.key.clone(), plain(&entry.value))).collect(),
        (other, _) => plain(other),
    }
}

/// The table of an engine's settings that a key stands in: `broker.redis` for `broker.redis.tls.enabled`.
fn engine_table(effective: &Effective) -> Option<String> {
    let path = &effective.path;
    let is_there = |(scope, settings): &(&str, &Row)| {
        let kind = settings.0.split('.').next().unwrap_or_default();
        let scope = scope.trim_end_matches("[]");
        let rest = path.strip_prefix(scope)?;
        let (item, below) = rest.split_once(&format!(".{kind}."))?;
        (item.is_empty() || item.starts_with('[')).then(|| path[..path.len() - below.len()].to_string())
    };
    engine_settings().find_map(|settings| is_there(&settings))
}

/// Addresses may name a password: before an "@", or as a parameter.
fn without_password(value: &Value) -> serde_json::Value {
    let Value::Text(text) = value else { return plain(value) };
    json!(masked(text))
}

/// A table within a line is written otherwise than in JSON.
fn toml_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{} = {value}", json!(key))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// Texts that say a number or a flag are shown as one.
fn plain(value: &Value) -> serde_json::Value {
    let Value::Text(text) = value else { return serde_json::Value::Null };
    match text.parse::<i64>() {
        Ok(number) => json!(number),
        Err(_) if matches!(text.as_str(), "true" | "false") => json!(text == "true"),
        Err(_) => json!(text),
    }
}

fn source(configuration: &Configuration, effective: &Effective) -> String {
    match &effective.set_by {
        None => "default".into(),
        Some(span @ Span::File(..)) => configuration.source.name_of(span),
        Some(Span::Variable(name)) => format!("environment {name}"),
        Some(Span::Flag(name)) => format!("flag {name}"),
    }
}
