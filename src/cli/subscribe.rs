//! `fanfare sub CHANNEL...`: a client that prints what comes.
//!
//! As SDKs do it connects again when a connection breaks, after a while that grows, and goes on where it was: what
//! was published meanwhile comes then, if the channel keeps it.

mod backoff;
mod positions;
mod printer;

use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::config::SubscribeArguments;

use super::link::{self, Link};
use super::server::Server;
use super::{Failure, block_on, read_argument};
use backoff::Backoff;
use positions::Positions;
use printer::Printer;

pub fn run(arguments: &SubscribeArguments) -> Result<(), Failure> {
    let server = Server::find(&arguments.server)?;
    let token = arguments.token.as_deref().map(read_argument).transpose()?;
    let mut reader = Reader {
        token: token.as_deref().map(str::trim),
        channels: &arguments.channels,
        printer: Printer::new(arguments.output.output, arguments.count),
        positions: Positions::default(),
        was_connected: false,
    };
    block_on(reader.read(&server))
}

type Socket = WebSocketStream<Box<dyn Link>>;

async fn connect(server: &Server) -> Result<Socket, Failure> {
    let link = link::connect(&server.clients).await?;
    let url = format!("ws://{}{}", server.clients.authority(), server.websocket_path);
    let refused = |error| Failure::failed(format!("{url} made no WebSocket: {error}"));
    Ok(client_async(&url, link).await.map_err(refused)?.0)
}

/// Who reads, over as many connections as it takes.
struct Reader<'a> {
    token: Option<&'a str>,
    channels: &'a [String],
    printer: Printer,
    positions: Positions,
    /// This connection, or one before, was let in.
    was_connected: bool,
}

/// Why there is no more of a connection.
enum End {
    /// Another one may go on.
    Broken(Failure),
    Final(Failure),
}

/// Going on, or having read enough.
type Next = ControlFlow<()>;

impl Reader<'_> {
    async fn read(&mut self, server: &Server) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            let late =
                |_| Failure::unreachable(format!("{} did not answer within {CONNECT_TIMEOUT:?}", server.clients));
            let socket = timeout(CONNECT_TIMEOUT, connect(server)).await.map_err(late).and_then(|made| made);
            let began_connected = std::mem::take(&mut self.was_connected);
            let end = match socket {
                Ok(socket) => self.listen(Client { socket, silence_max: CONNECT_TIMEOUT }).await,
                Err(failure) => Err(End::Broken(failure)),
            };
            if self.was_connected {
                backoff = Backoff::default();
            }
            self.was_connected |= began_connected;
            match end {
                Ok(()) => return Ok(()),
                Err(End::Broken(failure)) if self.was_connected => {
                    let delay = backoff.next();
                    eprintln!("fanfare: {failure}; connecting again in {delay:?}");
                    sleep(delay).await;
                }
                // A server that was never there is more likely named wrong than gone for a while.
                Err(End::Broken(failure) | End::Final(failure)) => return Err(failure),
            }
        }
    }

    /// Until the connection ends, or enough has come.
    async fn listen(&mut self, mut client: Client) -> Result<(), End> {
        client.send(self.greeting()).await?;
        loop {
            match client.next().await? {
                Message::Text(text) => {
                    for line in text.lines() {
                        if self.hear(&mut client, line).await?.is_break() {
                            return Ok(());
                        }
                    }
                }
                Message::Close(frame) => {
                    let (code, reason) = frame.map_or((1005, "".into()), |frame| (frame.code.into(), frame.reason));
                    let failure = Failure::failed(format!("the server closed: {code} {reason}"));
                    return Err(if may_reconnect(code) { End::Broken(failure) } else { End::Final(failure) });
                }
                _ => {}
            }
        }
    }

    /// Connects and subscribes in one message: the server takes commands in their order.
    fn greeting(&self) -> String {
        let mut connect = json!({ "name": "fanfare-sub", "subs": self.positions.served() });
        if let Some(token) = self.token {
            connect["token"] = json!(token);
        }
        let mut commands = json!({ "id": 1, "connect": connect }).to_string();
        for (place, channel) in self.channels.iter().enumerate() {
            commands.push('\n');
            commands.push_str(&self.subscribe(place, channel));
        }
        commands
    }

    fn subscribe(&self, place: usize, channel: &str) -> String {
        let mut request = self.positions.recovery(channel);
        request.insert("channel".into(), json!(channel));
        request.insert("recoverable".into(), json!(true));
        json!({ "id": FIRST_SUBSCRIBE + place as u64, "subscribe": request }).to_string()
    }

    /// One reply or push.
    async fn hear(&mut self, client: &mut Client, line: &str) -> Result<Next, End> {
        let no_json = |_| End::Final(Failure::failed("the server does not speak JSON"));
        let reply: Value = serde_json::from_str(line).map_err(no_json)?;
        if reply.as_object().is_some_and(serde_json::Map::is_empty) {
            // A ping; its pong looks alike.
            client.send("{}".to_owned()).await?;
        } else if let Some(push) = reply.get("push") {
            return self.hear_push(client, push).await;
        } else if let Some(error) = reply.get("error") {
            return Err(self.refused(&reply, error));
        } else if let Some(connected) = reply.get("connect") {
            self.was_connected = true;
            if let Some(seconds) = connected["ping"].as_u64() {
                client.silence_max = Duration::from_secs(seconds) + PING_DELAY_MAX;
            }
            for (channel, result) in connected["subs"].as_object().into_iter().flatten() {
                self.positions.serve(channel);
                if self.subscribed(channel, result)?.is_break() {
                    return Ok(Next::Break(()));
                }
            }
        } else if let (Some(result), Some((_, channel))) = (reply.get("subscribe"), place_of(&reply, self.channels)) {
            return self.subscribed(channel, result);
        }
        Ok(Next::Continue(()))
    }

    fn refused(&self, reply: &Value, error: &Value) -> End {
        let what = match place_of(reply, self.channels) {
            Some((_, channel)) => format!("subscribing to {channel}"),
            None => "connecting".to_owned(),
        };
        let (code, message) = (&error["code"], error["message"].as_str().unwrap_or_default());
        let failure = Failure::failed(format!("{what} was refused: {code} {message}"));
        if error["temporary"] == true { End::Broken(failure) } else { End::Final(failure) }
    }

    /// A subscription was made, perhaps anew: with what was missed, if that is still there.
    fn subscribed(&mut self, channel: &str, result: &Value) -> Result<Next, End> {
        eprintln!("fanfare: subscribed to {channel}");
        if result["was_recovering"] == true && result["recovered"] != true {
            eprintln!("fanfare: something of {channel} may be missing here: the server does not have it any more");
        }
        self.positions.stand(channel, result);
        for publication in result["publications"].as_array().into_iter().flatten() {
            let push = json!({ "channel": channel, "pub": publication });
            if self.print(&push)?.is_break() {
                return Ok(Next::Break(()));
            }
        }
        Ok(Next::Continue(()))
    }

    async fn hear_push(&mut self, client: &mut Client, push: &Value) -> Result<Next, End> {
        let channel = push["channel"].as_str().unwrap_or_default();
        if let Some(result) = push.get("subscribe") {
            self.positions.serve(channel);
            self.positions.stand(channel, result);
        }
        if let Some(code) = push["unsubscribe"]["code"].as_u64() {
            let place = self.channels.iter().position(|other| other == channel);
            if let Some(place) = place.filter(|_| code >= RESUBSCRIBE_FROM) {
                client.send(self.subscribe(place, channel)).await?;
            } else {
                self.positions.forget(channel);
            }
        }
        self.print(push)
    }

    fn print(&mut self, push: &Value) -> Result<Next, End> {
        if let (Some(channel), Some(offset)) = (push["channel"].as_str(), push["pub"]["offset"].as_u64()) {
            self.positions.step(channel, offset);
        }
        self.printer.print(push).map_err(End::Final)
    }
}

