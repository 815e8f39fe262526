//! Files that are accepted, and what they come to.

use std::time::Duration;

use fanfare::access::{Flush, FlushWindow, SlowConsumerPolicy};
use fanfare::api::ErrorMode;
use fanfare::config::{self, ApiOptions, Flags, HttpOptions, LogLevel, MemoryLimit, Options, Secret};
use fanfare::io::{AdmissionLimits, PortSharing};
use fanfare::shard::{self, Compression};

use super::options;

const CENTRIFUGO_FILE: &str = include_str!("../data/centrifugo.json");

/// All that two equal configurations must have in common; keys of hashes are random.
fn assert_same(one: Options, mut other: Options) {
    assert_eq!(one.shard.namespaces, other.shard.namespaces);
    other.shard.namespaces = one.shard.namespaces.clone();
    assert_eq!(format!("{one:#?}"), format!("{other:#?}"));
}

#[test]
fn an_empty_file_is_centrifugos_defaults() {
    let options = options("a.toml", "");
    let cores = std::thread::available_parallelism().expect("the machine has cores").get();
    assert_eq!(usize::from(options.shards), cores);
    assert_eq!(options.shard.homes.shards(), options.shards);
    assert_eq!(options.workers.threads, cores);
    assert_eq!(options.client_address.to_string(), "0.0.0.0:8000");
    assert_eq!(options.internal_address, None);
    assert_eq!(
        options.http,
        HttpOptions {
            allowed_origins: vec![],
            user_header: None,
            websocket_path: "/connection/websocket".into(),
            io_uring: true,
            compression: false,
            api_prefix: "/api".into(),
            health_path: None,
            metrics_path: None,
            page: false,
            echo: false,
        }
    );
    assert_eq!(
        options.api,
        ApiOptions { key: None, insecure: false, disabled: false, error_mode: ErrorMode::Body, external: false }
    );
    assert_eq!((options.log.level, options.log.file), (LogLevel::Info, None));
    assert_eq!((options.shutdown_timeout, options.shutdown_grace), (Duration::from_secs(30), Duration::ZERO));
    assert_eq!(options.client_port_sharing, PortSharing::Exclusive);
    assert_eq!(self::options("a.toml", "shutdown.timeout = \"0s\"").shutdown_timeout, Duration::ZERO);
    assert_eq!(options.dev, None);
    assert!(options.node_name.ends_with("_8000"), "{}", options.node_name);
}

#[test]
fn an_empty_file_leaves_a_shard_as_it_is_without_one() {
    let mut of_file = options("a.toml", "").shard;
    let without_file = shard::Options { homes: of_file.homes.clone(), ..shard::Options::default() };
    let mut namespaces = (*of_file.namespaces).clone();
    // The one default that a shard has no use for: it belongs to streams.
    assert_eq!(namespaces.without.history_meta_ttl, Duration::from_secs(720 * 3_600));
    namespaces.without = Default::default();
    assert_eq!(namespaces, *without_file.namespaces);
    of_file.namespaces = without_file.namespaces.clone();
    assert_eq!(format!("{of_file:#?}"), format!("{without_file:#?}"));
}

