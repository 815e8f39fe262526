//! What the application publishes, at the channel's home: once for each idempotency key, and no version after
//! a newer one.

use std::sync::Arc;

use super::Shard;
use super::events::ServerPublication;
use super::home::Asks;
use crate::access::ChannelOptions;
use crate::engine::ResultKey;
use crate::model::{ChannelName, ErrorCode, Position, Publication, Version};
use crate::telemetry::Counter;

impl Shard {
    /// Publishes, unless it is a repetition: then the answer is that of the first time.
    ///
    /// The data is checked here; that of a client has been checked by the client's shard.
    pub(super) fn home_server_publish(
        &mut self,
        publication: ServerPublication,
    ) -> Result<Option<Position>, ErrorCode> {
        let ServerPublication { channel, data, shape, tags, skip_history, delta, idempotency_key, version } =
            publication;
        let options = self.options_of(&channel)?;
        let key = idempotency_key.map(|key| ResultKey { channel: channel.clone(), idempotency_key: key });
        let key = key.filter(|_| !self.options.faults.forgotten_keys);
        if let Some(known) = key.as_ref().and_then(|key| self.memory.results.find(key)) {
            self.metrics.add(Counter::PublishesRepeated, 1);
            return Ok(known);
        }
        if !options.publication_data_format.admits(&data, shape) {
            return Err(ErrorCode::BadRequest);
        }
        let number = version.as_ref().map_or(0, |version| version.number);
        let publication = Publication { data, tags, version: number, ..Publication::default() };
        // Where nothing is kept, nothing is known to be newer.
        let version = version.filter(|_| options.has_history() && !skip_history);
        let position = self.publish_version(&channel, &options, publication, Asks { skip_history, delta }, version)?;
        if let Some(key) = key {
            let forgotten = self.memory.results.remember(self.time.now(), key, position);
            self.metrics.add(Counter::IdempotencyKeysEvicted, forgotten as u64);
        }
        Ok(position)
    }

    /// Publishes, unless the history holds a newer `version`, or this one: then the answer is where it stands.
    fn publish_version(
        &mut self,
        channel: &ChannelName,
        options: &Arc<ChannelOptions>,
        publication: Publication,
        asks: Asks,
        version: Option<Version>,
    ) -> Result<Option<Position>, ErrorCode> {
        let Some(version) = version else { return self.home_publish(channel, options, publication, asks) };
        if let Some(position) = self.memory.find_newer(channel.as_str(), &version)
            && !self.options.faults.ignored_versions
        {
            self.metrics.add(Counter::VersionsOutdated, 1);
            return Ok(Some(position));
        }
        let position = self.home_publish(channel, options, publication, asks)?;
        self.memory.remember_version(channel.as_str(), version);
        Ok(position)
    }
}
