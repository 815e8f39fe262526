//! Rules that no single key can break: how options must relate, and what may face the world.

use std::net::SocketAddr;
use std::time::Duration;

use crate::access::NamePattern;
use crate::io::AllowedOrigins;

use super::engines::presence_ttl_key;
use super::options::{HttpOptions, Options};
use super::settings::Scope;
use super::source::{Problems, Span};
use super::tokens;

/// Everything that a tree of right values can still have wrong.
pub fn all(root: &Scope<'_>, options: &Options, allow_insecure: bool, problems: &mut Problems<'_>) {
    relations(root, problems);
    origins(root, problems);
    namespaces(root, problems);
    tokens::user_header(root, problems);
    paths(root, &options.http, problems);
    ports(root, options, problems);
    exposure(root, options, allow_insecure, problems);
}

/// Timers that must fire in order.
fn relations(root: &Scope<'_>, problems: &mut Problems<'_>) {
    let mut less = |short: &str, long: &str, reason: &str| {
        if root.duration(short) >= root.duration(long) {
            let span = root.span(short).or(root.span(long));
            problems.add(span, format!("{short} must be less than {long}: {reason}"));
        }
    };
    less("client.pong_timeout", "client.ping_interval", "a pong belongs to the last ping");
    if !root.duration("shutdown.grace").is_zero() {
        less("shutdown.grace", "shutdown.timeout", "the rest of the time is for clients to go");
    }
    less("client.presence_update_interval", presence_ttl_key(root), "presence would run out before it is updated");
}

fn origins(root: &Scope<'_>, problems: &mut Problems<'_>) {
    for pattern in root.texts("client.allowed_origins") {
        if let Err(bad) = AllowedOrigins::parse([pattern.as_str()]) {
            problems.add(root.span("client.allowed_origins"), format!("client.{bad}"));
        }
    }
}

/// One port can't be bound at every address and at one of them.
fn ports(root: &Scope<'_>, options: &Options, problems: &mut Problems<'_>) {
    let Some(internal) = options.internal_address else { return };
    let client = options.client_address;
    let takes_all =
        |one: SocketAddr, other: SocketAddr| one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    if client.port() == internal.port()
        && client.port() != 0
        && (takes_all(client, internal) || takes_all(internal, client))
    {
        let span = root.span("http_server.internal_port").or(root.span("http_server.internal_address"));
        let message = format!(
            "the internal port {internal} collides with the clients' {client}: give it a number or an address of its own"
        );
        problems.add(span, message);
    }
}

/// The tables of `channel.namespaces`.
pub fn namespace_scopes<'a>(root: &Scope<'a>) -> Vec<Scope<'a>> {
    root.tables("channel.namespaces", "channel.namespaces[]")
}

/// Names and options of all namespaces, and the options without one.
fn namespaces(root: &Scope<'_>, problems: &mut Problems<'_>) {
    let node_meta_ttl = root.duration("channel.history_meta_ttl");
    whole_seconds(root, "channel.history_meta_ttl", problems);
    let without = root.table("channel.without_namespace");
    history(&without, "channel.without_namespace", node_meta_ttl, problems);
    slow_consumers(&without, "channel.without_namespace", problems);
    windows(&without, "channel.without_namespace", problems);
    deltas(&without, "channel.without_namespace", problems);
    channel_names(root, &without, "channel.without_namespace", problems);
    let mut names: Vec<String> = Vec::new();
    for scope in namespace_scopes(root) {
        let Some(name) = scope.text("name") else {
            problems.add(scope.start(), "a namespace needs a name");
            continue;
        };
        if !is_namespace_name(&name) {
            let message =
                format!("the namespace name {name:?} should be two or more of letters, digits, \"-\", \"_\", \".\"");
            problems.add(scope.span("name"), message);
        }
        let boundary = root.text("channel.namespace_boundary").unwrap_or_default();
        if !boundary.is_empty() && name.contains(&boundary) {
            let message = format!(
                "no channel can be in the namespace {name:?}: channel.namespace_boundary {boundary:?} ends its name"
            );
            problems.add(scope.span("name"), message);
        }
        if names.contains(&name) {
            problems.add(scope.span("name"), format!("there is another namespace {name:?}"));
        }
        let owner = format!("namespace {name:?}");
        history(&scope, &owner, node_meta_ttl, problems);
        slow_consumers(&scope, &owner, problems);
        windows(&scope, &owner, problems);
        deltas(&scope, &owner, problems);
        channel_names(root, &scope, &owner, problems);
        names.push(name);
    }
}

