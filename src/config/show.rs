//! `fanfare config show`: what holds, and what set it.

use std::fmt::Write;

use serde_json::{Map, json};

use super::document::Value;
use super::effective::Effective;
use super::layers::Configuration;
use super::source::Span;

/// As TOML, with what set each value behind it. Secrets are masked.
pub fn toml(configuration: &Configuration) -> String {
    let mut page = String::new();
    let mut open = String::new();
    for effective in sorted(configuration) {
        let (table, key) = effective.path.rsplit_once('.').unwrap_or(("", &effective.path));
        if table != open {
            let header = match table.split_once('[') {
                Some((list, _)) => format!("\n[[{list}]]"),
                None => format!("\n[{table}]"),
            };
            writeln!(page, "{header}").expect("a String takes everything");
            open = table.into();
        }
        let line = format!("{key} = {}", value(&effective));
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

/// Those without a table first: TOML wants it so. Then table by table.
fn sorted(configuration: &Configuration) -> Vec<Effective> {
    let mut all = configuration.effective();
    let mut tables: Vec<String> = Vec::new();
    let table =
        |effective: &Effective| effective.path.rsplit_once('.').map_or(String::new(), |(table, _)| table.to_string());
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

fn value(effective: &Effective) -> serde_json::Value {
    let is_empty = effective.text == Value::Text(String::new());
    if effective.is_secret && !is_empty {
        return json!("***");
    }
    match &effective.text {
        Value::Flag(flag) => json!(flag),
        Value::Whole(number) => json!(number),
        Value::List(items) => items.iter().map(|item| plain(&item.value)).collect(),
        other => plain(other),
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
