//! publish, and rpc, which has nobody behind it yet.

use std::sync::Arc;

use bytes::Bytes;

use crate::access;
use crate::model::{ChannelName, ClientInfo, ConnectionId, DataShape, ErrorCode};
use crate::shard::Shard;
use crate::shard::connection::On;
use crate::shard::events::{Ask, Asked};
use crate::shard::outgoing::Class;
use crate::telemetry::Counter;

impl Shard {
    pub(super) fn publish(&mut self, id: ConnectionId, command: u32, channel: &str, data: Bytes, shape: DataShape) {
        let channel = match self.check_publish(id.slot, channel, &data, shape) {
            Ok(channel) => channel,
            Err(error) => return self.reply(id.slot, command, Err(error)),
        };
        let Some(info) = self.info_in(id, &channel) else { return };
        self.pipeline(id, &channel);
        self.ask_home(Ask { asker: id, id: command, channel, asked: Asked::Publish { data, info } });
    }

    /// Who the connection is, as others in the channel see it.
    fn info_in(&self, id: ConnectionId, channel: &ChannelName) -> Option<Arc<ClientInfo>> {
        let connection = self.connections.find(id)?;
        if !self.terms.is_empty()
            && let Some(local) = self.channels.find(channel.as_str())
            && let Some(own) = self.terms.find(id.slot, local).and_then(|terms| terms.info.clone())
        {
            return Some(own);
        }
        connection.client.clone()
    }

    /// No proxy is there to call: error 108 (protocol page, section 1.7).
    pub(super) fn rpc(&mut self, id: ConnectionId, command: u32, method: &str) {
        if self.options.faults.panic_on_rpc && method == "fanfare.fault.panic" {
            panic!("fault point: handling one connection panics");
        }
        #[cfg(debug_assertions)]
        if self.options.faults.panic_on_rpc && method == "fanfare.fault.panic_worker" {
            self.wait_for(id, On::Answer { id: command });
            return self.start_job(id, 1, crate::workers::Work::Panic);
        }
        self.reply(id.slot, command, Err(ErrorCode::NotAvailable));
    }

    fn check_publish(
        &mut self,
        slot: u32,
        channel: &str,
        data: &[u8],
        shape: DataShape,
    ) -> Result<ChannelName, ErrorCode> {
        let channel = self.parse_channel(channel)?;
        let asker = self.asker(slot, channel.as_str());
        let options = self.options.namespaces.find_options(channel.as_str()).map_err(|_| ErrorCode::UnknownChannel)?;
        if !access::may_publish(options, asker) {
            return Err(ErrorCode::PermissionDenied);
        }
        // Data of large messages has been looked at by a worker; nobody reads that of those who may not publish.
        if !options.publication_data_format.admits(data, shape) {
            return Err(ErrorCode::BadRequest);
        }
        let home = self.options.homes.home_of(channel.as_str());
        if home != self.id && !self.outgoing.has_room(home, Class::Publish) {
            self.metrics.add(Counter::PublishesRefused, 1);
            return Err(ErrorCode::TooManyRequests);
        }
        Ok(channel)
    }

    /// One more publish to `channel` is under way.
    fn pipeline(&mut self, id: ConnectionId, channel: &ChannelName) {
        if self.options.homes.home_of(channel.as_str()) == self.id && self.decides_at_once(channel.as_str()) {
            // Decided before the next command is looked at.
            return;
        }
        let under_way = self.connections.find(id).and_then(|connection| connection.waiting.as_ref());
        let count = match under_way.map(|waiting| &waiting.on) {
            Some(On::Publishes { count, .. }) => count + 1,
            _ => 1,
        };
        self.wait_for(id, On::Publishes { name: channel.clone(), count });
    }
}
