//! Runs the steps of a transcript in a world.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::pattern::Names;
use super::peer::{Heard, Peer, Sought, What};
use super::script::{Action, Expected, Said, Step, Transcript};
use super::{Arrival, Dialect, Event, World, token};
use fanfare::model::Format;

/// What a transcript says, and what was otherwise.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Runs `transcript` in `world`, all clients in `format` that do not open in another.
pub fn run(transcript: &Transcript, world: &mut impl World, format: Format) -> Result<(), Failure> {
    let mut names = Names::default();
    // The clock of a hub that runs by itself goes on.
    names.passed_max = if world.is_settled() { 0 } else { 10 };
    names.set("2k", "x".repeat(2000).into());
    let mut runner = Runner { transcript, world, format, clients: BTreeMap::new(), names };
    for step in &transcript.steps {
        runner.step(step).map_err(|what| fail(transcript, step.line, &what))?;
    }
    let last = transcript.steps.last().map_or(0, |step| step.line);
    runner.finish().map_err(|what| fail(transcript, last, &what))
}

struct Runner<'a, W> {
    transcript: &'a Transcript,
    world: &'a mut W,
    format: Format,
    clients: BTreeMap<String, Client>,
    names: Names,
}

struct Client {
    peer: Peer,
    /// Frame of the last thing that was looked at.
    frame: usize,
    answers_close: bool,
    /// A close frame came, or the socket is gone: nothing more is awaited.
    is_closed: bool,
    /// It was told that it is connected.
    is_connected: bool,
}

type Outcome = Result<(), String>;

const BEFORE: &str = "before this line";

