//! presence, presence_stats, history: what a channel's home knows.

use crate::access;
use crate::model::{ChannelName, ConnectionId, ErrorCode, HistoryRequest};
use crate::shard::Shard;
use crate::shard::connection::On;
use crate::shard::events::{Ask, Asked};

impl Shard {
    pub(super) fn presence(&mut self, id: ConnectionId, command: u32, channel: &str) {
        let channel = self.check_presence_query(id.slot, channel);
        self.query(id, command, channel, Asked::Presence);
    }

    pub(super) fn presence_stats(&mut self, id: ConnectionId, command: u32, channel: &str) {
        let channel = self.check_presence_query(id.slot, channel);
        self.query(id, command, channel, Asked::PresenceStats);
    }

    pub(super) fn history(&mut self, id: ConnectionId, command: u32, request: HistoryRequest) {
        let channel = self.check_history_query(id.slot, &request.channel);
        self.query(id, command, channel, Asked::History(request));
    }

    fn query(&mut self, id: ConnectionId, command: u32, channel: Result<ChannelName, ErrorCode>, asked: Asked) {
        match channel {
            Ok(channel) => {
                self.wait_for(id, On::Home);
                self.ask_home(Ask { asker: id, id: command, channel, asked });
            }
            Err(error) => self.reply(id.slot, command, Err(error)),
        }
    }

    fn check_presence_query(&mut self, slot: u32, channel: &str) -> Result<ChannelName, ErrorCode> {
        let channel = self.parse_channel(channel)?;
        let asker = self.asker(slot, channel.as_str());
        let options = self.options.namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        match (options.presence, access::may_read_presence(options, asker)) {
            (true, true) => Ok(channel),
            (false, _) => Err(ErrorCode::NotAvailable),
            (true, false) => Err(ErrorCode::PermissionDenied),
        }
    }

    fn check_history_query(&mut self, slot: u32, channel: &str) -> Result<ChannelName, ErrorCode> {
        let channel = self.parse_channel(channel)?;
        let asker = self.asker(slot, channel.as_str());
        let options = self.options.namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        match (options.has_history(), access::may_read_history(options, asker)) {
            (true, true) => Ok(channel),
            (false, _) => Err(ErrorCode::NotAvailable),
            (true, false) => Err(ErrorCode::PermissionDenied),
        }
    }
}
