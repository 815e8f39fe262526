//! Requests as commands.

use std::time::Duration;

use super::known::Known;
use super::names::{Kind, Names};
use super::resp::Commands;
use super::scripts::{Script, Scripts};
use super::shared::Shared;
use crate::engine::Retention;
use crate::engine::contract::{Operation, Page, Publish, Read};
use crate::engine::record::{encode_client, encode_membership, encode_publication};
use crate::limits::{IDEMPOTENT_RESULT_TTL, REDIS_ATTEND_CLIENTS_MAX};
use crate::model::{ClientInfo, Epoch, Position};

/// Writes requests for the servers of one deployment.
pub struct Writer {
    pub names: Names,
    /// `PUBLISH`, or `SPUBLISH` in a cluster.
    pub publish: &'static str,
    pub presence_ttl: Option<Duration>,
    pub has_presence_fields: bool,
    /// For a replica: nothing is changed.
    pub is_copy: bool,
    pub known: Known,
    pub random: fastrand::Rng,
}

impl Writer {
    pub fn new(shared: &Shared) -> Writer {
        Writer {
            names: shared.names.clone(),
            publish: if shared.returns.is_some() { "SPUBLISH" } else { "PUBLISH" },
            presence_ttl: shared.presence_ttl,
            has_presence_fields: shared.has_presence_fields,
            is_copy: shared.master.is_some(),
            known: Known::default(),
            random: fastrand::Rng::new(),
        }
    }

    /// Writes what `operation` needs; returns the number of replies, of which the last one is the answer.
    ///
    /// Panics if it is about listening, which is not asked by commands of this kind.
    pub fn write(&mut self, commands: &mut Commands, scripts: &Scripts, channel: &str, operation: &Operation) -> usize {
        match operation {
            Operation::Publish(publish) => self.publish(commands, scripts, channel, publish),
            Operation::Tell(membership, info) => self.send(commands, channel, &encode_membership(*membership, info)),
            Operation::Read(read) => self.read(commands, scripts, channel, read),
            Operation::Page(page) if self.is_copy => self.page_of_copy(commands, scripts, channel, page),
            Operation::Page(page) => self.page(commands, scripts, channel, page),
            Operation::RemoveHistory => self.script(commands, scripts, Script::Remove, channel, STREAM_KEYS, 0),
            Operation::Attend { clients, ttl } => {
                let pieces = clients.chunks(REDIS_ATTEND_CLIENTS_MAX);
                return pieces.map(|piece| self.attend(commands, scripts, channel, piece, *ttl)).count();
            }
            Operation::Leave(client) => {
                self.presence(commands, scripts, channel, 2);
                commands.text(b"leave");
                commands.text(client.as_bytes());
            }
            Operation::Presence { clients_max } => {
                self.presence(commands, scripts, channel, 2);
                commands.text(b"list");
                commands.number(*clients_max as u64);
            }
            Operation::PresenceStats => {
                self.presence(commands, scripts, channel, 1);
                commands.text(b"count");
            }
            Operation::Listen | Operation::Unlisten => unreachable!("the listener has those"),
        }
        1
    }

    fn publish(&mut self, commands: &mut Commands, scripts: &Scripts, channel: &str, publish: &Publish) {
        let record = encode_publication(&publish.publication, publish.delta);
        match (&publish.retention, &publish.idempotency_key) {
            (Some(retention), key) => {
                let key = key.as_deref();
                self.append(commands, scripts, channel, Appended { publish, retention, key, record: &record });
            }
            (None, Some(key)) => {
                commands.begin(8);
                commands.text(b"EVALSHA");
                commands.text(scripts.digest(Script::PublishOnce));
                commands.number(1);
                self.names.write_key(commands, Kind::Result, channel, key);
                self.names.write_topic(commands, channel);
                commands.text(&record);
                write_millis(commands, IDEMPOTENT_RESULT_TTL);
                commands.text(self.publish.as_bytes());
            }
            (None, None) => self.send(commands, channel, &record),
        }
    }

