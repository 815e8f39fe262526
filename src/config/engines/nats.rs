//! Settings of NATS: Centrifugo's keys, and ours for JetStream.

use std::path::PathBuf;
use std::time::Duration;

use super::super::options::Secret;
use super::super::source::Problems;
use super::table::{ClientTls, Table};
use super::url::{Url, masked, with_port};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsSettings {
    /// `host:port` of servers of one cluster, of which any will do. At least one.
    pub servers: Vec<String>,
    pub login: NatsLogin,
    /// Begins all subjects, streams and buckets.
    pub prefix: String,
    pub dial_timeout: Duration,
    pub write_timeout: Duration,
    /// `None`: plain, unless the server asks for TLS.
    pub tls: Option<ClientTls>,
    pub jetstream: JetStream,
    /// Servers that keep a copy of each stream.
    pub replicas: usize,
    /// `None`: it carries no publications.
    pub subjects: Option<NatsSubjects>,
    /// Who has history or presence there, for people; `None`: nobody, so that any server will do.
    pub keeps: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    Nobody,
    User(String, Secret),
    Token(Secret),
    /// The seed of a key.
    NKey(Secret),
    /// The path of a file with a JWT and a seed.
    Credentials(PathBuf),
}

/// Whether history and presence are kept there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JetStream {
    /// Where the server has it.
    Auto,
    /// A server without it is an error.
    On,
    Off,
}

/// How channels come to be subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsSubjects {
    pub allow_wildcards: bool,
    /// Channels are subjects, and publications are bare data.
    pub raw: Option<RawSubjects>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSubjects {
    pub prefix: String,
    /// What stands in a channel, and in its subject instead.
    pub replacements: Vec<(String, String)>,
}

impl NatsSettings {
    /// Takes over what `other` says of publications if it is the same engine otherwise.
    pub fn absorb(&mut self, other: &NatsSettings) -> bool {
        let is_same = *other == NatsSettings { subjects: other.subjects.clone(), ..self.clone() };
        let (one, others) = (&self.subjects, &other.subjects);
        let agrees = one.is_none() || others.is_none() || one == others;
        if is_same && agrees && one.is_none() {
            self.subjects.clone_from(others);
        }
        is_same && agrees
    }

    /// Why it keeps no history, if it does not.
    pub fn why_no_history(&self) -> Option<&'static str> {
        let is_raw = self.subjects.as_ref().is_some_and(|subjects| subjects.raw.is_some());
        match self.jetstream {
            _ if is_raw => Some("is NATS in raw mode, where publications are bare data and not kept"),
            JetStream::Off => Some("is NATS with jetstream = \"off\", which keeps nothing"),
            JetStream::Auto | JetStream::On => None,
        }
    }
}

pub fn read(table: &Table<'_>, problems: &mut Problems<'_>) -> NatsSettings {
    let urls = urls(table, problems);
    let has_tls = urls.iter().any(|url| url.scheme == "tls") || table.flag("nats.tls.enabled");
    let tls = ClientTls::read(table, "nats.tls", problems);
    NatsSettings {
        servers: urls.iter().flat_map(|url| url.hosts.iter().cloned()).collect(),
        login: login(table, &urls, problems),
        prefix: table.text("nats.prefix").unwrap_or_default(),
        dial_timeout: table.duration("nats.dial_timeout"),
        write_timeout: table.duration("nats.write_timeout"),
        tls: has_tls.then_some(tls),
        jetstream: match table.text("nats.jetstream").as_deref() {
            Some("on") => JetStream::On,
            Some("off") => JetStream::Off,
            _ => JetStream::Auto,
        },
        replicas: table.count("nats.replicas") as usize,
        subjects: table.has("nats.allow_wildcards").then(|| subjects(table, problems)),
        keeps: None,
    }
}

fn urls(table: &Table<'_>, problems: &mut Problems<'_>) -> Vec<Url> {
    const KEY: &str = "nats.url";
    let texts = table.texts(KEY);
    if texts.is_empty() {
        table.refuse(KEY, "is an empty list: name a server", problems);
    }
    // Commas stand between servers also where each is a URL, as NATS' own clients take them.
    let texts = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let mut urls = Vec::new();
    for text in texts {
        match url(text) {
            Ok(url) => urls.push(url),
            Err(reason) => table.refuse(KEY, &format!("has {:?}: {reason}", masked(text)), problems),
        }
    }
    urls
}

fn url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text)?;
    if !["", "nats", "tls"].contains(&url.scheme.as_str()) {
        return Err(format!("the scheme {:?} is none of nats, tls", url.scheme));
    }
    if !url.path.is_empty() || !url.parameters.is_empty() {
        return Err("nothing may follow the port".into());
    }
    let hosts: Result<Vec<String>, String> = url.hosts.iter().map(|host| with_port(host, 4222)).collect();
    url.hosts = hosts?;
    if url.hosts.is_empty() { Err("there is no host".into()) } else { Ok(url) }
}

/// What a URL says, or else the keys beside it; of those one is enough.
fn login(table: &Table<'_>, urls: &[Url], problems: &mut Problems<'_>) -> NatsLogin {
    let of_url = urls.iter().find_map(|url| match (&url.user, &url.password) {
        (Some(user), Some(password)) => Some(NatsLogin::User(user.clone(), password.clone())),
        (Some(token), None) => Some(NatsLogin::Token(Secret::new(token))),
        _ => None,
    });
    let of_user = table
        .text("nats.user")
        .map(|user| NatsLogin::User(user, table.secret("nats.password").unwrap_or_else(|| Secret::new(""))));
    let given = [
        ("nats.url", of_url),
        ("nats.user", of_user),
        ("nats.token", table.secret("nats.token").map(NatsLogin::Token)),
        ("nats.nkey_seed", table.secret("nats.nkey_seed").map(NatsLogin::NKey)),
        ("nats.credentials_file", table.text("nats.credentials_file").map(|path| NatsLogin::Credentials(path.into()))),
    ];
    let mut given = given.into_iter().filter_map(|(key, login)| Some((key, login?)));
    let Some((first, login)) = given.next() else { return NatsLogin::Nobody };
    if let Some((other, _)) = given.next() {
        table.refuse(other, &format!("stands beside a login in {first}: one of them says who this node is"), problems);
    }
    if let NatsLogin::Credentials(path) = &login
        && let Err(error) = std::fs::metadata(path)
    {
        table.refuse("nats.credentials_file", &format!("can't be read: {}: {error}", path.display()), problems);
    }
    login
}

fn subjects(table: &Table<'_>, problems: &mut Problems<'_>) -> NatsSubjects {
    let replacements = table.pairs("nats.raw_mode.channel_replacements");
    if replacements.iter().any(|(from, _)| from.is_empty()) {
        table.refuse("nats.raw_mode.channel_replacements", "replaces the empty text", problems);
    }
    let raw = RawSubjects { prefix: table.text("nats.raw_mode.prefix").unwrap_or_default(), replacements };
    NatsSubjects {
        allow_wildcards: table.flag("nats.allow_wildcards"),
        raw: table.flag("nats.raw_mode.enabled").then_some(raw),
    }
}
