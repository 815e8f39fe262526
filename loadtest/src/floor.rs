//! The floor: a server that does nothing but what no server can leave out.
//!
//! One system call reads a publish, one sends its message to each member; what was published in one
//! turn goes out joined. It keeps no outbox, no limits and no clock, checks no token and sends no
//! pings, so whatever costs less than this beside the same members costs less than the kernel's own
//! share. It stands in the comparison as the measure of that share, not as something to use.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::{Doing, Failure};
use crate::websocket;

#[derive(Args)]
pub struct FloorOptions {
    /// Where it listens on 127.0.0.1
    #[arg(long)]
    port: u16,
}

const LISTENER: Token = Token(usize::MAX);

/// Bytes of one read, as in the hub.
const READ_BYTES: usize = 64 << 10;

/// Serves until it is killed.
pub fn run(options: &FloorOptions) -> Result<(), Failure> {
    crate::process::raise_descriptor_limit(0)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let mut listener = TcpListener::bind(address).doing(format_args!("listening on {address}"))?;
    let poll = Poll::new().doing("making a poll set")?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).doing("watching the listener")?;
    let mut events = Events::with_capacity(1024);
    let mut floor = Floor { poll, connections: Vec::new(), channels: HashMap::new(), buffer: vec![0; READ_BYTES] };
    loop {
        if let Err(error) = floor.poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error).doing("waiting for events");
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener)?,
                Token(slot) => floor.read(slot),
            }
        }
        floor.deliver();
    }
}

struct Floor {
    poll: Poll,
    /// Slots are not used again: a run opens a bounded number of connections.
    connections: Vec<Option<Connection>>,
    channels: HashMap<String, Channel>,
    buffer: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    is_upgraded: bool,
    /// The beginning of what is not whole yet.
    rest: Vec<u8>,
}

#[derive(Default)]
struct Channel {
    members: Vec<usize>,
    /// Pushes of this turn, joined by newlines.
    pushes: Vec<u8>,
}

#[derive(Deserialize)]
struct Command<'a> {
    id: u64,
    #[serde(borrow)]
    subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    publish: Option<Publish<'a>>,
}

#[derive(Deserialize)]
struct Subscribe<'a> {
    channel: &'a str,
}

#[derive(Deserialize)]
struct Publish<'a> {
    channel: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<(), Failure> {
        loop {
            let (mut socket, _) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).doing("accepting"),
            };
            socket.set_nodelay(true).doing("setting an option of a socket")?;
            let token = Token(self.connections.len());
            self.poll.registry().register(&mut socket, token, Interest::READABLE).doing("watching a socket")?;
            self.connections.push(Some(Connection { socket, is_upgraded: false, rest: Vec::new() }));
        }
    }

    /// Reads what there is and acts on it; a connection that ends or breaks a rule is dropped.
    fn read(&mut self, slot: usize) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        let is_open = loop {
            match connection.socket.read(&mut buffer) {
                Ok(0) => break false,
                Ok(length) => {
                    connection.rest.extend_from_slice(&buffer[..length]);
                    // Less than there was room for: the socket is empty.
                    if length < buffer.len() {
                        break self.act(slot, &mut connection).is_some();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break self.act(slot, &mut connection).is_some(),
                Err(_) => break false,
            }
        };
        self.buffer = buffer;
        if is_open {
            self.connections[slot] = Some(connection);
        } else {
            self.channels.values_mut().for_each(|channel| channel.members.retain(|member| *member != slot));
        }
    }

    /// `None`: the client did what the load generator never does.
    fn act(&mut self, slot: usize, connection: &mut Connection) -> Option<()> {
        let mut bytes = std::mem::take(&mut connection.rest);
        let mut used = 0;
        if !connection.is_upgraded
            && let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n")
        {
            used = end + 4;
            connection.is_upgraded = true;
            write_whole(&mut connection.socket, websocket::UPGRADED.as_bytes())?;
        }
        let mut replies = Vec::new();
        while connection.is_upgraded
            && let Some((message, length)) = websocket::unmask_message(&mut bytes[used..])?
        {
            for line in message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && *line != b"{}") {
                self.obey(slot, serde_json::from_slice(line).ok()?, &mut replies);
            }
            used += length;
        }
        if !replies.is_empty() {
            write_whole(&mut connection.socket, &replies)?;
        }
        bytes.drain(..used);
        connection.rest = bytes;
        Some(())
    }

    fn obey(&mut self, slot: usize, command: Command<'_>, replies: &mut Vec<u8>) {
        let mut reply = |name: &str| {
            websocket::append_server_text(replies, format!(r#"{{"id":{},"{name}":{{}}}}"#, command.id).as_bytes());
        };
        if let Some(Subscribe { channel }) = command.subscribe {
            self.channels.entry(channel.to_owned()).or_default().members.push(slot);
            reply("subscribe");
        } else if let Some(Publish { channel, data }) = command.publish {
            reply("publish");
            let pushes = &mut self.channels.entry(channel.to_owned()).or_default().pushes;
            if !pushes.is_empty() {
                pushes.push(b'\n');
            }
            pushes.extend_from_slice(format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":"#).as_bytes());
            pushes.extend_from_slice(data.get().as_bytes());
            pushes.extend_from_slice(b"}}}");
        } else {
            reply("connect");
        }
    }

    /// Sends what was published in this turn, one message to each member.
    fn deliver(&mut self) {
        let mut message = Vec::new();
        for channel in self.channels.values_mut().filter(|channel| !channel.pushes.is_empty()) {
            message.clear();
            websocket::append_server_text(&mut message, &channel.pushes);
            channel.pushes.clear();
            for member in &channel.members {
                let connection = &mut self.connections[*member];
                // A member that does not keep up is cut, so that the ledger of the run shows it.
                if connection.as_mut().is_some_and(|open| write_whole(&mut open.socket, &message).is_none()) {
                    *connection = None;
                }
            }
        }
    }
}

/// `None` when the socket did not take all of it.
fn write_whole(socket: &mut TcpStream, bytes: &[u8]) -> Option<()> {
    (socket.write(bytes).ok()? == bytes.len()).then_some(())
}