    fn append(&mut self, commands: &mut Commands, scripts: &Scripts, channel: &str, appended: Appended<'_>) {
        let Appended { publish, retention, key, record } = appended;
        commands.begin(6 + 12);
        commands.text(b"EVALSHA");
        commands.text(scripts.digest(Script::Publish));
        commands.number(3);
        self.names.write_key(commands, Kind::Meta, channel, "");
        self.names.write_key(commands, Kind::Stream, channel, "");
        match key {
            Some(key) => self.names.write_key(commands, Kind::Result, channel, key),
            None => self.names.write_key(commands, Kind::Meta, channel, ""),
        }
        self.names.write_topic(commands, channel);
        commands.text(record);
        commands.number(retention.size as u64);
        write_millis(commands, retention.ttl);
        write_millis(commands, meta_ttl_of(retention));
        commands.text(self.new_epoch().as_str().as_bytes());
        match key {
            Some(_) => write_millis(commands, IDEMPOTENT_RESULT_TTL),
            None => commands.text(b""),
        }
        match &publish.version {
            Some(version) => commands.number(version.number),
            None => commands.text(b""),
        }
        commands.text(publish.version.as_ref().map_or("", |version| &*version.epoch).as_bytes());
        commands.text(self.publish.as_bytes());
        write_position(commands, self.known.newest_of(channel, publish.sent_until));
    }

    /// Sends what is of no stream.
    fn send(&self, commands: &mut Commands, channel: &str, record: &[u8]) {
        commands.begin(3);
        commands.text(self.publish.as_bytes());
        self.names.write_topic(commands, channel);
        commands.texts(&[b"p", record]);
    }

    fn read(&mut self, commands: &mut Commands, scripts: &Scripts, channel: &str, read: &Read) {
        self.begin_read(commands, scripts, channel, &read.retention);
        write_position(commands, read.sent_until);
        // The newest ones come first, so that a bound on their number leaves out the oldest.
        let range = Range { command: "XREVRANGE", from: Bound::Newest, to: Bound::after(read.after) };
        range.write(commands, read.publications_max);
    }

    fn page(&mut self, commands: &mut Commands, scripts: &Scripts, channel: &str, page: &Page) {
        self.begin_read(commands, scripts, channel, &page.retention);
        write_position(commands, None);
        write_page(commands, page);
    }

    fn page_of_copy(&self, commands: &mut Commands, scripts: &Scripts, channel: &str, page: &Page) {
        self.script(commands, scripts, Script::PageCopy, channel, STREAM_KEYS, 6);
        match &page.request.since {
            Some(since) => {
                commands.text(since.epoch.as_bytes());
                commands.number(since.offset);
            }
            None => [b"", b""].iter().for_each(|text| commands.text(*text)),
        }
        write_page(commands, page);
    }

    /// Begins the call of the script that keeps presence.
    fn presence(&self, commands: &mut Commands, scripts: &Scripts, channel: &str, arguments: usize) {
        let (script, keys) = match (self.has_presence_fields, self.is_copy) {
            (true, _) => (Script::PresenceFields, PRESENCE_FIELD_KEYS),
            (false, true) => (Script::PresenceCopy, PRESENCE_KEYS),
            (false, false) => (Script::Presence, PRESENCE_KEYS),
        };
        self.script(commands, scripts, script, channel, keys, arguments);
    }

    fn begin_read(&mut self, commands: &mut Commands, scripts: &Scripts, channel: &str, retention: &Retention) {
        self.script(commands, scripts, Script::Read, channel, STREAM_KEYS, 8);
        commands.text(self.new_epoch().as_str().as_bytes());
        write_millis(commands, meta_ttl_of(retention));
    }

    fn attend(
        &mut self,
        commands: &mut Commands,
        scripts: &Scripts,
        channel: &str,
        clients: &[std::sync::Arc<ClientInfo>],
        ttl: Duration,
    ) {
        self.presence(commands, scripts, channel, 2 + 2 * clients.len());
        commands.text(b"attend");
        write_millis(commands, self.presence_ttl.unwrap_or(ttl));
        for info in clients {
            commands.text(info.client.as_bytes());
            let length = info.user.len().to_string();
            commands.texts(&[length.as_bytes(), b":", info.user.as_bytes(), &encode_client(info)]);
        }
    }