#[test]
fn values_arrive_where_they_belong() {
    let options = options(
        "a.toml",
        r#"
        [http_server]
        address = "127.0.0.1"
        port = 0
        internal_port = 9001
        [log]
        level = "debug"
        file = "hub.log"
        [client]
        allowed_origins = "HTTPS://*.Example.com"
        allow_anonymous_connect_without_token = true
        insecure = true
        ping_interval = "30s"
        pong_timeout = "10.5s"
        stale_close_delay = "1s"
        expired_close_delay = "0s"
        channel_limit = 2
        connect_include_server_time = true
        connection_limit = 9
        connection_rate_limit = 10
        queue_max_size = 3
        presence_update_interval = "4s"
        channel_position_check_delay = "5s"
        history_max_publication_limit = 6
        recovery_max_publication_limit = 7
        [channel]
        max_length = 8
        private_prefix = "!"
        namespace_boundary = "/"
        [websocket]
        message_size_limit = 1024
        write_timeout = "9ms"
        compression = true
        compression_level = 9
        compression_min_size = 10
        decompressed_message_size_limit = 2048
        [fanfare]
        presence_ttl = "10s"
        shard_memory_limit = 1048576
        memory_limit = 33554432
        unconnected_limit = 11
        "#,
    );
    assert_eq!(options.client_address.to_string(), "127.0.0.1:0");
    assert_eq!(options.internal_address.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9001"));
    assert_eq!((options.log.level, options.log.file), (LogLevel::Debug, Some("hub.log".into())));
    assert_eq!(options.http.allowed_origins, ["https://*.example.com"]);
    let shard = &options.shard;
    assert!(shard.allow_anonymous_connect && shard.insecure && shard.tells_time);
    let milliseconds = [
        shard.ping_interval,
        shard.pong_timeout,
        shard.stale_close_delay,
        shard.expired_close_delay,
        shard.presence_update_interval,
        shard.position_check_delay,
        shard.write_timeout,
        shard.presence_ttl,
    ]
    .map(|duration| duration.as_millis());
    assert_eq!(milliseconds, [30_000, 10_500, 1_000, 0, 4_000, 5_000, 9, 10_000]);
    assert_eq!((shard.channels_max, shard.outbox_bytes_max, shard.channel_bytes_max), (2, 3, 8));
    assert_eq!(options.admission, AdmissionLimits { connections_max: 9, per_second: 10 });
    assert_eq!(shard.unconnected_max, 11);
    assert_eq!((shard.history_publications_max, shard.recovery_publications_max), (6, 7));
    assert_eq!((shard.message_bytes_max, shard.memory_bytes_max), (1_024, 1_048_576));
    assert_eq!(options.memory_limit, MemoryLimit::Bytes(33_554_432));
    assert!(options.http.compression);
    assert_eq!((shard.compression, shard.decompressed_bytes_max), (Compression { level: 9, above_bytes: 10 }, 2_048));
    assert_eq!((&*shard.namespaces.private_prefix, &*shard.namespaces.boundary), ("!", "/"));
}

#[test]
fn messages_expand_to_ten_times_what_may_arrive_unless_it_is_said() {
    let limit = |text| options("a.toml", text).shard.decompressed_bytes_max;
    assert_eq!(limit(""), 655_360);
    assert_eq!(limit("websocket.message_size_limit = 1000"), 10_000);
    assert_eq!(limit("websocket.decompressed_message_size_limit = 1000"), 1000);
}

#[test]
fn every_channel_option_arrives() {
    let flags = [
        "presence",
        "join_leave",
        "force_push_join_leave",
        "force_positioning",
        "allow_positioning",
        "force_recovery",
        "allow_recovery",
        "allow_subscribe_for_client",
        "allow_subscribe_for_anonymous",
        "allow_publish_for_client",
        "allow_publish_for_subscriber",
        "allow_publish_for_anonymous",
        "allow_presence_for_client",
        "allow_presence_for_subscriber",
        "allow_presence_for_anonymous",
        "allow_history_for_client",
        "allow_history_for_subscriber",
        "allow_history_for_anonymous",
        "allow_user_limited_channels",
    ];
    for flag in flags {
        let text = format!(
            "[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 1\nhistory_ttl = \"2s\"\nhistory_meta_ttl = \"3s\"\n\
             {flag} = true"
        );
        let options = options("a.toml", &text);
        let chat = options.shard.namespaces.find_options("chat:1").expect("the namespace is known");
        let times = (chat.history_size, chat.history_ttl.as_secs(), chat.history_meta_ttl.as_secs());
        assert_eq!(times, (1, 2, 3));
        // The names of the fields are those of the keys, so `Debug` tells which one is set.
        let shown = format!("{chat:?}");
        assert_eq!(shown.matches("true").count(), 1, "{shown}");
        assert!(shown.contains(&format!("{flag}: true")), "{shown}");
    }
}

#[test]
fn policies_for_slow_consumers_arrive() {
    let check = |lines: &str, expected: SlowConsumerPolicy| {
        let options = options("a.toml", &format!("[channel.without_namespace]\n{lines}"));
        assert_eq!(options.shard.namespaces.without.slow_consumer_policy, expected);
    };
    check("", SlowConsumerPolicy::Disconnect);
    check("slow_consumer_policy = \"disconnect\"", SlowConsumerPolicy::Disconnect);
    check("slow_consumer_policy = \"drop_oldest\"", SlowConsumerPolicy::DropOldest);
    check(
        "slow_consumer_policy = \"conflate\"",
        SlowConsumerPolicy::Conflate { tag: None, interval_min: Duration::ZERO },
    );
    check(
        "slow_consumer_policy = \"conflate\"\nmax_rate = 4",
        SlowConsumerPolicy::Conflate { tag: None, interval_min: Duration::from_millis(250) },
    );
    check(
        "slow_consumer_policy = \"conflate\"\nconflate_tag = \"symbol\"",
        SlowConsumerPolicy::Conflate { tag: Some("symbol".into()), interval_min: Duration::ZERO },
    );
}

#[test]
fn flush_windows_arrive() {
    let check = |lines: &str, expected: Flush| {
        let options = options("a.toml", &format!("[channel.without_namespace]\n{lines}"));
        assert_eq!(options.shard.namespaces.without.flush, expected);
    };
    check("", Flush::default());
    check("flush_window = \"off\"", Flush::default());
    let fixed = Flush { window: FlushWindow::Fixed(Duration::from_micros(1500)), ..Flush::default() };
    check("flush_window = \"1.5ms\"", fixed);
    let adaptive = |budget| Flush { window: FlushWindow::Adaptive { budget }, ..Flush::default() };
    check("flush_window = \"adaptive\"", adaptive(Duration::from_millis(5)));
    check(
        "flush_window = \"adaptive\"\nflush_latency_budget = \"20ms\"\nflush_batch_max = 8\nflush_batch_bytes_max = 2048",
        Flush { batch_max: 8, batch_bytes_max: 2048, ..adaptive(Duration::from_millis(20)) },
    );
}

#[test]
fn toml_and_json_say_the_same() {
    let toml = r#"
        [http_server]
        port = "9000"
        [client]
        channel_limit = 1_000
        allowed_origins = ["*"]
        [client.token]
        hmac_secret_key = "secret"
        [http_api]
        key = "key"
        handler_prefix = "/server/api/"
        [channel.without_namespace]
        presence = true
        history_meta_ttl = "1h"
        [[channel.namespaces]]
        name = "chat"
        history_size = 10
        history_ttl = "1m"
        [[channel.namespaces]]
        name = "no-history.at_all"
        [fanfare]
        shards = 3
        workers = 2
        [node]
        name = "\u00e5"
        [health]
        enabled = true
    "#;
    let json = r#"{
        "http_server": { "port": 9000 },
        "client": { "channel_limit": "1000", "allowed_origins": "*", "token": { "hmac_secret_key": "secret" } },
        "http_api": { "key": "key", "handler_prefix": "/server/api" },
        "channel": {
            "without_namespace": { "presence": "true", "history_meta_ttl": "60m", "join_leave": null },
            "namespaces": [
                { "name": "chat", "history_size": 10, "history_ttl": "60s" },
                { "name": "no-history.at_all" }
            ]
        },
        "fanfare": { "shards": 3, "workers": 2 },
        "node": { "name": "\u00e5" },
        "health": { "enabled": true }
    }"#;
    let (toml, json) = (options("a.toml", toml), options("a.json", json));
    assert_eq!(toml.shards, 3);
    assert_eq!(toml.http.api_prefix, "/server/api");
    assert_eq!(toml.http.health_path.as_deref(), Some("/health"));
    assert_eq!(toml.api.key, Some(Secret::new("key")));
    assert_eq!(toml.node_name, "å");
    let namespaces = &toml.shard.namespaces;
    let meta_ttl = |channel| namespaces.find_options(channel).expect("it is known").history_meta_ttl.as_secs();
    assert_eq!((meta_ttl("news"), meta_ttl("chat:1")), (3_600, 720 * 3_600));
    assert_same(toml, json);
}

