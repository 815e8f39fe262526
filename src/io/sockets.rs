//! The sockets of one shard, by connection, and which of them want to be read or written.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::ConnectionId;

use super::admission::{Admission, Place};
use super::poller::Readiness;
use super::ready::Ready;
use super::socket::Socket;

/// One socket and what is known of it since its last event.
pub(super) struct Entry {
    pub id: ConnectionId,
    pub socket: Socket,
    /// The last write would have blocked, and it has not been writable since.
    pub blocked: bool,
    /// The peer sends no more: read on until the end shows, a short read does not mean "drained".
    pub ended: bool,
    /// The shard was told that the connection is lost: the socket only waits to be forgotten.
    pub lost: bool,
    /// In `Sockets::to_read`.
    queued: bool,
}

/// A slab beside the shard's own: same slots, same generations.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Option<Entry>>,
    /// Connections that may have bytes, each once; they take turns.
    to_read: Ready<ConnectionId>,
    /// Connections whose blocked socket takes bytes again, or that had more than their part of a turn.
    to_write: VecDeque<ConnectionId>,
    /// Where each of them has a place.
    admission: Arc<Admission>,
}

impl Sockets {
    pub fn new(admission: Arc<Admission>) -> Sockets {
        Sockets { admission, ..Sockets::default() }
    }

    /// Puts the socket of a connection that the shard has just opened.
    pub fn insert(&mut self, id: ConnectionId, socket: Socket, place: Place) {
        place.keep();
        let index = id.as_index();
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        debug_assert!(self.entries[index].is_none(), "the shard gives a slot again only after it was finished");
        self.entries[index] = Some(Entry { id, socket, blocked: false, ended: false, lost: false, queued: false });
    }

    /// The connection's socket; `None` if another has its slot, or none.
    pub fn find(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.entries.get_mut(id.as_index())?.as_mut().filter(|entry| entry.id == id)
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        self.find(id)?;
        let entry = self.entries[id.as_index()].take()?;
        self.admission.leave();
        if entry.blocked {
            entry.socket.reset_on_close();
        }
        Some(entry.socket)
    }

    /// Takes note of one event of the poll set.
    pub fn note(&mut self, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(readiness.slot).and_then(Option::as_mut) else { return };
        entry.ended |= readiness.ended;
        if readiness.writable && entry.blocked {
            entry.blocked = false;
            self.to_write.push_back(entry.id);
        }
        if (readiness.readable || readiness.ended) && !entry.queued && !entry.lost {
            entry.queued = true;
            match entry.ended {
                true => self.to_read.push_ended(entry.id),
                false => self.to_read.push(entry.id),
            }
        }
    }

    /// Puts the connection among those that are read again in the next turn. Edge triggered: whoever
    /// stops reading before the socket would block must come back here.
    pub fn read_later(&mut self, id: ConnectionId) {
        let Some(entry) = self.find(id).filter(|entry| !entry.queued && !entry.lost) else { return };
        entry.queued = true;
        match entry.ended {
            true => self.to_read.push_ended(id),
            false => self.to_read.push_again(id),
        }
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.to_read.begin_turn();
    }

    /// The next connection to read, if it is still there; those that have ended left out.
    pub fn next_to_read(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.to_read.pop()?;
            if self.dequeue(id) {
                return Some(id);
            }
        }
    }

    /// The next connection to read of those whose peer sends no more.
    pub fn next_ended(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.to_read.pop_ended()?;
            if self.dequeue(id) {
                return Some(id);
            }
        }
    }

    /// Whether connections wait to be read.
    pub fn has_to_read(&self) -> bool {
        !self.to_read.is_empty()
    }

    /// The next connection whose socket takes bytes again.
    pub fn next_to_write(&mut self) -> Option<ConnectionId> {
        self.to_write.pop_front()
    }

    /// The connection has more to write, in another turn.
    pub fn write_later(&mut self, id: ConnectionId) {
        self.to_write.push_back(id);
    }

    pub fn waiting_to_write(&self) -> usize {
        self.to_write.len()
    }

    /// Returns whether the connection is still there.
    fn dequeue(&mut self, id: ConnectionId) -> bool {
        self.find(id).is_some_and(|entry| std::mem::replace(&mut entry.queued, false))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    const EVENT: Readiness = Readiness { slot: 0, readable: false, writable: false, ended: false };

    fn id(slot: u32, generation: u32) -> ConnectionId {
        ConnectionId { slot, generation }
    }

    fn sockets(ids: &[ConnectionId]) -> Sockets {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut sockets = Sockets::default();
        for id in ids {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let place = sockets.admission.admit().unwrap();
            sockets.insert(*id, Socket::plain(mio::net::TcpStream::from_std(stream)), place);
        }
        sockets
    }

    #[test]
    fn connections_take_turns_and_wait_once() {
        let mut sockets = sockets(&[id(0, 0), id(1, 0)]);
        sockets.note(Readiness { slot: 1, readable: true, ..EVENT });
        sockets.note(Readiness { slot: 0, readable: true, ..EVENT });
        sockets.note(Readiness { slot: 1, readable: true, ..EVENT });
        assert_eq!(sockets.next_to_read(), Some(id(1, 0)));
        sockets.read_later(id(1, 0));
        assert_eq!(sockets.next_to_read(), Some(id(0, 0)));
        assert_eq!(sockets.next_to_read(), None, "it was read in this turn");
        sockets.begin_turn();
        assert_eq!(sockets.next_to_read(), Some(id(1, 0)));
        assert!(!sockets.has_to_read());
    }

    #[test]
    fn a_connection_that_ended_waits_among_its_like() {
        let mut sockets = sockets(&[id(0, 0), id(1, 0), id(2, 0)]);
        sockets.note(Readiness { slot: 0, ended: true, ..EVENT });
        sockets.note(Readiness { slot: 1, readable: true, ..EVENT });
        // It is read once for both: with what it still said comes its end.
        sockets.note(Readiness { slot: 1, ended: true, ..EVENT });
        assert_eq!(sockets.next_to_read(), Some(id(1, 0)));
        sockets.read_later(id(1, 0));
        sockets.begin_turn();
        assert_eq!(sockets.next_to_read(), None);
        assert_eq!(sockets.next_ended(), Some(id(0, 0)));
        assert_eq!(sockets.next_ended(), Some(id(1, 0)));
        assert!(!sockets.has_to_read());
    }

    #[test]
    fn a_slot_forgets_its_last_tenant() {
        let mut first = sockets(&[id(0, 0)]);
        first.read_later(id(0, 0));
        assert!(first.remove(id(0, 0)).is_some());
        assert_eq!(first.next_to_read(), None, "what waits is gone");
        let mut second = sockets(&[id(0, 1)]);
        assert!(second.find(id(0, 0)).is_none());
        assert!(second.remove(id(0, 0)).is_none());
        second.read_later(id(0, 0));
        assert_eq!(second.next_to_read(), None);
        assert!(second.find(id(0, 1)).is_some());
    }

    #[test]
    fn only_a_blocked_socket_waits_to_be_written() {
        let mut sockets = sockets(&[id(0, 0)]);
        sockets.note(Readiness { writable: true, ..EVENT });
        assert_eq!(sockets.next_to_write(), None);
        sockets.find(id(0, 0)).unwrap().blocked = true;
        sockets.note(Readiness { writable: true, ..EVENT });
        assert_eq!(sockets.next_to_write(), Some(id(0, 0)));
        assert!(!sockets.find(id(0, 0)).unwrap().blocked);
    }
}
