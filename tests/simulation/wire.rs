//! What clients say and hear, and its two encodings.
//!
//! JSON is written and read here on its own terms; Protobuf goes through the types generated from
//! the schema, which are not what the hub's codec is built of.

use std::fmt::Write;

use fanfare::model::{ClientId, Format};
use fanfare::protocol::centrifugo::schema;
use prost::Message;

use super::wire_json;

/// Eight letters; all zero where none was given.
pub type Epoch = [u8; 8];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: u64,
}

/// What a client asks for. Channels are named in full: some don't exist.
#[derive(Clone, Debug)]
pub enum Request {
    /// `subs`: channels of the server's that the client wants or had, with where it was.
    Connect {
        token: String,
        subs: Vec<(String, Option<Position>)>,
    },
    Subscribe(Subscribe),
    Unsubscribe {
        channel: String,
    },
    Publish {
        channel: String,
        data: String,
    },
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
    History {
        channel: String,
        limit: i32,
        since: Option<Position>,
        reverse: bool,
    },
    SubRefresh {
        channel: String,
        token: String,
    },
    Rpc,
}

#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    pub channel: String,
    /// Empty: none.
    pub token: String,
    pub since: Option<Position>,
    pub positioned: bool,
    pub recoverable: bool,
    pub joins: bool,
    pub must_recover: bool,
    /// Reads publications as the difference from the one before.
    pub delta: bool,
}

impl Subscribe {
    /// One that asks for nothing else.
    pub fn to(channel: &str) -> Subscribe {
        Subscribe { channel: channel.to_string(), ..Subscribe::default() }
    }
}

/// What a client hears.
#[derive(Debug)]
pub enum Heard {
    Ping,
    Reply { id: u32, outcome: Result<Outcome, u32> },
    Push { channel: String, push: Push },
}

#[derive(Debug)]
pub enum Outcome {
    Connect { client: ClientId, subs: Vec<(String, Subscribed)> },
    Subscribe(Subscribed),
    Unsubscribe,
    SubRefresh { ttl: u32 },
    Publish,
    Presence(Vec<ClientId>),
    PresenceStats { clients: u32, users: u32 },
    History { publications: Vec<Publication>, top: Position },
}

#[derive(Debug)]
pub struct Subscribed {
    pub recoverable: bool,
    pub positioned: bool,
    pub recovered: bool,
    pub was_recovering: bool,
    pub position: Position,
    pub publications: Vec<Publication>,
    pub delta: bool,
    /// Seconds until it ends; 0: never, as far as its client is told.
    pub ttl: u32,
    /// The number in its data.
    pub data: Option<u32>,
}

#[derive(Debug)]
pub enum Push {
    Publication(Publication),
    Join(ClientId),
    Leave(ClientId),
    Subscribe(Subscribed),
    Unsubscribe(u32),
}

/// A publication as it is told: the payload holds a number that no other has.
#[derive(Clone, Debug)]
pub struct Publication {
    /// [`UNREAD`] in a patch.
    pub number: u32,
    pub said: Said,
    pub offset: u64,
    pub epoch: Option<Epoch>,
    pub publisher: Option<ClientId>,
    /// 0: none.
    pub version: u64,
}

/// How a payload is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// As a JSON value.
    Value,
    /// As bytes, or as the text of a JSON string.
    Whole(Vec<u8>),
    /// The same, of the difference from the one before.
    Patch(Vec<u8>),
}

pub const UNREAD: u32 = u32::MAX;

impl Said {
    /// `bytes` are no JSON value, but bytes or a text.
    pub fn read(bytes: Vec<u8>, is_patch: bool) -> Result<(u32, Said), String> {
        match is_patch {
            true => Ok((UNREAD, Said::Patch(bytes))),
            false => Ok((number_in(&bytes)?, Said::Whole(bytes))),
        }
    }
}

/// The payload of publication `number`, longer by about `padding`.
pub fn payload_of(number: u32, padding: usize) -> String {
    let head = format!("{{\"n\":{number},\"pad\":\"");
    let mut payload = head.clone();
    let mut words = WORDS.iter().cycle().skip(number as usize % WORDS.len());
    while payload.len() < head.len() + padding {
        payload.extend(words.next().copied());
    }
    payload.push_str("\"}");
    payload
}

/// In many scripts, so that what two payloads have in common may end within a character.
const WORDS: [&str; 7] = ["ask ", "bid ", "é", "è ", "€", "₂ ", "🎈🎉"];

