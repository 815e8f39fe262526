//! The environment over the file, and flags over both.

use std::fs;

use fanfare::config::{self, Configuration, Environment, Flags};

use super::read_under;

/// What is read without a word.
fn accepted(text: &str, variables: &str) -> Configuration {
    let configuration =
        read_under(text, variables, &Flags::default()).unwrap_or_else(|error| panic!("{variables}: {error}"));
    assert_eq!(configuration.warnings, [], "{variables}");
    configuration
}

fn warnings(text: &str, variables: &str) -> Vec<String> {
    let configuration = read_under(text, variables, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
    configuration.warnings.iter().map(|warning| warning.to_string()).collect()
}

/// The problems' first lines, the file's path left out.
fn problems(text: &str, variables: &str, flags: &Flags) -> Vec<String> {
    let Err(error) = read_under(text, variables, flags) else { panic!("accepted: {variables}") };
    let error = error.to_string();
    let lines = error.lines().filter(|line| !line.contains(" | ") && !line.trim().ends_with('|'));
    lines.map(|line| line.split_once(".toml:").map_or(line, |(_, rest)| rest).to_string()).collect()
}

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let text = "[http_server]\naddress = \"127.0.0.1\"\nport = 1\ninternal_port = 2\n[client]\nchannel_limit = 3\n";
    let variables = "FANFARE_HTTP_SERVER_PORT=4\nFANFARE_HTTP_SERVER_INTERNAL_PORT=5";
    let flags = Flags { port: Some(6), ..Flags::default() };
    let options = read_under(text, variables, &flags).expect("all is right").options;
    assert_eq!(options.client_address.to_string(), "127.0.0.1:6");
    assert_eq!(options.internal_address.map(|address| address.port()), Some(5));
    assert_eq!(options.shard.channels_max, 3);
}

#[test]
fn values_of_every_kind_are_read() {
    let options = accepted(
        "",
        "FANFARE_CLIENT_TOKEN_HMAC_SECRET_KEY=secret
         FANFARE_CLIENT_ALLOWED_ORIGINS=https://a.example https://b.example
         FANFARE_CLIENT_INSECURE=0
         FANFARE_CLIENT_ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN=1
         FANFARE_CLIENT_PING_INTERVAL=30s
         FANFARE_HTTP_API_KEY=key
         FANFARE_HTTP_SERVER_INTERNAL_PORT=
         CENTRIFUGO_CLIENT_CHANNEL_LIMIT=7
         FANFARE_CHANNEL_WITHOUT_NAMESPACE_ALLOWED_DELTA_TYPES=[\"fossil\"]
         HOME=/root",
    )
    .options;
    assert_eq!(options.http.allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(options.api.key.as_ref().map(|key| key.reveal()), Some("key"));
    assert!(options.shard.allow_anonymous_connect && !options.shard.insecure);
    assert_eq!((options.shard.channels_max, options.shard.ping_interval.as_secs()), (7, 30));
    assert!(options.shard.namespaces.without.allows_delta);
    assert_eq!(options.internal_address, None, "an empty variable is not set");
}

#[test]
fn without_a_file_the_environment_is_the_configuration() {
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    let environment = Environment::new([pair("FANFARE_HTTP_API_KEY", "key")]);
    let options = config::load_under(&environment, &Flags::default()).expect("it is enough").options;
    assert_eq!((options.dev, options.client_address.to_string()), (None, "0.0.0.0:8000".into()));
    // A service of this name beside a hub in dev mode, and a key that there is not.
    let environment = Environment::new([
        pair("FANFARE_SERVICE_HOST", "10.0.0.1"),
        pair("FANFARE_PORT", "tcp://10.0.0.1:8000"),
        pair("FANFARE_CONFIG", ""),
    ]);
    let configuration = config::load_under(&environment, &Flags::default()).expect("it is dev mode");
    assert!(configuration.options.dev.is_some());
    assert_eq!(configuration.warnings, []);
}

#[test]
fn lists_are_named_by_one_variable_and_filled_by_others() {
    let variables = "FANFARE_CHANNEL_NAMESPACES=chat chat-news
        FANFARE_CHANNEL_NAMESPACES_CHAT_PRESENCE=true
        FANFARE_CHANNEL_NAMESPACES_CHAT_NEWS_HISTORY_SIZE=10
        FANFARE_CHANNEL_NAMESPACES_CHAT_NEWS_HISTORY_TTL=1m";
    let namespaces = accepted("", variables).options.shard.namespaces;
    assert_eq!(namespaces.names(), ["chat".into(), "chat-news".into()]);
    assert!(namespaces.by_name["chat"].presence && !namespaces.by_name["chat-news"].presence);
    assert_eq!(namespaces.by_name["chat-news"].history_size, 10);

    let json = r#"FANFARE_CHANNEL_NAMESPACES=[{"name": "chat", "history_size": 5, "history_ttl": "1m"}]
        CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_HISTORY_SIZE=6"#;
    assert_eq!(accepted("", json).options.shard.namespaces.by_name["chat"].history_size, 6);

    // Also those that the file names.
    let text = "[[channel.namespaces]]\nname = \"chat\"\n[[channel.namespaces]]\nname = \"news\"\n";
    let of_file = accepted(text, "FANFARE_CHANNEL_NAMESPACES_NEWS_PRESENCE=true").options.shard.namespaces;
    assert!(of_file.by_name["news"].presence && !of_file.by_name["chat"].presence);
    let [warning] = &*warnings(text, "FANFARE_CHANNEL_NAMESPACES=other") else { panic!("one warning") };
    assert_eq!(
        warning,
        "FANFARE_CHANNEL_NAMESPACES: it stands for all of channel.namespaces, and the file's are passed over"
    );
}

#[test]
fn secrets_may_be_in_files() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("secret"), " of the file\r\n").expect("it can be written");
    let variables = format!("FANFARE_HTTP_API_KEY_FILE={}", path("secret"));
    let key = accepted("http_api.key = \"of the configuration\"", &variables).options.api.key;
    assert_eq!(key.as_ref().map(|key| key.reveal()), Some(" of the file"));

    let missing = format!("FANFARE_HTTP_API_KEY_FILE={}", path("none"));
    let [problem] = &*problems("", &missing, &Flags::default()) else { panic!("one problem") };
    assert!(problem.starts_with("FANFARE_HTTP_API_KEY_FILE: ") && problem.contains("No such file"), "{problem}");
    assert_eq!(
        problems("", "FANFARE_HTTP_API_KEY_FILE=/dev/zero", &Flags::default()),
        ["FANFARE_HTTP_API_KEY_FILE: /dev/zero is too large for a secret"]
    );
    assert_eq!(
        problems("", &format!("{variables}\nFANFARE_HTTP_API_KEY=two"), &Flags::default()),
        ["FANFARE_HTTP_API_KEY_FILE: FANFARE_HTTP_API_KEY and FANFARE_HTTP_API_KEY_FILE set the same key"]
    );
}

