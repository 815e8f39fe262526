//! Keys of channels and of namespaces.

use super::Row;
use crate::access::DataFormat;
use crate::config::values::Kind;
use crate::limits::{BATCH_BYTES_MAX, BATCH_DELIVERIES_MAX};

/// Those of all channels.
pub const ROWS: &[Row] = &[
    ("channel.max_length", Kind::Count { min: 1, max: 65_535 }, "255", "Bytes of a channel's name."),
    (
        "channel.history_meta_ttl",
        Kind::Duration { min: "1s" },
        "720h",
        "How long offset and epoch of a channel outlive its last publication, where a namespace does not say.",
    ),
    (
        "channel.private_prefix",
        Kind::Text,
        "$",
        "Begins the names of channels that need a subscription token; empty: none does.",
    ),
    (
        "channel.namespace_boundary",
        Kind::Text,
        ":",
        "Ends the namespace's name in a channel's name; empty: no channel has a namespace.",
    ),
    (
        "channel.user_boundary",
        Kind::Text,
        "#",
        "Begins the users in a channel's name, where `allow_user_limited_channels` is on: those after the last \
         boundary may subscribe without a token, others may not; empty: no name has users.",
    ),
    (
        "channel.user_separator",
        Kind::Text,
        ",",
        "Stands between two users in a channel's name; empty: a name has one user.",
    ),
    (
        "channel.publication_data_format",
        Kind::OneOf(DataFormat::NAMES),
        "\"\"",
        "What may be published where a namespace does not say: `json`, `json_object`, `binary` (also nothing at all); \
         empty: anything but nothing. Other publications are refused with error 107.",
    ),
    (
        "channel.namespaces[].name",
        Kind::Text,
        "\"\"",
        "Name of the namespace: at least two of letters, digits, `-`, `_` and `.`.",
    ),
];

const HISTORY_MAX: u64 = 1_000_000;

