//! File, environment and flags to checked options.
//!
//! A file is read in three steps: text to a tree that knows its places (`document.rs`, `yaml.rs`), over
//! which the environment (`environment.rs`) and the flags lay theirs; the tree against the one table of keys (`keys.rs`, `settings.rs`), the values to [`Options`] (`load.rs`)
//! under the rules that relate them (`check.rs`).
//!
//! Invariants: whoever holds [`Options`] need not check them again; everything wrong with a file is
//! told at once and with its place; no secret is shown in an error, a warning or a `Debug`.
//! Must never touch sockets or threads, nor be imported by any other than `node` and `main`.
//! Read `keys.rs` first, then `layers.rs`.

mod advice;
mod check;
mod commands;
mod config_commands;
mod dev;
mod document;
mod duration;
mod effective;
mod engines;
mod environment;
mod flags;
mod init;
mod keys;
mod layers;
mod load;
mod not_yet;
mod options;
mod reference;
mod schema;
mod settings;
mod show;
mod source;
mod tls;
mod token_flags;
mod tokens;
mod values;
mod yaml;

pub use commands::{
    DoctorArguments, DrainArguments, HealthcheckArguments, KeyArguments, LocalArguments, Output, OutputArguments,
    PublishArguments, ServerArguments, SubscribeArguments, Tool,
};
pub use config_commands::{
    CheckArguments, ConfigCommand, InitArguments, InitFormat, ReloadArguments, ShowArguments, ShowOutput,
};
pub use effective::{Changes, Effective};
pub use engines::{
    ClientTls, DiskAck, DiskSettings, Duties, EngineOptions, EngineSettings, EnginesOptions, JetStream, NODES,
    NatsLogin, NatsSettings, NatsSubjects, RawSubjects, RedisLogin, RedisPlace, RedisSentinels, RedisSettings,
};
pub use environment::Environment;
pub use flags::{Command, CommandLine, Flags};
pub use init::text as initial_text;
pub use layers::{Configuration, Layers, load, load_under, read};
pub use options::{
    ApiOptions, DevSecrets, HttpOptions, LogLevel, LogOptions, MemoryLimit, Options, Secret, WorkerOptions,
};
pub use reference::markdown as reference_markdown;
pub use schema::json as schema_json;
pub use show::{json as show_json, toml as show_toml};
pub use source::{ConfigError, Source, Warning};
pub use token_flags::{
    ConnectionTokenArguments, SubscriptionTokenArguments, TokenArguments, TokenTool, VerifyTokenArguments,
};
