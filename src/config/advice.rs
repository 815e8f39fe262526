//! Configurations that are right, and leave a hub that hardly anybody can want: nobody may connect,
//! an option that opens nothing, a secret that is soon guessed.

use super::check::namespace_scopes;
use super::engines;
use super::options::{MemoryLimit, Options};
use super::settings::Scope;
use super::source::{Problems, Source, Warning};

/// What an operator should hear at the start, and `config check` says.
pub fn all(root: &Scope<'_>, options: &Options, source: &Source) -> Vec<Warning> {
    let mut advice = Problems::new(source);
    let is_public = !options.client_address.ip().is_loopback();
    doors(root, options, &mut advice);
    if is_public {
        secrets(root, &mut advice);
    }
    tls(root, options, &mut advice);
    compression(root, &mut advice);
    memory(root, options, &mut advice);
    origins(root, &mut advice);
    for (span, message) in engines::unused(root) {
        advice.warn(Some(span), message);
    }
    personal_channels(root, &mut advice);
    channel(&root.table("channel.without_namespace"), "channel.without_namespace", &mut advice);
    for scope in namespace_scopes(root) {
        let owner = format!("namespace {:?}", scope.text("name").unwrap_or_default());
        channel(&scope, &owner, &mut advice);
    }
    advice.into_result().unwrap_or_default()
}

/// Whether anybody can come in at all.
fn doors(root: &Scope<'_>, options: &Options, advice: &mut Problems<'_>) {
    let has_token_key = TOKEN_KEYS.iter().any(|key| root.is_set(key));
    if !has_token_key && !options.shard.allow_anonymous_connect && !options.shard.insecure {
        advice.warn(
            None,
            "no client can connect: there is no key for tokens (client.token.*), and \
             client.allow_anonymous_connect_without_token is false",
        );
    }
    if options.api.key.is_none() && !options.api.insecure && !options.api.disabled {
        let message = "the server API refuses every request: set http_api.key, or http_api.disabled = true";
        advice.warn(None, message);
    }
}

/// Secrets of a hub that other machines reach.
fn secrets(root: &Scope<'_>, advice: &mut Problems<'_>) {
    let (api, hmac) = (root.text("http_api.key"), root.text("client.token.hmac_secret_key"));
    for (key, secret) in [("http_api.key", &api), ("client.token.hmac_secret_key", &hmac)] {
        if secret.as_ref().is_some_and(|secret| secret.len() < SECRET_BYTES_MIN) {
            let message =
                format!("{key} has less than {SECRET_BYTES_MIN} bytes: `fanfare config init` makes good ones");
            advice.warn(root.span(key), message);
        }
    }
    if api.is_some() && api == hmac {
        let message = "http_api.key and client.token.hmac_secret_key are the same: who may publish may be anybody";
        advice.warn(root.span("http_api.key"), message);
    }
}

fn tls(root: &Scope<'_>, options: &Options, advice: &mut Problems<'_>) {
    for table in ["http_server.tls", "http_server.internal_tls"] {
        let (enabled, certificate) = (format!("{table}.enabled"), format!("{table}.cert_pem"));
        if root.is_set(&certificate) && !root.flag(&enabled) {
            let message = format!("{certificate} is not used: {enabled} is false");
            advice.warn(root.span(&certificate), message);
        }
    }
    let enabled = "http_server.internal_tls.enabled";
    if root.flag(enabled) && options.internal_address.is_none() {
        advice
            .warn(root.span(enabled), "there is no internal port that could speak TLS: set http_server.internal_port");
    }
}

fn compression(root: &Scope<'_>, advice: &mut Problems<'_>) {
    let is_on = root.flag("websocket.compression");
    for key in ["websocket.compression_level", "websocket.compression_min_size"] {
        if root.is_set(key) && !is_on {
            advice.warn(root.span(key), format!("{key} does nothing: websocket.compression is false"));
        }
    }
    let (whole, expanded) = ("websocket.message_size_limit", "websocket.decompressed_message_size_limit");
    if is_on && (1..root.count(whole)).contains(&root.count(expanded)) {
        let message = format!("{expanded} is less than {whole}: compressed messages have less room than others");
        advice.warn(root.span(expanded), message);
    }
    if is_on && root.count("websocket.compression_min_size") >= COMPRESSED_BYTES_MAX {
        let message = format!("nothing is compressed: messages of more than {COMPRESSED_BYTES_MAX} bytes never are");
        advice.warn(root.span("websocket.compression_min_size"), message);
    }
}