/// The reference page shows every supported key with its default: a file of them all.
#[test]
fn defaults_written_out_change_nothing() {
    let page = config::reference_markdown();
    let mut text = String::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let (key, default) = (cells[0].trim_start_matches("| ").trim_matches('`'), cells[2].trim_matches('`'));
        // Channel options have no path, and a namespace without a name is no default.
        if key.contains('.') && !key.contains("[]") {
            let quote = if default.starts_with(['"', '[', '{']) { "" } else { "\"" };
            text += &format!("{key} = {quote}{default}{quote}\n");
        }
    }
    assert!(text.lines().count() > 40, "{text}");
    assert_same(options("a.toml", ""), options("a.toml", &text));
}

#[test]
fn a_file_of_centrifugo_is_read_as_it_is() {
    let (options, warnings) =
        config::read("centrifugo.json", CENTRIFUGO_FILE, &Flags::default()).expect("the file is accepted");
    assert_eq!(options.internal_address.map(|address| address.port()), Some(9000));
    assert_eq!(options.http.allowed_origins, ["https://app.example.com", "https://*.example.org"]);
    assert_eq!(options.http.metrics_path.as_deref(), Some("/metrics"));
    assert_eq!(options.shard.channels_max, 512);
    assert_eq!(options.shutdown_timeout, Duration::from_secs(60));
    let chat = options.shard.namespaces.find_options("chat:1").expect("the namespace is known");
    assert!(chat.presence && chat.force_push_join_leave && chat.force_recovery && chat.allow_history_for_subscriber);
    assert_eq!((chat.history_size, chat.history_ttl.as_secs()), (100, 3_600));
    let [warning] = &warnings[..] else { panic!("one warning for all: {warnings:#?}") };
    assert_eq!(
        warning.to_string(),
        "centrifugo.json: these keys of Centrifugo do nothing here yet: \
         client.proxy (line 24), channel.proxy (line 37), \
         channel.namespaces[].subscribe_proxy_enabled (line 48), channel.namespaces[].subscribe_proxy_name (line 49), \
         rpc (line 55), proxies (line 56), consumers (line 59), sse (line 67), admin (line 69); \
         without channel.namespaces[].subscribe_proxy_enabled (line 48) \
         this node is more open than the file says"
    );
}

