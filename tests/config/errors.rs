//! Files that are refused, and what is said about them.

use fanfare::config::{self, Flags, Secret};

use super::{error, options};

fn check(name: &str, text: &str, expected: &str) {
    assert_eq!(error(name, text, &Flags::default()), expected, "{text}");
}

/// Expects these first lines of problems, without the excerpts below them.
fn check_lines(text: &str, expected: &[&str]) {
    let error = error("a.toml", text, &Flags::default());
    let lines: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix("a.toml:")).collect();
    assert_eq!(lines, expected, "{text}");
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    check(
        "a.toml",
        "[http_server]\nadress = \"::1\"\n",
        "a.toml:2:1: unknown key http_server.adress; did you mean http_server.address?
  |
2 | adress = \"::1\"
  | ^^^^^^",
    );
    check(
        "a.json",
        "{\n  \"channel\": {\n    \"namespaces\": [{\"name\": \"chat\", \"histori_size\": 1}]\n  }\n}\n",
        "a.json:3:37: unknown key channel.namespaces[].histori_size; did you mean channel.namespaces[].history_size?
  |
3 |     \"namespaces\": [{\"name\": \"chat\", \"histori_size\": 1}]
  |                                     ^^^^^^^^^^^^^^",
    );
    let nearest = |text, expected| check_lines(text, &[expected]);
    // Flat names of Centrifugo before v6.
    nearest("allowed_origins = []", "1:1: unknown key allowed_origins; did you mean client.allowed_origins?");
    nearest(
        "token_hmac_secret_key = \"\"",
        "1:1: unknown key token_hmac_secret_key; did you mean client.token.hmac_secret_key?",
    );
    nearest("[[namespaces]]\nname = \"a\"", "1:3: unknown key namespaces; did you mean channel.namespaces?");
    nearest("[htp_server]\nport = 1", "1:2: unknown key htp_server; did you mean http_server?");
    nearest("[fanfare]\nshard = 1", "2:1: unknown key fanfare.shard; did you mean fanfare.shards?");
    nearest("[admin]\nenable = true", "2:1: unknown key admin.enable; did you mean admin.enabled?");
    nearest("xyz = 1", "1:1: unknown key xyz");
}

#[test]
fn all_problems_are_told_at_once() {
    check_lines(
        "[client]\npong_timeout = \"1h\"\n[http_server]\nport = -1\nprot = 1\n",
        &[
            "2:16: client.pong_timeout must be less than client.ping_interval: a pong belongs to the last ping",
            "4:8: http_server.port is -1; it should be a port, a whole number up to 65535",
            "5:1: unknown key http_server.prot; did you mean http_server.port?",
        ],
    );
}

#[test]
fn wrong_values_say_what_should_stand_there() {
    check(
        "a.toml",
        "[http_server]\nport = 70000\n",
        "a.toml:2:8: http_server.port is 70000; it should be a port, a whole number up to 65535
  |
2 | port = 70000
  |        ^^^^^",
    );
    const LIMIT: &str = "a whole number from 1 to 100000";
    const DURATION: &str = "a duration with its unit, such as \"25s\" or \"1m30s\"";
    let cases = [
        ("client.expired_close_delay = \"-1s\"", "\"-1s\"", DURATION),
        ("client.expired_close_delay = 25", "25", DURATION),
        ("client.ping_interval = \"0.5s\"", "\"0.5s\"", &format!("{DURATION}, at least \"1s\"")),
        ("client.insecure = \"yes\"", "\"yes\"", "true or false"),
        ("client.insecure = 1", "1", "true or false"),
        ("client.channel_limit = 0", "0", LIMIT),
        ("client.channel_limit = -1", "-1", LIMIT),
        ("client.channel_limit = 1.5", "a number with a fraction", LIMIT),
        ("client.channel_limit = 99999999999999999999", "a number beyond 64 bits", LIMIT),
        ("client.allowed_origins = [1]", "a list", "a list of texts"),
        ("log.level = \"loud\"", "\"loud\"", "one of \"none\", \"error\", \"warn\", \"info\", \"debug\", \"trace\""),
        ("http_server.address = \"example.com\"", "\"example.com\"", "an IP address"),
        ("http_server.port = \"\"", "\"\"", "a port, a whole number up to 65535"),
        ("http_api.handler_prefix = \"api\"", "\"api\"", "a path that begins with \"/\""),
        ("node.name = 2026-11-22", "a date", "a text"),
        ("client = true", "true", "a table"),
        ("channel.namespaces = {}", "a table", "a list of tables"),
        ("client.token.hmac_secret_key = 271828", "a number", "a text"),
    ];
    for (text, found, expected) in cases {
        let (key, value) = text.split_once(" = ").expect("a key has a value");
        let column = text.len() - value.len() + 1;
        check_lines(text, &[&format!("1:{column}: {key} is {found}; it should be {expected}")]);
    }
    check_lines("channel.namespaces = [1]", &["1:23: an item of channel.namespaces is a number; it should be a table"]);
}

