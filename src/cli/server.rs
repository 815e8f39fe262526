//! Where the asked server is, and how it is known to be the right one.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hyper::Uri;

use crate::config::{self, KeyArguments, Options, ServerArguments};
use crate::io::Pair;

use super::Failure;

/// A server to ask.
#[derive(Debug)]
pub struct Server {
    /// The port for clients.
    pub clients: Endpoint,
    /// The port for operators; the same one unless there is an internal one.
    pub operators: Endpoint,
    pub websocket_path: String,
    /// What stands before `/publish`; `None`: the API is switched off.
    pub api_prefix: Option<String>,
    /// `None`: none is configured, or nothing is known about it.
    pub api_key: Option<String>,
}

/// One port of it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// A name or an IP address, as certificates name it: no brackets.
    pub host: String,
    pub port: u16,
    /// `None`: the port is plain.
    pub trust: Option<Trust>,
}

/// Whose certificate is believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The one that the configuration names, and no other: whatever host it is for.
    Configured(Box<Pair>),
    /// Those that the roots in this file have signed for the host; `None`: the system's roots.
    Roots(Option<PathBuf>),
    /// Any: nothing secret is sent.
    Anybody,
}

impl Server {
    /// The server that the command line means.
    pub fn find(arguments: &ServerArguments) -> Result<Server, Failure> {
        match &arguments.url {
            Some(url) => at_url(url, arguments.ca.clone()),
            None => {
                let (options, _) = config::load(&arguments.local.flags()).map_err(Failure::usage)?;
                Server::of(&options)
            }
        }
    }

    /// The same with the key of the command line, if that names one.
    pub fn find_with_key(arguments: &ServerArguments, key: &KeyArguments) -> Result<Server, Failure> {
        let server = Server::find(arguments)?;
        Ok(Server { api_key: key.api_key.clone().or(server.api_key), ..server })
    }

    /// The path of a method of the server API; `None`: that is switched off.
    pub fn method_path(&self, method: &str) -> Option<String> {
        Some(format!("{}/{method}", self.api_prefix.as_ref()?.trim_end_matches('/')))
    }

    /// The server that runs with these options, on this machine.
    pub fn of(options: &Options) -> Result<Server, Failure> {
        let endpoint = |address: SocketAddr, tls: &Option<Pair>| {
            let trust = tls.clone().map(|pair| Trust::Configured(Box::new(pair)));
            match address.port() {
                0 => Err(Failure::usage("the port is 0, a free one at each start: name the real one with --port")),
                port => Ok(Endpoint { host: reachable(address.ip()).to_string(), port, trust }),
            }
        };
        let clients = endpoint(options.client_address, &options.client_tls)?;
        let operators = match options.internal_address {
            Some(address) => endpoint(address, &options.internal_tls)?,
            None => clients.clone(),
        };
        // The key of dev mode is made at its start: this process has another one.
        let key = options.api.key.as_ref().filter(|_| options.dev.is_none()).map(|key| key.reveal().to_owned());
        Ok(Server {
            clients,
            operators,
            websocket_path: options.http.websocket_path.clone(),
            api_prefix: (!options.api.disabled).then(|| options.http.api_prefix.clone()),
            api_key: key,
        })
    }
}

fn at_url(text: &str, roots: Option<PathBuf>) -> Result<Server, Failure> {
    let bad = || Failure::usage(format!("--url {text}: it should be http://HOST[:PORT] or https://HOST[:PORT]"));
    let uri: Uri = text.parse().map_err(|_| bad())?;
    let (trust, port) = match uri.scheme_str() {
        Some("http" | "ws") => (None, 80),
        Some("https" | "wss") => (Some(Trust::Roots(roots)), 443),
        _ => return Err(bad()),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let clients = Endpoint { host, port: uri.port_u16().unwrap_or(port), trust };
    Ok(Server {
        operators: clients.clone(),
        clients,
        websocket_path: "/connection/websocket".to_owned(),
        api_prefix: Some("/api".to_owned()),
        api_key: None,
    })
}

/// Where a process of this machine reaches an address: "any" is the loopback one.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

impl Endpoint {
    /// As it stands in a URL and in the header `Host`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whose certificate does not matter: nothing secret is sent there.
    pub fn with_any_certificate(mut self) -> Endpoint {
        self.trust = self.trust.map(|_| Trust::Anybody);
        self
    }
}

/// Its URL.
impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn server(text: &str) -> Result<Server, Failure> {
        let (options, _) = config::read("a.toml", text, &Flags::default()).expect("a good file");
        Server::of(&options)
    }

    #[test]
    fn a_configuration_says_where_its_server_is() {
        let found =
            server("http_server = {port = 8123, internal_port = \"9000\"}\nhttp_api.key = \"k\"").expect("found");
        assert_eq!(found.clients.to_string(), "http://127.0.0.1:8123");
        assert_eq!(found.operators.to_string(), "http://127.0.0.1:9000");
        assert_eq!(found.api_key.as_deref(), Some("k"));
        assert_eq!(found.api_prefix.as_deref(), Some("/api"));
    }

    #[test]
    fn a_free_port_can_not_be_known() {
        let failure = server("http_server.port = 0").expect_err("no port");
        assert!(failure.to_string().contains("--port"), "{failure}");
    }

    #[test]
    fn the_key_of_dev_mode_is_not_made_up() {
        let found = Server::find(&ServerArguments::default()).expect("dev mode");
        assert_eq!(found.api_key, None);
        assert_eq!(found.operators.to_string(), "http://127.0.0.1:8000");
    }

    #[test]
    fn urls_name_scheme_host_and_port() {
        let find = |url: &str| at_url(url, None).map(|server| server.clients.to_string());
        assert_eq!(find("https://hub.example.com").as_deref(), Ok("https://hub.example.com:443"));
        assert_eq!(find("http://[::1]:8000/").as_deref(), Ok("http://[::1]:8000"));
        for bad in ["hub.example.com", "ftp://a", "https://a/b", "http://", "https://a/?x=1"] {
            assert_eq!(find(bad).expect_err(bad).exit, super::super::Exit::Usage, "{bad}");
        }
    }
}
