//! Where the servers are, and how they are spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::tls::Tls;

/// All of it, as the operator configured it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What all keys and topics begin with: two clusters of nodes may share a server.
    pub prefix: String,
    /// At least one; over several the channels are spread by their names.
    pub deployments: Vec<Deployment>,
    pub login: Login,
    /// Of a database; a cluster has only number 0.
    pub db: u32,
    /// How long a connection may take, the login included.
    pub connect_timeout: Duration,
    /// A server that is asked something and says nothing for that long is given up, and connected to anew.
    pub io_timeout: Duration,
    pub tls: Option<Tls>,
    /// How long a client is present without being named again; `None`: as whoever names it says.
    pub presence_ttl: Option<Duration>,
    /// Presence is in hashes whose fields the server ends by itself: Redis 7.4, Valkey 9.0.
    pub has_presence_fields: bool,
    /// Pages of the history and presence are read from replicas, where there are some.
    pub reads_replicas: bool,
}

impl Options {
    /// With the defaults.
    pub fn new(deployments: Vec<Deployment>) -> Options {
        Options {
            prefix: "fanfare".to_owned(),
            deployments,
            login: Login::default(),
            db: 0,
            connect_timeout: Duration::from_secs(1),
            io_timeout: Duration::from_secs(4),
            tls: None,
            presence_ttl: None,
            has_presence_fields: false,
            reads_replicas: false,
        }
    }
}

/// One place that keeps data: a server, or several that act as one.
#[derive(Clone, Debug)]
pub enum Deployment {
    Server(Address),
    Sentinel(Sentinel),
    /// Some of the cluster's servers; the others are found through them.
    Cluster(Vec<Address>),
}

/// Who knows which server is the master now.
#[derive(Clone, Debug)]
pub struct Sentinel {
    pub addresses: Vec<Address>,
    pub master_name: String,
    pub login: Login,
    pub tls: Option<Tls>,
}

#[derive(Clone, Default)]
pub struct Login {
    /// Empty: the default user.
    pub user: String,
    /// Empty: none.
    pub password: String,
    /// What `CLIENT LIST` calls the connection; empty: nothing.
    pub client_name: String,
}

/// Without the password: it must not get into a log.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    pub fn tcp(host: impl Into<String>, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    /// Reads `host:port`, `host` (port 6379), `[::1]:6379`, or the absolute path of a socket.
    pub fn parse(text: &str) -> Option<Address> {
        if text.starts_with('/') {
            return Some(Address::Unix(text.into()));
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, PORT),
            Some((host, port)) => (host, port.strip_prefix(':')?.parse().ok()?),
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (text, PORT),
            },
        };
        (!host.is_empty() && !host.contains('/')).then(|| Address::tcp(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Source: redis.io, the default of `port`.
const PORT: u16 = 6379;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), expected);
        }
        check("redis:7000", Some("redis:7000"));
        check("redis", Some("redis:6379"));
        check("[::1]:7000", Some("[::1]:7000"));
        check("[::1]", Some("[::1]:6379"));
        check("/run/redis.sock", Some("/run/redis.sock"));
        check("", None);
        check("redis:x", None);
        check("redis://a", None);
        check("[::1]7000", None);
    }

    #[test]
    fn a_password_is_not_shown() {
        let login = Login { password: "secret".to_owned(), ..Login::default() };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
