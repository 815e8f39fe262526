//! Connections whose connect command has not come: limited in number, besides in time (3502).

use std::collections::VecDeque;

use super::Shard;
use crate::model::{ConnectionId, DisconnectCode};

/// In the order they came, with those that have connected or gone since.
#[derive(Debug, Default)]
pub struct Unconnected {
    came: VecDeque<ConnectionId>,
    count: usize,
}

#[cfg(test)]
impl Unconnected {
    pub fn entries(&self) -> usize {
        self.came.len()
    }
}

/// Below it the list is not looked through for those that are no longer wanted in it.
const SPARE_ENTRIES: usize = 64;

impl Shard {
    /// A newcomer owes its connect command. If too many do, the one that has owed it longest makes room:
    /// a flood of silent sockets pushes out its own, and who speaks at once is through long before.
    ///
    /// It is told to come back (3013): it may be an honest one on a slow line.
    pub(super) fn await_connect(&mut self, id: ConnectionId) {
        self.mark_unconnected(id, true);
        self.unconnected.came.push_back(id);
        let max = self.options.unconnected_max.div_ceil(self.options.homes.shards().into());
        while self.unconnected.count > max
            && let Some(oldest) = self.unconnected.came.pop_front()
        {
            if self.is_unconnected(oldest) {
                self.disconnect(oldest.slot, DisconnectCode::TooManyRequests);
            }
        }
        self.tidy_unconnected();
    }

    /// Its connect command has come, or it never will.
    pub(super) fn owes_no_connect(&mut self, slot: u32) {
        if let Some(id) = self.connections.id_at(slot)
            && self.is_unconnected(id)
        {
            self.mark_unconnected(id, false);
        }
    }

    fn is_unconnected(&self, id: ConnectionId) -> bool {
        self.connections.find(id).is_some_and(|connection| connection.is_unconnected)
    }

    fn mark_unconnected(&mut self, id: ConnectionId, is_unconnected: bool) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        connection.is_unconnected = is_unconnected;
        match is_unconnected {
            true => self.unconnected.count += 1,
            false => self.unconnected.count -= 1,
        }
    }

    /// Keeps the list in proportion to those who still owe; each entry is looked at once for each that
    /// was added.
    fn tidy_unconnected(&mut self) {
        if self.unconnected.came.len() > 2 * self.unconnected.count + SPARE_ENTRIES {
            let mut came = std::mem::take(&mut self.unconnected.came);
            came.retain(|id| self.is_unconnected(*id));
            came.shrink_to(2 * SPARE_ENTRIES);
            self.unconnected.came = came;
        }
    }
}