    /// Begins the call of a script with so many keys of the channel and arguments.
    fn script(
        &self,
        commands: &mut Commands,
        scripts: &Scripts,
        script: Script,
        channel: &str,
        keys: &[Kind],
        arguments: usize,
    ) {
        commands.begin(3 + keys.len() + arguments);
        commands.text(b"EVALSHA");
        commands.text(scripts.digest(script));
        commands.number(keys.len() as u64);
        keys.iter().for_each(|kind| self.names.write_key(commands, *kind, channel, ""));
    }

    fn new_epoch(&mut self) -> Epoch {
        Epoch::from_random(self.random.u64(..))
    }
}

/// A publication that is kept.
struct Appended<'a> {
    publish: &'a Publish,
    retention: &'a Retention,
    key: Option<&'a str>,
    record: &'a [u8],
}

/// Part of a stream, in the order of its command.
struct Range {
    command: &'static str,
    from: Bound,
    to: Bound,
}

/// An end of a range: included, unless it is one of the stream's own ends.
#[derive(Clone, Copy)]
enum Bound {
    Oldest,
    Newest,
    At(u64),
    /// There is nothing beyond it.
    Nowhere,
}

impl Bound {
    fn after(offset: u64) -> Bound {
        offset.checked_add(1).map_or(Bound::Nowhere, Bound::At)
    }

    fn before(offset: u64) -> Bound {
        offset.checked_sub(1).map_or(Bound::Nowhere, Bound::At)
    }

    fn write(self, commands: &mut Commands) {
        match self {
            Bound::Oldest | Bound::Nowhere => commands.text(b"-"),
            Bound::Newest => commands.text(b"+"),
            Bound::At(offset) => commands.number(offset),
        }
    }
}

impl Range {
    fn write(&self, commands: &mut Commands, count: usize) {
        let is_empty = count == 0 || [self.from, self.to].iter().any(|end| matches!(end, Bound::Nowhere));
        commands.text(if is_empty { b"" } else { self.command.as_bytes() });
        self.from.write(commands);
        self.to.write(commands);
        // Redis counts with a sign; whoever wants all asks for `usize::MAX`.
        commands.number(i64::try_from(count).unwrap_or(i64::MAX).cast_unsigned());
    }
}

/// The part of the stream that is asked for.
fn write_page(commands: &mut Commands, page: &Page) {
    let request = &page.request;
    let limit = usize::try_from(request.limit).map_or(page.publications_max, |limit| limit.min(page.publications_max));
    let since = request.since.as_ref().map(|since| since.offset);
    let range = match request.reverse {
        false => Range { command: "XRANGE", from: since.map_or(Bound::Oldest, Bound::after), to: Bound::Newest },
        true => Range { command: "XREVRANGE", from: since.map_or(Bound::Newest, Bound::before), to: Bound::Oldest },
    };
    range.write(commands, limit);
}

/// Epoch and offset never go before the history.
fn meta_ttl_of(retention: &Retention) -> Duration {
    retention.meta_ttl.max(retention.ttl)
}

/// Two arguments, empty if there is none.
fn write_position(commands: &mut Commands, position: Option<Position>) {
    match position {
        Some(Position { epoch, offset }) => {
            commands.text(epoch.as_str().as_bytes());
            commands.number(offset);
        }
        None => [b"", b""].iter().for_each(|text| commands.text(*text)),
    }
}

/// A key that expires in no time would be one that is not there.
fn write_millis(commands: &mut Commands, duration: Duration) {
    commands.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, MILLIS_MAX));
}

const STREAM_KEYS: &[Kind] = &[Kind::Meta, Kind::Stream];
const PRESENCE_KEYS: &[Kind] = &[Kind::PresenceClients, Kind::PresenceExpiries, Kind::PresenceUsers];
const PRESENCE_FIELD_KEYS: &[Kind] = &[Kind::PresenceFields, Kind::PresenceUserFields];

/// A thousand years: more than that overflows the server's clock.
const MILLIS_MAX: u64 = 1000 * 365 * 24 * 3600 * 1000;