#[test]
fn compression_levels_are_those_of_zlib() {
    for level in ["-2", "0", "10"] {
        check_lines(
            &format!("[websocket]\ncompression_level = {level}"),
            &[&format!("2:21: websocket.compression_level is {level}; it should be a whole number from 1 to 9")],
        );
    }
}

#[test]
fn timers_are_in_order() {
    let pong = "client.pong_timeout must be less than client.ping_interval: a pong belongs to the last ping";
    check_lines("client.pong_timeout = \"25s\"", &[&format!("1:23: {pong}")]);
    check_lines("client.ping_interval = \"8s\"", &[&format!("1:24: {pong}")]);
    let presence = "client.presence_update_interval must be less than fanfare.presence_ttl: \
                    presence would run out before it is updated";
    check_lines("fanfare.presence_ttl = \"20s\"", &[&format!("1:24: {presence}")]);
    let grace = "shutdown.grace must be less than shutdown.timeout: the rest of the time is for clients to go";
    check_lines("shutdown.grace = \"30s\"", &[&format!("1:18: {grace}")]);
}

#[test]
fn namespaces_have_names_of_their_own() {
    check_lines(
        "[[channel.namespaces]]\nname = \"c\"\n[[channel.namespaces]]\nname = \"chat\"\n\
         [[channel.namespaces]]\nname = \"chat\"\n[[channel.namespaces]]\npresence = true",
        &[
            "2:8: the namespace name \"c\" should be two or more of letters, digits, \"-\", \"_\", \".\"",
            "6:8: there is another namespace \"chat\"",
            "8:1: a namespace needs a name",
        ],
    );
}

#[test]
fn history_is_whole() {
    let check =
        |lines: &str, expected: &str| check_lines(&format!("[channel.without_namespace]\n{lines}"), &[expected]);
    check(
        "history_size = 10",
        "2:16: channel.without_namespace has history_size but no history_ttl: history needs both",
    );
    check(
        "history_ttl = \"1m\"",
        "2:15: channel.without_namespace has history_ttl but no history_size: history needs both",
    );
    check("history_size = 1\nhistory_ttl = \"1.5s\"", "3:15: history_ttl is counted in whole seconds");
    check(
        "history_size = 1\nhistory_ttl = \"721h\"",
        "3:15: channel.without_namespace has a history_ttl longer than history_meta_ttl: \
         offsets would be forgotten first",
    );
    check_lines(
        "[[channel.namespaces]]\nname = \"chat\"\nforce_recovery = true",
        &["3:18: namespace \"chat\" has force_recovery but no history: it needs history_size and history_ttl"],
    );
    // Centrifugo takes this one, and so does Fanfare; nothing will be recovered.
    let text = "[channel.without_namespace]\nallow_recovery = true";
    let (_, warnings) = config::read("a.toml", text, &Flags::default()).expect("it is accepted");
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["a.toml:2: channel.without_namespace has allow_recovery but no history to recover from"]);
}

#[test]
fn a_tag_to_conflate_by_needs_conflation() {
    check_lines(
        "[channel.without_namespace]\nconflate_tag = \"symbol\"",
        &["2:16: channel.without_namespace has conflate_tag, but its slow_consumer_policy is \"disconnect\": \
           it needs \"conflate\""],
    );
    check_lines(
        "[[channel.namespaces]]\nname = \"chat\"\nslow_consumer_policy = \"drop_oldest\"\nconflate_tag = \"symbol\"",
        &["4:16: namespace \"chat\" has conflate_tag, but its slow_consumer_policy is \"drop_oldest\": \
           it needs \"conflate\""],
    );
    check_lines(
        "[channel.without_namespace]\nslow_consumer_policy = \"drop_newest\"",
        &["2:24: channel.without_namespace.slow_consumer_policy is \"drop_newest\"; it should be one of \
           \"disconnect\", \"drop_oldest\", \"conflate\""],
    );
}

