//! Which engines a file asks for, and what is said about those that can't be.

use std::time::Duration;

use fanfare::config::{
    self, DiskAck, Duties, EngineSettings, EnginesOptions, Flags, JetStream, NatsLogin, NatsSettings, RedisPlace,
    RedisSettings, Secret,
};
use fanfare::model::EngineIndex;

use super::{error, options, read_under};

fn engines(text: &str) -> EnginesOptions {
    options("a.toml", text).engines
}

/// The one engine of a file.
fn only(text: &str) -> EngineSettings {
    let [engine] = &engines(text).started[..] else { panic!("one engine: {text}") };
    engine.settings.clone()
}

fn redis(text: &str) -> RedisSettings {
    match only(text) {
        EngineSettings::Redis(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

fn nats(text: &str) -> NatsSettings {
    match only(text) {
        EngineSettings::Nats(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

/// Expects these first lines of problems, without the excerpts below them.
#[track_caller]
fn check_lines(text: &str, expected: &[&str]) {
    let error = error("a.toml", text, &Flags::default());
    let lines: Vec<&str> = error.lines().filter_map(|line| line.strip_prefix("a.toml:")).collect();
    assert_eq!(lines, expected, "{text}");
}

const MEMORY: EngineIndex = EngineIndex::MEMORY;
const FIRST: EngineIndex = EngineIndex(1);
const SECOND: EngineIndex = EngineIndex(2);

#[test]
fn nothing_asks_for_an_engine_by_itself() {
    assert_eq!(engines(""), EnginesOptions::default());
    assert_eq!(engines("engine.type = \"memory\"\nbroker.enabled = true").started, []);
}

#[test]
fn one_engine_does_everything() {
    let all = engines("engine.type = \"redis\"");
    assert_eq!((all.broker, all.presence_manager, all.control), (FIRST, FIRST, FIRST));
    let [engine] = &all.started[..] else { panic!("{all:?}") };
    assert_eq!((engine.name.as_str(), engine.settings.kind()), ("engine", "redis"));
    assert_eq!(engine.duties, Duties { publications: true, presence: true, control: true });

    let disk = engines("engine.type = \"disk\"\nengine.disk.path = \"/var/lib/fanfare\"");
    assert_eq!((disk.broker, disk.presence_manager, disk.control), (FIRST, MEMORY, MEMORY));
    let EngineSettings::Disk(settings) = &disk.started[0].settings else { panic!("{disk:?}") };
    assert_eq!((settings.ack, settings.segment_bytes, settings.bytes_max), (DiskAck::Memory, 64 << 20, 4 << 30));
}

#[test]
fn parts_are_put_on_others() {
    let all = engines(
        "engine.type = \"redis\"\n[broker]\nenabled = true\ntype = \"nats\"\n[controller]\nenabled = true\ntype = \"redis\"",
    );
    let kinds: Vec<_> = all.started.iter().map(|engine| (engine.name.as_str(), engine.settings.kind())).collect();
    assert_eq!(kinds, [("broker", "nats"), ("engine", "redis")]);
    assert_eq!((all.broker, all.presence_manager, all.control), (FIRST, SECOND, SECOND), "the same Redis");
    assert_eq!(all.started[1].duties, Duties { publications: false, presence: true, control: true });

    let presence = engines("[presence_manager]\nenabled = true\ntype = \"redis\"");
    assert_eq!((presence.broker, presence.presence_manager, presence.control), (MEMORY, FIRST, FIRST));
}

#[test]
fn the_same_settings_are_one_engine() {
    let text = "[engine]\ntype = \"nats\"\nnats.url = \"nats://a\"\n[broker]\nenabled = true\ntype = \"nats\"\n\
                nats.url = \"a:4222\"\nnats.allow_wildcards = true\n";
    let all = engines(text);
    let [engine] = &all.started[..] else { panic!("{all:?}") };
    let EngineSettings::Nats(settings) = &engine.settings else { panic!("{all:?}") };
    assert!(settings.subjects.as_ref().is_some_and(|subjects| subjects.allow_wildcards));
    let other = engines(&text.replace("a:4222", "b:4222"));
    assert_eq!((other.started.len(), other.broker, other.presence_manager), (2, FIRST, SECOND));
}

#[test]
fn namespaces_choose_by_name() {
    let text = "
        [engine]
        type = \"redis\"
        [[brokers]]
        name = \"ticks\"
        enabled = true
        type = \"nats\"
        [[brokers]]
        name = \"local\"
        enabled = true
        [[presence_managers]]
        name = \"local\"
        enabled = true
    ";
    let all = engines(text);
    assert_eq!((all.broker, all.presence_manager, all.control), (FIRST, FIRST, FIRST));
    assert_eq!(all.started.iter().map(|engine| engine.name.as_str()).collect::<Vec<_>>(), ["engine", "ticks"]);
    let chosen = |lines: &str| {
        let text = format!("{text}\n[[channel.namespaces]]\nname = \"chat\"\n{lines}");
        let namespaces = options("a.toml", &text).shard.namespaces;
        let chat = namespaces.find_options("chat:1").expect("it is known");
        (chat.broker, chat.presence_manager)
    };
    assert_eq!(chosen(""), (FIRST, FIRST));
    assert_eq!(chosen("broker_name = \"ticks\"\npresence_manager_name = \"local\""), (SECOND, MEMORY));
    assert_eq!(chosen("broker_name = \"local\""), (MEMORY, FIRST));
    check_lines(
        "[[brokers]]\nname = \"ticks\"\n[[channel.namespaces]]\nname = \"a1\"\nbroker_name = \"ticks\"\n\
         [[channel.namespaces]]\nname = \"a2\"\nbroker_name = \"tick\"\n\
         [channel.without_namespace]\npresence_manager_name = \"x\"",
        &[
            "5:15: namespace \"a1\" has broker_name \"ticks\", which is not enabled: set enabled = true in brokers",
            "8:15: namespace \"a2\" has broker_name \"tick\", and brokers has none of that name; did you mean \"ticks\"?",
            "10:25: channel.without_namespace has presence_manager_name \"x\", and presence_managers has none of that \
             name: presence_managers is empty",
        ],
    );
    check_lines(
        "[[brokers]]\nname = \"a\"\n[[brokers]]\nname = \"a\"\n[[brokers]]\nenabled = true",
        &["4:8: there is another \"a\" in brokers", "6:1: an item of brokers needs a name"],
    );
}

#[test]
fn redis_is_anywhere() {
    let read = |address: &str| redis(&format!("engine.type = \"redis\"\nengine.redis.address = {address:?}"));
    let place = |address: &str| read(address).places.remove(0);
    assert_eq!(place("10.0.0.1"), RedisPlace::At("10.0.0.1:6379".into()));
    let full = read("rediss://ann:p%40ss@cache.example:7000/3");
    assert_eq!((full.login.user.as_deref(), full.login.password, full.db), (Some("ann"), Some(Secret::new("p@ss")), 3));
    assert!(full.tls.is_some());
    assert_eq!(full.places, [RedisPlace::At("cache.example:7000".into())]);
    assert_eq!(place("unix:///run/redis.sock?db=2"), RedisPlace::Socket("/run/redis.sock".into()));
    assert_eq!(read("unix:///run/redis.sock?db=2").db, 2);
    let cluster = place("redis+cluster://a:1,b:2?addr=c:3");
    assert_eq!(cluster, RedisPlace::Cluster(vec!["a:1".into(), "b:2".into(), "c:3".into()]));
    let RedisPlace::Sentinels(sentinels) = place("redis+sentinel://a,b:2/main?sentinel_password=x") else {
        panic!("sentinels")
    };
    assert_eq!((sentinels.addresses, sentinels.master.as_str()), (vec!["a:26379".into(), "b:2".into()], "main"));
    assert_eq!(sentinels.login.password, Some(Secret::new("x")));
}

#[test]
fn redis_has_centrifugos_keys() {
    let settings = redis(
        "[engine]\ntype = \"redis\"\n[engine.redis]\nsentinel_address = [\"a:1,b:2\", \"c:3\"]\n\
         sentinel_master_name = \"main\"\nsentinel_user = \"s\"\nuser = \"u\"\npassword = \"p\"\ndb = 4\nprefix = \"x\"\n\
         client_name = \"n\"\nconnect_timeout = \"2s\"\nio_timeout = \"3s\"\ntls.enabled = true\n\
         tls.server_name = \"cache\"\npresence_ttl = \"90s\"\npresence_user_mapping = true",
    );
    let [RedisPlace::Sentinels(sentinels), RedisPlace::Sentinels(_)] = &settings.places[..] else { panic!("two") };
    assert_eq!((sentinels.addresses.join(" "), sentinels.login.user.as_deref()), ("a:1 b:2".into(), Some("s")));
    assert_eq!(sentinels.tls, None, "they have a table of their own");
    let login = settings.login;
    assert_eq!((login.user.as_deref(), login.password, settings.db), (Some("u"), Some(Secret::new("p")), 4));
    assert_eq!(settings.tls.and_then(|tls| tls.server_name).as_deref(), Some("cache"));
    assert_eq!((settings.prefix.as_str(), login.client_name.as_deref()), ("x", Some("n")));
    assert_eq!((settings.connect_timeout.as_secs(), settings.io_timeout.as_secs()), (2, 3));

    let several = redis("engine.type = \"redis\"\nengine.redis.address = [\"a\", \"b\"]").places;
    assert_eq!(several.len(), 2);
    let clusters = redis("engine.type = \"redis\"\nengine.redis.cluster_address = \"a:1,b:2\"").places;
    assert_eq!(clusters, [RedisPlace::Cluster(vec!["a:1".into(), "b:2".into()])]);
    check_lines(
        "engine.type = \"redis\"\nengine.redis.address = [\"redis://a:b@c\", \"d/2\"]\n",
        &["2:24: engine.redis.address has \"d/2\": login, database, TLS and replicas are as in the rest of the list"],
    );
}

#[test]
fn replicas_and_presence_of_redis_are_as_in_centrifugo() {
    let read = |lines: &str| {
        let settings = redis(&format!("[engine]\ntype = \"redis\"\n{lines}"));
        (settings.reads_replicas, settings.has_presence_fields)
    };
    assert_eq!(read(""), (false, false));
    assert_eq!(read("redis.replica_client.enabled = true\nredis.presence_hash_field_ttl = true"), (true, true));
    assert_eq!(read("redis.address = \"redis+cluster://a?replica_client_enabled=true\""), (true, false));
    check_lines(
        "engine.type = \"redis\"\nengine.redis.address = [\"redis://a?replica_client_enabled=yes\"]\n",
        &[
            "2:24: engine.redis.address has \"redis://a?replica_client_enabled=yes\": the parameter replica_client_enabled is \
           \"yes\"; it should be true or false",
        ],
    );
}

#[test]
fn what_is_done_otherwise_than_by_centrifugo_is_explained() {
    let text = "[engine]\ntype = \"redis\"\n[engine.redis]\nforce_resp2 = true\nhistory_use_lists = true\n\
                [engine.redis.tls]\nclient_ca_pem = \"ca.pem\"\n";
    let (_, warnings) = config::read("a.toml", text, &Flags::default()).expect("it is accepted");
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "a.toml:5: engine.redis.history_use_lists does nothing here: history is in streams, which every Redis since 5.0 \
             has; lists can't be paged or recovered from",
            "a.toml:7: engine.redis.tls.client_ca_pem does nothing here: this node is the client there, and checks the \
             server: see server_ca_pem",
        ]
    );
    let defaults =
        "engine.type = \"redis\"\nengine.redis.history_use_lists = false\nengine.redis.force_resp2 = false\n";
    assert_eq!(config::read("a.toml", defaults, &Flags::default()).expect("it is accepted").1, []);
}

#[test]
fn presence_outlives_as_long_as_one_of_both_says() {
    let ttl = |text: &str| options("a.toml", text).shard.presence_ttl;
    let of_redis = "engine.type = \"redis\"\nengine.redis.presence_ttl = \"90s\"\n";
    assert_eq!(ttl(of_redis), Duration::from_secs(90));
    assert_eq!(ttl(&format!("{of_redis}fanfare.presence_ttl = \"70s\"")), Duration::from_secs(70));
    check_lines(
        &of_redis.replace("90s", "20s"),
        &["2:29: client.presence_update_interval must be less than engine.redis.presence_ttl: \
           presence would run out before it is updated"],
    );
}

#[test]
fn addresses_that_are_none_are_told_at_once_and_without_passwords() {
    let text = "[engine]\ntype = \"redis\"\nredis.address = [\"http://a:pw@b\", \"a:99999\", \"redis://a,b\", \"a\", \"a\"]\n\
                [broker]\nenabled = true\ntype = \"redis\"\nredis.sentinel_address = \"a\"\n\
                [controller]\nenabled = true\ntype = \"nats\"\nnats.url = \"nats://a:b@c/d\"\n";
    check_lines(
        text,
        &[
            "3:17: engine.redis.address has \"http://a:***@b\": the scheme \"http\" is none of redis, rediss, \
             redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster, unix",
            "3:17: engine.redis.address has \"a:99999\": \"a:99999\" is no host and port",
            "3:17: engine.redis.address has \"redis://a,b\": it names several hosts: write each server as an item of the \
             list, or redis+cluster://",
            "3:17: engine.redis.address names \"a\" twice",
            "7:26: broker.redis.sentinel_address has \"a\": Sentinels are asked for a master by its name: \
             set sentinel_master_name",
            "11:12: controller.nats.url has \"nats://a:***@c/d\": nothing may follow the port",
        ],
    );
}

#[test]
fn nats_is_asked_in_one_name() {
    let settings = nats("engine.type = \"nats\"\nengine.nats.url = \"nats://ann:pw@a,tls://b:1\"");
    assert_eq!(settings.servers, ["a:4222", "b:1"]);
    assert_eq!(settings.login, NatsLogin::User("ann".into(), Secret::new("pw")));
    assert!(settings.tls.is_some());
    assert_eq!((settings.replicas, settings.jetstream), (1, JetStream::Auto));
    let login = |line: &str| nats(&format!("engine.type = \"nats\"\nengine.nats.{line}")).login;
    assert_eq!(login("url = \"nats://word@a\""), NatsLogin::Token(Secret::new("word")));
    assert_eq!(login("nkey_seed = \"SU\""), NatsLogin::NKey(Secret::new("SU")));
    assert_eq!(login("prefix = \"x\""), NatsLogin::Nobody);
    check_lines(
        "[engine]\ntype = \"nats\"\n[engine.nats]\ntoken = \"a\"\ncredentials_file = \"/no/such\"",
        &["5:20: engine.nats.credentials_file stands beside a login in nats.token: one of them says who this node is"],
    );
    check_lines(
        "[engine]\ntype = \"nats\"\nnats.credentials_file = \"/no/such\"",
        &["3:25: engine.nats.credentials_file can't be read: /no/such: No such file or directory (os error 2)"],
    );
}

#[test]
fn raw_subjects_are_replaced_in_order() {
    let text = "[broker]\nenabled = true\ntype = \"nats\"\n[broker.nats.raw_mode]\nenabled = true\nprefix = \"in.\"\n\
                channel_replacements = { \":\" = \".\" }";
    let raw = nats(text).subjects.and_then(|subjects| subjects.raw).expect("it is raw");
    assert_eq!((raw.prefix.as_str(), raw.replacements), ("in.", vec![(":".into(), ".".into())]));
    check_lines(
        &text.replace("{ \":\" = \".\" }", "[1]"),
        &["7:24: broker.nats.raw_mode.channel_replacements is a list; it should be a table of texts"],
    );
}

#[test]
fn what_namespaces_need_their_engine_keeps() {
    let text = "[engine]\ntype = \"nats\"\nnats.jetstream = \"off\"\n[[channel.namespaces]]\nname = \"chat\"\n\
                presence = true\nhistory_size = 10\nhistory_ttl = \"1m\"";
    check_lines(
        text,
        &[
            "6:12: namespace \"chat\" has presence, and its engine \"engine\" is NATS with jetstream = \"off\": \
             set nats.jetstream = \"auto\" there, or take another one by presence_manager_name",
            "7:16: namespace \"chat\" has history, and its engine \"engine\" is NATS with jetstream = \"off\", which \
             keeps nothing: take another one by broker_name",
        ],
    );
    options("a.toml", &text.replace("off", "on"));
}

#[test]
fn the_disk_needs_a_place_and_room() {
    check_lines("[engine]\ntype = \"disk\"", &["2:8: engine.disk.path is missing: where should the log be?"]);
    check_lines(
        "[engine]\ntype = \"disk\"\n[engine.disk]\npath = \"/a\"\nack = \"never\"\nbytes_max = 67108864",
        &[
            "5:7: engine.disk.ack is \"never\"; it should be one of \"memory\", \"fsync\"",
            "6:13: engine.disk.bytes_max is 67108864; it should be at least 1073741824, 16 files of disk.segment_bytes \
             (67108864), or these at most 4194304",
        ],
    );
    let fitting =
        "[engine]\ntype = \"disk\"\n[engine.disk]\npath = \"/a\"\nsegment_bytes = 4194304\nbytes_max = 67108864";
    options("a.toml", fitting);
    let twice = "[[brokers]]\nname = \"a\"\nenabled = true\ntype = \"disk\"\ndisk.path = \"/a\"\n";
    let twice = format!("{twice}{}disk.ack = \"fsync\"", twice.replace("\"a\"", "\"b\""));
    let said = error("a.toml", &twice, &Flags::default());
    assert_eq!(said, "a.toml: the engines \"a\" and \"b\" have other settings and the same disk.path /a");
}

#[test]
fn types_are_those_that_can_do_it() {
    check_lines(
        "presence_manager.type = \"disk\"\ncontroller.enabled = true\nbroker.type = \"postgres\"",
        &[
            "1:25: presence_manager.type is \"disk\"; it should be one of \"memory\", \"redis\", \"nats\"",
            "2:22: controller.enabled is true, and there is no controller.type",
            "3:15: broker.type is \"postgres\"; it should be one of \"memory\", \"disk\", \"redis\", \"nats\"",
        ],
    );
}

#[test]
fn what_nothing_reads_is_said() {
    let advice = |text: &str| {
        let found = read_under(text, "", &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
        let texts = found.advice.iter().map(ToString::to_string).filter(|text| text.contains("is not used"));
        texts.filter_map(|text| Some(text.split_once(".toml:")?.1.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(
        advice("[engine]\nredis.address = \"a\"\n[broker]\ntype = \"nats\"\nnats.url = \"a\""),
        [
            "2: engine.redis is not used: engine.type is \"memory\"",
            "5: broker.nats is not used: broker.enabled is false",
        ],
    );
    assert_eq!(advice("[engine]\ntype = \"redis\"\nredis.address = \"a\""), [""; 0]);
}

#[test]
fn the_environment_says_it_too() {
    let secret = tempfile::NamedTempFile::new().expect("there is room for a file");
    std::fs::write(secret.path(), "rediss://:hunter@a:1\n").expect("it can be written");
    let variables = format!(
        "CENTRIFUGO_ENGINE_TYPE=redis\nFANFARE_ENGINE_REDIS_ADDRESS_FILE={}\nFANFARE_BROKER_ENABLED=true\n\
         FANFARE_BROKER_TYPE=nats\nFANFARE_BROKER_NATS_URL=a b:1\n\
         FANFARE_BROKER_NATS_RAW_MODE_CHANNEL_REPLACEMENTS={{\":\": \".\"}}\nFANFARE_BROKERS=ticks\n\
         FANFARE_BROKERS_TICKS_TYPE=redis\nFANFARE_BROKERS_TICKS_REDIS_PASSWORD=x\nFANFARE_BROKERS_TICKS_ENABLED=1",
        secret.path().display()
    );
    let read = read_under("", &variables, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
    let started = &read.options.engines.started;
    let places: Vec<_> = started.iter().map(|engine| engine.settings.place()).collect();
    assert_eq!(places, ["a:4222, b:1", "a:1", "127.0.0.1:6379"]);
    let EngineSettings::Redis(settings) = &started[1].settings else { panic!("{started:?}") };
    assert_eq!(settings.login.password, Some(Secret::new("hunter")));

    let shown = config::show_toml(&read);
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("channel_replacements = { \":\" = \".\" }"), "{shown}");
    assert!(shown.contains("address = \"rediss://:***@a:1\""), "{shown}");
    assert!(!shown.contains("[controller.redis]"), "tables in which nothing is set are left out: {shown}");
}

#[test]
fn the_examples_of_the_page_are_taken() {
    let page = include_str!("../../docs/engines.md");
    let examples: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let started: Vec<usize> = examples.iter().map(|text| engines(text).started.len()).collect();
    assert_eq!(started, [1, 1, 1, 1, 2]);
}
