//! Arguments of `fanfare token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::commands::OutputArguments;
use super::duration;
use crate::access::Algorithm;

/// What is done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenTool {
    /// Sign a connection token
    #[command(visible_alias = "connection")]
    Conn(Box<ConnectionTokenArguments>),
    /// Sign a subscription token
    #[command(visible_alias = "subscription")]
    Sub(Box<SubscriptionTokenArguments>),
    /// Say what a token is worth: which key verified it, what it grants, or why it is refused
    Verify(VerifyTokenArguments),
}

#[derive(Args, Clone, Debug)]
pub struct ConnectionTokenArguments {
    #[command(flatten)]
    pub common: TokenArguments,

    /// Subscribe the connection to these channels, separated by commas
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    pub channels: Vec<String>,

    /// Subscribe it to channels with options of their own: {"channel": {"info": ..., "override": ...}}
    #[arg(long, value_name = "JSON", value_parser = read_object)]
    pub subs: Option<serde_json::Value>,

    /// What the hub keeps beside the connection and never sends to clients
    #[arg(long, value_name = "JSON", value_parser = read_json)]
    pub meta: Option<serde_json::Value>,
}

#[derive(Args, Clone, Debug)]
pub struct SubscriptionTokenArguments {
    #[command(flatten)]
    pub common: TokenArguments,

    /// The channel that may be subscribed to
    #[arg(long)]
    pub channel: String,

    /// The only connection that may use the token, by its client id
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,

    /// What the subscriber is given with the subscription
    #[arg(long, value_name = "JSON", value_parser = read_json)]
    pub data: Option<serde_json::Value>,

    /// Channel options that are different for this subscription: {"presence": {"value": true}}
    #[arg(long = "override", value_name = "JSON", value_parser = read_object)]
    pub overrides: Option<serde_json::Value>,
}

/// What both kinds of tokens have, and what signs them.
#[derive(Args, Clone, Debug)]
pub struct TokenArguments {
    /// Sign with the secret of this configuration
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Sign with this secret instead, for example that which dev mode prints
    #[arg(long, env = "FANFARE_TOKEN_SECRET", hide_env_values = true, conflicts_with = "private_key")]
    pub secret: Option<String>,

    /// Sign with this private key instead: RSA, EC or Ed25519, as PEM
    #[arg(long = "private-key", value_name = "FILE")]
    pub private_key: Option<PathBuf>,

    /// Sign with this algorithm [default: HS256, RS256, or that of the key]
    #[arg(long, value_parser = read_algorithm)]
    pub algorithm: Option<Algorithm>,

    /// The name of the key, where the hub looks keys up by name (JWKS)
    #[arg(long)]
    pub kid: Option<String>,

    /// The user's id; the empty one is an anonymous user
    #[arg(long, value_name = "ID")]
    pub user: String,

    /// How long the token is good; 0: for ever
    #[arg(long, default_value = "1h", value_parser = read_duration)]
    pub ttl: Duration,

    /// When what the token grants expires, seconds since 1970, however long the token is good; 0: never
    #[arg(long = "expire-at", value_name = "SECONDS")]
    pub expire_at: Option<i64>,

    /// What others are shown of the user
    #[arg(long, value_name = "JSON", value_parser = read_json)]
    pub info: Option<serde_json::Value>,

    /// The issuer (iss) [default: that which the configuration asks for]
    #[arg(long)]
    pub issuer: Option<String>,

    /// The audience (aud) [default: that which the configuration asks for]
    #[arg(long)]
    pub audience: Option<String>,

    /// Further claims; they win over all others
    #[arg(long, value_name = "JSON", value_parser = read_object)]
    pub claims: Option<serde_json::Value>,

    #[command(flatten)]
    pub output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub struct VerifyTokenArguments {
    /// The token; `-` reads it from standard input
    pub token: String,

    /// Verify with the keys and rules of this configuration
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Verify with this secret instead
    #[arg(long, env = "FANFARE_TOKEN_SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    #[command(flatten)]
    pub output: OutputArguments,
}

fn read_json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it should be JSON: {error}"))
}

fn read_object(text: &str) -> Result<serde_json::Value, String> {
    let value = read_json(text)?;
    if value.is_object() { Ok(value) } else { Err("it should be a JSON object".into()) }
}

fn read_duration(text: &str) -> Result<Duration, &'static str> {
    duration::parse(text).ok_or("it should be a duration, for example 30m or 24h")
}

fn read_algorithm(text: &str) -> Result<Algorithm, &'static str> {
    Algorithm::from_name(text).ok_or("it should be HS256 to HS512, RS256 to PS512, ES256 to ES512, or EdDSA")
}