impl<W: World> Runner<'_, W> {
    fn step(&mut self, step: &Step) -> Outcome {
        match &step.action {
            Action::Open { client, dialect } => self.open(client, *dialect),
            Action::Send { client, what } => self.send(client, what)?,
            Action::Expect { client, what, is_joined } => self.expect(client, what, *is_joined)?,
            Action::Token { name, claims, signed_by } => {
                let secret = self.transcript.config["client"]["token"]["hmac_secret_key"].as_str().unwrap_or_default();
                let token = token::make_token(&self.names.fill(claims), signed_by, secret, self.world.unix_seconds());
                self.names.set(name, token.into());
            }
            Action::Happen(event) => {
                if self.world.is_settled() {
                    self.check_quiet(BEFORE)?;
                }
                let event = match event {
                    Event::Publish { channel, data, version } => {
                        &Event::Publish { channel: channel.clone(), data: self.names.fill(data), version: *version }
                    }
                    _ => event,
                };
                assert!(self.world.happen(event), "this world can't do {event:?}");
                if let Event::Cut { client } = event
                    && let Some(client) = self.clients.get_mut(client)
                {
                    client.is_closed = true;
                }
            }
            Action::FallSilent { client } => self.client(client).answers_close = false,
        }
        Ok(())
    }

    fn open(&mut self, name: &str, dialect: Option<Dialect>) {
        let dialect = dialect.unwrap_or(Dialect::Centrifugo(self.format));
        self.world.open(name, dialect);
        let peer = Peer::new(dialect);
        let client = Client { peer, frame: 0, answers_close: true, is_closed: false, is_connected: false };
        self.clients.insert(name.into(), client);
    }

    /// The client of this name, which opens now if it did not before.
    fn client(&mut self, name: &str) -> &mut Client {
        if !self.clients.contains_key(name) {
            self.open(name, None);
        }
        self.clients.get_mut(name).expect("opened above if it was not there")
    }

    fn send(&mut self, name: &str, said: &Said) -> Outcome {
        // What was told before must have been said before.
        self.check_quiet_one(name, BEFORE)?;
        let lines: Vec<String> = match said {
            Said::Lines(lines) => lines.iter().map(|line| self.names.fill(line)).collect(),
            _ => Vec::new(),
        };
        let client = self.client(name);
        let bytes = match said {
            Said::Lines(_) => client.peer.message(&lines),
            Said::Empty => client.peer.message(&[]),
            Said::Ping(text) => client.peer.ping(text),
            Said::Close(code) => client.peer.close(*code),
            Said::Raw(bytes) => bytes.clone(),
        };
        if let Said::Close(_) = said {
            client.answers_close = false;
        }
        self.world.send(name, bytes);
        Ok(())
    }

    fn expect(&mut self, name: &str, expected: &Expected, is_joined: bool) -> Outcome {
        self.client(name);
        let pattern = match expected {
            Expected::Message(text) if text.starts_with('{') => {
                serde_json::from_str(text).map_err(|error| format!("{error} in what is expected"))?
            }
            _ => Value::Null,
        };
        // Which of an answer and a push of another shard is first, is for a hub that runs by itself.
        let sought = match (self.world.is_settled(), pattern.get("push").is_some()) {
            (true, _) => Sought::Anything,
            (false, true) => Sought::Push,
            (false, false) => Sought::NoPush,
        };
        let Some(Heard { frame, what }) = self.hear(name, sought) else {
            return Err(format!("{name} was told nothing"));
        };
        let is_same_frame = std::mem::replace(&mut self.client(name).frame, frame) == frame;
        if is_joined && !is_same_frame {
            return Err(format!("{name} was told it in a frame of its own"));
        }
        let is_right = match (expected, &what) {
            (Expected::Message(text), What::Echo(came)) => text == came,
            (Expected::Message(_), What::Message(came)) => self.names.accept(&pattern, came),
            (Expected::Pong(text), What::Pong(came)) => text == came,
            (Expected::Close { code, reason }, What::Close { code: came, reason: came_reason }) => {
                code == came && (reason == "*" || reason == came_reason)
            }
            (Expected::Gone, What::Gone) => true,
            _ => false,
        };
        match is_right {
            true => Ok(()),
            false => Err(format!("{name} was told {}", Told(&what))),
        }
    }

    /// The next thing that the client hears of what is sought; a close frame is answered.
    fn hear(&mut self, name: &str, sought: Sought) -> Option<Heard> {
        loop {
            let client = self.clients.get_mut(name).expect("only clients that opened are asked");
            if let Some(heard) = client.peer.take(sought) {
                match &heard.what {
                    What::Message(message) if message.get("connect").is_some() => client.is_connected = true,
                    What::Close { .. } => {
                        client.is_closed = true;
                        if client.answers_close {
                            let answer = client.peer.close(1000);
                            self.world.send(name, answer);
                        }
                    }
                    _ => {}
                }
                return Some(heard);
            }
            if client.is_closed {
                return None;
            }
            match self.world.receive(name) {
                Arrival::Bytes(bytes) => self.client(name).peer.feed(&bytes),
                Arrival::Nothing => return None,
                Arrival::Gone => {
                    let client = self.client(name);
                    client.peer.hear(What::Gone);
                    client.is_closed = true;
                }
            }
        }
    }

    fn check_quiet(&mut self, when: &str) -> Outcome {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        names.iter().try_for_each(|name| self.check_quiet_one(name, when))
    }

    /// Whether the client was told nothing but what the transcript said so far. Where the hub runs by
    /// itself only `finish` can know.
    fn check_quiet_one(&mut self, name: &str, when: &str) -> Outcome {
        if !self.world.is_settled() || !self.clients.contains_key(name) {
            return Ok(());
        }
        match self.hear(name, Sought::Anything) {
            None => Ok(()),
            Some(heard) => Err(format!("{when} {name} was told {}", Told(&heard.what))),
        }
    }

    fn finish(&mut self) -> Outcome {
        if self.world.is_settled() {
            return self.check_quiet("at the end");
        }
        // One more question: all that was said before its answer has been looked at.
        let last_id = u32::MAX;
        let connected = self.clients.iter().filter(|(_, client)| client.is_connected && !client.is_closed);
        let names: Vec<String> = connected.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.send(&name, &Said::Lines(vec![format!(r#"{{"id":{last_id},"rpc":{{}}}}"#)]))?;
            match self.hear(&name, Sought::Anything).map(|heard| heard.what) {
                Some(What::Message(message)) if message["id"] == last_id => {}
                Some(other) => return Err(format!("at the end {name} was told {}", Told(&other))),
                None => return Err(format!("at the end {name} was not answered")),
            }
        }
        Ok(())
    }
}

struct Told<'a>(&'a What);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            What::Message(message) => message.fmt(f),
            What::Echo(text) => text.fmt(f),
            What::Pong(text) => write!(f, "pong {text}"),
            What::Close { code, reason } => write!(f, "close {code} {reason}"),
            What::Gone => f.write_str("nothing any more: its socket is gone"),
        }
    }
}

fn fail(transcript: &Transcript, line: usize, what: &str) -> Failure {
    Failure(format!("{}.txt:{line}: {what}", transcript.name))
}