/// Centrifugo's pattern `^[-a-zA-Z0-9_.]{2,}$`.
fn is_namespace_name(name: &str) -> bool {
    name.len() >= 2 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn history(scope: &Scope<'_>, owner: &str, node_meta_ttl: Duration, problems: &mut Problems<'_>) {
    let (size, ttl) = (scope.count("history_size"), scope.duration("history_ttl"));
    let meta_ttl = Some(scope.duration("history_meta_ttl")).filter(|ttl| !ttl.is_zero()).unwrap_or(node_meta_ttl);
    whole_seconds(scope, "history_ttl", problems);
    whole_seconds(scope, "history_meta_ttl", problems);
    if (size == 0) != ttl.is_zero() {
        let (set, unset) = if size > 0 { ("history_size", "history_ttl") } else { ("history_ttl", "history_size") };
        problems.add(scope.span(set), format!("{owner} has {set} but no {unset}: history needs both"));
    } else if size == 0 && scope.flag("force_recovery") {
        let message = format!("{owner} has force_recovery but no history: it needs history_size and history_ttl");
        problems.add(scope.span("force_recovery"), message);
    } else if size == 0 && scope.flag("allow_recovery") {
        problems
            .warn(scope.span("allow_recovery"), format!("{owner} has allow_recovery but no history to recover from"));
    }
    if scope.flag("auto_cache_recover") && scope.text("force_recovery_mode").as_deref() != Some("cache") {
        let message = format!("{owner} has auto_cache_recover, which needs force_recovery_mode to be \"cache\"");
        problems.add(scope.span("auto_cache_recover"), message);
    }
    if ttl > meta_ttl {
        let message =
            format!("{owner} has a history_ttl longer than history_meta_ttl: offsets would be forgotten first");
        problems.add(scope.span("history_meta_ttl").or(scope.span("history_ttl")), message);
    }
}

fn windows(scope: &Scope<'_>, owner: &str, problems: &mut Problems<'_>) {
    let window = scope.text("flush_window").unwrap_or_default();
    let needs = |key: &str, needed: &str, is_met: bool, problems: &mut Problems<'_>| {
        if !is_met
            && !scope.is_default(key)
            && let Some(span) = scope.span(key)
        {
            let message = format!("{owner} has {key}, but its flush_window is {window:?}: it needs {needed}");
            problems.add(Some(span), message);
        }
    };
    needs("flush_latency_budget", "\"adaptive\"", window == "adaptive", problems);
    needs("flush_batch_max", "a window", window != "off", problems);
    needs("flush_batch_bytes_max", "a window", window != "off", problems);
}

/// A publication that is left out would be missing as the base of the next one.
fn deltas(scope: &Scope<'_>, owner: &str, problems: &mut Problems<'_>) {
    let policy = scope.text("slow_consumer_policy").unwrap_or_default();
    let allows_delta = !scope.texts("allowed_delta_types").is_empty();
    if allows_delta && policy != "disconnect" {
        let message = format!(
            "{owner} has allowed_delta_types, but its slow_consumer_policy is {policy:?}: a subscriber must be given \
             every publication to read the next one as the difference from it, so it needs \"disconnect\""
        );
        problems.add(scope.span("allowed_delta_types"), message);
    }
    if !allows_delta && scope.flag("delta_publish") {
        problems.warn(
            scope.span("delta_publish"),
            format!("{owner} has delta_publish but no allowed_delta_types: nobody is given deltas"),
        );
    }
}