#[test]
fn ours_wins_and_says_so() {
    let variables = "CENTRIFUGO_CLIENT_CHANNEL_LIMIT=1\nFANFARE_CLIENT_CHANNEL_LIMIT=2";
    assert_eq!(
        warnings("", variables),
        ["CENTRIFUGO_CLIENT_CHANNEL_LIMIT: FANFARE_CLIENT_CHANNEL_LIMIT is set too, and wins"]
    );
    let options = read_under("", variables, &Flags::default()).expect("all is right").options;
    assert_eq!(options.shard.channels_max, 2);
}

#[test]
fn unknown_names_are_told_with_the_nearest_one() {
    let variables = "FANFARE_CLIENT_TOKEN_HMAC_SECRET=x
        CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENSE=true
        FANFARE_XYZ=1
        FANFARE_INTERNAL_PORT_9000_TCP_ADDR=10.0.0.1";
    let text = "[[channel.namespaces]]\nname = \"chat\"\n";
    let expected = [
        "CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENSE: no key has this name; did you mean \
         CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENCE?",
        "FANFARE_CLIENT_TOKEN_HMAC_SECRET: no key has this name; did you mean FANFARE_CLIENT_TOKEN_HMAC_SECRET_KEY?",
        "FANFARE_XYZ: no key has this name",
    ];
    assert_eq!(warnings(text, variables), expected);
    assert_eq!(problems(text, variables, &Flags { strict: true, ..Flags::default() }), expected);
}

#[test]
fn problems_name_the_variable_and_stand_beside_the_files() {
    let variables = "FANFARE_HTTP_SERVER_PORT=70000
        FANFARE_CLIENT_PONG_TIMEOUT=1h
        FANFARE_CHANNEL_NAMESPACES=[{\"name\": \"chat\", \"histori\": 1, \"name\": \"a\"}]
        FANFARE_PROXIES=[{]";
    assert_eq!(
        problems("[client]\nchannel_limit = 0\n", variables, &Flags::default()),
        [
            "2:17: client.channel_limit is 0; it should be a whole number from 1 to 100000",
            "FANFARE_CHANNEL_NAMESPACES: the key name stands here twice",
            "FANFARE_CHANNEL_NAMESPACES: unknown key channel.namespaces[].histori; did you mean \
             channel.namespaces[].history_size?",
            "FANFARE_CHANNEL_NAMESPACES: the namespace name \"a\" should be two or more of letters, digits, \"-\", \
             \"_\", \".\"",
            "FANFARE_CLIENT_PONG_TIMEOUT: client.pong_timeout must be less than client.ping_interval: a pong belongs \
             to the last ping",
            "FANFARE_HTTP_SERVER_PORT: http_server.port is \"70000\"; it should be a port, a whole number up to 65535",
            "FANFARE_PROXIES: this is no JSON: key must be a string at line 1 column 3",
        ]
    );
}
