//! From the tree of all layers to options.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::access::{
    ChannelOptions, DataFormat, Flush, FlushWindow, NamePattern, Namespaces, RecoveryMode, SlowConsumerPolicy,
};
use crate::api::ErrorMode;
use crate::io::{AdmissionLimits, PortSharing};
use crate::model::Homes;
use crate::shard::{self, Compression};

use super::engines::{Engines, presence_ttl_key};
use super::flags::Flags;
use super::options::{ApiOptions, HttpOptions, LogLevel, LogOptions, MemoryLimit, Options, Secret, WorkerOptions};
use super::settings::Scope;
use super::source::Problems;
use super::values::parse_address;
use super::{check, duration, tls, tokens};

/// The options that the checked tree says; what single keys can't say is added to `problems`.
pub fn build(root: &Scope<'_>, flags: &Flags, problems: &mut Problems<'_>) -> Options {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let or_cores = |count: usize, max: usize| if count == 0 { cores.min(max) } else { count };
    let shards = or_cores(root.count("fanfare.shards"), SHARDS_MAX) as u16;
    let (client_address, internal_address) = addresses(root);
    let client_tls = tls::of_clients(root, problems);
    let internal_tls = tls::of_internal(root, client_tls.as_ref(), problems);
    let engines = Engines::read(root, problems);
    engines.check_namespaces(root, problems);
    Options {
        shards,
        client_address,
        internal_address,
        client_tls,
        internal_tls,
        http: http(root, flags),
        admission: AdmissionLimits {
            connections_max: root.count("client.connection_limit"),
            per_second: root.count("client.connection_rate_limit"),
        },
        api: ApiOptions {
            key: root.text("http_api.key").map(|key| Secret::new(&key)),
            insecure: root.flag("http_api.insecure"),
            disabled: root.flag("http_api.disabled"),
            error_mode: root.text("http_api.error_mode").and_then(|name| ErrorMode::parse(&name)).unwrap_or_default(),
            external: root.flag("http_api.external"),
        },
        shard: shard_options(root, shards, &engines, problems),
        engines: engines.options,
        workers: WorkerOptions { threads: or_cores(root.count("fanfare.workers"), usize::MAX) },
        log: LogOptions {
            level: root.text("log.level").and_then(|name| LogLevel::parse(&name)).unwrap_or(LogLevel::Info),
            file: root.text("log.file").map(Into::into),
        },
        memory_limit: memory_limit(root),
        pid_file: root.text("pid_file").map(Into::into),
        shutdown_timeout: root.duration("shutdown.timeout"),
        shutdown_grace: root.duration("shutdown.grace"),
        client_port_sharing: match root.flag("http_server.reuse_port") {
            true => PortSharing::WithOthers,
            false => PortSharing::Exclusive,
        },
        dev: None,
        node_name: root.text("node.name").unwrap_or_else(|| format!("{}_{}", host_name(), client_address.port())),
    }
}

fn memory_limit(root: &Scope<'_>) -> MemoryLimit {
    match root.text("fanfare.memory_limit").as_deref() {
        Some("off") => MemoryLimit::Off,
        // The table of keys has checked what is no name.
        Some(text) => text.parse().map_or(MemoryLimit::OfGroup, MemoryLimit::Bytes),
        None => MemoryLimit::OfGroup,
    }
}

/// The address for clients, and the internal one if it is another.
fn addresses(root: &Scope<'_>) -> (SocketAddr, Option<SocketAddr>) {
    let address = |name| root.text(name).and_then(|text| parse_address(&text));
    let port = |name| root.text(name).and_then(|text| text.parse().ok());
    let client_ip = address("http_server.address").unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let client_port = port("http_server.port").unwrap_or(0);
    let internal_ip = address("http_server.internal_address").unwrap_or(client_ip);
    let internal_port = port("http_server.internal_port");
    let client = SocketAddr::new(client_ip, client_port);
    let internal = SocketAddr::new(internal_ip, internal_port.unwrap_or(client_port));
    // Two free ports are not the same one.
    let is_other = internal != client || internal_port == Some(0);
    (client, is_other.then_some(internal))
}

fn http(root: &Scope<'_>, flags: &Flags) -> HttpOptions {
    let path = |name| root.text(name).unwrap_or_default();
    let path_if = |enabled, name| root.flag(enabled).then(|| path(name));
    HttpOptions {
        allowed_origins: root.texts("client.allowed_origins").iter().map(|origin| origin.to_lowercase()).collect(),
        user_header: root.text("client.user_id_http_header"),
        websocket_path: path("websocket.handler_prefix"),
        compression: root.flag("websocket.compression"),
        io_uring: root.flag("fanfare.io_uring"),
        api_prefix: path("http_api.handler_prefix"),
        health_path: path_if("health.enabled", "health.handler_prefix"),
        metrics_path: path_if("prometheus.enabled", "prometheus.handler_prefix"),
        page: false,
        echo: flags.echo,
    }
}

