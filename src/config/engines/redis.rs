//! Settings of Redis and Valkey, with Centrifugo's keys.

use std::path::PathBuf;
use std::time::Duration;

use super::super::options::Secret;
use super::super::source::Problems;
use super::table::{ClientTls, Table};
use super::url::{Url, masked, with_port};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Begins all keys and channels.
    pub prefix: String,
    /// Each channel is at one of them, by a hash of its name. At least one.
    pub places: Vec<RedisPlace>,
    /// What follows is the same at all of them.
    pub login: RedisLogin,
    pub db: u16,
    /// `None`: plain.
    pub tls: Option<ClientTls>,
    pub connect_timeout: Duration,
    pub io_timeout: Duration,
    /// Replicas are asked what need not be the newest.
    pub reads_replicas: bool,
    /// The server ends presence by itself, field by field of a hash.
    pub has_presence_fields: bool,
}

/// One server, or several that are asked as one. All addresses are `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisPlace {
    At(String),
    Socket(PathBuf),
    Sentinels(Box<RedisSentinels>),
    Cluster(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisLogin {
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// How connections call themselves.
    pub client_name: Option<String>,
}

/// Those who know where the master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSentinels {
    pub addresses: Vec<String>,
    pub master: String,
    pub login: RedisLogin,
    pub tls: Option<ClientTls>,
}

impl RedisSettings {
    /// Where its servers are, for people.
    pub fn place(&self) -> String {
        let place = |place: &RedisPlace| match place {
            RedisPlace::At(address) => address.clone(),
            RedisPlace::Socket(path) => path.display().to_string(),
            RedisPlace::Sentinels(sentinels) => {
                format!("{} by Sentinels {}", sentinels.master, sentinels.addresses.join(", "))
            }
            RedisPlace::Cluster(addresses) => format!("cluster {}", addresses.join(", ")),
        };
        self.places.iter().map(place).collect::<Vec<_>>().join("; ")
    }
}

pub fn read(table: &Table<'_>, problems: &mut Problems<'_>) -> RedisSettings {
    let (places, Common { login, db, tls, reads_replicas }) = places(table, problems);
    let is_on = |key: &str| table.has(key) && table.flag(key);
    RedisSettings {
        prefix: table.text("redis.prefix").unwrap_or_default(),
        places,
        login,
        db,
        tls,
        connect_timeout: table.duration("redis.connect_timeout"),
        io_timeout: table.duration("redis.io_timeout"),
        reads_replicas: reads_replicas || is_on("redis.replica_client.enabled"),
        has_presence_fields: is_on("redis.presence_hash_field_ttl"),
    }
}

/// What an address says beside its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Common {
    login: RedisLogin,
    db: u16,
    tls: Option<ClientTls>,
    reads_replicas: bool,
}

/// As in Centrifugo clusters win over Sentinels, and those over addresses.
fn places(table: &Table<'_>, problems: &mut Problems<'_>) -> (Vec<RedisPlace>, Common) {
    let defaults = Defaults::read(table, problems);
    let key = ["redis.cluster_address", "redis.sentinel_address", "redis.address"]
        .into_iter()
        .find(|key| !table.texts(key).is_empty());
    let Some(key) = key else {
        table.refuse("redis.address", "is an empty list: name a server", problems);
        return Default::default();
    };
    let mut places: Vec<RedisPlace> = Vec::new();
    let mut of_all: Option<Common> = None;
    for text in table.texts(key) {
        let shown = masked(&text);
        match defaults.server(key, &text) {
            Ok((place, _)) if places.contains(&place) => {
                table.refuse(key, &format!("names {shown:?} twice"), problems);
            }
            Ok((place, common)) => {
                if *of_all.get_or_insert_with(|| common.clone()) != common {
                    let message =
                        format!("has {shown:?}: login, database, TLS and replicas are as in the rest of the list");
                    table.refuse(key, &message, problems);
                }
                places.push(place);
            }
            Err(reason) => table.refuse(key, &format!("has {shown:?}: {reason}"), problems),
        }
    }
    (places, of_all.unwrap_or_default())
}

/// What holds where an address does not say.
struct Defaults {
    common: Common,
    tls: ClientTls,
    sentinels: RedisSentinels,
    sentinel_tls: ClientTls,
}

impl Defaults {
    fn read(table: &Table<'_>, problems: &mut Problems<'_>) -> Defaults {
        let [tls, sentinel_tls] =
            ["redis.tls", "redis.sentinel_tls"].map(|name| ClientTls::read(table, name, problems));
        Defaults {
            common: Common {
                login: RedisLogin {
                    user: table.text("redis.user"),
                    password: table.secret("redis.password"),
                    client_name: table.text("redis.client_name"),
                },
                db: u16::try_from(table.count("redis.db")).unwrap_or(u16::MAX),
                tls: table.flag("redis.tls.enabled").then(|| tls.clone()),
                reads_replicas: false,
            },
            tls,
            sentinels: RedisSentinels {
                addresses: Vec::new(),
                master: table.text("redis.sentinel_master_name").unwrap_or_default(),
                login: RedisLogin {
                    user: table.text("redis.sentinel_user"),
                    password: table.secret("redis.sentinel_password"),
                    client_name: table.text("redis.sentinel_client_name"),
                },
                tls: table.flag("redis.sentinel_tls.enabled").then(|| sentinel_tls.clone()),
            },
            sentinel_tls,
        }
    }