#[test]
fn flags_win_over_the_file() {
    let flags = Flags {
        address: Some([127, 0, 0, 2].into()),
        port: Some(9000),
        internal_port: Some(9001),
        shards: Some(4),
        ..Flags::default()
    };
    let text = "[http_server]\naddress = \"::1\"\nport = 1\ninternal_port = 2\n[fanfare]\nshards = 1\n";
    let (options, _) = config::read("a.toml", text, &flags).expect("the file is right");
    assert_eq!(options.client_address.to_string(), "127.0.0.2:9000");
    assert_eq!(options.internal_address.map(|address| address.to_string()).as_deref(), Some("127.0.0.2:9001"));
    assert_eq!(options.shards, 4);
}

#[test]
fn an_internal_address_is_another_one() {
    let internal = |lines: &str| {
        let options = options("a.toml", &format!("[http_server]\naddress = \"127.0.0.1\"\n{lines}"));
        options.internal_address.map(|address| address.to_string())
    };
    assert_eq!(internal(""), None);
    assert_eq!(internal("internal_port = 8000"), None);
    assert_eq!(internal("internal_port = \"9000\"").as_deref(), Some("127.0.0.1:9000"));
    assert_eq!(internal("internal_address = \"127.0.0.2\"").as_deref(), Some("127.0.0.2:8000"));
    assert_eq!(internal("port = 0\ninternal_port = 0").as_deref(), Some("127.0.0.1:0"), "two free ports are two");
}

#[test]
fn without_a_file_it_is_dev_mode() {
    let (options, warnings) = config::load(&Flags::default()).expect("dev mode needs nothing");
    assert_eq!(warnings, []);
    assert_eq!(options.client_address.to_string(), "127.0.0.1:8000");
    assert!(options.http.page && options.shard.allow_anonymous_connect && !options.shard.insecure);
    assert_eq!(options.http.metrics_path.as_deref(), Some("/metrics"));
    assert_eq!(options.http.allowed_origins.first().map(String::as_str), Some("http://localhost"));
    let dev = options.dev.expect("dev mode has secrets");
    assert_eq!(options.api.key.as_ref(), Some(&dev.api_key));
    assert_ne!(dev.api_key, dev.hmac_secret);
    assert!(format!("{:?}", options.shard.token_keys).contains("hmac: true, hmac_previous: false, rsa: false"));
    let (again, _) = config::load(&Flags::default()).expect("dev mode needs nothing");
    assert_ne!(again.dev.expect("dev mode has secrets").hmac_secret, dev.hmac_secret);
}

#[test]
fn dev_mode_leaves_the_machine_only_when_told() {
    let beyond = Flags { address: Some([0, 0, 0, 0].into()), ..Flags::default() };
    assert_eq!(
        config::load(&beyond).expect_err("it is refused").to_string(),
        "dev mode gives everyone every right, and 0.0.0.0:8000 can be reached from other machines\n\
         give a configuration with -c FILE, leave --address out, or add --allow-insecure"
    );
    let (options, _) = config::load(&Flags { allow_insecure: true, ..beyond }).expect("it is allowed");
    assert_eq!(options.http.allowed_origins, ["*"]);
}