fn shard_options(root: &Scope<'_>, shards: u16, engines: &Engines, problems: &mut Problems<'_>) -> shard::Options {
    let (token_keys, subscription_token_keys) = tokens::keys(root, problems);
    shard::Options {
        homes: Homes::new(shards, random_key()),
        namespaces: Arc::new(namespaces(root, engines)),
        token_keys,
        subscription_token_keys,
        disallow_anonymous_tokens: root.flag("client.disallow_anonymous_connection_tokens"),
        allow_anonymous_connect: root.flag("client.allow_anonymous_connect_without_token"),
        insecure: root.flag("client.insecure"),
        tells_time: root.flag("client.connect_include_server_time"),
        ping_interval: root.duration("client.ping_interval"),
        pong_timeout: root.duration("client.pong_timeout"),
        unconnected_max: root.count("fanfare.unconnected_limit"),
        stale_close_delay: root.duration("client.stale_close_delay"),
        expired_close_delay: root.duration("client.expired_close_delay"),
        expired_sub_close_delay: root.duration("client.expired_sub_close_delay"),
        personal_channel_prefix: personal_channel_prefix(root, problems),
        channels_max: root.count("client.channel_limit"),
        user_connections_max: root.count("client.user_connection_limit") as u32,
        // As in Centrifugo, it belongs to the personal channel.
        has_single_connection: root.flag("client.subscribe_to_user_personal_channel.enabled")
            && root.flag("client.subscribe_to_user_personal_channel.single_connection"),
        channel_bytes_max: root.count("channel.max_length"),
        message_bytes_max: root.count("websocket.message_size_limit"),
        decompressed_bytes_max: decompressed_limit(root),
        compression: Compression {
            level: root.count("websocket.compression_level") as u8,
            above_bytes: root.count("websocket.compression_min_size"),
        },
        outbox_bytes_max: root.count("client.queue_max_size"),
        presence_update_interval: root.duration("client.presence_update_interval"),
        presence_ttl: root.duration(presence_ttl_key(root)),
        position_check_delay: root.duration("client.channel_position_check_delay"),
        history_publications_max: root.count("client.history_max_publication_limit"),
        recovery_publications_max: root.count("client.recovery_max_publication_limit"),
        write_timeout: root.duration("websocket.write_timeout"),
        memory_bytes_max: root.count("fanfare.shard_memory_limit"),
        ..shard::Options::default()
    }
}

/// What stands before a user's id in the name of its personal channel.
fn personal_channel_prefix(root: &Scope<'_>, problems: &mut Problems<'_>) -> Option<Box<str>> {
    const NAMESPACE: &str = "client.subscribe_to_user_personal_channel.personal_channel_namespace";
    if !root.flag("client.subscribe_to_user_personal_channel.enabled") {
        return None;
    }
    let user_boundary = root.text("channel.user_boundary").unwrap_or_default();
    let Some(namespace) = root.text(NAMESPACE) else { return Some(user_boundary.into()) };
    let is_known = check::namespace_scopes(root).iter().any(|scope| scope.text("name").as_deref() == Some(&*namespace));
    if !is_known {
        let message = format!("{NAMESPACE} is {namespace:?}: there is no such namespace in channel.namespaces");
        problems.add(root.span(NAMESPACE), message);
    }
    let boundary = root.text("channel.namespace_boundary").unwrap_or_default();
    Some(format!("{namespace}{boundary}{user_boundary}").into())
}

/// 0 stands for ten times the limit of what arrives, as in Centrifugo.
fn decompressed_limit(root: &Scope<'_>) -> usize {
    match root.count("websocket.decompressed_message_size_limit") {
        0 => root.count("websocket.message_size_limit") * 10,
        limit => limit,
    }
}

fn namespaces(root: &Scope<'_>, engines: &Engines) -> Namespaces {
    let options = |scope: &Scope<'_>, place| Arc::new(channel_options(root, scope, engines, place));
    let by_name: HashMap<_, _> = check::namespace_scopes(root)
        .iter()
        .zip(1..)
        .map(|(scope, place)| (scope.text("name").unwrap_or_default().into(), options(scope, place)))
        .collect();
    Namespaces {
        without: options(&root.table("channel.without_namespace"), 0),
        by_name,
        private_prefix: root.text("channel.private_prefix").unwrap_or_default().into(),
        boundary: root.text("channel.namespace_boundary").unwrap_or_default().into(),
        user_boundary: root.text("channel.user_boundary").unwrap_or_default().into(),
        user_separator: root.text("channel.user_separator").unwrap_or_default().into(),
    }
}

