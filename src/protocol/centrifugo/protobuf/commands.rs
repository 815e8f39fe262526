//! Commands from Protobuf: each behind its length, written as a varint.

use prost::Message;

use super::schema;
use crate::model::{
    CommandKind, ConnectRequest, DataShape, HistoryRequest, Request, Since, SubscribeRequest, SubscriptionType,
};
use crate::protocol::centrifugo::envelope::Requests;
use crate::protocol::{DecodeLimits, Incoming, Malformed};

/// The commands of one message that are still to be read.
#[derive(Debug)]
pub struct Commands<'a> {
    /// `None` after the last command and after an error.
    rest: Option<&'a [u8]>,
    command_bytes_max: usize,
}

impl<'a> Commands<'a> {
    pub fn new(message: &'a [u8], limits: DecodeLimits) -> Commands<'a> {
        Commands { rest: Some(message), command_bytes_max: limits.command_bytes_max }
    }

    /// One command, and what stands behind it. The length is checked before anything is made of it.
    fn read(&self, bytes: &'a [u8]) -> Result<(Incoming, &'a [u8]), Malformed> {
        let (length, rest) = split_varint(bytes)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.command_bytes_max {
            return Err(Malformed::bad_request("a command over the size limit"));
        }
        let (command, rest) =
            rest.split_at_checked(length).ok_or(Malformed::bad_request("a command longer than its message"))?;
        let command =
            schema::Command::decode(command).map_err(|_| Malformed::bad_request("bytes that are not a command"))?;
        let id = command.id;
        Ok((Requests::from(command).with_id(id)?, rest))
    }
}

impl Iterator for Commands<'_> {
    type Item = Result<Incoming, Malformed>;

    fn next(&mut self) -> Option<Result<Incoming, Malformed>> {
        let bytes = self.rest.take()?;
        Some(self.read(bytes).map(|(incoming, rest)| {
            self.rest = Some(rest).filter(|rest| !rest.is_empty());
            incoming
        }))
    }
}

/// Reads an unsigned varint of at most 64 bits in its shortest form; returns it with what follows.
fn split_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut value = 0_u64;
    let mut rest = bytes;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed::bad_request("a length without an end"))?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits || (*byte == 0 && shift > 0) {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok((value, after));
        }
        rest = after;
    }
    Err(Malformed::bad_request("a length that is not a varint"))
}

impl From<schema::Command> for Requests {
    fn from(command: schema::Command) -> Requests {
        Requests {
            connect: command.connect.map(|connect| Request::Connect(Box::new(connect.into()))),
            subscribe: command.subscribe.map(|subscribe| Request::Subscribe(Box::new(subscribe.into()))),
            unsubscribe: command.unsubscribe.map(|of| Request::Unsubscribe { channel: of.channel.into() }),
            publish: command.publish.map(|publish| match publish.r#type {
                0 => {
                    Request::Publish { channel: publish.channel.into(), data: publish.data, shape: DataShape::Unknown }
                }
                _ => Request::NotOffered { kind: CommandKind::Publish },
            }),
            presence: command.presence.map(|of| Request::Presence { channel: of.channel.into() }),
            presence_stats: command.presence_stats.map(|of| Request::PresenceStats { channel: of.channel.into() }),
            history: command.history.map(|history| Request::History(Box::new(history.into()))),
            ping: command.ping.map(|_| Request::Ping),
            send: command.send.map(|send| Request::Send { data: send.data }),
            rpc: command.rpc.map(|rpc| Request::Rpc { method: rpc.method.into(), data: rpc.data }),
            refresh: command.refresh.map(|refresh| Request::Refresh { token: refresh.token.into() }),
            sub_refresh: command.sub_refresh.map(|refresh| match refresh.r#type {
                0 => Request::SubRefresh { channel: refresh.channel.into(), token: refresh.token.into() },
                _ => Request::NotOffered { kind: CommandKind::SubRefresh },
            }),
        }
    }
}

impl From<schema::ConnectRequest> for ConnectRequest {
    fn from(connect: schema::ConnectRequest) -> ConnectRequest {
        ConnectRequest {
            token: connect.token.into(),
            data: connect.data,
            subs: connect.subs.into_iter().map(|(channel, subscribe)| (channel, subscribe.into())).collect(),
            name: connect.name.into(),
            version: connect.version.into(),
            headers: connect.headers,
            flag: connect.flag,
        }
    }
}

impl From<schema::SubscribeRequest> for SubscribeRequest {
    fn from(subscribe: schema::SubscribeRequest) -> SubscribeRequest {
        SubscribeRequest {
            channel: subscribe.channel.into(),
            token: subscribe.token.into(),
            data: subscribe.data,
            recover: subscribe.recover,
            epoch: subscribe.epoch.into(),
            offset: subscribe.offset,
            positioned: subscribe.positioned,
            recoverable: subscribe.recoverable,
            join_leave: subscribe.join_leave,
            delta: subscribe.delta.into(),
            has_filter: subscribe.tf.is_some(),
            flag: subscribe.flag,
            subscription_type: match subscribe.r#type {
                0 => SubscriptionType::Stream,
                other => SubscriptionType::Other(other),
            },
        }
    }
}

impl From<schema::HistoryRequest> for HistoryRequest {
    fn from(history: schema::HistoryRequest) -> HistoryRequest {
        HistoryRequest {
            channel: history.channel.into(),
            limit: history.limit,
            since: history.since.map(|since| Since { offset: since.offset, epoch: since.epoch.into() }),
            reverse: history.reverse,
        }
    }
}
