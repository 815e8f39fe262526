//! Which server a scenario talks to, and how: the flags that all scenarios share.

use std::ops::Range;

use clap::{Args, ValueEnum};

use crate::dialect::{Dialect, Role};
use crate::failure::Failure;
use crate::fleet::{Fleet, OPENING_MAX};
use crate::process;
use crate::target::Target;
use crate::tokens::Tokens;
use crate::websocket::Compression;

#[derive(Args, Clone, Debug)]
pub struct ServerOptions {
    /// The server, or several with commas between, that connections are spread over in turn
    #[arg(long = "url", value_delimiter = ',', default_value = "ws://127.0.0.1:8000/connection/websocket")]
    pub urls: Vec<String>,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = Dialect::Centrifugo)]
    pub dialect: Dialect,
    /// The server's process, or those of several, whose CPU time and memory are read and summed
    #[arg(long = "server-pid", value_delimiter = ',')]
    pub server_pids: Vec<u32>,
    /// Connects as users u0, u1, … with tokens signed by this; anonymously without it
    #[arg(long)]
    pub hmac_secret: Option<String>,
    /// Connects with RS256 tokens signed by the key of the tests instead
    #[arg(long)]
    pub rsa_tokens: bool,
    /// Spreads the connections over so many addresses from 127.0.0.2 on
    #[arg(long, default_value_t = 0)]
    pub sources: u8,
    /// Asks for permessage-deflate, and ends without a result where the server does not do it
    #[arg(long)]
    pub deflate: bool,
}

/// What the generator does when nothing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Waiting {
    /// Sleeps; the server pays for waking it, as for any client on its own machine
    Sleep,
    /// Keeps polling and takes a whole core; the server pays for no wake, as with clients elsewhere
    Spin,
}

impl ServerOptions {
    /// A fleet without links, for at most `connections` of them.
    pub fn fleet(&self, connections: usize) -> Result<Fleet, Failure> {
        process::raise_descriptor_limit(connections)?;
        let target = |url: &String| Ok(Target::parse(url, connections)?.with_sources(self.sources));
        let targets = self.urls.iter().map(target).collect::<Result<_, Failure>>()?;
        let compression = if self.deflate { Compression::Deflate } else { Compression::Off };
        Fleet::new(targets, self.dialect, compression)
    }

    /// All of them, for reports.
    pub fn url(&self) -> String {
        self.urls.join(",")
    }

    pub fn tokens(&self) -> Result<Option<Tokens>, Failure> {
        match self.rsa_tokens {
            true => Tokens::rsa().map(Some),
            false => Ok(self.hmac_secret.as_deref().map(Tokens::hmac)),
        }
    }

    /// Opens `count` links of the next users in `role` and waits for them. Returns their numbers.
    pub fn open(
        &self,
        fleet: &mut Fleet,
        count: usize,
        role: Role,
        channel: impl Fn(usize) -> String,
    ) -> Result<Range<usize>, Failure> {
        let tokens = self.tokens()?;
        let first = fleet.len();
        fleet.open(count, OPENING_MAX, |number| {
            let token = tokens.as_ref().map(|tokens| tokens.sign(number)).transpose()?;
            Ok(self.dialect.introduce(role, token.as_deref(), &channel(number - first)))
        })?;
        Ok(first..fleet.len())
    }
}
