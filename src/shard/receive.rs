//! Bytes of a socket become commands.

use super::connection::{Clock, Connection, Phase};
use super::{Shard, Speaks};
use crate::model::{ConnectionId, DisconnectCode, Now};
use crate::protocol::{self, DecodeLimits, Incoming, Malformed};
use crate::telemetry::Counter;
use crate::ws;

impl Shard {
    /// Bytes came from the connection's socket; they are unmasked in place.
    pub fn received(&mut self, now: Now, id: ConnectionId, bytes: &mut [u8]) {
        self.tell_time(now);
        self.work.begin_share();
        self.read_messages(id, bytes);
        self.flush_replies();
    }

    /// Reads what came from a socket, until a message of it is given to the workers: what stands behind
    /// that one waits.
    pub(super) fn read_messages(&mut self, id: ConnectionId, bytes: &mut [u8]) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        if matches!(connection.phase, Phase::Refused | Phase::Ending) {
            return;
        }
        let mut reader = std::mem::take(&mut connection.reader);
        let (speaks, is_compressing) = (connection.speaks, connection.window.is_some());
        let limits = self.reader_limits(speaks, is_compressing);
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..) {
            match reader.read(&limits, rest) {
                Ok((used, Some(incoming))) => {
                    at += used;
                    if let Err(violation) = self.incoming(id, incoming) {
                        self.violated(id.slot, violation);
                        break;
                    }
                }
                Ok((_, None)) => break,
                Err(violation) => {
                    self.violated(id.slot, violation);
                    break;
                }
            }
            match self.connections.find(id).map(|connection| connection.phase) {
                None | Some(Phase::Refused | Phase::Ending) => break,
                Some(_) => {}
            }
            if let Some(rest) = self.connections.find_mut(id).and_then(Connection::rest) {
                rest.extend_from_slice(bytes.get(at..).unwrap_or_default());
                break;
            }
        }
        reader.release();
        if let Some(connection) = self.connections.find_mut(id) {
            connection.reader = reader;
        }
    }

    fn incoming(&mut self, id: ConnectionId, incoming: ws::Incoming<'_>) -> Result<(), ws::PeerViolated> {
        match incoming {
            ws::Incoming::Message { kind, payload } => {
                self.message(id, kind, payload, self.options.message_bytes_max);
            }
            ws::Incoming::Compressed { kind, payload } => self.compressed_message(id, kind, payload)?,
            ws::Incoming::Ping(payload) => {
                let mut pong = Vec::with_capacity(payload.len() + 2);
                ws::append_frame(ws::FrameKind::Pong, payload, &mut pong);
                self.enqueue(id.slot, pong.into());
            }
            // A pong of the WebSocket layer that nobody asked for is legal (RFC 6455 §5.5.3).
            ws::Incoming::Pong(_) => {}
            ws::Incoming::Close(close) => self.peer_closed(id.slot, close),
        }
        Ok(())
    }

    fn compressed_message(
        &mut self,
        id: ConnectionId,
        kind: ws::MessageKind,
        payload: &[u8],
    ) -> Result<(), ws::PeerViolated> {
        let Some(connection) = self.connections.find(id).filter(|connection| connection.is_open()) else {
            // Closing: nobody asks what it says.
            return Ok(());
        };
        let bytes_max = match connection.speaks {
            Speaks::Centrifugo(_) => self.options.decompressed_bytes_max,
            Speaks::Echo => self.options.echo_message_bytes_max,
        };
        // How far it is expanded here, to see whether it is large: a few bytes can stand for many.
        let inline_max = match may_be_read_later(connection) {
            true => bytes_max.min(self.options.read_inline_bytes_max),
            false => bytes_max,
        };
        if inline_max < bytes_max && payload.len() > inline_max {
            self.read_later(id, kind, payload, Some(bytes_max));
            return Ok(());
        }
        let mut inflater = std::mem::take(&mut self.inflater);
        let inflated = inflater.inflate(kind, payload, inline_max);
        if let Ok(message) = inflated {
            self.metrics.add(Counter::MessagesInflated, 1);
            self.metrics.add(Counter::InflateBytesBefore, payload.len() as u64);
            self.metrics.add(Counter::InflateBytesAfter, message.len() as u64);
            self.message(id, kind, message, bytes_max);
        }
        let outcome = inflated.map(|_| ());
        inflater.release();
        self.inflater = inflater;
        if outcome == Err(ws::PeerViolated::INFLATED_TOO_BIG) && inline_max < bytes_max {
            self.read_later(id, kind, payload, Some(bytes_max));
            return Ok(());
        }
        outcome
    }

    /// `command_bytes_max` bounds each command in it.
    fn message(&mut self, id: ConnectionId, kind: ws::MessageKind, payload: &[u8], command_bytes_max: usize) {
        let (messages, bytes) = match kind {
            ws::MessageKind::Text => (Counter::TextsReceived, Counter::TextBytesReceived),
            ws::MessageKind::Binary => (Counter::BinariesReceived, Counter::BinaryBytesReceived),
        };
        self.metrics.add(messages, 1);
        self.metrics.add(bytes, payload.len() as u64);
        let Some(connection) = self.connections.find(id).filter(|connection| connection.is_open()) else { return };
        match connection.speaks {
            Speaks::Echo => {
                let window = connection.window;
                let deflated = window.and_then(|window| self.frames.deflate(kind.into(), window, payload));
                let frame = deflated.unwrap_or_else(|| {
                    ws::build_frame(kind.into(), payload.len(), |out| out.extend_from_slice(payload))
                });
                self.count_compression();
                self.enqueue(id.slot, frame);
            }
            Speaks::Centrifugo(_)
                if payload.len() > self.options.read_inline_bytes_max && may_be_read_later(connection) =>
            {
                self.read_later(id, kind, payload, None);
            }
            Speaks::Centrifugo(format) => {
                let limits = DecodeLimits { command_bytes_max };
                self.act_on(id, protocol::decode(format, payload, limits));
            }
        }
    }

    /// Does what the commands of one message say.
    pub(super) fn act_on(&mut self, id: ConnectionId, commands: impl Iterator<Item = Result<Incoming, Malformed>>) {
        for incoming in commands {
            match incoming {
                Ok(Incoming::Pong) => self.pong(id.slot),
                Ok(Incoming::Command(command)) => self.command(id.slot, command),
                Err(malformed) => self.disconnect(id.slot, malformed.code),
            }
            // Whatever follows what ended the connection is not looked at.
            if !self.connections.find(id).is_some_and(|connection| connection.is_open()) {
                return;
            }
        }
    }

    /// A client answers a ping; without one to answer, or twice, it is not speaking the protocol.
    fn pong(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.clock != Clock::Pong {
            return self.disconnect(slot, DisconnectCode::BadRequest);
        }
        let pinged = connection.deadline - self.options.pong_timeout;
        self.set_clock(slot, Clock::Ping, pinged + self.options.ping_interval);
    }

    fn reader_limits(&self, speaks: Speaks, is_compressing: bool) -> ws::ReaderLimits {
        let deflate = if is_compressing { ws::Deflate::Negotiated } else { ws::Deflate::Refused };
        match speaks {
            Speaks::Centrifugo(_) => ws::ReaderLimits {
                message_bytes_max: self.options.message_bytes_max,
                fragments_max: crate::limits::MESSAGE_FRAGMENTS_MAX,
                deflate,
            },
            Speaks::Echo => ws::ReaderLimits {
                message_bytes_max: self.options.echo_message_bytes_max,
                fragments_max: crate::limits::ECHO_MESSAGE_FRAGMENTS_MAX,
                deflate,
            },
        }
    }
}

/// Whether the connection's messages may go to the workers. Before it has connected they are small,
/// and what follows the first depends on it.
fn may_be_read_later(connection: &Connection) -> bool {
    connection.phase == Phase::Ready && connection.speaks != Speaks::Echo && !connection.has_job()
}
