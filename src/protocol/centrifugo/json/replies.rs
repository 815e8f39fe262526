//! Replies and pushes to JSON, joined by newlines. Fields stand in the schema's order.

use std::sync::Arc;

use super::writer::{Object, check_value};
use crate::model::{
    ClientInfo, ConnectResult, Epoch, ErrorCode, HistoryResult, Outcome, Publication, Push, Reply, SubscribeResult,
};
use crate::protocol::Inappropriate;
use crate::protocol::centrifugo::said::{Said, chain};

type Written = Result<(), Inappropriate>;

pub fn append_reply(reply: &Reply, payload: &mut Vec<u8>, starts_at: usize) -> Written {
    append(payload, starts_at, |object| {
        object.number("id", u64::from(reply.id));
        match &reply.outcome {
            Ok(outcome) => write_outcome(object, outcome),
            Err(code) => {
                write_error(object, *code);
                Ok(())
            }
        }
    })
}

pub fn append_push(push: &Push<'_>, payload: &mut Vec<u8>, starts_at: usize) -> Written {
    append(payload, starts_at, |object| object.object("push", |object| write_push(object, push)))
}

pub fn append_ping(payload: &mut Vec<u8>, starts_at: usize) {
    separate(payload, starts_at);
    payload.extend_from_slice(b"{}");
}

