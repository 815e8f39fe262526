//! Relations between right values: those that are refused, and those that are only odd.

use fanfare::config::Flags;

use super::{error, read_under};

fn check_refused(text: &str, expected: &str) {
    let error = error("a.toml", text, &Flags::default());
    let lines: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix("a.toml:")).collect();
    assert_eq!(lines, [expected], "{text}");
}

/// Expects these pieces of advice for a hub with a key for tokens and one for the API, on loopback.
fn check(text: &str, expected: &[&str]) {
    let keys = "FANFARE_CLIENT_TOKEN_HMAC_SECRET_KEY=0123456789abcdef\nFANFARE_HTTP_API_KEY=fedcba9876543210\n\
                FANFARE_HTTP_SERVER_ADDRESS=127.0.0.1";
    assert_eq!(advice(text, keys), expected, "{text}");
}

fn advice(text: &str, variables: &str) -> Vec<String> {
    let configuration =
        read_under(text, variables, &Flags::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let text = configuration.advice.iter().map(|advice| advice.to_string());
    text.map(|advice| advice.split_once(".toml:").map_or(advice.clone(), |(_, rest)| rest.into())).collect()
}

#[test]
fn bounds_leave_something_between_them() {
    check(
        "websocket.compression = true\nwebsocket.decompressed_message_size_limit = 1000",
        &[
            "2: websocket.decompressed_message_size_limit is less than websocket.message_size_limit: compressed messages \
           have less room than others",
        ],
    );
}

#[test]
fn the_same_is_said_once() {
    check_refused(
        "client.token.audience = \"a\"\nclient.token.audience_regex = \"b\"\n",
        "2:31: client.token.audience_regex stands beside audience: one of them says what is expected",
    );
}

#[test]
fn personal_channels_are_told_from_others_by_their_boundary() {
    let personal = "client.subscribe_to_user_personal_channel.enabled = true\n";
    check(personal, &[]);
    check(
        &format!("{personal}channel.user_boundary = \"\""),
        &["2: channel.user_boundary is empty: the personal channel of the user 42 is named \"42\", and whoever may \
           subscribe to channels may subscribe to it"],
    );
}

#[test]
fn ports_do_not_collide() {
    let collide = "http_server.internal_address = \"127.0.0.1\"";
    check_refused(
        collide,
        "1:32: the internal port 127.0.0.1:8000 collides with the clients' 0.0.0.0:8000: give it a number or an address \
         of its own",
    );
    for apart in ["http_server.internal_port = 8001", "http_server.address = \"127.0.0.2\"", "http_server.port = 0"] {
        check(&format!("{collide}\n{apart}").replace("http_server.address = \"127.0.0.2\"", ""), &[]);
    }
}

#[test]
fn namespaces_can_be_named_in_a_channel() {
    check_refused(
        "channel.namespace_boundary = \".\"\n[[channel.namespaces]]\nname = \"a.b\"",
        "3:8: no channel can be in the namespace \"a.b\": channel.namespace_boundary \".\" ends its name",
    );
}

#[test]
fn origins_are_patterns() {
    check_refused(
        "client.allowed_origins = [\"https://[\"]",
        "1:26: client.allowed_origins: \"https://[\": unclosed character class; missing ']'",
    );
    check(
        "client.allowed_origins = [\"example.com\", \"*.example.com\", \"https://example.com\", \"null\"]",
        &["1: no page has the origin \"example.com\": it needs its scheme, as in \"https://example.com\""],
    );
}

#[test]
fn somebody_can_come_in() {
    let found = advice("http_server.address = \"127.0.0.1\"", "");
    let [clients, api] = &*found else { panic!("{found:?}") };
    assert!(clients.contains("no client can connect: there is no key for tokens"), "{clients}");
    assert!(api.contains("the server API refuses every request: set http_api.key"), "{api}");
    assert_eq!(advice("http_api.disabled = true\nclient.allow_anonymous_connect_without_token = true", ""), [""; 0]);
}

#[test]
fn secrets_of_public_hubs_are_no_words() {
    let text = "http_api.key = \"word\"\nclient.token.hmac_secret_key = \"word\"";
    let found = advice(text, "");
    assert_eq!(
        found,
        [
            "1: http_api.key has less than 16 bytes: `fanfare config init` makes good ones",
            "2: client.token.hmac_secret_key has less than 16 bytes: `fanfare config init` makes good ones",
            "1: http_api.key and client.token.hmac_secret_key are the same: who may publish may be anybody",
        ]
    );
    assert_eq!(advice(&format!("{text}\nhttp_server.address = \"::1\""), ""), [""; 0]);
}

#[test]
fn options_that_open_nothing_are_told() {
    check(
        "[channel.without_namespace]\nallow_publish_for_anonymous = true\nallow_presence_for_client = true\n",
        &[
            "2: channel.without_namespace has allow_publish_for_anonymous, which does nothing without \
             allow_publish_for_client or allow_publish_for_subscriber",
            "3: channel.without_namespace has allow_presence_for_client, which does nothing without presence or \
             join_leave",
        ],
    );
    check(
        "websocket.compression_level = 9",
        &["1: websocket.compression_level does nothing: websocket.compression is false"],
    );
    check(
        "http_server.tls.cert_pem = \"cert.pem\"",
        &["1: http_server.tls.cert_pem is not used: http_server.tls.enabled is false"],
    );
    check(
        "fanfare.memory_limit = 16777216\nfanfare.shards = 2",
        &["1: history alone may take 536870912 bytes (fanfare.shard_memory_limit for each of 2 shards), more than \
           fanfare.memory_limit"],
    );
}
