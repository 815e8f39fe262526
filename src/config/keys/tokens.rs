//! Keys of what tokens must be: of connections and, if they are kept apart, of subscriptions.

use super::Row;
use crate::config::values::Kind;

/// The keys that stand below both `client.token` and `client.subscription_token`.
macro_rules! rows {
    ($first:expr, $section:literal, $tokens:literal) => {
        &[
            $first,
            (
                concat!($section, ".hmac_secret_key"),
                Kind::Secret,
                "\"\"",
                concat!("Secret of ", $tokens, " tokens signed with HS256, HS384 or HS512."),
            ),
            (
                concat!($section, ".hmac_previous_secret_key"),
                Kind::Secret,
                "\"\"",
                "The secret before `hmac_secret_key`, while tokens signed with it are still about.",
            ),
            (
                concat!($section, ".hmac_previous_secret_key_valid_until"),
                Kind::Count { min: 0, max: UNIX_SECONDS_MAX },
                "0",
                "Second since 1970 from which `hmac_previous_secret_key` is no longer accepted; 0: never.",
            ),
            (
                concat!($section, ".rsa_public_key"),
                Kind::Secret,
                "\"\"",
                concat!(
                    "Public key (PEM, 2048 to 8192 bits) of ",
                    $tokens,
                    " tokens signed with RS256, RS384, RS512, PS256, PS384 or PS512."
                ),
            ),
            (
                concat!($section, ".ecdsa_public_key"),
                Kind::Secret,
                "\"\"",
                concat!(
                    "Public key (PEM) of ",
                    $tokens,
                    " tokens signed with ES256 (P-256), ES384 (P-384) or ES512 (P-521)."
                ),
            ),
            (
                concat!($section, ".ed25519_public_key"),
                Kind::Secret,
                "\"\"",
                concat!("Public key (PEM) of ", $tokens, " tokens signed with EdDSA; not in Centrifugo."),
            ),
            (
                concat!($section, ".jwks_public_endpoint"),
                Kind::Text,
                "\"\"",
                "URL of a JWK Set, whose keys (by `kid`) replace the ones above; `{{name}}` stands for what that \
                 group of `issuer_regex` or `audience_regex` matched.",
            ),
            (
                concat!($section, ".insecure_skip_jwks_endpoint_safety_check"),
                Kind::Flag,
                "false",
                "The patterns that fill `jwks_public_endpoint` may match more than a name: whoever sends a token \
                 then chooses where keys are asked for.",
            ),
            (concat!($section, ".audience"), Kind::Text, "\"\"", "What the claim `aud` must be, or have in its list."),
            (
                concat!($section, ".audience_regex"),
                Kind::Text,
                "\"\"",
                "A pattern that an audience in `aud` must match, instead of `audience`.",
            ),
            (concat!($section, ".issuer"), Kind::Text, "\"\"", "What the claim `iss` must be."),
            (
                concat!($section, ".issuer_regex"),
                Kind::Text,
                "\"\"",
                "A pattern that the claim `iss` must match, instead of `issuer`.",
            ),
            (
                concat!($section, ".user_id_claim"),
                Kind::Text,
                "\"\"",
                "The claim that holds the user's id, or the path to it (`a.b`); empty: `sub`.",
            ),
        ]
    };
}

pub const CONNECTION_ROWS: &[Row] = rows!(
    (
        "client.insecure_skip_token_signature_verify",
        Kind::Flag,
        "false",
        "Tokens are believed whoever made them; for development only.",
    ),
    "client.token",
    "connection"
);

pub const SUBSCRIPTION_ROWS: &[Row] = rows!(
    (
        "client.subscription_token.enabled",
        Kind::Flag,
        "false",
        "Subscription tokens have the keys and rules below, not those of `client.token`.",
    ),
    "client.subscription_token",
    "subscription"
);

/// The end of the year 9999.
const UNIX_SECONDS_MAX: u64 = 253_402_300_799;
