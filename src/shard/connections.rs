//! The slab: all connections of a shard, by slot.

use super::connection::Connection;
use crate::model::ConnectionId;

/// Connections in pieces that never move, so that growing neither copies nor doubles.
///
/// A slot is used again with another generation, which tells a late answer that its asker is gone.
#[derive(Default)]
pub struct Connections {
    pieces: Vec<Vec<Entry>>,
    free: Vec<u32>,
    len: usize,
}

struct Entry {
    generation: u32,
    connection: Option<Connection>,
}

/// Connections in a piece: some dozens of KiB.
const PIECE: usize = 256;

impl Connections {
    pub fn insert(&mut self, connection: Connection) -> ConnectionId {
        self.len += 1;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.add_slot(),
        };
        let entry = self.entry_mut(slot).expect("free slots and new ones exist");
        debug_assert!(entry.connection.is_none(), "a free slot holds nothing");
        entry.connection = Some(connection);
        ConnectionId { slot, generation: entry.generation }
    }

    pub fn remove(&mut self, slot: u32) -> Option<Connection> {
        let entry = self.entry_mut(slot)?;
        let connection = entry.connection.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.len -= 1;
        Some(connection)
    }

    /// Connections that exist, also those that are closing.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Slots there are, taken and free.
    pub fn slots(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.len() as u32).sum()
    }

    pub fn find(&self, id: ConnectionId) -> Option<&Connection> {
        let entry = self.pieces.get(id.as_index() / PIECE)?.get(id.as_index() % PIECE)?;
        entry.connection.as_ref().filter(|_| entry.generation == id.generation)
    }

    pub fn find_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let entry = self.entry_mut(id.slot)?;
        let generation = entry.generation;
        entry.connection.as_mut().filter(|_| generation == id.generation)
    }

    /// Whoever is at `slot` now.
    pub fn at(&mut self, slot: u32) -> Option<&mut Connection> {
        self.entry_mut(slot)?.connection.as_mut()
    }

    /// Whoever is at `slot` now, to be looked at.
    pub fn look_at(&self, slot: u32) -> Option<&Connection> {
        self.pieces.get(slot as usize / PIECE)?.get(slot as usize % PIECE)?.connection.as_ref()
    }

    /// The full name of whoever is at `slot` now.
    pub fn id_at(&self, slot: u32) -> Option<ConnectionId> {
        let entry = self.pieces.get(slot as usize / PIECE)?.get(slot as usize % PIECE)?;
        entry.connection.as_ref().map(|_| ConnectionId { slot, generation: entry.generation })
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.pieces.get_mut(slot as usize / PIECE)?.get_mut(slot as usize % PIECE)
    }

    fn add_slot(&mut self) -> u32 {
        let slot = self.slots();
        if (slot as usize).is_multiple_of(PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let piece = self.pieces.last_mut().expect("pushed above if there was none");
        piece.push(Entry { generation: 0, connection: None });
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Opening, Speaks};

    fn echo() -> Connection {
        Connection::new(Opening { speaks: Speaks::Echo, window: None })
    }

    #[test]
    fn a_slot_used_again_does_not_answer_to_its_old_name() {
        let mut connections = Connections::default();
        let first = connections.insert(echo());
        assert!(connections.remove(first.slot).is_some());
        let second = connections.insert(echo());
        assert_eq!(first.slot, second.slot);
        assert!(connections.find(first).is_none());
        assert!(connections.find(second).is_some());
    }

    #[test]
    fn slots_run_over_many_pieces() {
        let mut connections = Connections::default();
        let ids: Vec<_> = (0..1000).map(|_| connections.insert(echo())).collect();
        assert_eq!(connections.len(), 1000);
        assert_eq!(connections.slots(), 1000);
        assert!(ids.iter().all(|&id| connections.find(id).is_some() && connections.id_at(id.slot) == Some(id)));
    }

    #[test]
    fn an_idle_connection_is_small() {
        // The figure behind "bytes for each idle connection": docs/performance.md.
        assert!(size_of::<Entry>() <= 240, "{} bytes", size_of::<Entry>());
    }
}
