//! `fanfare config schema`: the table of keys as a JSON Schema, for editors and pipelines.

use serde_json::{Map, Value, json};

use super::keys::{CHANNEL_OPTIONS, CHANNEL_SCOPES, KEYS, Row, Status, engine_settings, supported};
use super::values::Kind;

/// Draft 2020-12. It knows single keys; how they must relate only `config check` says.
pub fn json() -> String {
    let mut root = table();
    for (path, key) in KEYS.iter() {
        let schema = match key.status {
            Status::Supported(kind) => {
                let mut schema = of_kind(kind);
                schema["description"] = json!(meaning(path));
                schema
            }
            Status::Needless => json!({ "description": "Has no counterpart here, and nothing is missed." }),
            Status::Otherwise(reason) => json!({ "description": format!("Does nothing here: {reason}.") }),
            Status::NotYet { .. } => json!({ "description": "Does nothing here yet." }),
        };
        insert(&mut root, path, schema);
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Configuration of Fanfare");
    format!("{root:#}")
}

fn table() -> Value {
    json!({ "type": ["object", "null"], "properties": {}, "additionalProperties": false })
}

fn insert(parent: &mut Value, path: &str, schema: Value) {
    let (name, below) = path.split_once('.').map_or((path, None), |(name, below)| (name, Some(below)));
    let (name, is_list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
    let properties: &mut Map<String, Value> = parent["properties"].as_object_mut().expect("a table has properties");
    let Some(below) = below else {
        properties.insert(name.into(), schema);
        return;
    };
    let list = || json!({ "type": ["array", "null"], "items": table() });
    let child = properties.entry(name).or_insert_with(|| if is_list { list() } else { table() });
    insert(if is_list { &mut child["items"] } else { child }, below, schema);
}

fn meaning(path: &str) -> &'static str {
    let of_channel = |scope: &&str| path.strip_prefix(*scope)?.strip_prefix('.');
    let row = supported().find(|(known, ..)| *known == path).or_else(|| {
        let name = CHANNEL_SCOPES.iter().find_map(of_channel)?;
        CHANNEL_OPTIONS.iter().find(|(known, ..)| *known == name)
    });
    let of_engine = |(scope, (name, ..)): &(&str, &Row)| {
        path.strip_prefix(*scope).and_then(|below| below.strip_prefix('.')).is_some_and(|below| below == *name)
    };
    let row = row.or_else(|| engine_settings().find(of_engine).map(|(_, row)| row));
    row.map_or("", |(_, _, _, meaning)| meaning)
}

/// Numbers and flags may be texts, and one text a list of it, as Centrifugo reads them.
fn of_kind(kind: Kind) -> Value {
    let count = |min: u64, max: u64| {
        vec![
            json!({ "type": "integer", "minimum": min, "maximum": max }),
            json!({ "type": "string", "pattern": "^[0-9]+$" }),
        ]
    };
    let texts = |item: Value| json!({ "anyOf": [item, { "const": "" }, { "type": "array", "items": item }] });
    let duration = json!({ "type": "string", "pattern": DURATION });
    match kind {
        Kind::Flag => json!({ "anyOf": [{ "type": "boolean" }, { "enum": FLAGS }] }),
        Kind::Count { min, max } => json!({ "anyOf": count(min, max) }),
        Kind::CountOr { names, min, max } => {
            let mut any = count(min, max);
            any.push(json!({ "enum": names }));
            json!({ "anyOf": any })
        }
        Kind::Duration { .. } => json!({ "anyOf": [{ "const": 0 }, duration] }),
        Kind::DurationOr { names, .. } => json!({ "anyOf": [{ "enum": names }, duration] }),
        Kind::OneOf(names) => json!({ "enum": names }),
        Kind::SomeOf(names) => texts(json!({ "enum": names })),
        Kind::Texts | Kind::Urls => texts(json!({ "type": "string" })),
        Kind::Pairs => json!({ "type": ["object", "null"], "additionalProperties": { "type": "string" } }),
        Kind::Port { .. } => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 65_535 }, { "type": "string", "pattern": "^[0-9]*$" },
        ] }),
        Kind::Path => json!({ "type": "string", "pattern": "^/" }),
        Kind::Text | Kind::Secret | Kind::Address => json!({ "type": "string" }),
    }
}

const FLAGS: [&str; 12] = ["true", "false", "True", "False", "TRUE", "FALSE", "t", "f", "T", "F", "1", "0"];

const DURATION: &str =
    "^(0|\\+?([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$";