fn channel_names(root: &Scope<'_>, scope: &Scope<'_>, owner: &str, problems: &mut Problems<'_>) {
    if scope.flag("allow_user_limited_channels") && root.text("channel.user_boundary").is_none() {
        problems.warn(
            scope.span("allow_user_limited_channels"),
            format!("{owner} has allow_user_limited_channels, but channel.user_boundary is empty: no name has users"),
        );
    }
    if let Some(Err(problem)) = scope.text("channel_regex").map(|text| NamePattern::parse(&text)) {
        problems.add(scope.span("channel_regex"), format!("the channel_regex of {owner} {problem}"));
    }
}

fn slow_consumers(scope: &Scope<'_>, owner: &str, problems: &mut Problems<'_>) {
    let policy = scope.text("slow_consumer_policy").unwrap_or_default();
    if scope.text("conflate_tag").is_some() && policy != "conflate" {
        let message =
            format!("{owner} has conflate_tag, but its slow_consumer_policy is {policy:?}: it needs \"conflate\"");
        problems.add(scope.span("conflate_tag"), message);
    }
    if scope.count("max_rate") == 0 {
        return;
    }
    if policy != "conflate" {
        let message =
            format!("{owner} has max_rate, but its slow_consumer_policy is {policy:?}: it needs \"conflate\"");
        problems.add(scope.span("max_rate"), message);
    }
    for key in ["force_positioning", "force_recovery"] {
        if scope.flag(key) {
            let message = format!(
                "{owner} has max_rate and {key}: every subscription would be sent back (2500) whenever a publication \
                 is left out"
            );
            problems.add(scope.span("max_rate"), message);
        }
    }
}

fn whole_seconds(scope: &Scope<'_>, key: &str, problems: &mut Problems<'_>) {
    if scope.duration(key).subsec_nanos() > 0 {
        problems.add(scope.span(key), format!("{key} is counted in whole seconds"));
    }
}

/// Two things can't be served at one path.
fn paths(root: &Scope<'_>, http: &HttpOptions, problems: &mut Problems<'_>) {
    let mut taken: Vec<(&str, &str)> = vec![("/livez", "the health of the process"), ("/readyz", "readiness")];
    let paths = [
        ("websocket.handler_prefix", Some(&http.websocket_path)),
        ("http_api.handler_prefix", Some(&http.api_prefix)),
        ("prometheus.handler_prefix", http.metrics_path.as_ref()),
        ("health.handler_prefix", http.health_path.as_ref()),
    ];
    for (key, path) in paths {
        let Some(path) = path else { continue };
        match taken.iter().find(|(other, _)| other == path) {
            Some((_, owner)) => problems.add(root.span(key), format!("{key} is {path:?}, the path of {owner}")),
            None => taken.push((path, key)),
        }
    }
}

/// What gives rights to everyone must not be reachable from other machines by accident.
fn exposure(root: &Scope<'_>, options: &Options, allow_insecure: bool, problems: &mut Problems<'_>) {
    let client = options.client_address;
    let api = match options.internal_address {
        Some(internal) if !options.api.external => internal,
        _ => client,
    };
    let mut refuse = |span: Option<Span>, what: &str, address: SocketAddr, key: &str| {
        let message = format!("{what}, and {address} can be reached from other machines");
        problems.add_with_help(span, message, problems.listen_on_loopback(key));
    };
    if options.shard.insecure && !client.ip().is_loopback() && !allow_insecure {
        refuse(root.span("client.insecure"), "client.insecure gives everyone every right", client, "address");
    }
    let is_unchecked = options.shard.token_keys.skip_signatures() && !client.ip().is_loopback();
    if is_unchecked && !allow_insecure {
        let key = "client.insecure_skip_token_signature_verify";
        refuse(root.span(key), &format!("{key} lets everyone be whoever he says"), client, "address");
    }
    if options.api.insecure && !options.api.disabled && !api.ip().is_loopback() && !allow_insecure {
        let key = if api == client { "address" } else { "internal_address" };
        refuse(root.span("http_api.insecure"), "http_api.insecure lets everyone call the API", api, key);
    }
    // Conformance tests run beside the node: there is no reason to allow this anywhere else.
    if options.http.echo && !client.ip().is_loopback() {
        problems.add(None, format!("--echo is for tests on this machine, and {client} can be reached from others"));
    }
}