    /// The server that `text`, of the list at `key`, names.
    fn server(&self, key: &str, text: &str) -> Result<(RedisPlace, Common), String> {
        let url = Url::parse(text)?;
        let (scheme, has_tls) = scheme(key, &url)?;
        let mut parameters = Parameters::read(&url)?;
        let mut path = url.path.as_str();
        let place = match scheme {
            "redis" => RedisPlace::At(one(&url.hosts)?),
            "unix" => RedisPlace::Socket(socket(&url)?),
            "redis+cluster" => RedisPlace::Cluster(several(&url, &parameters, 6379)?),
            _ => {
                let (master, behind) = path.split_once('/').unwrap_or((path, ""));
                path = behind;
                parameters.master = parameters.master.or((!master.is_empty()).then(|| master.into()));
                RedisPlace::Sentinels(Box::new(self.sentinels(&url, &mut parameters, has_tls)?))
            }
        };
        let of_path = (!path.is_empty() && !matches!(place, RedisPlace::Socket(_))).then(|| path.to_string());
        let db = match parameters.db.or(of_path) {
            Some(number) => number.parse().map_err(|_| format!("{number:?} is no number of a database"))?,
            None => self.common.db,
        };
        if db > 0 && matches!(place, RedisPlace::Cluster(_)) {
            return Err(format!("a cluster has no database {db}"));
        }
        let Common { login, tls, .. } = self.common.clone();
        let (user, password) = (url.user.or(login.user), url.password.or(login.password));
        let tls = tls.or_else(|| has_tls.then(|| self.tls.clone()));
        let login = RedisLogin { user, password, ..login };
        Ok((place, Common { login, db, tls, reads_replicas: parameters.reads_replicas }))
    }

    fn sentinels(&self, url: &Url, parameters: &mut Parameters, has_tls: bool) -> Result<RedisSentinels, String> {
        let RedisSentinels { master, login, tls, .. } = self.sentinels.clone();
        let master = parameters.master.take().unwrap_or(master);
        if master.is_empty() {
            return Err("Sentinels are asked for a master by its name: set sentinel_master_name".into());
        }
        Ok(RedisSentinels {
            addresses: several(url, parameters, 26379)?,
            master,
            login: RedisLogin {
                user: parameters.sentinel_user.take().or(login.user),
                password: parameters.sentinel_password.take().or(login.password),
                client_name: login.client_name,
            },
            tls: tls.or_else(|| has_tls.then(|| self.sentinel_tls.clone())),
        })
    }
}

/// The scheme without its "s", and whether it had one. Addresses of a cluster or of Sentinels need not say so.
fn scheme(key: &str, url: &Url) -> Result<(&'static str, bool), String> {
    let (plain, has_tls) = match url.scheme.strip_prefix("rediss") {
        Some(rest) => (format!("redis{rest}"), true),
        None => (url.scheme.clone(), false),
    };
    let scheme = match (key, plain.as_str()) {
        ("redis.cluster_address", "" | "redis") | (_, "redis+cluster") => "redis+cluster",
        ("redis.sentinel_address", "" | "redis") | (_, "redis+sentinel") => "redis+sentinel",
        (_, "" | "redis") => "redis",
        (_, "unix") => "unix",
        _ => return Err(format!("the scheme {:?} is none of {SCHEMES}", url.scheme)),
    };
    Ok((scheme, has_tls))
}

/// What may stand behind the "?".
#[derive(Default)]
struct Parameters {
    hosts: Vec<String>,
    master: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<Secret>,
    db: Option<String>,
    reads_replicas: bool,
}

impl Parameters {
    fn read(url: &Url) -> Result<Parameters, String> {
        let mut read = Parameters::default();
        for (name, value) in &url.parameters {
            match name.as_str() {
                "addr" => read.hosts.push(value.clone()),
                "sentinel_master_name" => read.master = Some(value.clone()),
                "sentinel_user" => read.sentinel_user = Some(value.clone()),
                "sentinel_password" => read.sentinel_password = Some(Secret::new(value)),
                "db" => read.db = Some(value.clone()),
                "replica_client_enabled" => read.reads_replicas = flag(name, value)?,
                // RESP2 is what is spoken anyway.
                "force_resp2" => _ = flag(name, value)?,
                _ => return Err(format!("the parameter {name:?} is none of {PARAMETERS}")),
            }
        }
        Ok(read)
    }
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("the parameter {name} is {value:?}; it should be true or false"))
}

fn one(hosts: &[String]) -> Result<String, String> {
    match hosts {
        [host] => with_port(host, 6379),
        [] => Err("there is no host".into()),
        _ => Err("it names several hosts: write each server as an item of the list, or redis+cluster://".into()),
    }
}

fn several(url: &Url, parameters: &Parameters, default_port: u16) -> Result<Vec<String>, String> {
    let hosts: Result<Vec<String>, String> =
        url.hosts.iter().chain(&parameters.hosts).map(|host| with_port(host, default_port)).collect();
    hosts.and_then(|hosts| if hosts.is_empty() { Err("there is no host".into()) } else { Ok(hosts) })
}

fn socket(url: &Url) -> Result<PathBuf, String> {
    match url.hosts.is_empty() && !url.path.is_empty() {
        true => Ok(format!("/{}", url.path).into()),
        false => Err("the path of a socket begins with \"/\": unix:///run/redis/redis.sock".into()),
    }
}

const SCHEMES: &str = "redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster, unix";
const PARAMETERS: &str =
    "addr, db, force_resp2, replica_client_enabled, sentinel_master_name, sentinel_user, sentinel_password";
