//! What a shard does when the process has too little memory left: the largest outboxes go.

use super::Shard;
use crate::limits;
use crate::model::DisconnectCode;
use crate::telemetry::Counter;

/// How the process's memory stands to its limit, as whoever watches it tells every shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// It is above the limit, or was and is not far enough below it yet: no new clients.
    pub is_high: bool,
    /// Outboxes that hold more, and whose sockets do not keep up, are cut down to it.
    pub outbox_bytes_max: Option<usize>,
}

/// One look at every connection, a piece in each turn.
#[derive(Debug)]
pub struct Cutting {
    outbox_bytes_max: usize,
    /// The slot to look at next, and how many are left.
    next: u32,
    left: u32,
}

impl Shard {
    /// Begins to look for the outboxes above the bound. One look at a time: the next begins where this
    /// one was, so that it comes around however often it is begun anew.
    pub(super) fn feel_pressure(&mut self, pressure: Pressure) {
        let next = self.cutting.as_ref().map_or(0, |cutting| cutting.next);
        let left = self.connections.slots();
        self.cutting = pressure.outbox_bytes_max.map(|outbox_bytes_max| Cutting { outbox_bytes_max, next, left });
    }

    /// A turn's share of the look, by connections seen and by bytes given up. Returns whether more is
    /// left.
    pub(super) fn cut_some(&mut self) -> bool {
        let Some(mut cutting) = self.cutting.take() else { return false };
        let (mut looks, mut bytes) = (limits::CUT_LOOKS_PER_TURN, self.options.slice_bytes_max);
        while cutting.left > 0 && looks > 0 && bytes > 0 {
            if cutting.next >= self.connections.slots() {
                cutting.next = 0;
            }
            bytes = bytes.saturating_sub(self.cut(cutting.next, cutting.outbox_bytes_max));
            cutting.next += 1;
            cutting.left -= 1;
            looks -= 1;
        }
        let is_left = cutting.left > 0;
        if is_left {
            self.cutting = Some(cutting);
        }
        is_left
    }

    /// Drops what may be dropped from an outbox above the bound; if that is not enough the connection
    /// is closed. Returns the bytes given up.
    fn cut(&mut self, slot: u32, outbox_bytes_max: usize) -> usize {
        let Some(connection) = self.connections.at(slot).filter(|connection| connection.is_open()) else { return 0 };
        let before = connection.outbox.bytes();
        // What was queued in this very turn is no sign of a slow reader.
        if before <= outbox_bytes_max || !connection.outbox.is_behind() {
            return 0;
        }
        let is_enough = connection.outbox.shrink(outbox_bytes_max, self.dropped.of(slot)).is_ok();
        let left = connection.outbox.bytes();
        self.outbox_bytes -= before - left;
        if is_enough {
            self.metrics.add(Counter::OutboxesShrunk, 1);
            return before - left;
        }
        self.metrics.add(Counter::ConnectionsCut, 1);
        self.disconnect(slot, DisconnectCode::Slow);
        before
    }
}
