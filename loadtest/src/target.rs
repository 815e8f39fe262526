//! Where connections go, and where they come from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::{Doing, Failure};

/// Connections that one source address can have to one server address: a little under the size of
/// Linux's default `ip_local_port_range` (28,232).
const CONNECTIONS_PER_SOURCE: usize = 28_000;

/// A server address, and the source addresses that its connections are spread over.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    /// 127.0.0.2 and up; 0: the kernel chooses.
    sources: u8,
}

impl Target {
    /// Reads `ws://host:port/path`; `connections` decides whether one source address is enough.
    pub fn parse(url: &str, connections: usize) -> Result<Target, Failure> {
        let wrong = |why: &str| Failure::new(format!("{url}: {why}; expected ws://host:port/path"));
        let rest = url.strip_prefix("ws://").ok_or_else(|| wrong("not a ws:// address"))?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let address = authority.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?.next();
        let address = address.ok_or_else(|| wrong("no address of that name"))?;
        let sources = match connections {
            0..=CONNECTIONS_PER_SOURCE => 0,
            many => u8::try_from(many.div_ceil(CONNECTIONS_PER_SOURCE)).map_err(|_| wrong("too many connections"))?,
        };
        if sources > 0 && !address.ip().is_loopback() {
            return Err(wrong("more connections than one source address holds need a loopback server"));
        }
        Ok(Target { address, path: path.to_owned(), sources })
    }

    /// Spreads the connections over at least `sources` loopback addresses.
    pub fn with_sources(mut self, sources: u8) -> Target {
        self.sources = self.sources.max(sources);
        self
    }

    /// Begins to connect; the stream is writable when that is done.
    pub fn connect(&self, number: usize) -> Result<TcpStream, Failure> {
        let what = format_args!("connecting to {}", self.address);
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM.nonblocking(), Some(Protocol::TCP));
        let socket = socket.doing(format_args!("{what} (connection {number})"))?;
        socket.set_tcp_nodelay(true).doing(what)?;
        // Closing sends a reset: tens of thousands of TIME_WAITs would disturb the next run.
        socket.set_linger(Some(std::time::Duration::ZERO)).doing(what)?;
        if self.sources > 0 {
            let last = 2 + (number % usize::from(self.sources)) as u8;
            let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
            socket.bind(&source.into()).doing(format_args!("binding to {source}"))?;
        }
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                Err(error).doing(what)
            }
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let target = Target::parse("ws://127.0.0.1:8000/connection/websocket", 10).expect("a good address");
        assert_eq!((target.address.port(), target.path.as_str(), target.sources), (8000, "/connection/websocket", 0));
        assert_eq!(Target::parse("ws://127.0.0.1:80", 10).expect("a good address").path, "/");
    }

    #[test]
    fn many_connections_are_spread() {
        assert_eq!(Target::parse("ws://127.0.0.1:80/", 56_001).expect("a good address").sources, 3);
        Target::parse("ws://192.0.2.1:80/", 56_001).expect_err("not a loopback address");
    }

    #[test]
    fn other_schemes_are_refused() {
        Target::parse("wss://127.0.0.1:80/", 1).expect_err("no TLS here");
        Target::parse("127.0.0.1:80", 1).expect_err("no scheme");
    }
}
