//! `fanfare sub CHANNEL...`: a client that prints what comes.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::config::{Output, SubscribeArguments};

use super::link::{self, Link};
use super::server::Server;
use super::{Failure, block_on, read_argument};

pub fn run(arguments: &SubscribeArguments) -> Result<(), Failure> {
    let server = Server::find(&arguments.server)?;
    let token = arguments.token.as_deref().map(read_argument).transpose()?;
    let printer = Printer { output: arguments.output.output, left: arguments.count };
    block_on(async {
        let late = |_| Failure::unreachable(format!("{} did not answer within {CONNECT_TIMEOUT:?}", server.clients));
        let socket = timeout(CONNECT_TIMEOUT, connect(&server)).await.map_err(late)??;
        let mut client = Client { socket, printer };
        client.greet(token.as_deref().map(str::trim), &arguments.channels).await?;
        client.listen(&arguments.channels).await
    })
}

type Socket = WebSocketStream<Box<dyn Link>>;

async fn connect(server: &Server) -> Result<Socket, Failure> {
    let link = link::connect(&server.clients).await?;
    let url = format!("ws://{}{}", server.clients.authority(), server.websocket_path);
    let refused = |error| Failure::failed(format!("{url} made no WebSocket: {error}"));
    Ok(client_async(&url, link).await.map_err(refused)?.0)
}

/// One connection that has not ended.
struct Client {
    socket: Socket,
    printer: Printer,
}

impl Client {
    /// Connects and subscribes in one message: the server takes commands in their order.
    async fn greet(&mut self, token: Option<&str>, channels: &[String]) -> Result<(), Failure> {
        let connect = match token {
            Some(token) => json!({ "token": token, "name": "fanfare-sub" }),
            None => json!({ "name": "fanfare-sub" }),
        };
        let mut commands = json!({ "id": 1, "connect": connect }).to_string();
        for (id, channel) in (FIRST_SUBSCRIBE..).zip(channels) {
            commands.push('\n');
            commands.push_str(&json!({ "id": id, "subscribe": { "channel": channel } }).to_string());
        }
        self.send(commands).await
    }

    /// Until the server ends the connection, or enough has come.
    async fn listen(&mut self, channels: &[String]) -> Result<(), Failure> {
        while let Some(message) = self.socket.next().await {
            match message.map_err(broken)? {
                Message::Text(text) => {
                    for line in text.lines() {
                        if self.hear(line, channels).await?.is_break() {
                            return Ok(());
                        }
                    }
                }
                Message::Close(Some(frame)) => {
                    return Err(Failure::failed(format!("the server closed: {} {}", frame.code, frame.reason)));
                }
                _ => {}
            }
        }
        Err(Failure::unreachable("the connection ended"))
    }

    /// One reply or push.
    async fn hear(&mut self, line: &str, channels: &[String]) -> Result<Next, Failure> {
        let reply: Value = serde_json::from_str(line).map_err(|_| Failure::failed("the server does not speak JSON"))?;
        if reply.as_object().is_some_and(serde_json::Map::is_empty) {
            // A ping; its pong looks alike.
            self.send("{}".to_owned()).await?;
        } else if let Some(push) = reply.get("push") {
            return self.printer.print(push);
        } else if let Some(error) = reply.get("error") {
            let what = match channel_of(&reply, channels) {
                Some(channel) => format!("subscribing to {channel}"),
                None => "connecting".to_owned(),
            };
            let (code, message) = (&error["code"], error["message"].as_str().unwrap_or_default());
            return Err(Failure::failed(format!("{what} was refused: {code} {message}")));
        } else if let Some(channel) = channel_of(&reply, channels) {
            eprintln!("fanfare: subscribed to {channel}");
        }
        Ok(Next::Continue(()))
    }

    async fn send(&mut self, text: String) -> Result<(), Failure> {
        self.socket.send(Message::text(text)).await.map_err(broken)
    }
}

type Next = std::ops::ControlFlow<()>;

/// The channel that a reply to a subscribe is about.
fn channel_of<'a>(reply: &Value, channels: &'a [String]) -> Option<&'a str> {
    let place = reply["id"].as_u64()?.checked_sub(FIRST_SUBSCRIBE)?;
    channels.get(usize::try_from(place).ok()?).map(String::as_str)
}

fn broken(error: Error) -> Failure {
    Failure::unreachable(format!("the connection broke: {error}"))
}

/// Where pushes go.
struct Printer {
    output: Output,
    /// Publications until the end; `None`: for ever.
    left: Option<u64>,
}

impl Printer {
    fn print(&mut self, push: &Value) -> Result<Next, Failure> {
        let publication = push.get("pub");
        match (self.output, publication) {
            (Output::Json, _) => say(&push.to_string())?,
            (Output::Text, Some(publication)) => {
                say(&format!("{} {}", push["channel"].as_str().unwrap_or_default(), publication["data"]))?;
            }
            // Joins, leaves and the like are no lines of data.
            (Output::Text, None) => eprintln!("fanfare: {push}"),
        }
        if publication.is_some()
            && let Some(left) = &mut self.left
        {
            *left -= 1;
            if *left == 0 {
                return Ok(Next::Break(()));
            }
        }
        Ok(Next::Continue(()))
    }
}

/// Errors: whoever reads has gone, which is how `| head -1` ends a command.
fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::failed(format!("standard output: {error}")))
}

/// Chosen: a server that is slower than this has other troubles.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connect command is 1.
const FIRST_SUBSCRIBE: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart_by_their_id() {
        let channels = ["a".to_owned(), "b".to_owned()];
        for (id, expected) in [(1, None), (2, Some("a")), (3, Some("b")), (4, None)] {
            assert_eq!(channel_of(&json!({ "id": id }), &channels), expected);
        }
    }

    #[test]
    fn publications_are_counted_and_nothing_else_is() {
        let mut printer = Printer { output: Output::Json, left: Some(2) };
        let mut print = |push: Value| printer.print(&push).expect("standard output is open");
        assert!(print(json!({ "channel": "a", "pub": { "data": 1 } })).is_continue());
        assert!(print(json!({ "channel": "a", "join": {} })).is_continue());
        assert!(print(json!({ "channel": "a", "pub": { "data": 2 } })).is_break());
    }
}
