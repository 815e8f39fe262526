//! Replies and pushes to Protobuf, each behind its length.

use prost::Message;

use super::schema;
use crate::model::{
    ChannelName, ClientInfo, ConnectResult, Epoch, ErrorCode, HistoryResult, Outcome, Publication, Push, Reply,
    SubscribeResult,
};
use crate::protocol::centrifugo::said::{Said, chain};

pub fn append_reply(reply: &Reply, payload: &mut Vec<u8>) {
    let mut wire = match &reply.outcome {
        Ok(outcome) => outcome_reply(outcome),
        Err(code) => schema::Reply { error: Some(error(*code)), ..Default::default() },
    };
    wire.id = reply.id;
    append(&wire, payload);
}

pub fn append_push(push: &Push<'_>, payload: &mut Vec<u8>) {
    append(&schema::Reply { push: Some(wire_push(push)), ..Default::default() }, payload);
}

/// An empty reply: only its length, which is 0.
pub fn append_ping(payload: &mut Vec<u8>) {
    payload.push(0);
}

fn append(reply: &schema::Reply, payload: &mut Vec<u8>) {
    reply.encode_length_delimited(payload).expect("a Vec has room for every message");
}

fn error(code: ErrorCode) -> schema::Error {
    schema::Error { code: u32::from(code.code()), message: code.text().to_owned(), temporary: code.is_temporary() }
}

fn outcome_reply(outcome: &Outcome) -> schema::Reply {
    let mut reply = schema::Reply::default();
    match outcome {
        Outcome::Connect(result) => reply.connect = Some(connect(result)),
        Outcome::Subscribe(result) => reply.subscribe = Some(subscribe(result)),
        Outcome::Unsubscribe => reply.unsubscribe = Some(schema::UnsubscribeResult {}),
        Outcome::Publish => reply.publish = Some(schema::PublishResult {}),
        Outcome::Presence(clients) => {
            let presence = clients.iter().map(|info| (info.client.to_string(), client(info))).collect();
            reply.presence = Some(schema::PresenceResult { presence });
        }
        Outcome::PresenceStats(stats) => {
            reply.presence_stats =
                Some(schema::PresenceStatsResult { num_clients: stats.clients, num_users: stats.users });
        }
        Outcome::History(result) => reply.history = Some(history(result)),
        Outcome::Rpc { data } => reply.rpc = Some(schema::RpcResult { data: data.clone() }),
        Outcome::Refresh { client, ttl } => {
            reply.refresh = Some(schema::RefreshResult {
                client: client.to_string(),
                expires: ttl.is_some(),
                ttl: ttl.unwrap_or_default(),
                ..Default::default()
            });
        }
        Outcome::SubRefresh { ttl } => {
            reply.sub_refresh = Some(schema::SubRefreshResult {
                expires: ttl.is_some(),
                ttl: ttl.unwrap_or_default(),
                ..Default::default()
            });
        }
    }
    reply
}

fn connect(result: &ConnectResult) -> schema::ConnectResult {
    schema::ConnectResult {
        client: result.client.to_string(),
        version: result.version.to_string(),
        expires: result.ttl.is_some(),
        ttl: result.ttl.unwrap_or_default(),
        data: result.data.clone(),
        subs: result.subs.iter().map(|(channel, result)| server_subscription(channel, result)).collect(),
        ping: result.ping,
        pong: result.pong,
        time: result.time,
        ..Default::default()
    }
}

fn server_subscription(channel: &ChannelName, result: &SubscribeResult) -> schema::ServerSubscription {
    schema::ServerSubscription { channel: channel.to_string(), result: Some(subscribe(result)) }
}

