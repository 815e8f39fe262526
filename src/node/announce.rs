//! What a node says when it has started.

use std::io::{Write, stdout};
use std::net::{IpAddr, SocketAddr};

use rustix::process::{Resource, getrlimit};

use crate::config::{DevSecrets, Options};
use crate::io::Pair;

pub struct Announcement<'a> {
    pub options: &'a Options,
    pub client_address: SocketAddr,
    pub internal_address: Option<SocketAddr>,
    /// Cores that the process may use.
    pub cores: usize,
}

/// Dev mode prints all that a person needs to begin; otherwise one line goes to the log.
pub fn announce(announcement: &Announcement<'_>) {
    let Announcement { options, client_address, internal_address, cores } = announcement;
    match &options.dev {
        Some(secrets) => {
            // Nobody may be there to read it, and the hub serves all the same.
            let _ = writeln!(stdout(), "{}", banner(announcement, secrets, descriptors_max()));
        }
        None => tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            clients = url("ws", &options.client_tls, *client_address),
            internal = internal_address.map(|address| url("http", &options.internal_tls, address)),
            shards = options.shards,
            cores,
            workers = options.workers.threads,
            descriptors = descriptors_max(),
            "started"
        ),
    }
}

/// The text of dev mode.
fn banner(announcement: &Announcement<'_>, secrets: &DevSecrets, descriptors: u64) -> String {
    let Announcement { options, client_address, internal_address, cores } = announcement;
    let client = reachable(*client_address);
    let operator = reachable(internal_address.unwrap_or(*client_address));
    let operator_tls = if internal_address.is_some() { &options.internal_tls } else { &options.client_tls };
    let operator = url("http", operator_tls, operator);
    let client = url("ws", &options.client_tls, client);
    let mut lines =
        vec![format!("Fanfare {} in dev mode: everything is allowed, nothing is kept", env!("CARGO_PKG_VERSION"))];
    lines.push(String::new());
    let mut say = |name: &str, what: String| lines.push(format!("  {name:<12} {what}"));
    if options.http.page {
        say("Page", format!("{operator}/"));
    }
    say("Socket", format!("{client}{}", options.http.websocket_path));
    if !options.api.disabled {
        say("API", format!("curl {operator}{}/publish \\", options.http.api_prefix));
        say("", format!("  -H 'X-API-Key: {}' \\", secrets.api_key.reveal()));
        say("", r#"  -d '{"channel": "chat", "data": {"text": "Hello from curl"}}'"#.to_owned());
    }
    if let Some(path) = &options.http.metrics_path {
        say("Metrics", format!("{operator}{path}"));
    }
    say("Token secret", format!("{} (HS256; clients need no token)", secrets.hmac_secret.reveal()));
    say("Shards", format!("{} on {cores} cores", options.shards));
    say("Descriptors", format!("{descriptors}, one for each client"));
    lines.push(String::new());
    lines.push("Ctrl-C stops it. For anything else than trying it out: fanfare -c FILE".to_owned());
    lines.join("\n")
}

/// Where a port is, and what it speaks.
fn url(scheme: &str, tls: &Option<Pair>, address: SocketAddr) -> String {
    format!("{scheme}{}://{address}", if tls.is_some() { "s" } else { "" })
}

/// An address that a person can go to: "any" is this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    #[test]
    fn dev_mode_says_where_everything_is() {
        let (options, _) = load(&Flags::default()).expect("dev mode needs no file");
        let secrets = options.dev.clone().expect("dev mode has secrets");
        let announcement = Announcement {
            options: &options,
            client_address: "0.0.0.0:8000".parse().expect("an address"),
            internal_address: None,
            cores: 2,
        };
        let text = banner(&announcement, &secrets, 20_000);
        for expected in [
            "http://127.0.0.1:8000/\n",
            "ws://127.0.0.1:8000/connection/websocket\n",
            "curl http://127.0.0.1:8000/api/publish \\\n",
            &format!("-H 'X-API-Key: {}' \\\n", secrets.api_key.reveal()),
            "http://127.0.0.1:8000/metrics\n",
            secrets.hmac_secret.reveal(),
            "on 2 cores\n",
            "20000, one for each client\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
