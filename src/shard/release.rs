//! Publications that workers encode: what a channel sends leaves in order nevertheless.

use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;

use super::Shard;
use super::events::Reached;
use crate::limits;
use crate::model::{ChannelName, EncodingSet, ErrorCode, Format, Position, ShardId};
use crate::protocol::FrameTally;
use crate::room::{Delivery, DeliveryKind, Line};
use crate::telemetry::Counter;
use crate::workers::{Cancellation, EncodePublication, Job, Owner, Work, WorkOutcome};

/// The channels at home here that have a line. All others, which is nearly all of them at nearly all
/// times, send as they publish.
#[derive(Default)]
pub struct Lines {
    by_channel: AHashMap<ChannelName, Line<Leaving, BeingEncoded>>,
    bytes: usize,
}

/// What leaves a line.
enum Leaving {
    Deliver(Arc<Delivery>, usize),
    /// It could not be encoded.
    Lost(usize),
    /// Positions that were told before are good no more.
    Void,
    /// A subscribe that was answered behind what stands before it in the line.
    Answer(ShardId, Reached),
}

struct BeingEncoded {
    publication: EncodePublication,
    kind: DeliveryKind,
    tag: Option<Arc<str>>,
}

impl Lines {
    pub fn has(&self, channel: &ChannelName) -> bool {
        !self.by_channel.is_empty() && self.by_channel.contains_key(channel)
    }

    /// Bytes of publications in all lines.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_full(&self, channel: &ChannelName) -> bool {
        self.by_channel.get(channel).is_some_and(|line| line.len() >= limits::LINE_MAX)
    }
}

impl BeingEncoded {
    fn bytes(&self) -> usize {
        self.publication.publication.data.len()
    }
}

impl Shard {
    /// Refuses a publication of `bytes` that would have to wait in a line where there is no room.
    pub(super) fn check_line(&mut self, channel: &ChannelName, bytes: usize) -> Result<(), ErrorCode> {
        let has_line = self.lines.has(channel);
        if !has_line && !self.may_be_heavy(bytes) {
            return Ok(());
        }
        let is_over = self.lines.bytes > 0 && self.lines.bytes + bytes > limits::LINE_BYTES_MAX;
        if is_over || (has_line && self.lines.is_full(channel)) {
            self.metrics.add(Counter::PublishesRefused, 1);
            return Err(ErrorCode::TooManyRequests);
        }
        Ok(())
    }

    /// Where whoever listens to the channel stands by now; `None` while what it was sent waits in a line.
    pub(super) fn position_of(&self, channel: &ChannelName) -> Option<Option<Position>> {
        (!self.lines.has(channel)).then(|| match self.feeds.get(channel) {
            Some(feed) => feed.position(),
            None => self.memory.find_position(channel.as_str()),
        })
    }

    /// The same; a broker is asked now and then whether there is more.
    pub(super) fn checked_position_of(&mut self, channel: &ChannelName) -> Option<Option<Position>> {
        self.doubt_feed(channel);
        self.position_of(channel)
    }

    /// Whether `data` is better encoded for these readers by the workers.
    pub(super) fn is_heavy_for(&self, data: &Bytes, encodings: EncodingSet, base: Option<&Bytes>) -> bool {
        self.may_be_heavy(data.len()) && self.encode_cost(data, encodings, base) > self.options.encode_inline_cost_max
    }

    fn may_be_heavy(&self, bytes: usize) -> bool {
        bytes > self.options.encode_inline_cost_max / ENCODINGS_COST_MAX
    }

    /// What it costs to encode `data` for these readers, in bytes of JSON.
    fn encode_cost(&self, data: &Bytes, encodings: EncodingSet, base: Option<&Bytes>) -> usize {
        let deflate = limits::DEFLATE_COSTS[usize::from(self.options.compression.level.clamp(1, 9)) - 1];
        let compressed = encodings.iter().filter(|encoding| encoding.window().is_some()).count();
        let formats =
            Format::ALL.iter().filter(|format| encodings.iter().any(|encoding| encoding.format() == **format)).count();
        let compared = match encodings.has_delta() {
            true => base.map_or(0, |base| base.len() + data.len()),
            false => 0,
        };
        data.len() * (formats + compressed * deflate) + compared * limits::DELTA_COST
    }

