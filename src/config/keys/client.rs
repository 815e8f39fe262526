//! Keys of what clients may do, and how long.

use super::{MIB, Row};
use crate::config::values::Kind;

pub const ROWS: &[Row] = &[
    (
        "client.allowed_origins",
        Kind::Texts,
        "[]",
        "Patterns of the origins that browsers may connect from (`https://*.example.com`, `*`); empty: no browser may.",
    ),
    (
        "client.allow_anonymous_connect_without_token",
        Kind::Flag,
        "false",
        "Clients without a token are let in, as anonymous users.",
    ),
    (
        "client.disallow_anonymous_connection_tokens",
        Kind::Flag,
        "false",
        "Connection tokens without a user's id are refused.",
    ),
    (
        "client.user_id_http_header",
        Kind::Text,
        "\"\"",
        "The header in which a proxy before the hub says who the user is, for clients without a token. The proxy must \
         set or remove it in every request: whoever else can reach the hub can be anybody.",
    ),
    (
        "client.insecure",
        Kind::Flag,
        "false",
        "Tokens are not asked for and every permission is granted; for development only.",
    ),
    (
        "client.connect_include_server_time",
        Kind::Flag,
        "false",
        "Who connects is told the hub's time, in milliseconds since 1970.",
    ),
    ("client.ping_interval", Kind::Duration { min: "1s" }, "25s", "Time between two pings to a client."),
    (
        "client.pong_timeout",
        Kind::Duration { min: "100ms" },
        "8s",
        "Time for a client to answer a ping; less than `ping_interval`.",
    ),
    (
        "client.stale_close_delay",
        Kind::Duration { min: "100ms" },
        "10s",
        "Time for a new client to send its connect command.",
    ),
    (
        "client.expired_close_delay",
        Kind::Duration { min: "0s" },
        "25s",
        "Time to refresh an expired connection before it is closed.",
    ),
    (
        "client.expired_sub_close_delay",
        Kind::Duration { min: "0s" },
        "25s",
        "Time to refresh an expired subscription before it ends.",
    ),
    (
        "client.subscribe_to_user_personal_channel.enabled",
        Kind::Flag,
        "false",
        "Every user is subscribed to a channel of its own, `#` and its id, by the server.",
    ),
    (
        "client.subscribe_to_user_personal_channel.personal_channel_namespace",
        Kind::Text,
        "\"\"",
        "Namespace of these channels; empty: they have none.",
    ),
    ("client.channel_limit", Kind::Count { min: 1, max: 100_000 }, "128", "Subscriptions of one connection."),
    (
        "client.user_connection_limit",
        Kind::Count { min: 0, max: 1_000_000 },
        "0",
        "Connections of one user on the node, anonymous ones not counted; further ones are closed (3504). 0: no limit.",
    ),
    (
        "client.subscribe_to_user_personal_channel.single_connection",
        Kind::Flag,
        "false",
        "A user has one connection on the node: a new one closes the older ones there (3504).",
    ),
    (
        "client.connection_limit",
        Kind::Count { min: 0, max: 1_000_000_000 },
        "0",
        "Sockets of this node, over all shards; one more is answered 503 (0: no limit).",
    ),
    (
        "client.connection_rate_limit",
        Kind::Count { min: 0, max: 1_000_000 },
        "0",
        "Sockets that this node opens in a second, over all shards, and at once after a quiet second; one more is \
         answered 503 with `Retry-After` (0: no limit).",
    ),
    (
        "client.queue_max_size",
        Kind::Count { min: 1, max: 1024 * MIB },
        "1048576",
        "Bytes that may wait for a slow client before it is disconnected.",
    ),
    (
        "client.presence_update_interval",
        Kind::Duration { min: "1s" },
        "27s",
        "Time between two updates of a client's presence; less than `fanfare.presence_ttl`.",
    ),
    (
        "client.channel_position_check_delay",
        Kind::Duration { min: "1s" },
        "40s",
        "Time between two checks of a positioned subscription.",
    ),
    (
        "client.history_max_publication_limit",
        Kind::Count { min: 1, max: 100_000 },
        "300",
        "Publications in one answer to a client's history command.",
    ),
    (
        "client.recovery_max_publication_limit",
        Kind::Count { min: 1, max: 100_000 },
        "300",
        "Publications that one subscription may recover.",
    ),
];