#[test]
fn a_rate_is_within_bounds_and_needs_conflation() {
    let check =
        |lines: &str, expected: &str| check_lines(&format!("[channel.without_namespace]\n{lines}"), &[expected]);
    for value in ["1001", "-1", "0.5"] {
        let found = if value == "0.5" { "a number with a fraction" } else { value };
        check(
            &format!("slow_consumer_policy = \"conflate\"\nmax_rate = {value}"),
            &format!("3:12: channel.without_namespace.max_rate is {found}; it should be a whole number from 0 to 1000"),
        );
    }
    check(
        "max_rate = 10",
        "2:12: channel.without_namespace has max_rate, but its slow_consumer_policy is \"disconnect\": it needs \"conflate\"",
    );
    check(
        "slow_consumer_policy = \"conflate\"\nmax_rate = 10\nforce_positioning = true",
        "3:12: channel.without_namespace has max_rate and force_positioning: every subscription would be sent back (2500) \
         whenever a publication is left out",
    );
}

#[test]
fn flush_windows_are_within_bounds() {
    let check =
        |lines: &str, expected: &str| check_lines(&format!("[channel.without_namespace]\n{lines}"), &[expected]);
    const BOUNDS: &str = "a duration with its unit, from \"100us\" to \"100ms\"";
    for (value, found) in [("\"99us\"", "\"99us\""), ("\"101ms\"", "\"101ms\""), ("\"on\"", "\"on\""), ("2", "2")] {
        check(
            &format!("flush_window = {value}"),
            &format!(
                "2:16: channel.without_namespace.flush_window is {found}; it should be \"off\", or \"adaptive\", or {BOUNDS}"
            ),
        );
    }
    check(
        "flush_window = \"adaptive\"\nflush_latency_budget = \"1s\"",
        &format!("3:24: channel.without_namespace.flush_latency_budget is \"1s\"; it should be {BOUNDS}"),
    );
    check(
        "flush_window = \"2ms\"\nflush_batch_max = 65",
        "3:19: channel.without_namespace.flush_batch_max is 65; it should be a whole number from 1 to 64",
    );
    check(
        "flush_window = \"2ms\"\nflush_latency_budget = \"2ms\"",
        "3:24: channel.without_namespace has flush_latency_budget, but its flush_window is \"2ms\": it needs \"adaptive\"",
    );
    check(
        "flush_batch_max = 3",
        "2:19: channel.without_namespace has flush_batch_max, but its flush_window is \"off\": it needs a window",
    );
}

#[test]
fn paths_are_served_once() {
    check_lines(
        "[prometheus]\nenabled = true\nhandler_prefix = \"/api/\"\n[health]\nhandler_prefix = \"/api\"",
        &["3:18: prometheus.handler_prefix is \"/api\", the path of http_api.handler_prefix"],
    );
    check_lines(
        "websocket.handler_prefix = \"/readyz\"",
        &["1:28: websocket.handler_prefix is \"/readyz\", the path of readiness"],
    );
}

#[test]
fn a_private_key_is_no_public_key() {
    check(
        "a.toml",
        "[client.token]\nrsa_public_key = \"-----BEGIN PRIVATE KEY-----\"",
        "a.toml:2:18: client.token.rsa_public_key is a private key: \
         `openssl pkey -in private.pem -pubout` prints the public one",
    );
}

#[test]
fn broken_syntax_has_its_place() {
    check(
        "a.toml",
        "[http_server]\nport = = 1\n",
        "a.toml:2:8: extra `=`, expected nothing
  |
2 | port = = 1
  |        ^",
    );
    check(
        "a.json",
        "{\n  \"a\": 1,\n}",
        "a.json:3:1: key must be a string
  |
3 | }
  | ^",
    );
    check(
        "a.json",
        "[]",
        "a.json:1:1: a configuration is an object: { \"key\": value }
  |
1 | []
  | ^^",
    );
    check(
        "a.json",
        "{\"log\": {}, \"log\": {}}",
        "a.json:1:13: the key log stands here twice
  |
1 | {\"log\": {}, \"log\": {}}
  |             ^^^^^",
    );
    check("a.ini", "", "a.ini: a configuration file ends in .toml, .yaml, .yml or .json");
    let missing = Flags { config: Some("/nowhere/a.toml".into()), ..Flags::default() };
    let error = config::load(&missing).expect_err("there is no such file").to_string();
    assert_eq!(error, "/nowhere/a.toml: No such file or directory (os error 2)");
}