fn subscribe(result: &SubscribeResult) -> schema::SubscribeResult {
    let publications = match result.delta {
        true => chain(&result.publications).map(|(published, said)| delta_publication(published, None, said)).collect(),
        false => result.publications.iter().map(|published| publication(published, None)).collect(),
    };
    let mut wire = schema::SubscribeResult {
        expires: result.ttl.is_some(),
        ttl: result.ttl.unwrap_or_default(),
        recoverable: result.recoverable,
        publications,
        recovered: result.recovered,
        positioned: result.positioned,
        data: result.data.clone(),
        was_recovering: result.was_recovering,
        delta: result.delta,
        ..Default::default()
    };
    if let Some(position) = result.position {
        wire.epoch = position.epoch.as_str().to_owned();
        wire.offset = position.offset;
    }
    wire
}

fn history(result: &HistoryResult) -> schema::HistoryResult {
    schema::HistoryResult {
        publications: result.publications.iter().map(|published| publication(published, None)).collect(),
        epoch: result.epoch.as_str().to_owned(),
        offset: result.offset,
    }
}

fn wire_push(push: &Push<'_>) -> schema::Push {
    match *push {
        Push::Publication { channel, publication: published, epoch } => {
            schema::Push { r#pub: Some(publication(published, epoch)), ..push_in(channel) }
        }
        Push::DeltaPublication { channel, publication: published, epoch, patch } => {
            let said = patch.map_or(Said::Whole, |patch| Said::Patch(patch.to_vec()));
            schema::Push { r#pub: Some(delta_publication(published, epoch, said)), ..push_in(channel) }
        }
        Push::Join { channel, info } => {
            schema::Push { join: Some(schema::Join { info: Some(client(info)) }), ..push_in(channel) }
        }
        Push::Leave { channel, info } => {
            schema::Push { leave: Some(schema::Leave { info: Some(client(info)) }), ..push_in(channel) }
        }
        Push::Subscribe { channel, result } => schema::Push { subscribe: Some(subscribed(result)), ..push_in(channel) },
        Push::Unsubscribe { channel, code } => schema::Push {
            unsubscribe: Some(schema::Unsubscribe { code: u32::from(code.code()), reason: code.text().to_owned() }),
            ..push_in(channel)
        },
        Push::Refresh { ttl } => schema::Push {
            refresh: Some(schema::Refresh { expires: ttl.is_some(), ttl: ttl.unwrap_or_default() }),
            ..Default::default()
        },
        Push::Disconnect { code } => schema::Push {
            disconnect: Some(schema::Disconnect {
                code: u32::from(code.code()),
                reason: code.text().to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        },
    }
}

/// What a push says of a subscription that the server made.
fn subscribed(result: &SubscribeResult) -> schema::Subscribe {
    schema::Subscribe {
        recoverable: result.recoverable,
        epoch: result.position.map(|position| position.epoch.as_str().to_owned()).unwrap_or_default(),
        offset: result.position.map_or(0, |position| position.offset),
        positioned: result.positioned,
        data: result.data.clone(),
    }
}

fn push_in(channel: &str) -> schema::Push {
    schema::Push { channel: channel.to_owned(), ..Default::default() }
}

fn publication(published: &Publication, epoch: Option<Epoch>) -> schema::Publication {
    schema::Publication {
        data: published.data.clone(),
        info: published.info.as_deref().map(client),
        offset: published.offset,
        tags: published.tags.as_deref().cloned().unwrap_or_default(),
        epoch: epoch.map(|epoch| epoch.as_str().to_owned()).unwrap_or_default(),
        version: published.version,
        ..Default::default()
    }
}

/// Bytes need no quotes: what is said whole is as it is.
fn delta_publication(published: &Publication, epoch: Option<Epoch>, said: Said<Vec<u8>>) -> schema::Publication {
    let whole = publication(published, epoch);
    match said {
        Said::Patch(patch) => schema::Publication { data: patch.into(), delta: true, ..whole },
        Said::AsItIs | Said::Whole => whole,
    }
}

fn client(info: &ClientInfo) -> schema::ClientInfo {
    schema::ClientInfo {
        user: info.user.to_string(),
        client: info.client.to_string(),
        conn_info: info.conn_info.clone().unwrap_or_default(),
        chan_info: info.chan_info.clone().unwrap_or_default(),
    }
}
