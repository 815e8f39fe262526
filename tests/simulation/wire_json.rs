//! The JSON format, as a client writes and reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::wire::{
    Heard, Outcome, Position, Publication, Push, Request, Said, Subscribe, Subscribed, client_of, epoch_of, epoch_text,
    flag_of, number_in,
};

/// `"kind":{…}` of one command.
pub fn text_of(request: &Request) -> String {
    match request {
        Request::Connect { token, subs } => {
            let subs: Vec<_> =
                subs.iter().map(|(name, since)| format!("\"{name}\":{{{}}}", recovery_of(since))).collect();
            let subs = subs.join(",");
            format!("\"connect\":{{\"token\":\"{token}\",\"name\":\"simulation\",\"subs\":{{{subs}}}}}")
        }
        Request::SubRefresh { channel, token } => {
            format!("\"sub_refresh\":{{\"channel\":\"{channel}\",\"token\":\"{token}\"}}")
        }
        Request::Subscribe(Subscribe {
            channel,
            token,
            since,
            positioned,
            recoverable,
            joins,
            must_recover,
            delta,
        }) => {
            let mut text = format!("\"subscribe\":{{\"channel\":\"{channel}\",\"flag\":{}", flag_of(*must_recover));
            if since.is_some() {
                text.push_str(&format!(",{}", recovery_of(since)));
            }
            if !token.is_empty() {
                text.push_str(&format!(",\"token\":\"{token}\""));
            }
            for (field, is_set) in [("positioned", positioned), ("recoverable", recoverable), ("join_leave", joins)] {
                if *is_set {
                    text.push_str(&format!(",\"{field}\":true"));
                }
            }
            if *delta {
                text.push_str(",\"delta\":\"fossil\"");
            }
            text.push('}');
            text
        }
        Request::Unsubscribe { channel } => format!("\"unsubscribe\":{{\"channel\":\"{channel}\"}}"),
        Request::Publish { channel, data } => format!("\"publish\":{{\"channel\":\"{channel}\",\"data\":{data}}}"),
        Request::Presence { channel } => format!("\"presence\":{{\"channel\":\"{channel}\"}}"),
        Request::PresenceStats { channel } => format!("\"presence_stats\":{{\"channel\":\"{channel}\"}}"),
        Request::History { channel, limit, since, reverse } => {
            let since = since.map_or(String::new(), |since| {
                format!(",\"since\":{{\"offset\":{},\"epoch\":\"{}\"}}", since.offset, epoch_text(&since.epoch))
            });
            format!("\"history\":{{\"channel\":\"{channel}\",\"limit\":{limit},\"reverse\":{reverse}{since}}}")
        }
        Request::Rpc => "\"rpc\":{\"method\":\"method\"}".to_string(),
    }
}

/// Fields that ask to go on from a position, if there is one.
fn recovery_of(since: &Option<Position>) -> String {
    since.map_or(String::new(), |since| {
        format!("\"recover\":true,\"offset\":{},\"epoch\":\"{}\"", since.offset, epoch_text(&since.epoch))
    })
}