fn memory(root: &Scope<'_>, options: &Options, advice: &mut Problems<'_>) {
    let MemoryLimit::Bytes(limit) = options.memory_limit else { return };
    let histories = options.shard.memory_bytes_max as u64 * u64::from(options.shards);
    if histories > limit {
        let message = format!(
            "history alone may take {histories} bytes (fanfare.shard_memory_limit for each of {} shards), more than \
             fanfare.memory_limit",
            options.shards
        );
        advice.warn(root.span("fanfare.memory_limit"), message);
    }
}

fn origins(root: &Scope<'_>, advice: &mut Problems<'_>) {
    for origin in root.texts("client.allowed_origins") {
        if !origin.contains("://") && !origin.starts_with('*') && origin != "null" {
            let message = format!("no page has the origin {origin:?}: it needs its scheme, as in \"https://{origin}\"");
            advice.warn(root.span("client.allowed_origins"), message);
        }
    }
}

/// Without a boundary the personal channel of a user has a name that may be another channel's.
fn personal_channels(root: &Scope<'_>, advice: &mut Problems<'_>) {
    let enabled = "client.subscribe_to_user_personal_channel.enabled";
    if root.flag(enabled) && root.text("channel.user_boundary").is_none() {
        let message = "channel.user_boundary is empty: the personal channel of the user 42 is named \"42\", and whoever \
                       may subscribe to channels may subscribe to it";
        advice.warn(root.span("channel.user_boundary").or(root.span(enabled)), message);
    }
}

/// Options of channels that open nothing by themselves.
fn channel(scope: &Scope<'_>, owner: &str, advice: &mut Problems<'_>) {
    let mut needs = |option: &str, needed: &[&str]| {
        if scope.flag(option) && !needed.iter().any(|needed| has(scope, needed)) {
            let message = format!("{owner} has {option}, which does nothing without {}", needed.join(" or "));
            advice.warn(scope.span(option), message);
        }
    };
    needs("allow_subscribe_for_anonymous", &["allow_subscribe_for_client"]);
    needs("allow_publish_for_anonymous", &["allow_publish_for_client", "allow_publish_for_subscriber"]);
    needs("allow_presence_for_anonymous", &["allow_presence_for_client", "allow_presence_for_subscriber"]);
    needs("allow_history_for_anonymous", &["allow_history_for_client", "allow_history_for_subscriber"]);
    needs("allow_presence_for_client", &["presence", "join_leave"]);
    needs("allow_presence_for_subscriber", &["presence", "join_leave"]);
    needs("force_push_join_leave", &["join_leave"]);
    for option in ["allow_history_for_client", "allow_history_for_subscriber", "force_positioning", "allow_positioning"]
    {
        needs(option, &["history_size"]);
    }
}

/// Whether a flag is set, or a count is more than 0.
fn has(scope: &Scope<'_>, option: &str) -> bool {
    if option == "history_size" { scope.count(option) > 0 } else { scope.flag(option) }
}

/// Any of them lets clients in.
const TOKEN_KEYS: [&str; 7] = [
    "client.token.hmac_secret_key",
    "client.token.rsa_public_key",
    "client.token.ecdsa_public_key",
    "client.token.ed25519_public_key",
    "client.token.jwks_public_endpoint",
    "client.insecure_skip_token_signature_verify",
    "client.user_id_http_header",
];

/// 128 bits; what RFC 7518 asks for HS256 is twice as much.
const SECRET_BYTES_MIN: usize = 16;

/// Larger messages are not compressed (docs/configuration.md).
const COMPRESSED_BYTES_MAX: usize = 131_072;