/// One connection that has not ended.
struct Client {
    socket: Socket,
    /// So long without a word it is taken for dead.
    silence_max: Duration,
}

impl Client {
    async fn next(&mut self) -> Result<Message, End> {
        let dead = |_| End::Broken(Failure::unreachable(format!("no word for {:?}", self.silence_max)));
        match timeout(self.silence_max, self.socket.next()).await.map_err(dead)? {
            Some(message) => message.map_err(broken),
            None => Err(End::Broken(Failure::unreachable("the connection ended"))),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        self.socket.send(Message::text(text)).await.map_err(broken)
    }
}

/// The channel that a reply to a subscribe is about, and its place among all.
fn place_of<'a>(reply: &Value, channels: &'a [String]) -> Option<(usize, &'a str)> {
    let place = usize::try_from(reply["id"].as_u64()?.checked_sub(FIRST_SUBSCRIBE)?).ok()?;
    channels.get(place).map(|channel| (place, channel.as_str()))
}

fn broken(error: Error) -> End {
    End::Broken(Failure::unreachable(format!("the connection broke: {error}")))
}

/// Whether a client that was closed with `code` comes back. Source: protocol page, section 2.5.
fn may_reconnect(code: u16) -> bool {
    !matches!(code, 3500..4000 | 4500..5000)
}

/// Chosen: a server that is slower than this has other troubles.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How late a ping may be; as in the SDKs.
const PING_DELAY_MAX: Duration = Duration::from_secs(10);

/// The connect command is 1.
const FIRST_SUBSCRIBE: u64 = 2;

/// Codes of unsubscribing from here on ask the client to subscribe again.
const RESUBSCRIBE_FROM: u64 = 2500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart_by_their_id() {
        let channels = ["a".to_owned(), "b".to_owned()];
        for (id, expected) in [(1, None), (2, Some((0, "a"))), (3, Some((1, "b"))), (4, None)] {
            assert_eq!(place_of(&json!({ "id": id }), &channels), expected);
        }
    }

    #[test]
    fn codes_say_who_comes_back() {
        for code in [1000, 1006, 3000, 3001, 3012, 3499, 4000, 4499] {
            assert!(may_reconnect(code), "{code}");
        }
        for code in [3500, 3999, 4500, 4999] {
            assert!(!may_reconnect(code), "{code}");
        }
    }
}
