//! YAML says what TOML and JSON say, and is refused in the same words.

use fanfare::config::Flags;

use super::{error, options};

#[test]
fn the_three_formats_are_one_configuration() {
    let toml = "[client]\nallowed_origins = [\"*\"]\nchannel_limit = 7\n[client.token]\nhmac_secret_key = \"secret\"\n\
                [[channel.namespaces]]\nname = \"chat\"\nhistory_size = 1\nhistory_ttl = \"1m\"\npresence = true\n";
    let json = r#"{"client": {"allowed_origins": ["*"], "channel_limit": 7, "token": {"hmac_secret_key": "secret"}},
        "channel": {"namespaces": [{"name": "chat", "history_size": 1, "history_ttl": "1m", "presence": true}]}}"#;
    let yaml = "client:\n  allowed_origins: ['*']\n  channel_limit: 7\n  token: {hmac_secret_key: secret}\n\
                channel:\n  namespaces:\n  - name: chat\n    history_size: 1\n    history_ttl: 1m\n    presence: true\n";
    let [of_toml, of_json, of_yaml] =
        [("a.toml", toml), ("a.json", json), ("a.yml", yaml)].map(|(name, text)| options(name, text));
    for other in [of_json, of_yaml] {
        assert_eq!(of_toml.shard.namespaces, other.shard.namespaces);
        assert_eq!(of_toml.http, other.http);
        assert_eq!(of_toml.shard.channels_max, other.shard.channels_max);
        assert_eq!(format!("{:?}", of_toml.shard.token_keys), format!("{:?}", other.shard.token_keys));
    }
}

#[test]
fn an_empty_document_is_an_empty_configuration() {
    for text in ["", "# nothing\n", "---\n", "client:\n", "~"] {
        assert_eq!(options("a.yaml", text).shard.channels_max, 128, "{text:?}");
    }
}

#[test]
fn errors_show_line_column_and_caret() {
    let text = "http_server:\n  prot: 1\n  port: 70000\nclient:\n  insecure: yes\nchannel: [1]\nlog: {level: &a loud, file: *a}\n";
    assert_eq!(
        error("a.yaml", text, &Flags::default()),
        "a.yaml:7:29: aliases are not read: write the value where it belongs
  |
7 | log: {level: &a loud, file: *a}
  |                             ^^"
    );
    let text = text.replace(", file: *a", "");
    assert_eq!(
        error("a.yaml", &text, &Flags::default()),
        "a.yaml:2:3: unknown key http_server.prot; did you mean http_server.port?
  |
2 |   prot: 1
  |   ^^^^
a.yaml:3:9: http_server.port is 70000; it should be a port, a whole number up to 65535
  |
3 |   port: 70000
  |         ^^^^^
a.yaml:5:13: client.insecure is \"yes\"; it should be true or false
  |
5 |   insecure: yes
  |             ^^^
a.yaml:6:10: channel is a list; it should be a table
  |
6 | channel: [1]
  |          ^
a.yaml:7:14: log.level is \"loud\"; it should be one of \"none\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"
  |
7 | log: {level: &a loud}
  |              ^^^^^^^"
    );
}