#[test]
fn strict_refuses_what_does_nothing() {
    let strict = Flags { strict: true, ..Flags::default() };
    let text = "[admin]\nenabled = true\npassword = \"hunter2\"\n[node]\ninfo_metrics_aggregate_interval = \"61s\"\n";
    assert_eq!(
        error("a.toml", text, &strict),
        "a.toml:2:1: admin does nothing here yet, and --strict refuses such keys
  |
2 | enabled = true
  | ^^^^^^^
a.toml:5:1: node.info_metrics_aggregate_interval does nothing here yet, and --strict refuses such keys
  |
5 | info_metrics_aggregate_interval = \"61s\"
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
    );
    // What is set to its default, however it is written, asks for nothing.
    let defaults =
        "sse.enabled = false\nnode.info_metrics_aggregate_interval = \"1m\"\nadmin.password = \"\"\nproxies = []";
    assert!(config::read("a.toml", defaults, &strict).is_ok());
    // Neither do knobs that have no counterpart.
    assert!(config::read("a.toml", "usage_stats.disabled = true", &strict).is_ok());
}

#[test]
fn secrets_are_in_no_error_and_no_debug() {
    let secret = "correct-horse";
    let texts = [
        format!("[client.token]\nhmac_secret_key = [\"{secret}\"]"),
        format!("[client.token]\nhmac_secret_key = \"{secret}"),
        format!("[client.token]\nhmac_secret = \"{secret}\""),
        format!("[client.token]\nrsa_public_key = \"{secret}\""),
        format!("[database]\npassphrase = \"{secret}\""),
    ];
    for text in texts {
        let error = error("a.toml", &text, &Flags::default());
        assert!(!error.contains(secret), "{error}");
    }
    let text = format!("http_api.key = \"{secret}\"\nclient.token.hmac_secret_key = \"{secret}\"");
    let options = options("a.toml", &text);
    assert_eq!(options.api.key.as_ref().map(Secret::reveal), Some(secret));
    assert!(!format!("{options:?}").contains(secret));
}

#[test]
fn insecure_settings_say_how_to_go_on() {
    check(
        "a.toml",
        "[client]\ninsecure = true\n",
        "a.toml:2:12: client.insecure gives everyone every right, and 0.0.0.0:8000 can be reached from other machines
  |
2 | insecure = true
  |            ^^^^
listen on this machine only:
    [http_server]
    address = \"127.0.0.1\"
or start with --allow-insecure",
    );
    check(
        "a.json",
        "{\"http_api\": {\"insecure\": true}, \"http_server\": {\"internal_port\": 9000}}",
        "a.json:1:27: http_api.insecure lets everyone call the API, and 0.0.0.0:9000 can be reached from other machines
  |
1 | {\"http_api\": {\"insecure\": true}, \"http_server\": {\"internal_port\": 9000}}
  |                           ^^^^
listen on this machine only:
    \"http_server\": { \"internal_address\": \"127.0.0.1\" }
or start with --allow-insecure",
    );
}

#[test]
fn insecure_settings_stay_on_this_machine() {
    let accepted = |text: &str, flags: Flags| config::read("a.toml", text, &flags).is_ok();
    let loopback = || Flags { address: Some([127, 0, 0, 1].into()), ..Flags::default() };
    let insecure = "client.insecure = true";
    assert!(!accepted(insecure, Flags::default()));
    assert!(accepted(insecure, loopback()));
    assert!(accepted(insecure, Flags { allow_insecure: true, ..Flags::default() }));

    // The API is asked about where it is served.
    let internal =
        "[http_server]\ninternal_address = \"127.0.0.1\"\ninternal_port = 9000\n[http_api]\ninsecure = true\n";
    assert!(accepted(internal, Flags::default()));
    assert!(!accepted(&format!("{internal}external = true"), Flags::default()));
    assert!(accepted(&format!("{internal}external = true"), loopback()));
    assert!(accepted("[http_api]\ninsecure = true\ndisabled = true\n", Flags::default()));

    // The echo endpoint never leaves the machine.
    assert!(accepted("", Flags { echo: true, ..loopback() }));
    assert_eq!(
        error("a.toml", "", &Flags { echo: true, allow_insecure: true, ..Flags::default() }),
        "a.toml: --echo is for tests on this machine, and 0.0.0.0:8000 can be reached from others"
    );
}
