//! Sockets between clients and shards: kernel buffers with ends, and what an event loop does to
//! them.

use std::collections::VecDeque;

use fanfare::model::{ConnectionId, Format, WindowBits};
use fanfare::shard::{Opening, Speaks};

use super::client::Reading;
use super::ledger::{Checked, Promise, violated};
use super::report::Mark;
use super::shard_loop::Readiness;
use super::world::{Event, Micros, World};

/// How the client's direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    /// It said so; what it sent before arrives.
    Finished,
    /// Cut: what was on its way is lost.
    Reset,
}

/// One connection's bytes, both ways.
pub struct Socket {
    pub client: usize,
    pub shard: usize,
    format: Format,
    /// Both sides may compress; the hub for this window.
    window: Option<WindowBits>,
    id: Option<ConnectionId>,

    /// On their way to the hub, by arrival; `None` is the end.
    flight: VecDeque<Option<Vec<u8>>>,
    last_arrival: Micros,
    to_hub: Vec<u8>,
    pub end: End,

    pub to_client: Vec<u8>,
    capacity: usize,
    pub is_reading_due: bool,
    /// The hub closed it.
    pub is_closed: bool,

    // What the event loop knows of it.
    is_blocked: bool,
    is_lost: bool,
    is_queued: bool,
}

/// Close frame and its header: what may stand in an outbox above its bound.
const CLOSE_BYTES: usize = 130;

impl World {
    /// Opens a socket to a random shard that takes connections; the hub sees it a little later.
    pub fn open_socket(&mut self, client: usize, format: Format, window: Option<WindowBits>) -> usize {
        let shard = loop {
            let shard = self.random.usize(..self.plan.shards);
            if self.drained != Some(shard) {
                break shard;
            }
        };
        let capacity = self.random.usize(self.plan.socket_bytes.clone());
        self.sockets.push(Socket {
            client,
            shard,
            format,
            window,
            id: None,
            flight: VecDeque::new(),
            last_arrival: self.now,
            to_hub: Vec::new(),
            end: End::Open,
            to_client: Vec::new(),
            capacity,
            is_reading_due: false,
            is_closed: false,
            is_blocked: false,
            is_lost: false,
            is_queued: false,
        });
        let socket = self.sockets.len() - 1;
        self.loops[shard].arriving.push_back(socket);
        self.wake(shard);
        self.tally.add(Mark::Connections, 1);
        socket
    }

    // --- the client's end ---

    /// Puts bytes, or the end, on their way to the hub.
    pub fn send_bytes(&mut self, socket: usize, bytes: Option<Vec<u8>>) {
        let latency = self.random.u64(..=self.plan.latency_max);
        let it = &mut self.sockets[socket];
        it.last_arrival = it.last_arrival.max(self.now + latency);
        it.flight.push_back(bytes);
        let delay = it.last_arrival - self.now;
        self.after(delay, Event::Arrive { socket });
    }

    /// Cuts the connection: the client is gone at once.
    pub fn reset(&mut self, socket: usize) {
        let it = &mut self.sockets[socket];
        it.end = End::Reset;
        it.flight.clear();
        it.to_hub.clear();
        it.to_client.clear();
        self.tell(socket, false);
    }

    pub fn arrive(&mut self, socket: usize) {
        let it = &mut self.sockets[socket];
        match it.flight.pop_front() {
            // Cut meanwhile.
            None => return,
            Some(Some(bytes)) => it.to_hub.extend_from_slice(&bytes),
            Some(None) if it.end == End::Open => it.end = End::Finished,
            Some(None) => {}
        }
        self.tell(socket, false);
    }

    /// The client takes up to `at_most` bytes.
    pub fn take_bytes(&mut self, socket: usize, at_most: usize) -> Vec<u8> {
        let it = &mut self.sockets[socket];
        let bytes: Vec<u8> = it.to_client.drain(..at_most.min(it.to_client.len())).collect();
        if !bytes.is_empty() && it.is_blocked {
            self.tell(socket, true);
        }
        bytes
    }