/// Options of `channel.without_namespace` and of each of `channel.namespaces[]`.
pub const CHANNEL_OPTIONS: &[Row] = &[
    (
        "broker_name",
        Kind::Text,
        "\"\"",
        "Which of `brokers` keeps and carries the publications; empty: `broker`, or `engine`.",
    ),
    (
        "presence_manager_name",
        Kind::Text,
        "\"\"",
        "Which of `presence_managers` keeps presence; empty: `presence_manager`, or `engine`.",
    ),
    ("presence", Kind::Flag, "false", "Keeps who is subscribed."),
    ("join_leave", Kind::Flag, "false", "Tells subscribers who ask for it who joins and leaves."),
    ("force_push_join_leave", Kind::Flag, "false", "Tells it also to those who do not ask; needs `join_leave`."),
    ("history_size", Kind::Count { min: 0, max: HISTORY_MAX }, "0", "Publications kept; together with `history_ttl`."),
    ("history_ttl", Kind::Duration { min: "0s" }, "0s", "How long a publication is kept, in whole seconds."),
    (
        "history_meta_ttl",
        Kind::Duration { min: "0s" },
        "0s",
        "How long offset and epoch outlive the last publication; 0s: `channel.history_meta_ttl`.",
    ),
    ("force_positioning", Kind::Flag, "false", "Every subscription is told when it missed a publication."),
    ("allow_positioning", Kind::Flag, "false", "Those that ask for it are."),
    (
        "force_recovery",
        Kind::Flag,
        "false",
        "Every subscription gets what it missed when it comes back; needs history.",
    ),
    ("allow_recovery", Kind::Flag, "false", "Those that ask for it do."),
    (
        "force_recovery_mode",
        Kind::OneOf(&["", "stream", "cache"]),
        "\"\"",
        "What a subscription that comes back gets. `stream`, or empty: everything that it missed. `cache`: the newest \
         publication, unless it has that.",
    ),
    (
        "auto_cache_recover",
        Kind::Flag,
        "false",
        "Every recoverable subscription gets the newest publication, not only one that comes back; needs \
         `force_recovery_mode` to be `cache`.",
    ),
    ("allow_subscribe_for_client", Kind::Flag, "false", "Users may subscribe without a subscription token."),
    ("allow_subscribe_for_anonymous", Kind::Flag, "false", "Anonymous users too."),
    ("allow_publish_for_client", Kind::Flag, "false", "Users may publish."),
    ("allow_publish_for_subscriber", Kind::Flag, "false", "Users who are subscribed may publish."),
    ("allow_publish_for_anonymous", Kind::Flag, "false", "Anonymous users too, where one of the two above lets users."),
    ("allow_presence_for_client", Kind::Flag, "false", "Users may ask who is subscribed."),
    ("allow_presence_for_subscriber", Kind::Flag, "false", "Users who are subscribed may ask."),
    (
        "allow_presence_for_anonymous",
        Kind::Flag,
        "false",
        "Anonymous users too, where one of the two above lets users.",
    ),
    ("allow_history_for_client", Kind::Flag, "false", "Users may ask for history."),
    ("allow_history_for_subscriber", Kind::Flag, "false", "Users who are subscribed may ask."),
    ("allow_history_for_anonymous", Kind::Flag, "false", "Anonymous users too, where one of the two above lets users."),
    ("allow_user_limited_channels", Kind::Flag, "false", "Names may say who may subscribe: `channel.user_boundary`."),
    (
        "channel_regex",
        Kind::Text,
        "\"\"",
        "What follows the namespace in a name has to match it, in Go's syntax (without it a name is ASCII). It may \
         match anywhere in the name unless it is anchored with `^` and `$`. Empty: no such rule.",
    ),
    (
        "publication_data_format",
        Kind::OneOf(DataFormat::NAMES),
        "\"\"",
        "As `channel.publication_data_format`, which an empty text stands for.",
    ),
    (
        "allowed_delta_types",
        Kind::SomeOf(&["fossil"]),
        "[]",
        "Subscribers that ask for it are given publications as the difference from the one before \
         ([docs/delta.md](delta.md)).",
    ),
    (
        "delta_publish",
        Kind::Flag,
        "false",
        "All publications are for that; otherwise those of which the API's `delta` says so.",
    ),
    (
        "slow_consumer_policy",
        Kind::OneOf(&["disconnect", "drop_oldest", "conflate"]),
        "disconnect",
        "For subscribers that take publications slower than they come. `disconnect`: the connection is closed (3008) \
         when `client.queue_max_size` is reached. `drop_oldest`: the oldest publications are dropped then. `conflate`: \
         a newer publication takes the place of one that waits; when the bound is reached nevertheless, the connection \
         is closed. A positioned subscription is unsubscribed (2500) instead of missing something, to recover. \
         An option of Fanfare.",
    ),
    (
        "conflate_tag",
        Kind::Text,
        "\"\"",
        "Only publications with the same value of this tag are conflated, and those without the tag with each other; \
         empty: those of the channel. Needs `conflate`. An option of Fanfare.",
    ),
    (
        "max_rate",
        Kind::Count { min: 0, max: 1000 },
        "0",
        "Publications a second that a subscriber is given in one channel, or of one value of `conflate_tag`; of those \
         that come meanwhile the newest is kept, and given when its time has come. 0: as many as come. A positioned \
         subscription is unsubscribed (2500) instead of missing something. Needs `conflate`. An option of Fanfare.",
    ),
    (
        "flush_window",
        Kind::DurationOr { names: &["off", "adaptive"], min: "100us", max: "100ms" },
        "off",
        "How long publications are held back so that several of them share one send to each subscriber. A duration: \
         that long after the first that waits. `adaptive`: up to `flush_latency_budget`, in channels where it is \
         measured to pay; no delay in the others. An option of Fanfare.",
    ),
    (
        "flush_latency_budget",
        Kind::DurationOr { names: &[], min: "100us", max: "100ms" },
        "5ms",
        "The longest that an `adaptive` flush window holds a publication back. An option of Fanfare.",
    ),
    (
        "flush_batch_max",
        Kind::Count { min: 1, max: BATCH_DELIVERIES_MAX as u64 },
        "64",
        "Publications that end a flush window early. An option of Fanfare.",
    ),
    (
        "flush_batch_bytes_max",
        Kind::Count { min: 1024, max: BATCH_BYTES_MAX as u64 },
        "65536",
        "The same in bytes. An option of Fanfare.",
    ),
];
