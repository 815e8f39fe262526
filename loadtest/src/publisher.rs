//! The two ways in which publications reach the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use serde::Deserialize;
use serde_json::json;

use crate::commands;
use crate::failure::{Doing, Failure};
use crate::fleet::Fleet;

/// Ids below are those of the commands of introductions.
pub const FIRST_PUBLISH_ID: u64 = 10;

/// Sends publications to one channel, in order, without waiting for their replies.
pub enum Publisher {
    /// The client connection with this number.
    Client { link: usize },
    /// The server API.
    Api(ServerApi),
}

impl Publisher {
    /// Sends what `batch` holds: sequence numbers and payloads, written at once.
    pub fn publish(&mut self, fleet: &mut Fleet, channel: &str, batch: &[(u64, String)]) -> Result<(), Failure> {
        match self {
            Publisher::Client { link } => {
                let mut frames = Vec::new();
                for (sequence, data) in batch {
                    fleet.dialect().publish(&mut frames, FIRST_PUBLISH_ID + sequence, channel, data);
                }
                fleet.send(*link, &frames)
            }
            Publisher::Api(api) => api.publish(channel, batch),
        }
    }

    /// Looks at the replies that came meanwhile; those of a client connection come as lines.
    pub fn check_replies(&mut self) -> Result<(), Failure> {
        match self {
            Publisher::Client { .. } => Ok(()),
            Publisher::Api(api) => api.check_replies(),
        }
    }
}

/// Publishes by `POST /api/publish`, pipelined on one connection that is never waited for.
pub struct ServerApi {
    stream: TcpStream,
    /// Everything before the length of the body.
    head: String,
    unsent: Vec<u8>,
    received: Vec<u8>,
    replies_left: usize,
}

#[derive(Deserialize)]
struct ApiReply {
    error: Option<commands::ReplyError>,
}

impl ServerApi {
    /// `url` is `http://host:port/api`.
    pub fn connect(url: &str, key: &str) -> Result<ServerApi, Failure> {
        let rest = url.strip_prefix("http://");
        let rest = rest.ok_or_else(|| Failure::new(format!("{url}: expected http://host:port/api")))?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let address = authority.to_socket_addrs().doing(url)?.next();
        let address = address.ok_or_else(|| Failure::new(format!("{url}: no address of that name")))?;
        let stream = TcpStream::connect(address).doing(format_args!("connecting to {url}"))?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).doing(url)?;
        let path = path.trim_end_matches('/');
        let head = format!(
            "POST {path}/publish HTTP/1.1\r\nHost: {authority}\r\nX-API-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: "
        );
        Ok(ServerApi { stream, head, unsent: Vec::new(), received: Vec::new(), replies_left: 0 })
    }

    fn publish(&mut self, channel: &str, batch: &[(u64, String)]) -> Result<(), Failure> {
        let channel = json!(channel);
        for (_, data) in batch {
            let body = format!(r#"{{"channel":{channel},"data":{data}}}"#);
            self.unsent.extend(format!("{}{}\r\n\r\n{body}", self.head, body.len()).bytes());
        }
        self.replies_left += batch.len();
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).doing("writing to the server API"),
            }
        }
        Ok(())
    }

    fn check_replies(&mut self) -> Result<(), Failure> {
        if self.replies_left == 0 {
            return Ok(());
        }
        self.flush()?;
        let mut chunk = [0; 8192];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Failure::new("the server API closed the connection")),
                Ok(got) => self.received.extend_from_slice(&chunk[..got]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).doing("reading from the server API"),
            }
        }
        while let Some(used) = read_reply(&self.received)? {
            self.received.drain(..used);
            self.replies_left -= 1;
        }
        Ok(())
    }
}

/// Reads the HTTP response at the start of `bytes`. Returns how many bytes it used, `None` while it
/// is not whole; fails when it is not a success.
fn read_reply(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(head_end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..head_end]);
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        return Err(Failure::new(format!("the server API answered {status}")));
    }
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let length = length.ok_or_else(|| Failure::new("the server API answered without a Content-Length"))?;
    let Some(body) = bytes.get(head_end + 4..head_end + 4 + length) else { return Ok(None) };
    let reply: ApiReply = serde_json::from_slice(body).doing("reading a reply of the server API")?;
    match reply.error {
        Some(error) => Err(Failure::new(format!("publishing failed: {} ({})", error.code, error.message))),
        None => Ok(Some(head_end + 4 + length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_one_by_one() {
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"result\":{}}HTTP/1.1";
        assert_eq!(read_reply(reply).expect("a success"), Some(reply.len() - 8));
        assert_eq!(read_reply(&reply[..reply.len() - 9]).expect("a success"), None);
    }

    #[test]
    fn refusals_are_named() {
        let error = |reply: &[u8]| read_reply(reply).expect_err("a refusal").to_string();
        assert!(error(b"HTTP/1.1 401 Unauthorized\r\n\r\n").contains("401"));
        let body = r#"{"error":{"code":102,"message":"unknown channel"}}"#;
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert!(error(reply.as_bytes()).contains("102 (unknown channel)"));
    }
}