    /// The client's next read comes, if it reads at all and none is due.
    pub fn read_soon(&mut self, socket: usize) {
        if self.sockets[socket].is_reading_due {
            return;
        }
        let Some(link) = self.link_on(socket) else { return };
        let delay = match link.reading {
            Reading::Prompt => self.random.u64(1..=self.plan.latency_max),
            Reading::Slow { pause, .. } => pause,
            Reading::Stopped => return,
        };
        self.sockets[socket].is_reading_due = true;
        self.after(delay, Event::ClientReads { socket });
    }

    /// Readiness for the shard's poll set.
    fn tell(&mut self, socket: usize, is_writable: bool) {
        let it = &self.sockets[socket];
        if it.id.is_some() && !it.is_closed {
            let shard = it.shard;
            self.loops[shard].readiness.push(Readiness { socket, is_writable });
            self.wake(shard);
        }
    }

    // --- the event loop's end ---

    /// Opens connections; returns whether there are more.
    pub fn take_arrivals(&mut self, shard: usize) -> bool {
        for _ in 0..self.plan.options.slice_sends_max {
            let Some(socket) = self.loops[shard].arriving.pop_front() else { return false };
            let it = &mut self.loops[shard];
            let speaks = Speaks::Centrifugo(self.sockets[socket].format);
            let id = it.shard.opened(it.now, Opening { speaks, window: self.sockets[socket].window });
            if it.sockets.len() <= id.as_index() {
                it.sockets.resize(id.as_index() + 1, None);
            }
            assert_eq!(it.sockets[id.as_index()], None, "the shard gives a slot again only after it was finished");
            it.sockets[id.as_index()] = Some(socket);
            self.sockets[socket].id = Some(id);
            self.read_later(shard, socket);
        }
        !self.loops[shard].arriving.is_empty()
    }

    pub fn take_note(&mut self, shard: usize, readiness: Readiness) {
        let Readiness { socket, is_writable } = readiness;
        let it = &mut self.sockets[socket];
        if it.is_closed {
            return;
        }
        if is_writable && std::mem::take(&mut it.is_blocked) {
            self.loops[shard].to_write.push(socket);
        } else {
            self.read_later(shard, socket);
        }
    }

    /// Gives each waiting connection at most one read.
    pub fn read_sockets(&mut self, shard: usize) -> Checked {
        let count = self.loops[shard].to_read.len().min(self.plan.options.slice_sends_max);
        for _ in 0..count {
            let Some(socket) = self.loops[shard].to_read.pop_front() else { return Ok(()) };
            self.sockets[socket].is_queued = false;
            self.read(shard, socket);
        }
        Ok(())
    }

    fn read(&mut self, shard: usize, socket: usize) {
        let it = &mut self.sockets[socket];
        let Some(id) = it.id.filter(|_| !it.is_closed && !it.is_lost) else { return };
        let shard_loop = &mut self.loops[shard];
        if shard_loop.shard.has_yielded(id) {
            shard_loop.shard.go_on(shard_loop.now, id);
            self.tally.add(Mark::Yielded, 1);
        }
        if !shard_loop.shard.wants_reading(id) {
            self.tally.add(Mark::NotRead, 1);
            if it.end != End::Open && shard_loop.shard.waits_for_its_reader(id) {
                self.lose(shard, socket);
            }
            return;
        }
        if it.to_hub.is_empty() {
            if it.end != End::Open {
                self.lose(shard, socket);
            }
            return;
        }
        let whole = it.to_hub.len();
        let count = if self.random.u8(..) < 200 { whole } else { self.random.usize(1..=whole) };
        let mut bytes: Vec<u8> = it.to_hub.drain(..count).collect();
        shard_loop.shard.received(shard_loop.now, id, &mut bytes);
        if count < whole || it.end != End::Open {
            self.tally.add(Mark::PartialRead, u64::from(count < whole));
            self.read_later(shard, socket);
        }
    }