/// Options of one namespace; `root` says what holds for those that do not say.
fn channel_options(root: &Scope<'_>, scope: &Scope<'_>, engines: &Engines, place: usize) -> ChannelOptions {
    let data_format = |text: Option<String>| text.and_then(|name| DataFormat::parse(&name));
    let own_data_format = data_format(scope.text("publication_data_format"));
    let own_meta_ttl = Some(scope.duration("history_meta_ttl")).filter(|ttl| !ttl.is_zero());
    ChannelOptions {
        place,
        presence: scope.flag("presence"),
        join_leave: scope.flag("join_leave"),
        force_push_join_leave: scope.flag("force_push_join_leave"),
        history_size: scope.count("history_size"),
        history_ttl: scope.duration("history_ttl"),
        history_meta_ttl: own_meta_ttl.unwrap_or_else(|| root.duration("channel.history_meta_ttl")),
        force_positioning: scope.flag("force_positioning"),
        allow_positioning: scope.flag("allow_positioning"),
        force_recovery: scope.flag("force_recovery"),
        allow_recovery: scope.flag("allow_recovery"),
        recovery_mode: match scope.text("force_recovery_mode").as_deref() {
            Some("cache") => RecoveryMode::Cache,
            _ => RecoveryMode::Stream,
        },
        auto_cache_recover: scope.flag("auto_cache_recover"),
        allow_subscribe_for_client: scope.flag("allow_subscribe_for_client"),
        allow_subscribe_for_anonymous: scope.flag("allow_subscribe_for_anonymous"),
        allow_publish_for_client: scope.flag("allow_publish_for_client"),
        allow_publish_for_subscriber: scope.flag("allow_publish_for_subscriber"),
        allow_publish_for_anonymous: scope.flag("allow_publish_for_anonymous"),
        allow_presence_for_client: scope.flag("allow_presence_for_client"),
        allow_presence_for_subscriber: scope.flag("allow_presence_for_subscriber"),
        allow_presence_for_anonymous: scope.flag("allow_presence_for_anonymous"),
        allow_history_for_client: scope.flag("allow_history_for_client"),
        allow_history_for_subscriber: scope.flag("allow_history_for_subscriber"),
        allow_history_for_anonymous: scope.flag("allow_history_for_anonymous"),
        allow_user_limited_channels: scope.flag("allow_user_limited_channels"),
        // What is none is a problem that `check::namespaces` tells.
        channel_regex: scope.text("channel_regex").and_then(|text| NamePattern::parse(&text).ok()),
        publication_data_format: own_data_format
            .or_else(|| data_format(root.text("channel.publication_data_format")))
            .unwrap_or_default(),
        allows_delta: !scope.texts("allowed_delta_types").is_empty(),
        delta_publish: scope.flag("delta_publish"),
        slow_consumer_policy: slow_consumer_policy(scope),
        flush: flush(scope),
        broker: engines.broker_of(scope),
        presence_manager: engines.presence_manager_of(scope),
    }
}

fn flush(scope: &Scope<'_>) -> Flush {
    // The table of keys has checked that they are durations.
    let length = |key| scope.text(key).and_then(|text| duration::parse(&text)).unwrap_or_default();
    let window = match scope.text("flush_window").as_deref() {
        Some("off") | None => FlushWindow::Off,
        Some("adaptive") => FlushWindow::Adaptive { budget: length("flush_latency_budget") },
        Some(_) => FlushWindow::Fixed(length("flush_window")),
    };
    let (batch_max, batch_bytes_max) = (scope.count("flush_batch_max"), scope.count("flush_batch_bytes_max"));
    Flush { window, batch_max, batch_bytes_max }
}

fn slow_consumer_policy(scope: &Scope<'_>) -> SlowConsumerPolicy {
    match scope.text("slow_consumer_policy").as_deref() {
        Some("drop_oldest") => SlowConsumerPolicy::DropOldest,
        Some("conflate") => {
            let per_second = scope.count("max_rate") as u32;
            let interval_min = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
            SlowConsumerPolicy::Conflate { tag: scope.text("conflate_tag").map(Into::into), interval_min }
        }
        _ => SlowConsumerPolicy::Disconnect,
    }
}

/// For the hash that finds homes: clients must not be able to guess it.
fn random_key() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // A UUID's fixed bits are at different places of its halves.
    high ^ low
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "fanfare".into() } else { name.trim().into() }
}

/// The bound of `fanfare.shards`.
const SHARDS_MAX: usize = 128;