/// Appends one line; on an error the payload is as it was.
fn append(payload: &mut Vec<u8>, starts_at: usize, fill: impl FnOnce(&mut Object<'_>) -> Written) -> Written {
    let length_before = payload.len();
    separate(payload, starts_at);
    let written = Object::write(payload, fill);
    if written.is_err() {
        payload.truncate(length_before);
    }
    written
}

fn separate(payload: &mut Vec<u8>, starts_at: usize) {
    debug_assert!(starts_at <= payload.len(), "the message starts inside the payload");
    if payload.len() > starts_at {
        payload.push(b'\n');
    }
}

fn write_error(object: &mut Object<'_>, code: ErrorCode) {
    object.object("error", |object| {
        object.number("code", u64::from(code.code()));
        object.text("message", code.text());
        object.truth("temporary", code.is_temporary());
    });
}

fn write_outcome(object: &mut Object<'_>, outcome: &Outcome) -> Written {
    match outcome {
        Outcome::Connect(result) => object.object("connect", |object| write_connect(object, result)),
        Outcome::Subscribe(result) => object.object("subscribe", |object| write_subscribe(object, result)),
        Outcome::Unsubscribe => {
            object.object("unsubscribe", |_| ());
            Ok(())
        }
        Outcome::Publish => {
            object.object("publish", |_| ());
            Ok(())
        }
        Outcome::Presence(clients) => object.object("presence", |object| {
            object.object("presence", |object| {
                clients.iter().try_for_each(|info| object.object_at(info.client, |object| write_client(object, info)))
            })
        }),
        Outcome::PresenceStats(stats) => {
            object.object("presence_stats", |object| {
                object.always_number("num_clients", u64::from(stats.clients));
                object.always_number("num_users", u64::from(stats.users));
            });
            Ok(())
        }
        Outcome::History(result) => object.object("history", |object| write_history(object, result)),
        Outcome::Rpc { data } => object.object("rpc", |object| object.data("data", data)),
        Outcome::Refresh { client, ttl } => {
            object.object("refresh", |object| {
                object.text("client", &client.to_string());
                write_ttl(object, *ttl);
            });
            Ok(())
        }
        Outcome::SubRefresh { ttl } => {
            object.object("sub_refresh", |object| write_ttl(object, *ttl));
            Ok(())
        }
    }
}

fn write_connect(object: &mut Object<'_>, result: &ConnectResult) -> Written {
    object.text("client", &result.client.to_string());
    object.text("version", &result.version);
    write_ttl(object, result.ttl);
    object.data("data", &result.data)?;
    if !result.subs.is_empty() {
        object.object("subs", |object| {
            let mut subs = result.subs.iter();
            subs.try_for_each(|(channel, result)| object.object_at(channel, |object| write_subscribe(object, result)))
        })?;
    }
    object.number("ping", u64::from(result.ping));
    object.truth("pong", result.pong);
    object.number("time", result.time.max(0).cast_unsigned());
    Ok(())
}

fn write_subscribe(object: &mut Object<'_>, result: &SubscribeResult) -> Written {
    write_ttl(object, result.ttl);
    object.truth("recoverable", result.recoverable);
    if let Some(position) = result.position {
        object.text("epoch", position.epoch.as_str());
    }
    if !result.publications.is_empty() {
        write_recovered(object, result)?;
    }
    object.truth("recovered", result.recovered);
    if let Some(position) = result.position {
        object.number("offset", position.offset);
    }
    object.truth("positioned", result.positioned);
    object.data("data", &result.data)?;
    object.truth("was_recovering", result.was_recovering);
    object.truth("delta", result.delta);
    Ok(())
}

fn write_recovered(object: &mut Object<'_>, result: &SubscribeResult) -> Written {
    if !result.delta {
        return write_publications(object, &result.publications);
    }
    object.always_list("publications", chain(&result.publications), |object, (publication, said)| {
        check_value(&publication.data)?;
        write_publication(object, publication, None, said)
    })
}

fn write_publications(object: &mut Object<'_>, publications: &[Arc<Publication>]) -> Written {
    object.always_list("publications", publications, |object, publication| {
        write_publication(object, publication, None, AS_IT_IS)
    })
}

fn write_history(object: &mut Object<'_>, result: &HistoryResult) -> Written {
    write_publications(object, &result.publications)?;
    object.always_text("epoch", result.epoch.as_str());
    object.always_number("offset", result.offset);
    Ok(())
}

fn write_push(object: &mut Object<'_>, push: &Push<'_>) -> Written {
    match push {
        Push::Publication { channel, publication, epoch } => {
            object.text("channel", channel);
            object.object("pub", |object| write_publication(object, publication, *epoch, AS_IT_IS))
        }
        Push::DeltaPublication { channel, publication, epoch, patch } => {
            object.text("channel", channel);
            let said = patch.map_or(Said::Whole, Said::Patch);
            if said == Said::Whole {
                check_value(&publication.data)?;
            }
            object.object("pub", |object| write_publication(object, publication, *epoch, said))
        }
        Push::Join { channel, info } => {
            object.text("channel", channel);
            object.object("join", |object| object.object("info", |object| write_client(object, info)))
        }
        Push::Leave { channel, info } => {
            object.text("channel", channel);
            object.object("leave", |object| object.object("info", |object| write_client(object, info)))
        }
        Push::Subscribe { channel, result } => {
            object.text("channel", channel);
            object.object("subscribe", |object| write_subscribed(object, result))
        }
        Push::Unsubscribe { channel, code } => {
            object.text("channel", channel);
            object.object("unsubscribe", |object| write_reason(object, code.code(), code.text()));
            Ok(())
        }
        Push::Refresh { ttl } => {
            object.object("refresh", |object| write_ttl(object, *ttl));
            Ok(())
        }
        Push::Disconnect { code } => {
            object.object("disconnect", |object| write_reason(object, code.code(), code.text()));
            Ok(())
        }
    }
}

/// What a push says of a subscription that the server made.
fn write_subscribed(object: &mut Object<'_>, result: &SubscribeResult) -> Written {
    object.truth("recoverable", result.recoverable);
    if let Some(position) = result.position {
        object.text("epoch", position.epoch.as_str());
        object.number("offset", position.offset);
    }
    object.truth("positioned", result.positioned);
    object.data("data", &result.data)
}

fn write_publication<P: AsRef<[u8]>>(
    object: &mut Object<'_>,
    publication: &Publication,
    epoch: Option<Epoch>,
    said: Said<P>,
) -> Written {
    match &said {
        Said::AsItIs => object.always_data("data", &publication.data)?,
        Said::Whole => object.always_quoted("data", &publication.data)?,
        Said::Patch(patch) => object.always_quoted("data", patch.as_ref())?,
    }
    if let Some(info) = &publication.info {
        object.object("info", |object| write_client(object, info))?;
    }
    object.number("offset", publication.offset);
    if let Some(tags) = publication.tags.as_deref().filter(|tags| !tags.is_empty()) {
        object.object("tags", |object| tags.iter().for_each(|(name, value)| object.text_at(name, value)));
    }
    object.truth("delta", matches!(said, Said::Patch(_)));
    if let Some(epoch) = epoch {
        object.text("epoch", epoch.as_str());
    }
    object.number("version", publication.version);
    Ok(())
}

const AS_IT_IS: Said<&[u8]> = Said::AsItIs;

fn write_client(object: &mut Object<'_>, info: &ClientInfo) -> Written {
    object.always_text("user", &info.user);
    object.always_text("client", &info.client.to_string());
    object.data("conn_info", info.conn_info.as_deref().unwrap_or_default())?;
    object.data("chan_info", info.chan_info.as_deref().unwrap_or_default())
}

fn write_ttl(object: &mut Object<'_>, ttl: Option<u32>) {
    if let Some(ttl) = ttl {
        object.truth("expires", true);
        object.number("ttl", u64::from(ttl));
    }
}

fn write_reason(object: &mut Object<'_>, code: u16, reason: &str) {
    object.number("code", u64::from(code));
    object.text("reason", reason);
}
