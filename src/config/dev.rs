//! Dev mode: the options of a node that is given no file.

use std::sync::Arc;

use crate::access::TokenKeys;

use super::environment::Environment;
use super::flags::Flags;
use super::layers::{Configuration, read_layers};
use super::options::{DevSecrets, Secret};
use super::source::{ConfigError, Format, Source};

/// What dev mode is, as the file that it might be.
pub const FILE: &str = include_str!("dev.toml");

/// What [`FILE`] says with the page, and with secrets that no other run will have.
pub fn configuration(environment: &Environment, flags: &Flags) -> Result<Configuration, ConfigError> {
    let source = Source { name: "dev.toml".into(), text: FILE.into(), format: Format::Toml };
    let mut configuration = read_layers(source, environment, flags)?;
    configuration.advice.clear();
    let options = &mut configuration.options;
    if !options.client_address.ip().is_loopback() {
        if !flags.allow_insecure {
            return Err(ConfigError::new(format!(
                "dev mode gives everyone every right, and {} can be reached from other machines\n\
                 give a configuration with -c FILE, leave --address out, or add --allow-insecure",
                options.client_address
            )));
        }
        // The page is opened under whatever name this machine has, and nothing is left to protect.
        options.http.allowed_origins = vec!["*".into()];
    }
    let secrets = DevSecrets { hmac_secret: random_secret(), api_key: random_secret() };
    options.shard.token_keys = TokenKeys::default().with_hmac_secret(secrets.hmac_secret.reveal()).into();
    options.shard.subscription_token_keys = Arc::clone(&options.shard.token_keys);
    options.api.key = Some(secrets.api_key.clone());
    options.http.page = true;
    options.dev = Some(secrets);
    Ok(configuration)
}

/// 122 random bits of the operating system's generator.
fn random_secret() -> Secret {
    Secret::new(&uuid::Uuid::new_v4().simple().to_string())
}