/// Whether `payload_of` made all of it.
pub fn is_payload(payload: &[u8]) -> bool {
    let Ok(number) = number_in(payload) else { return false };
    let padding = payload.len().checked_sub(payload_of(number, 0).len());
    padding.is_some_and(|padding| payload == payload_of(number, padding).as_bytes())
}

/// The number in a payload that `payload_of` made.
pub fn number_in(payload: &[u8]) -> Result<u32, String> {
    let digits = payload.strip_prefix(b"{\"n\":").unwrap_or_default();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = str::from_utf8(&digits[..length]).unwrap_or_default();
    text.parse().map_err(|_| format!("a payload that nobody published: {:?}", String::from_utf8_lossy(payload)))
}

pub fn epoch_of(text: &str) -> Result<Epoch, String> {
    match text.len() {
        0 => Ok(Epoch::default()),
        _ => text.as_bytes().try_into().map_err(|_| format!("an epoch of {} bytes", text.len())),
    }
}

pub fn epoch_text(epoch: &Epoch) -> &str {
    if epoch[0] == 0 { "" } else { str::from_utf8(epoch).expect("epochs are read as text") }
}

pub fn client_of(text: &str) -> Result<ClientId, String> {
    ClientId::parse(text).ok_or_else(|| format!("no client id: {text:?}"))
}

/// One message with the commands of `requests`, the first of which has the id `first_id`.
pub fn encode(format: Format, first_id: u32, requests: &[Request]) -> Vec<u8> {
    match format {
        Format::CentrifugoJson => {
            let mut lines = String::new();
            for (request, id) in requests.iter().zip(first_id..) {
                if !lines.is_empty() {
                    lines.push('\n');
                }
                write!(lines, "{{\"id\":{id},{}}}", wire_json::text_of(request)).expect("a String takes every write");
            }
            lines.into_bytes()
        }
        Format::CentrifugoProtobuf => {
            let mut bytes = Vec::new();
            for (request, id) in requests.iter().zip(first_id..) {
                command_of(id, request).encode_length_delimited(&mut bytes).expect("a Vec takes every write");
            }
            bytes
        }
    }
}

/// The answer to a ping.
pub fn encode_pong(format: Format) -> &'static [u8] {
    match format {
        Format::CentrifugoJson => b"{}",
        Format::CentrifugoProtobuf => b"\0",
    }
}

/// All that one message of the hub says, in its order.
pub fn decode(format: Format, mut message: &[u8]) -> Result<Vec<Heard>, String> {
    match format {
        Format::CentrifugoJson => {
            let text = str::from_utf8(message).map_err(|_| "a text message that is no UTF-8".to_string())?;
            text.split('\n').map(wire_json::heard_in).collect()
        }
        Format::CentrifugoProtobuf => {
            let mut heard = Vec::new();
            while !message.is_empty() {
                let reply = schema::Reply::decode_length_delimited(&mut message).map_err(|error| error.to_string())?;
                heard.push(heard_of(reply)?);
            }
            Ok(heard)
        }
    }
}

fn command_of(id: u32, request: &Request) -> schema::Command {
    let mut command = schema::Command { id, ..Default::default() };
    match request.clone() {
        Request::Connect { token, subs } => {
            let subs = subs.into_iter().map(|(channel, since)| (channel, recovery_of(since))).collect();
            command.connect = Some(schema::ConnectRequest { token, subs, ..Default::default() });
        }
        Request::SubRefresh { channel, token } => {
            command.sub_refresh = Some(schema::SubRefreshRequest { channel, token, ..Default::default() });
        }
        Request::Subscribe(subscribe) => {
            command.subscribe = Some(schema::SubscribeRequest {
                channel: subscribe.channel,
                token: subscribe.token,
                positioned: subscribe.positioned,
                recoverable: subscribe.recoverable,
                join_leave: subscribe.joins,
                flag: flag_of(subscribe.must_recover),
                delta: if subscribe.delta { "fossil".into() } else { String::new() },
                ..recovery_of(subscribe.since)
            });
        }
        Request::Unsubscribe { channel } => command.unsubscribe = Some(schema::UnsubscribeRequest { channel }),
        Request::Publish { channel, data } => {
            command.publish = Some(schema::PublishRequest { channel, data: data.into(), ..Default::default() });
        }
        Request::Presence { channel } => command.presence = Some(schema::PresenceRequest { channel }),
        Request::PresenceStats { channel } => command.presence_stats = Some(schema::PresenceStatsRequest { channel }),
        Request::History { channel, limit, since, reverse } => {
            let since = since.map(|since| schema::StreamPosition {
                offset: since.offset,
                epoch: epoch_text(&since.epoch).to_string(),
            });
            command.history = Some(schema::HistoryRequest { channel, limit, since, reverse });
        }
        Request::Rpc => command.rpc = Some(schema::RpcRequest { method: "method".into(), ..Default::default() }),
    }
    command
}

