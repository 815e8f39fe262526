//! The text of a transcript: lines to steps.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Dialect, Event};
use fanfare::model::{ChannelName, Format, Since};
use fanfare::shard::{Act, Grant, Reach, ServerRefresh, ServerSubscription};

/// One file, read.
pub struct Transcript {
    pub name: String,
    /// The configuration that it wants, in Centrifugo's form.
    pub config: Value,
    /// What it is about can't be said in Protobuf.
    pub is_json_only: bool,
    pub steps: Vec<Step>,
}

pub struct Step {
    /// Line of the file, from 1.
    pub line: usize,
    pub action: Action,
}

pub enum Action {
    Open {
        client: String,
        dialect: Option<Dialect>,
    },
    Send {
        client: String,
        what: Said,
    },
    Expect {
        client: String,
        what: Expected,
        is_joined: bool,
    },
    Token {
        name: String,
        claims: String,
        signed_by: Signer,
    },
    Happen(Event),
    /// The client does not answer close frames.
    FallSilent {
        client: String,
    },
}

/// What a client sends.
pub enum Said {
    /// Commands of one frame; an echo client's text.
    Lines(Vec<String>),
    /// `raw 81 00`: bytes past the frame writer.
    Raw(Vec<u8>),
    /// `empty`: a message of no bytes.
    Empty,
    /// `ping text`, `close 1000`: control frames.
    Ping(String),
    Close(u16),
}

/// What a client is told.
pub enum Expected {
    Message(String),
    /// `pong text`.
    Pong(String),
    /// `close 3501 bad request`; the reason may be `*`.
    Close {
        code: u16,
        reason: String,
    },
    /// `gone`: the socket is dropped without a close frame.
    Gone,
}

#[derive(Clone)]
pub enum Signer {
    /// The secret of the configuration.
    Configured,
    Secret(String),
    /// The private key of `tests/data`.
    Rsa,
}

impl Transcript {
    pub fn read(path: &Path) -> Transcript {
        let text = std::fs::read_to_string(path).expect("the transcript can be read");
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        Transcript::parse(&name, &text)
    }

    /// Panics at the first line that is no line of a transcript: that is the author's mistake.
    pub fn parse(name: &str, text: &str) -> Transcript {
        let config = Value::Object(Map::new());
        let mut transcript = Transcript { name: name.into(), config, is_json_only: false, steps: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if !line.is_empty() && !line.starts_with('#') {
                transcript
                    .add(index + 1, line)
                    .unwrap_or_else(|| panic!("{name}.txt:{}: not a line of a transcript: {line}", index + 1));
            }
        }
        transcript
    }

    /// Whether all of it can happen to a server that nobody moves the clock of.
    pub fn is_for_servers(&self) -> bool {
        self.steps.iter().all(|step| match &step.action {
            Action::Happen(event) => matches!(event, Event::Cut { .. }),
            Action::FallSilent { .. } => false,
            _ => true,
        })
    }

    fn add(&mut self, line: usize, text: &str) -> Option<()> {
        let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
        let action = match head {
            "!" if rest == "only json" => {
                self.is_json_only = true;
                return Some(());
            }
            "!" => {
                let (path, value) = rest.split_once(" = ")?;
                set(&mut self.config, path, value);
                return Some(());
            }
            "@" => parse_token(rest)?,
            "~" => parse_event(rest)?,
            _ => {
                let at = head.find(['<', '>'])?;
                let (client, mark) = head.split_at(at);
                match mark {
                    ">" => Action::Send { client: client.into(), what: parse_said(rest)? },
                    ">+" => return self.append(client, rest),
                    "<" => Action::Expect { client: client.into(), what: parse_expected(rest)?, is_joined: false },
                    "<+" => Action::Expect { client: client.into(), what: parse_expected(rest)?, is_joined: true },
                    _ => return None,
                }
            }
        };
        self.steps.push(Step { line, action });
        Some(())
    }

    /// One more line in the frame that the line before began.
    fn append(&mut self, client: &str, line: &str) -> Option<()> {
        match &mut self.steps.last_mut()?.action {
            Action::Send { client: before, what: Said::Lines(lines) } if before == client => lines.push(line.into()),
            _ => return None,
        }
        Some(())
    }
}

/// `channel.namespaces.chat.presence` is the key `presence` of the namespace `chat`. A value is JSON, or
/// a text without its quotes, or `file path` for what a file holds.
fn set(config: &mut Value, path: &str, value: &str) {
    let value = match value.strip_prefix("file ") {
        Some(path) => std::fs::read_to_string(path).expect("the file is in the repository").into(),
        None => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
    };
    let mut at = config;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        at = &mut at[name];
        if name == "namespaces"
            && let Some(namespace) = names.next()
        {
            if at.is_null() {
                *at = Value::Array(Vec::new());
            }
            let list = at.as_array_mut().expect("namespaces are a list");
            let known = list.iter().position(|known| known["name"] == namespace);
            let index = known.unwrap_or_else(|| {
                list.push(serde_json::json!({"name": namespace}));
                list.len() - 1
            });
            at = &mut list[index];
        }
    }
    *at = value;
}

fn parse_said(text: &str) -> Option<Said> {
    Some(match text.split_once(' ') {
        Some(("raw", bytes)) => {
            let bytes = bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16));
            Said::Raw(bytes.collect::<Result<_, _>>().ok()?)
        }
        Some(("ping", text)) => Said::Ping(text.into()),
        Some(("close", code)) => Said::Close(code.parse().ok()?),
        None if text == "empty" => Said::Empty,
        _ => Said::Lines(vec![text.into()]),
    })
}

