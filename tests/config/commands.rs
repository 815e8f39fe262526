//! `fanfare config` and `fanfare reload`: the binary's own words and exit codes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fanfare::config::{Flags, InitFormat, initial_text, schema_json};
use serde_json::Value;

use super::{options, read_under};

fn fanfare(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(line.split_whitespace()).current_dir(folder).env("FANFARE_CLIENT_CHANNEL_LIMIT", "5");
    command.output().expect("the binary runs")
}

#[track_caller]
fn check(folder: &Path, line: &str, code: i32, said: &str) -> String {
    let output = fanfare(folder, line);
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text")).concat();
    assert_eq!(output.status.code(), Some(code), "{line}: {text}");
    assert!(text.contains(said), "{line}: {text}");
    text
}

#[test]
fn what_init_writes_is_right_in_every_format() {
    for (format, name) in [(InitFormat::Toml, "a.toml"), (InitFormat::Yaml, "a.yaml"), (InitFormat::Json, "a.json")] {
        let text = initial_text(format.format());
        let made = options(name, &text);
        assert!(made.api.key.is_some_and(|key| key.reveal().len() >= 32), "{text}");
        assert_ne!(text, initial_text(format.format()), "secrets are fresh");
    }
}

/// Lines of words begin with "# ", keys that are commented out with "#" alone.
#[test]
fn what_init_comments_out_is_the_default() {
    for (format, name) in [(InitFormat::Toml, "a.toml"), (InitFormat::Yaml, "a.yaml")] {
        let text = initial_text(format.format());
        let open = text.lines().filter(|line| !line.trim_start().starts_with("# ") && !line.contains("namespaces]]"));
        let open: Vec<String> =
            open.filter(|line| !line.starts_with("#name = \"chat\"")).map(|line| line.replacen('#', "", 1)).collect();
        let keys = open.iter().filter(|line| line.contains(['=', ':'])).count();
        assert!(keys > 80, "{keys} keys");
        let (of_comments, of_file) = (options(name, &open.join("\n")), options(name, &text));
        assert_eq!(of_comments.shard.namespaces, of_file.shard.namespaces);
        assert_eq!(of_comments.http, of_file.http);
        assert_eq!(of_comments.shard.channels_max, of_file.shard.channels_max);
    }
}

#[test]
fn init_refuses_to_overwrite() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    check(folder.path(), "config init", 0, "wrote fanfare.toml");
    let before = fs::read_to_string(folder.path().join("fanfare.toml")).expect("it is there");
    check(folder.path(), "config init", 1, "fanfare.toml is there already");
    assert_eq!(fs::read_to_string(folder.path().join("fanfare.toml")).expect("it is there"), before);
    check(folder.path(), "config init --format yaml", 0, "wrote fanfare.yaml");
    check(folder.path(), "config init --format ini", 2, "invalid value");
    check(folder.path(), "config check -c fanfare.yaml --strict", 0, "fanfare.yaml is right");
}

#[test]
fn check_tells_by_its_exit_code() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let write = |text: &str| fs::write(folder.path().join("a.toml"), text).expect("it can be written");
    write("http_server.prot = 1\nclient.ping_interval = 1\n");
    let said = check(folder.path(), "config check -c a.toml", 1, "a.toml:1:13: unknown key http_server.prot");
    assert!(said.contains("a.toml:2:24: client.ping_interval is 1"), "all at once: {said}");
    write("");
    check(folder.path(), "config check -c a.toml", 0, "it has 2 warnings");
    check(folder.path(), "config check -c a.toml --strict", 1, "warning: a.toml: no client can connect");
    check(folder.path(), "config check -c none.toml", 1, "No such file");
}

#[test]
fn check_tries_engines_where_it_is_told_to() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let write = |path: &str| {
        let text = format!(
            "engine.type = \"disk\"\n[engine.disk]\npath = {path:?}\nsegment_bytes = 1048576\nbytes_max = 16777216\n"
        );
        fs::write(folder.path().join("a.toml"), text).expect("it can be written");
    };
    write("log");
    let said = check(folder.path(), "config check -c a.toml --connect", 0, "engine: disk at log, ");
    assert!(said.contains("a.toml can be used"), "{said}");
    assert!(!folder.path().join("log").exists(), "nothing is made");
    write("a.toml");
    check(folder.path(), "config check -c a.toml", 0, "a.toml can be used");
    check(folder.path(), "config check -c a.toml --connect", 1, "engine: a.toml is no folder\n  fix: give disk.path");
    check(folder.path(), "doctor -c a.toml --offline", 1, "FAIL  engine         engine: a.toml is no folder");
}