/// What one line of a message says.
pub fn heard_in(line: &str) -> Result<Heard, String> {
    if line == "{}" {
        return Ok(Heard::Ping);
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
    if let Some(push) = line.push {
        return push_of(push);
    }
    let id = line.id;
    if let Some(error) = line.error {
        return Ok(Heard::Reply { id, outcome: Err(error.code) });
    }
    let outcome = match line {
        Line { connect: Some(connect), .. } => {
            let subs = connect.subs.into_iter().map(|(channel, told)| Ok((channel, subscribed_of(&told)?)));
            Outcome::Connect { client: client_of(&connect.client)?, subs: subs.collect::<Result<_, String>>()? }
        }
        Line { sub_refresh: Some(refreshed), .. } => Outcome::SubRefresh { ttl: refreshed.ttl },
        Line { subscribe: Some(subscribe), .. } => Outcome::Subscribe(subscribed_of(&subscribe)?),
        Line { unsubscribe: Some(_), .. } => Outcome::Unsubscribe,
        Line { publish: Some(_), .. } => Outcome::Publish,
        Line { presence: Some(presence), .. } => {
            Outcome::Presence(presence.presence.keys().map(String::as_str).map(client_of).collect::<Result<_, _>>()?)
        }
        Line { presence_stats: Some(stats), .. } => {
            Outcome::PresenceStats { clients: stats.num_clients, users: stats.num_users }
        }
        Line { history: Some(history), .. } => Outcome::History {
            publications: publications_of(&history.publications)?,
            top: Position { epoch: epoch_of(&history.epoch)?, offset: history.offset },
        },
        _ => return Err(format!("reply {id} says nothing")),
    };
    Ok(Heard::Reply { id, outcome: Ok(outcome) })
}

fn push_of(push: PushLine<'_>) -> Result<Heard, String> {
    let told = match &push {
        PushLine { publication: Some(publication), .. } => Push::Publication(publication_of(publication)?),
        PushLine { join: Some(join), .. } => Push::Join(client_of(&join.info.client)?),
        PushLine { leave: Some(leave), .. } => Push::Leave(client_of(&leave.info.client)?),
        PushLine { unsubscribe: Some(unsubscribe), .. } => Push::Unsubscribe(unsubscribe.code),
        PushLine { subscribe: Some(told), .. } => Push::Subscribe(subscribed_of(told)?),
        _ => return Err("a push of no known kind".to_string()),
    };
    Ok(Heard::Push { channel: push.channel, push: told })
}

fn subscribed_of(told: &SubscribeLine<'_>) -> Result<Subscribed, String> {
    Ok(Subscribed {
        recoverable: told.recoverable,
        positioned: told.positioned,
        recovered: told.recovered,
        was_recovering: told.was_recovering,
        position: Position { epoch: epoch_of(&told.epoch)?, offset: told.offset },
        publications: publications_of(&told.publications)?,
        delta: told.delta,
        ttl: told.ttl,
        data: told.data.map(|data| number_in(data.get().as_bytes())).transpose()?,
    })
}

fn publications_of(publications: &[PublicationLine<'_>]) -> Result<Vec<Publication>, String> {
    publications.iter().map(publication_of).collect()
}

fn publication_of(publication: &PublicationLine<'_>) -> Result<Publication, String> {
    let data = publication.data.get();
    let (number, said) = match data.starts_with('"') {
        true => {
            let text: String = serde_json::from_str(data).map_err(|error| error.to_string())?;
            Said::read(text.into_bytes(), publication.delta)?
        }
        false => (number_in(data.as_bytes())?, Said::Value),
    };
    Ok(Publication {
        number,
        said,
        offset: publication.offset,
        epoch: publication.epoch.as_deref().map(epoch_of).transpose()?,
        publisher: publication.info.as_ref().map(|info| client_of(&info.client)).transpose()?,
        version: publication.version,
    })
}

// Fields that are left out are zero or absent, as in the schema.

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    id: u32,
    error: Option<Code>,
    #[serde(borrow)]
    push: Option<PushLine<'a>>,
    #[serde(borrow)]
    connect: Option<ConnectLine<'a>>,
    #[serde(borrow)]
    subscribe: Option<SubscribeLine<'a>>,
    unsubscribe: Option<IgnoredAny>,
    sub_refresh: Option<TtlLine>,
    publish: Option<IgnoredAny>,
    presence: Option<PresenceLine>,
    presence_stats: Option<StatsLine>,
    #[serde(borrow)]
    history: Option<HistoryLine<'a>>,
}

#[derive(Deserialize)]
struct Code {
    code: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PushLine<'a> {
    channel: String,
    #[serde(borrow, rename = "pub")]
    publication: Option<PublicationLine<'a>>,
    join: Option<MemberLine>,
    leave: Option<MemberLine>,
    unsubscribe: Option<Code>,
    #[serde(borrow)]
    subscribe: Option<SubscribeLine<'a>>,
}

#[derive(Deserialize)]
struct MemberLine {
    info: InfoLine,
}

#[derive(Deserialize)]
struct ConnectLine<'a> {
    client: String,
    #[serde(borrow, default)]
    subs: BTreeMap<String, SubscribeLine<'a>>,
}

#[derive(Deserialize)]
struct TtlLine {
    ttl: u32,
}

#[derive(Deserialize)]
struct InfoLine {
    client: String,
}

#[derive(Deserialize)]
struct PublicationLine<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    delta: bool,
    epoch: Option<String>,
    info: Option<InfoLine>,
    #[serde(default)]
    version: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubscribeLine<'a> {
    recoverable: bool,
    positioned: bool,
    recovered: bool,
    was_recovering: bool,
    epoch: String,
    offset: u64,
    #[serde(borrow)]
    publications: Vec<PublicationLine<'a>>,
    delta: bool,
    ttl: u32,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PresenceLine {
    presence: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct StatsLine {
    num_clients: u32,
    num_users: u32,
}

#[derive(Deserialize)]
struct HistoryLine<'a> {
    #[serde(borrow)]
    publications: Vec<PublicationLine<'a>>,
    epoch: String,
    offset: u64,
}
