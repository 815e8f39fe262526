//! `fanfare token`: signs tokens as an application's backend would, and says what one is worth.

mod sign;
mod verify;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Failure, block_on, print_json, read_argument};
use crate::access::TokenKeys;
use crate::config::{self, Flags, TokenTool};

pub fn run(tool: &TokenTool) -> Result<(), Failure> {
    match tool {
        TokenTool::Conn(arguments) => sign::connection(arguments),
        TokenTool::Sub(arguments) => sign::subscription(arguments),
        TokenTool::Verify(arguments) => verify::run(arguments),
    }
}

/// The keys of one configuration.
struct Keys {
    connection: Arc<TokenKeys>,
    subscription: Arc<TokenKeys>,
}

impl Keys {
    /// With `secret` they are that one alone. Dev mode has no keys to read: it makes a secret at each start.
    fn load(file: Option<&Path>, secret: Option<&str>) -> Result<Keys, Failure> {
        if let Some(secret) = secret {
            let keys = Arc::new(TokenKeys::default().with_hmac_secret(secret));
            return Ok(Keys { connection: Arc::clone(&keys), subscription: keys });
        }
        let Some(file) = file else {
            return Err(Failure::usage(
                "say what tokens are signed with: --config FILE, or --secret with the token secret that dev mode prints",
            ));
        };
        // Nothing is opened here.
        let flags = Flags { config: Some(file.into()), allow_insecure: true, ..Flags::default() };
        let (options, _) = config::load(&flags).map_err(Failure::usage)?;
        Ok(Keys { connection: options.shard.token_keys, subscription: options.shard.subscription_token_keys })
    }
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
