//! Addresses of servers: `host:port`, or a URL.

use super::super::options::Secret;

/// The parts of a URL with one or several hosts.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    /// Empty: there is none.
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// As written: `host`, `host:port`, `[::1]:port`.
    pub hosts: Vec<String>,
    /// Without the slash before it.
    pub path: String,
    pub parameters: Vec<(String, String)>,
}

impl Url {
    /// Takes the text apart; whether hosts are any is for [`with_port`] to say.
    pub fn parse(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        // A password may hold anything but the last "@".
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (hosts, path) = rest.split_once('/').map_or((rest, ""), |(hosts, path)| (hosts, path));
        let (user, password) = match login.map(|login| login.split_once(':').map_or((login, None), split)) {
            None => (None, None),
            Some((user, password)) => (Some(decoded(user)?), password.map(decoded).transpose()?),
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok::<_, String>((decoded(name)?, decoded(value)?))
        };
        Ok(Url {
            scheme: scheme.to_ascii_lowercase(),
            user: user.filter(|user| !user.is_empty()),
            password: password.map(|text| Secret::new(&text)),
            hosts: hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_string).collect(),
            path: decoded(path)?,
            parameters: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect::<Result<_, _>>()?,
        })
    }
}

fn split<'a>((user, password): (&'a str, &'a str)) -> (&'a str, Option<&'a str>) {
    (user, Some(password))
}

/// `host:port` of a host that may have none.
pub fn with_port(host: &str, default_port: u16) -> Result<String, String> {
    let wrong = || format!("{host:?} is no host and port");
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']').ok_or_else(wrong)?;
            inside.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (format!("[{inside}]"), behind.strip_prefix(':').or((behind.is_empty()).then_some("")).ok_or_else(wrong)?)
        }
        None => {
            let (name, port) = host.split_once(':').unwrap_or((host, ""));
            (name.to_string(), port)
        }
    };
    let is_name = |name: &str| {
        name.starts_with('[') || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if name.is_empty() || !is_name(&name) {
        return Err(wrong());
    }
    let port = match port {
        "" if !host.ends_with(':') => default_port,
        port => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
    };
    Ok(format!("{name}:{port}"))
}

/// Without its `%20`s.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "has a \"%\" without two hexadecimal digits behind it (write %25 for a \"%\")".to_string();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).map_err(|_| "is no UTF-8 once its \"%\" are read".into())
}

/// An address as people may see it: without what stands for a password, or may.
pub fn masked(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    let rest = match rest.rsplit_once('@') {
        None => rest.to_string(),
        Some((login, hosts)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{hosts}"),
            None => format!("***@{hosts}"),
        },
    };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}=***"),
            _ => pair.into(),
        })
        .collect();
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let query = query.join("&");
    format!("{scheme}{rest}{}{query}", if query.is_empty() { "" } else { "?" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("redis+sentinel://ann:p%40:ss@[::1]:7,b.example/main?addr=c:9&db=2").expect("a good one");
        assert_eq!((url.scheme.as_str(), url.path.as_str()), ("redis+sentinel", "main"));
        assert_eq!((url.user.as_deref(), url.password.as_ref().map(Secret::reveal)), (Some("ann"), Some("p@:ss")));
        assert_eq!(url.hosts, ["[::1]:7", "b.example"]);
        assert_eq!(url.parameters, [("addr".into(), "c:9".into()), ("db".into(), "2".into())]);
        let plain = Url::parse("10.0.0.1:6379").expect("a good one");
        assert_eq!((plain.scheme.as_str(), plain.hosts), ("", vec!["10.0.0.1:6379".to_string()]));
        assert!(Url::parse("redis://a:50%@b").is_err());
    }

    #[test]
    fn hosts_have_ports() {
        for (host, expected) in [
            ("a", Some("a:1")),
            ("a.b-c:65535", Some("a.b-c:65535")),
            ("[::1]", Some("[::1]:1")),
            ("[::1]:2", Some("[::1]:2")),
            ("a:", None),
            ("a:0", None),
            ("a:65536", None),
            ("a b:1", None),
            ("::1", None),
            ("[x]:1", None),
            (":1", None),
        ] {
            assert_eq!(with_port(host, 1).ok().as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn nobody_sees_a_password() {
        for (text, expected) in [
            ("redis://ann:secret@a:1/2", "redis://ann:***@a:1/2"),
            ("redis://:se@cret@a", "redis://:***@a"),
            ("nats://token@a", "nats://***@a"),
            ("redis+sentinel://a/m?sentinel_password=x&db=1", "redis+sentinel://a/m?sentinel_password=***&db=1"),
            ("a:1", "a:1"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
