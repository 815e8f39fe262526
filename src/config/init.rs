//! `fanfare config init`: a file to begin with, written from the table of keys.
//!
//! Lines of words begin with `# `, keys that are commented out with `#` alone, so that an editor's
//! search finds either.

use std::fmt::Write;

use super::keys::{CHANNEL_OPTIONS, CHANNEL_SCOPES, engine_settings, supported};
use super::source::Format;
use super::values::Kind;

/// Every key with its default, commented out; those of [`SECRETS`] are set to fresh ones.
///
/// JSON has no comments: there it is the secrets alone.
pub fn text(format: Format) -> String {
    match format {
        Format::Toml => commented(HEAD, &|file, table| writeln!(file, "\n[{table}]"), &|key| format!("{key} = "), ""),
        Format::Yaml => yaml(),
        Format::Json => {
            let [token, api] = SECRETS.map(|_| fresh_secret());
            let file = serde_json::json!({
                "client": { "token": { "hmac_secret_key": token } },
                "http_api": { "key": api },
            });
            format!("{file:#}\n")
        }
    }
}

type Row = (String, Kind, &'static str, &'static str);

/// Tables in the order of the reference, those of one section together, each with its keys.
fn tables() -> Vec<(String, Vec<Row>)> {
    let mut tables: Vec<(String, Vec<Row>)> = Vec::new();
    let mut add = |table: &str, row: Row| {
        if let Some((_, rows)) = tables.iter_mut().find(|(known, _)| known == table) {
            return rows.push(row);
        }
        let section = |path: &str| path.split('.').next().unwrap_or_default().to_string();
        // Behind the last table of its section, so that no table is opened twice.
        let behind = tables.iter().rposition(|(known, _)| section(known) == section(table));
        tables.insert(behind.map_or(tables.len(), |at| at + 1), (table.into(), vec![row]));
    };
    for &(path, kind, default, meaning) in supported().filter(|(path, ..)| !path.contains("[]")) {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        add(table, (key.into(), kind, default, meaning));
    }
    for &(key, kind, default, meaning) in CHANNEL_OPTIONS {
        add(CHANNEL_SCOPES[0], (key.into(), kind, default, meaning));
    }
    // The other tables of engines take the same.
    for (scope, &(name, kind, default, meaning)) in engine_settings().filter(|(scope, _)| *scope == "engine") {
        let path = format!("{scope}.{name}");
        let (table, key) = path.rsplit_once('.').unwrap_or(("", &path));
        add(table, (key.into(), kind, default, meaning));
    }
    // What stands in no table comes before all tables.
    tables.sort_by_key(|(table, _)| !table.is_empty());
    tables
}

fn commented(
    head: &str,
    open: &dyn Fn(&mut String, &str) -> std::fmt::Result,
    name: &dyn Fn(&str) -> String,
    indent: &str,
) -> String {
    let mut file = head.to_string();
    for (table, rows) in tables() {
        if !table.is_empty() {
            open(&mut file, &table).expect("a String takes everything");
        }
        write_rows(&mut file, &table, &rows, name, indent);
    }
    file + TOML_TAIL
}

fn write_rows(file: &mut String, table: &str, rows: &[Row], name: &dyn Fn(&str) -> String, indent: &str) {
    for (key, kind, default, meaning) in rows {
        let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
        let line = match SECRETS.contains(&path.as_str()) {
            true => format!("{}\"{}\"", name(key), fresh_secret()),
            false => format!("#{}{}", name(key), literal(*kind, default)),
        };
        writeln!(file, "{indent}# {meaning}\n{indent}{line}").expect("a String takes everything");
    }
}

/// The same, with tables inside of one another.
fn yaml() -> String {
    let mut file = HEAD.to_string();
    let mut open: Vec<String> = Vec::new();
    for (table, rows) in tables() {
        let parts: Vec<String> = table.split('.').filter(|part| !part.is_empty()).map(str::to_string).collect();
        let common = open.iter().zip(&parts).take_while(|(one, other)| one == other).count();
        for (depth, part) in parts.iter().enumerate().skip(common) {
            let gap = if depth == 0 { "\n" } else { "" };
            writeln!(file, "{gap}{}{part}:", "  ".repeat(depth)).expect("a String takes everything");
        }
        write_rows(&mut file, &table, &rows, &|key| format!("{key}: "), &"  ".repeat(parts.len()));
        open = parts;
    }
    file + YAML_TAIL
}

/// A default as both formats write it.
fn literal(kind: Kind, default: &str) -> String {
    let is_bare = matches!(kind, Kind::Flag | Kind::Count { .. } | Kind::Port { .. });
    if is_bare || default.starts_with(['"', '[', '{']) { default.into() } else { format!("\"{default}\"") }
}

/// 244 random bits of the operating system's generator.
fn fresh_secret() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}

/// Without these nobody gets in.
const SECRETS: [&str; 2] = ["client.token.hmac_secret_key", "http_api.key"];

const HEAD: &str = "\
# Configuration of Fanfare, with Centrifugo's keys: what is commented out is the default.
# `fanfare config check -c FILE` says what is wrong with it. This file holds secrets: keep it to yourself.
";

const TOML_TAIL: &str = "
# Channels whose names begin with \"chat:\", with options as above.
#[[channel.namespaces]]
#name = \"chat\"
";

/// `channel` is the table that is open last but for those without a namespace of channels.
const YAML_TAIL: &str = "
# In `channel`, for channels whose names begin with \"chat:\", with options as above:
#   namespaces:
#   - name: \"chat\"
";