    fn lose(&mut self, shard: usize, socket: usize) {
        let it = &mut self.sockets[socket];
        if let Some(id) = it.id
            && !std::mem::replace(&mut it.is_lost, true)
        {
            let client = it.client;
            let shard_loop = &mut self.loops[shard];
            if self.clients[client].last_channels & shard_loop.walking != 0 {
                self.tally.add(Mark::LeaveInWalk, 1);
            }
            shard_loop.shard.lost(shard_loop.now, id);
        }
    }

    fn read_later(&mut self, shard: usize, socket: usize) {
        let it = &mut self.sockets[socket];
        if !it.is_lost && !std::mem::replace(&mut it.is_queued, true) {
            self.loops[shard].to_read.push_back(socket);
        }
    }

    pub fn resume_sockets(&mut self, shard: usize) {
        while let Some(id) = self.loops[shard].shard.next_resumed() {
            if let Some(socket) = self.loops[shard].sockets[id.as_index()]
                && self.sockets[socket].id == Some(id)
            {
                self.read_later(shard, socket);
            }
        }
    }

    pub fn write_sockets(&mut self, shard: usize) -> Checked {
        while let Some(socket) = self.loops[shard].to_write.pop() {
            self.write(shard, socket)?;
        }
        for _ in 0..2 * self.plan.options.slice_sends_max {
            let Some(id) = self.loops[shard].shard.next_dirty() else { return Ok(()) };
            let Some(socket) = self.loops[shard].sockets[id.as_index()] else { continue };
            self.write(shard, socket)?;
        }
        self.loops[shard].cut_short();
        Ok(())
    }

    /// Writes what the connection has to say, as far as its socket takes it, at times in pieces.
    fn write(&mut self, shard: usize, socket: usize) -> Checked {
        let Some(id) = self.sockets[socket].id else { return Ok(()) };
        loop {
            let it = &mut self.sockets[socket];
            let shard_loop = &mut self.loops[shard];
            if it.is_lost || it.is_closed {
                return Ok(());
            }
            if it.is_blocked {
                shard_loop.shard.sent(shard_loop.now, id, 0);
                return Ok(());
            }
            let (mut waiting, mut largest) = (0, 0);
            for frame in shard_loop.shard.unsent(id) {
                waiting += frame.len();
                largest = largest.max(frame.len());
            }
            let bound = self.plan.options.outbox_bytes_max.max(largest) + CLOSE_BYTES;
            if waiting > bound {
                return violated(Promise::I5, format!("{waiting} bytes wait for a socket, the bound is {bound}"));
            }
            if waiting == 0 {
                return Ok(());
            }
            if it.end == End::Reset {
                self.lose(shard, socket);
                return Ok(());
            }
            let room = it.capacity.saturating_sub(it.to_client.len());
            if room == 0 {
                it.is_blocked = true;
                self.tally.add(Mark::BlockedWrite, 1);
                continue;
            }
            let mut count = waiting.min(room);
            if self.random.u8(..) < 16 {
                count = self.random.usize(1..=count);
            }
            let mut left = count;
            for frame in shard_loop.shard.unsent(id) {
                let piece = left.min(frame.len());
                it.to_client.extend_from_slice(&frame[..piece]);
                left -= piece;
                if left == 0 {
                    break;
                }
            }
            self.tally.add(Mark::PartialWrite, u64::from(count < waiting));
            shard_loop.shard.sent(shard_loop.now, id, count);
            self.read_soon(socket);
        }
    }

    pub fn close_sockets(&mut self, shard: usize) -> Checked {
        for _ in 0..self.plan.options.slice_sends_max {
            let Some(id) = self.loops[shard].shard.next_finished() else { return Ok(()) };
            let Some(socket) = self.loops[shard].sockets[id.as_index()].take() else {
                return violated(Promise::I5, "a connection was finished twice");
            };
            let it = &mut self.sockets[socket];
            it.is_closed = true;
            if it.is_blocked {
                // It does not take what is left: reset.
                it.to_client.clear();
            }
            self.read_soon(socket);
        }
        self.loops[shard].cut_short();
        Ok(())
    }
}