fn parse_expected(text: &str) -> Option<Expected> {
    Some(match text.split_once(' ') {
        Some(("close", rest)) => {
            let (code, reason) = rest.split_once(' ')?;
            Expected::Close { code: code.parse().ok()?, reason: reason.into() }
        }
        Some(("pong", text)) => Expected::Pong(text.into()),
        None if text == "gone" => Expected::Gone,
        _ => Expected::Message(text.into()),
    })
}

/// `name = {claims}`, `name = {claims} signed by a secret`, `name = {claims} signed by rsa`.
fn parse_token(text: &str) -> Option<Action> {
    let (name, rest) = text.split_once(" = ")?;
    let (claims, signed_by) = match rest.split_once(" signed by ") {
        None => (rest, Signer::Configured),
        Some((claims, "rsa")) => (claims, Signer::Rsa),
        Some((claims, secret)) => (claims, Signer::Secret(secret.into())),
    };
    Some(Action::Token { name: name.into(), claims: claims.into(), signed_by })
}

fn parse_event(text: &str) -> Option<Action> {
    let words: Vec<&str> = text.split(' ').collect();
    let event = match words[..] {
        ["open", client] => return Some(Action::Open { client: client.into(), dialect: None }),
        ["open", client, dialect] => {
            let dialect = Some(parse_dialect(dialect)?);
            return Some(Action::Open { client: client.into(), dialect });
        }
        [client, "falls", "silent"] => return Some(Action::FallSilent { client: client.into() }),
        ["cut", client] => Event::Cut { client: client.into() },
        [client, "stops", "reading"] => Event::Read { client: client.into(), is_reading: false },
        [client, "reads", "again"] => Event::Read { client: client.into(), is_reading: true },
        ["stall", time] => Event::Stall(parse_time(time)?),
        ["drain", time] => Event::Drain { window: parse_time(time)? },
        ["publish", channel, ..] => {
            let data = text.splitn(3, ' ').nth(2)?;
            Event::Publish { channel: channel.into(), data: data.into(), version: 0 }
        }
        ["publish_version", version, channel, ..] => {
            let data = text.splitn(4, ' ').nth(3)?;
            Event::Publish { channel: channel.into(), data: data.into(), version: version.parse().ok()? }
        }
        ["remove", "history", channel] => Event::RemoveHistory { channel: channel.into() },
        ["disconnect", user] => {
            reach(user, Act::Disconnect { code: 3503, reason: "force disconnect".into(), spared: vec![] })
        }
        ["disconnect", user, code, ..] => {
            let reason = text.splitn(4, ' ').nth(3)?.into();
            reach(user, Act::Disconnect { code: code.parse().ok()?, reason, spared: vec![] })
        }
        ["subscribe", user, channel] => reach(user, parse_subscribe(channel, "{}")?),
        ["subscribe", user, channel, ..] => reach(user, parse_subscribe(channel, text.splitn(4, ' ').nth(3)?)?),
        ["unsubscribe", user] => reach(user, Act::Unsubscribe { channel: None }),
        ["unsubscribe", user, channel] => {
            reach(user, Act::Unsubscribe { channel: Some(ChannelName::parse(channel, 255).ok()?) })
        }
        ["refresh", user, until] => reach(user, Act::Refresh(parse_refresh(until)?)),
        ["refresh", user, until, info] => {
            let info = Some(info.to_owned().into());
            reach(user, Act::Refresh(ServerRefresh { info, ..parse_refresh(until)? }))
        }
        [time] => Event::Advance(parse_time(time)?),
        _ => return None,
    };
    Some(Action::Happen(event))
}

fn reach(user: &str, act: Act) -> Event {
    Event::Reach(Reach { user: user.into(), client: None, act })
}

/// What is granted is JSON: `info`, `data`, seconds to live, the offset to recover from.
fn parse_subscribe(channel: &str, grant: &str) -> Option<Act> {
    let fields: Value = serde_json::from_str(grant).ok()?;
    let payload = |field| fields.get(field).map(|value: &Value| value.to_string().into());
    let since = |offset| Since { offset, epoch: "".into() };
    let grant = Grant {
        info: payload("info"),
        data: payload("data").unwrap_or_default(),
        expires_at: fields["seconds"].as_i64(),
        ..Grant::default()
    };
    let channel = ChannelName::parse(channel, 255).ok()?;
    let since = fields["since"].as_u64().map(since);
    Some(Act::Subscribe(Box::new(ServerSubscription { channel, grant, since })))
}

/// `expired`, `never`, or when it expires: `60s` from now.
fn parse_refresh(until: &str) -> Option<ServerRefresh> {
    let expire_at = match until {
        "expired" | "never" => None,
        time => Some(i64::try_from(parse_time(time)?.as_secs()).ok()?),
    };
    Some(ServerRefresh { is_expired: until == "expired", expire_at, info: None })
}

fn parse_dialect(text: &str) -> Option<Dialect> {
    Some(match text {
        "json" => Dialect::Centrifugo(Format::CentrifugoJson),
        "protobuf" => Dialect::Centrifugo(Format::CentrifugoProtobuf),
        "echo" => Dialect::Echo,
        _ => return None,
    })
}

fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * unit))
}