/// A request to go on from a position, if there is one.
fn recovery_of(since: Option<Position>) -> schema::SubscribeRequest {
    schema::SubscribeRequest {
        recover: since.is_some(),
        epoch: since.map(|since| epoch_text(&since.epoch).to_string()).unwrap_or_default(),
        offset: since.map_or(0, |since| since.offset),
        ..Default::default()
    }
}

/// Bit 0 as the SDKs set it, bit 1: refuse rather than subscribe unrecovered.
pub fn flag_of(must_recover: bool) -> i64 {
    if must_recover { 3 } else { 1 }
}

fn heard_of(reply: schema::Reply) -> Result<Heard, String> {
    if let Some(push) = reply.push {
        let told = if let Some(publication) = push.r#pub {
            Push::Publication(publication_of(publication)?)
        } else if let Some(join) = push.join {
            Push::Join(client_of(&join.info.unwrap_or_default().client)?)
        } else if let Some(leave) = push.leave {
            Push::Leave(client_of(&leave.info.unwrap_or_default().client)?)
        } else if let Some(unsubscribe) = push.unsubscribe {
            Push::Unsubscribe(unsubscribe.code)
        } else if let Some(it) = push.subscribe {
            let schema::Subscribe { recoverable, positioned, epoch, offset, data, .. } = it;
            let result = schema::SubscribeResult { recoverable, positioned, epoch, offset, data, ..Default::default() };
            Push::Subscribe(subscribed_of(result)?)
        } else {
            return Err("a push of no known kind".to_string());
        };
        return Ok(Heard::Push { channel: push.channel, push: told });
    }
    let id = reply.id;
    if let Some(error) = reply.error {
        return Ok(Heard::Reply { id, outcome: Err(error.code) });
    }
    let outcome = if let Some(connect) = reply.connect {
        let subs = connect.subs.into_iter();
        let subs = subs.map(|sub| Ok((sub.channel, subscribed_of(sub.result.unwrap_or_default())?)));
        Outcome::Connect { client: client_of(&connect.client)?, subs: subs.collect::<Result<_, String>>()? }
    } else if let Some(subscribe) = reply.subscribe {
        Outcome::Subscribe(subscribed_of(subscribe)?)
    } else if let Some(refreshed) = reply.sub_refresh {
        Outcome::SubRefresh { ttl: refreshed.ttl }
    } else if reply.unsubscribe.is_some() {
        Outcome::Unsubscribe
    } else if reply.publish.is_some() {
        Outcome::Publish
    } else if let Some(presence) = reply.presence {
        Outcome::Presence(presence.presence.keys().map(String::as_str).map(client_of).collect::<Result<_, _>>()?)
    } else if let Some(stats) = reply.presence_stats {
        Outcome::PresenceStats { clients: stats.num_clients, users: stats.num_users }
    } else if let Some(history) = reply.history {
        Outcome::History {
            publications: history.publications.into_iter().map(publication_of).collect::<Result<_, _>>()?,
            top: Position { epoch: epoch_of(&history.epoch)?, offset: history.offset },
        }
    } else if id == 0 {
        return Ok(Heard::Ping);
    } else {
        return Err(format!("reply {id} says nothing"));
    };
    Ok(Heard::Reply { id, outcome: Ok(outcome) })
}

fn subscribed_of(told: schema::SubscribeResult) -> Result<Subscribed, String> {
    Ok(Subscribed {
        recoverable: told.recoverable,
        positioned: told.positioned,
        recovered: told.recovered,
        was_recovering: told.was_recovering,
        position: Position { epoch: epoch_of(&told.epoch)?, offset: told.offset },
        publications: told.publications.into_iter().map(publication_of).collect::<Result<_, _>>()?,
        delta: told.delta,
        ttl: told.ttl,
        data: if told.data.is_empty() { None } else { Some(number_in(&told.data)?) },
    })
}

fn publication_of(publication: schema::Publication) -> Result<Publication, String> {
    let (number, said) = Said::read(publication.data.to_vec(), publication.delta)?;
    Ok(Publication {
        number,
        said,
        offset: publication.offset,
        epoch: match publication.epoch.is_empty() {
            true => None,
            false => Some(epoch_of(&publication.epoch)?),
        },
        publisher: publication.info.map(|info| client_of(&info.client)).transpose()?,
        version: publication.version,
    })
}