#[test]
fn show_says_what_set_each_value_and_no_secret() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let text =
        "http_api.key = \"hidden\"\n[client]\nallowed_origins = [\"*\"]\n[[channel.namespaces]]\nname = \"chat\"\n";
    fs::write(folder.path().join("a.toml"), text).expect("it can be written");
    let shown = check(folder.path(), "config show -c a.toml --port 9", 0, "[[channel.namespaces]]\nname = \"chat\"");
    assert!(!shown.contains("hidden"), "{shown}");
    let said = |key: &str, value: &str, source: &str| {
        let line = format!("{key} = {value}");
        assert!(shown.contains(&format!("{line:<48} # {source}\n")), "{line} {source}: {shown}");
    };
    said("key", "\"***\"", "a.toml:1");
    said("allowed_origins", "[\"*\"]", "a.toml:3");
    said("channel_limit", "5", "environment FANFARE_CLIENT_CHANNEL_LIMIT");
    said("port", "9", "flag --port");
    said("ping_interval", "\"25s\"", "default");
    // It is a configuration itself.
    options("a.toml", &shown.replace("\"***\"", "\"\""));

    let json = check(folder.path(), "config show -c a.toml --output json", 0, "");
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["client.channel_limit"]["value"], 5);
    assert_eq!(json["channel.namespaces[chat].presence"]["source"], "default");
    assert_eq!(json["http_api.key"]["value"], "***");
}

/// By the validator that most people have: Python's jsonschema.
#[test]
fn the_schema_is_one_and_agrees_about_files() {
    let mut accepted: Vec<Value> = vec![
        serde_json::from_str(include_str!("../data/centrifugo.json")).expect("it is JSON"),
        serde_json::from_str(&initial_text(InitFormat::Json.format())).expect("it is JSON"),
    ];
    accepted.extend(
        [
            r#"{"client": {"ping_interval": "1m30s", "allowed_origins": "*", "channel_limit": "7"}, "channel": null}"#,
            r#"{"fanfare": {"memory_limit": "auto"}, "http_server": {"port": "8000", "internal_port": ""}}"#,
            r#"{"channel": {"namespaces": [{"name": "chat", "flush_window": "1ms", "allowed_delta_types": ["fossil"]}]}}"#,
        ]
        .map(|text| serde_json::from_str(text).expect("it is JSON")),
    );
    let refused = [
        r#"{"client": {"ping_intervall": "1m"}}"#,
        r#"{"client": {"ping_interval": 25}}"#,
        r#"{"client": {"channel_limit": 0}}"#,
        r#"{"client": {"insecure": "yes"}}"#,
        r#"{"channel": {"namespaces": {"name": "chat"}}}"#,
        r#"{"log": {"level": "loud"}}"#,
        r#"{"http_api": {"handler_prefix": "api"}}"#,
    ];
    let refused = refused.map(|text| serde_json::from_str::<Value>(text).expect("it is JSON"));
    let schema: Value = serde_json::from_str(&schema_json()).expect("it is JSON");
    let question = serde_json::json!({ "schema": schema, "accepted": accepted, "refused": refused });
    let mut python = Command::new("python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed (tests/install.sh)");
    let input = python.stdin.take().expect("it is piped");
    (&input).write_all(question.to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "agreed");
}

const VALIDATE: &str = "\
import json, sys
import jsonschema
question = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(question['schema'])
validator = jsonschema.Draft202012Validator(question['schema'])
for file in question['accepted']:
    for error in validator.iter_errors(file):
        print('refused', error.json_path, error.message)
for file in question['refused']:
    if validator.is_valid(file):
        print('accepted', file)
print('agreed')
";

#[test]
fn reload_names_its_process_and_checks_the_file_first() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let write = |text: &str| fs::write(folder.path().join("a.toml"), text).expect("it can be written");
    check(folder.path(), "reload", 2, "which process?");
    check(folder.path(), "reload --pid 0", 2, "--pid");
    // This very test is no hub.
    check(folder.path(), &format!("reload --pid {}", std::process::id()), 3, "is \"");
    write("http_server.port = -1");
    check(folder.path(), "reload -c a.toml --pid 1", 1, "a.toml:1:20");
    write("pid_file = \"hub.pid\"");
    check(folder.path(), "reload -c a.toml", 3, "the server is not running: hub.pid");
    fs::write(folder.path().join("hub.pid"), "no number").expect("it can be written");
    check(folder.path(), "reload -c a.toml", 2, "hub.pid holds no process id");
    assert!(read_under("pid_file = \"hub.pid\"", "", &Flags::default()).is_ok());
}