    /// Lets the workers encode a publication; whatever the channel sends from now on waits for it.
    pub(super) fn encode_later(&mut self, kind: DeliveryKind, tag: Option<Arc<str>>, publication: EncodePublication) {
        let channel = publication.channel.clone();
        let work = BeingEncoded { publication, kind, tag };
        self.lines.bytes += work.bytes();
        self.lines.by_channel.entry(channel.clone()).or_default().push_waiting(work);
        self.start_encoding(&channel);
    }

    /// A delivery of a channel that has a line.
    pub(super) fn line_up(&mut self, delivery: Arc<Delivery>) {
        if self.lines.is_full(&delivery.channel) && !delivery.is_publication() {
            // A lost word of who comes and goes is no reason to recover.
            return self.metrics.add(Counter::DeliveriesLost, 1);
        }
        let bytes = delivery.bytes();
        if let Some(line) = self.lines.by_channel.get_mut(&delivery.channel) {
            self.lines.bytes += bytes;
            line.push_ready(Leaving::Deliver(delivery, bytes));
        }
    }

    /// Answers a subscribe; not before what was published until then has left.
    pub(super) fn answer_in_line(&mut self, to: ShardId, reached: Reached) {
        match self.lines.by_channel.get_mut(&reached.channel) {
            Some(line) => line.push_ready(Leaving::Answer(to, reached)),
            None => self.send_answer(to, reached),
        }
    }

    /// Positions in the channel are good no more; what was published until then leaves before that is told.
    pub(super) fn void_positions_in_line(&mut self, channel: &ChannelName) {
        match self.lines.by_channel.get_mut(channel) {
            Some(line) => line.push_ready(Leaving::Void),
            None => self.void_positions(channel),
        }
    }

    /// A worker has encoded the publication at this place of the line, or failed to.
    pub(super) fn publication_encoded(&mut self, channel: &ChannelName, ticket: u64, outcome: WorkOutcome) {
        let Some(line) = self.lines.by_channel.get_mut(channel) else { return };
        let mut made = FrameTally::default();
        line.finish(ticket, |work| {
            let bytes = work.bytes();
            let WorkOutcome::Encoded(frames, tally) = outcome else { return Leaving::Lost(bytes) };
            made = tally;
            let (channel, kind, tag) = (work.publication.channel, work.kind, work.tag);
            Leaving::Deliver(Arc::new(Delivery { channel, kind, tag, frames }), bytes)
        });
        self.count_made(made);
        self.start_encoding(channel);
        self.let_leave(channel);
    }

    fn start_encoding(&mut self, channel: &ChannelName) {
        let namespace = self.options.namespaces.find_options(channel.as_str()).ok().cloned();
        let Some(mut line) = self.lines.by_channel.remove(channel) else { return };
        while let Some((ticket, work)) = line.next_work(limits::ROOM_JOBS_MAX) {
            let publication = work.publication.clone();
            let job = Job {
                shard: self.id,
                owner: Owner::Room { channel: channel.clone(), ticket },
                cost: self.encode_cost(&publication.publication.data, publication.encodings, publication.base.as_ref()),
                patience: None,
                cancellation: Cancellation::NEVER,
                work: Box::new(Work::Encode(publication)),
            };
            self.jobs.push(namespace.as_ref(), self.time.now(), job);
        }
        self.lines.by_channel.insert(channel.clone(), line);
    }

    fn let_leave(&mut self, channel: &ChannelName) {
        while let Some(line) = self.lines.by_channel.get_mut(channel) {
            match line.pop() {
                Some(Leaving::Deliver(delivery, bytes)) => {
                    self.lines.bytes -= bytes;
                    self.hand_out(delivery);
                }
                Some(Leaving::Lost(bytes)) => {
                    self.lines.bytes -= bytes;
                    self.lose_everywhere(channel);
                }
                Some(Leaving::Void) => self.void_positions(channel),
                Some(Leaving::Answer(to, reached)) => self.send_answer(to, reached),
                None => break,
            }
        }
        if self.lines.by_channel.get(channel).is_some_and(Line::is_empty) {
            self.lines.by_channel.remove(channel);
        }
    }
}

/// The most that encoding costs, in multiples of its bytes: two formats, each with delta and without and
/// for every window, and the difference from a base of the same size.
const ENCODINGS_COST_MAX: usize = 2 + 4 * 7 * limits::DEFLATE_COSTS[8] + 2 * limits::DELTA_COST;
